"""Running the real command, and only on filesystems that the tests have made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.support.disks import Disk
from tests.support.namespace import assert_ours
from tests.support.processes import is_alive, supervisors_of
from tests.support.waiting import wait_until

#: A guard against hanging, not a measure of speed.
HANG_S = 60.0
#: `freeze` needs names.
_FREEZES_ALL = "run"


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """What --json printed: one object, and nothing beside it."""
        parsed = json.loads(self.out)
        assert isinstance(parsed, dict)
        return parsed

    def assert_one_line(self, *parts: str) -> None:
        """One message on stderr, which names what is wrong."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("pyfreeze: "), self.err
        for part in parts:
            assert part in lines[0], self.err


class Running:
    """A command that runs."""

    def __init__(
        self, words: Sequence[str], *, stdin: int = subprocess.DEVNULL, **options: Any
    ) -> None:
        self.process = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            **({"stderr": subprocess.PIPE} | options),
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def supervisor(self) -> int:
        """The supervisor that it has started."""
        wait_until(lambda: supervisors_of(self.pid), "there is a supervisor")
        return supervisors_of(self.pid)[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill_with_supervisor(self) -> None:
        """Leave what it has frozen to whoever finds its page."""
        supervisor = self.supervisor
        self.signal(signal.SIGSTOP)  # it must not see the supervisor die, and thaw
        os.kill(supervisor, signal.SIGKILL)
        self.kill()
        wait_until(lambda: not is_alive(supervisor), "the supervisor is dead")

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.kill()
        self.process.communicate(timeout=HANG_S)

    def finish(self, timeout_s: float = HANG_S) -> Done:
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.communicate(timeout=HANG_S)
            raise AssertionError(f"hangs: {self.process.args!r}") from None
        return Done(self.process.returncode, out, err)


def guard(words: Sequence[str], directory: str, environment: Mapping[str, str]) -> None:
    """Fail unless a command line can freeze nothing but what was made for the tests."""
    options = list(words[: words.index("--")] if "--" in words else words)
    named = [options[i + 1] for i, word in enumerate(options[:-1]) if word == "--mount"]
    named += [path for path in environment.get("PYFREEZE_MOUNT", "").split(":") if path]
    for path in named:
        assert_ours(os.path.join(directory, path))
    harmless = {"--no-freeze", "--dry-run", "--help"}.intersection(options)
    assert named or _FREEZES_ALL not in options or harmless, f"would freeze everything: {words}"


class Pyfreeze:
    """The command `pyfreeze`, as a process of its own."""

    def start(
        self,
        *words: str,
        prefix: Sequence[str] = (),
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Running:
        """Start any command line, with `prefix` words before the interpreter's name."""
        guard(words, directory, environment or {})
        return Running(
            [*prefix, sys.executable, "-m", "pyfreeze", *words],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            **options,
        )

    def __call__(self, *words: str, timeout_s: float = HANG_S, **options: Any) -> Done:
        """Run any command line to its end."""
        return self.start(*words, **options).finish(timeout_s)

    def start_run(
        self,
        disks: Sequence[Disk],
        command: Sequence[str],
        *words: str,
        config: str | None = None,
        host_config: str | None = None,
        **options: Any,
    ) -> Running:
        """Start `pyfreeze run --json` on these disks."""
        mounts = [word for disk in disks for word in ("--mount", disk.mount_point)]
        scripts = ["--no-scripts"] if config is None else ["--config", config]
        if host_config is not None:
            scripts = ["--host-config", host_config]
        all_words = ["run", *scripts, *mounts, *words, "--json", "--", *command]
        return self.start(*all_words, **options)

    def run(
        self,
        disks: Sequence[Disk],
        command: Sequence[str],
        *words: str,
        timeout_s: float = HANG_S,
        **options: Any,
    ) -> Done:
        """`pyfreeze run --json` on these disks, to its end; options as for `start_run()`."""
        return self.start_run(disks, command, *words, **options).finish(timeout_s)
