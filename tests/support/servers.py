"""A database's server as a process of the tests' own: what is the same whichever it is."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tests.support.waiting import wait_until

_HANG_S = 120.0


class ServerProcess(ABC):
    """One server, started and ended by the tests."""

    #: What has it end in order.
    ENDING: signal.Signals

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        """For its socket and its log."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def log_path(self) -> Path:
        """Where it writes what it has to say."""

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @abstractmethod
    def asking(self) -> list[str]:
        """A command that succeeds as soon as it takes connections."""

    def _wait_until_ready(self) -> None:
        try:
            wait_until(self._is_ready, "the server takes connections", _HANG_S)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server has ended\n{self.log}"
        done = subprocess.run(self.asking(), capture_output=True, timeout=_HANG_S, check=False)
        return done.returncode == 0

    def wait_for_end(self) -> int:
        """Wait for a server that cannot start; returns its exit status."""
        assert self._process is not None
        return self._process.wait(_HANG_S)

    def stop(self, number: signal.Signals | None = None) -> None:
        """End it in order, or as another signal does."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number or self.ENDING)
        try:
            process.wait(timeout=_HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_HANG_S)


def output_of_program(words: Sequence[str]) -> str:
    """Run one of a server's programs; returns what it says."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        timeout=_HANG_S,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout
