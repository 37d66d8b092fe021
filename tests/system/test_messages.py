"""Whatever is wrong with what was typed: a line that says what, what was found, expected, to do."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyfreeze._cli.main import _COMMANDS, _run
from tests.support.command import guard
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir

#: THING: what was found, expected what is needed, and where to read on or what to do.
FORM = re.compile(
    r"pyfreeze: (?P<thing>[^:]+(?: [^:]+)?): "
    r"(?P<found>.+?)"
    r"(?:, (?:expected|needed|perhaps) (?P<expected>.+?))? ?"
    r"(?P<action>\((?:see )?'pyfreeze [a-z ]*.*\)|: [a-z].*)\n"
)
M = "MOUNT"
#: The command line, and what it is about. MOUNT is a mount point that could be frozen.
CASES = [
    # options
    ("run --frobnicate -- true", "--frobnicate"),
    ("run --jso -- true", "--jso"),
    ("run --json=1 -- true", "--json"),
    (f"run --mount {M}", "COMMAND"),
    (f"run --mount {M} --max-window 0 -- true", "--max-window"),
    (f"run --mount {M} --max-window nan -- true", "--max-window"),
    (f"run --mount {M} --freeze-timeout 1h -- true", "--freeze-timeout"),
    (f"run --mount {M} --flush-timeout -1 -- true", "--flush-timeout"),
    (f"run --mount {M} --snapshot-timeout 86401 -- true", "--snapshot-timeout"),
    (f"run --mount {M} --flush-rounds 101 -- true", "--flush-rounds"),
    (f"run --mount {M} --flush-rounds many -- true", "--flush-rounds"),
    (f"run --mount {M} --require best -- true", "--require"),
    (f"freeze --mount {M}", "--max-window"),
    (f"freeze --mount {M} --max-window x", "--max-window"),
    ("freeze --max-window 2", "--mount"),
    ("thaw --force", "--force"),
    ("completion csh", "SHELL"),
    ("completion", "SHELL"),
    ("explain 4711", "CODE"),
    ("explain Pre-ScriptTimout", "CODE"),
    ("demo --keep /run/pyfreeze/x", "--keep"),
    ("install --prefix usr", "--prefix"),
    ("install --program ./x", "--program"),
    ("check surplus", "surplus"),
    ("frobnicate", "frobnicate"),
    ("run --max-window", "--max-window"),
    # mounts
    ("thaw --mount relative", "relative"),
    ("run --mount /mnt/missing -- true", "/mnt/missing"),
    ("run --mount /mnt -- true", "/mnt"),
    (f"run --mount {M}/directory -- true", f"{M}/directory"),
    (f"run --mount {M}/file -- true", f"{M}/file"),
    (f"run --mount {M} --mount {M} -- true", M),
    (f"run --mount {M} --skip {M} -- true", M),
    ("freeze --max-window 2 --mount /mnt/missing", "/mnt/missing"),
    ("thaw --mount /mnt/missing", "/mnt/missing"),
    ("thaw --force --mount /mnt/missing", "/mnt/missing"),
    # the snapshot command
    (f"run --mount {M} -- /no/such/program", "/no/such/program"),
    (f"run --mount {M} -- no-such-program", "no-such-program"),
    (f"run --mount {M} -- {M}/file", f"{M}/file"),
]


@pytest.mark.parametrize(("line", "thing"), CASES)
def test_form(
    ext4: Disk,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    thing: str,
) -> None:
    """One line: what it is about, what was found, what was expected."""
    ext4.path("directory").mkdir(exist_ok=True)
    ext4.path("file").touch()
    words = line.replace(M, ext4.mount_point).split()
    if words[0] == "run" and "--mount" not in words:  # should it not be refused, for once
        monkeypatch.setenv("PYFREEZE_MOUNT", ext4.mount_point)
    assert _run(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    match = FORM.fullmatch(err)
    assert match, err
    assert match["thing"] == thing.replace(M, ext4.mount_point)
    assert match["expected"] or match["found"].startswith("no such"), err


def test_nothing_typed(capfd: pytest.CaptureFixture[str]) -> None:
    """The help, as it is laid out."""
    assert _run([]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "\nCommands:\n  check " in err


def test_every_command_has_a_case() -> None:
    tried = {line.split()[0] for line, _ in CASES}
    assert set(_COMMANDS) - tried == {"init", "manual", "status"}, "which take nothing to get wrong"


Spoil = Callable[[ScriptDir, Path], None]
#: What is wrong with a script configuration, and what the message names.
FILES: list[tuple[str, Spoil]] = [
    ("line 1", lambda _, config: _write(config, "{")),
    ("pluginName", lambda _, config: _write(config, '{"pluginName": 7}')),
    ("mode 0644", lambda _, config: config.chmod(0o644)),
    ("pre", lambda script_dir, _: script_dir.path("pre").unlink()),
    ("pre", lambda script_dir, _: script_dir.path("pre").chmod(0o777)),
    ("config.json", lambda _, config: config.unlink()),
]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("named", "spoil"), FILES)
def test_files(
    ext4: Disk, script_dir: ScriptDir, capfd: pytest.CaptureFixture[str], named: str, spoil: Spoil
) -> None:
    """The line names the file and what is wrong with it, and the next what to do."""
    config = script_dir.config()
    spoil(script_dir, Path(config))
    words = ["run", "--config", config, "--mount", ext4.mount_point, "--", "true"]
    guard(words, "/", {})
    assert _run(words) == 0
    out, err = capfd.readouterr()
    text = f"{out}{err}"
    assert str(script_dir.directory) in text
    assert named in text
    assert re.search(r"(?:, needed |, expected |: is missing)", text), text
    assert "What to do: " in text


#: Ctrl-C as soon as the command begins to load what it needs.
_INTERRUPTED = """
import os, signal, sys
from pyfreeze.__main__ import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.exit(main())
"""


@pytest.mark.parametrize("stderr", ["open", "closed"])
def test_interrupted_before_anything_was_run(stderr: str) -> None:
    """Ctrl-C while modules are imported is one line and the signal's status."""
    close = "2>&-" if stderr == "closed" else ""
    words = ["sh", "-c", f'exec "$@" {close}', "sh", sys.executable, "-c", _INTERRUPTED, "demo"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    says = "" if stderr == "closed" else "pyfreeze: ended by SIGINT\n"
    assert_facts(done, returncode=128 + signal.SIGINT, stdout="", stderr=says)
