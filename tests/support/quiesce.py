"""The ready-made scripts as an operator has them: from `pyfreeze init --app`, settings edited."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.processes import is_alive
from tests.support.script_dir import ScriptDir


class QuiesceScripts:
    """One application's scripts in a directory of their own."""

    def __init__(
        self, pyfreeze: Pyfreeze, script_dir: ScriptDir, application: str, **settings: object
    ) -> None:
        self._pyfreeze = pyfreeze
        self._place = script_dir
        self._application = application
        self.directory = script_dir.path(f"{application}-scripts")
        done = pyfreeze("init", "--app", application, "--directory", str(self.directory))
        assert done.status == 0, done.err
        self.config = str(self.directory / "VMSnapshotScriptPluginConfig.json")
        self.pre = str(self.directory / "pre-script.sh")
        self.post = str(self.directory / "post-script.sh")
        self.set(**settings)

    def set(self, **settings: object) -> None:
        """Edit the pre-script's settings, as an operator does."""
        text = Path(self.pre).read_text(encoding="utf-8")
        for name, value in settings.items():
            line = f"{name}={shlex.quote(str(value))}"
            (old,) = re.findall(rf"^{name}=.*$", text, flags=re.MULTILINE)
            text = text.replace(f"\n{old}\n", f"\n{line}\n")
        Path(self.pre).write_text(text, encoding="utf-8")

    def noting(self, before: str, after: str) -> str:
        """A configuration whose pre-script runs commands before the real one, and after it."""
        words = shlex.quote(self.pre)
        pre = self._place.script("noting-pre", f"set -e\n{before}\n{words}\n{after}")
        keys = json.loads(Path(self.config).read_text(encoding="utf-8"))
        keys["preScriptLocation"] = pre
        path = self._place.path("noting.json")
        path.write_text(json.dumps(keys), encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    def assert_pre_script_fails(self, disks: Sequence[Disk], words: str) -> None:
        """One line says whose it is and why; the backup goes on without scripts."""
        report = self._pyfreeze.run(disks, ["true"], config=self.config).report
        assert_facts(report, consistency="filesystem", code=300)
        line = failed_script(report, "pre")
        assert line.startswith(f"{self._application}: ")
        assert words in line

    @property
    def hold(self) -> Path:
        """The holder's directory."""
        match = re.search(
            r"^hold=(.*)$", Path(self.pre).read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        assert match
        return Path(match[1])

    @property
    def record(self) -> dict[str, Any]:
        """What the holder has written down last."""
        return dict(json.loads((self.hold / "record.json").read_text(encoding="utf-8")))

    @property
    def holder(self) -> int:
        """The holder's process."""
        pid = self.record["pid"]
        assert isinstance(pid, int)
        return pid

    def has_no_holder(self) -> bool:
        return not is_alive(self.holder)

    def waiting_for(self, phase: str) -> str:
        """Shell lines that wait until the record says a phase."""
        record = shlex.quote(str(self.hold / "record.json"))
        return f'until grep -q \'"phase": "{phase}"\' {record}; do sleep 0.01; done'


def failed_script(report: dict[str, Any], phase: str) -> str:
    """The one line that a failed script has printed."""
    (script,) = [one for one in report["scripts"] if one["phase"] == phase]
    assert script["exit_status"] == 1, script
    lines = script["output"].splitlines()
    assert len(lines) == 1, lines
    return str(lines[0])


def output_of(report: dict[str, Any], phase: str) -> str:
    (script,) = [one for one in report["scripts"] if one["phase"] == phase]
    return str(script["output"])


def assert_application(report: dict[str, Any]) -> None:
    assert_facts(report, consistency="application", code=0)
