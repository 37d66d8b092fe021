"""Load: writers that know their longest write, and processors that are busy with something else."""

from __future__ import annotations

import contextlib
import select
import subprocess
from collections.abc import Iterator
from typing import Literal

from tests.support.disks import Disk
from tests.support.waiting import wait_until

Mode = Literal["tick", "buffered", "fsync"]

#: Before a command: whatever becomes of the benchmarks, it does not go on without them.
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")

_BUFFERED_MB_PER_S = 100
_MB = 1_000_000
#: So much is written, from flushed, before each window. Of the buffered writes it is all dirty:
#: what five seconds of them leave. The kernel waits for thirty (dirty_expire_centisecs).
_BEFORE_BYTES = {"tick": 20 * 64, "buffered": 500 * _MB, "fsync": 200 * 4096}
#: Of them so much at once, to get there sooner.
_BURST_BYTES = {"tick": 0, "buffered": 450 * _MB, "fsync": 0}
#: And so much where nothing is frozen at all: some tenths of a second.
_CONTROL_BYTES = {"tick": 200 * 64, "buffered": 20 * _MB, "fsync": 400 * 4096}
_ANSWER_S = 60


class Writer:
    """bench/stall.c, writing to a filesystem."""

    def __init__(self, program: str, mode: Mode, disk: Disk) -> None:
        self.mode = mode
        self.disk = disk
        words = [*DIES_WITH_US, program, mode, str(disk.path("written"))]
        if mode == "buffered":
            words.append(str(_BUFFERED_MB_PER_S))
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.reset()

    def reset(self) -> None:
        """Forget the longest write so far."""
        answer = self._ask("reset")
        assert answer == "ok", answer

    def longest_ms(self) -> float:
        """The longest write since `reset()`, the one under way included."""
        return int(self._ask("longest").split()[0]) / 1e6

    def settle(self) -> None:
        """Bring about the same state for every contender: flushed, then written to for a while."""
        self.flush()
        self.reset()
        if burst_bytes := _BURST_BYTES[self.mode]:
            self._ask(f"burst {burst_bytes}")
        self._wait_written(_BEFORE_BYTES[self.mode])
        self.reset()

    def flush(self) -> None:
        """Flush the filesystem, syncfs once, and freeze nothing."""
        subprocess.run(["sync", "-f", self.disk.mount_point], check=True, timeout=_ANSWER_S)

    def wait_a_window(self) -> None:
        """Let it write for about as long as the long windows last, with nothing frozen."""
        self._wait_written(_CONTROL_BYTES[self.mode])

    def _wait_written(self, wanted: int) -> None:
        wait_until(lambda: int(self._ask("longest").split()[1]) >= wanted, "enough is written", 60)

    def _ask(self, what: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n".encode())
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_S)
        assert ready, f"the writer on {self.disk} does not answer"
        answer = self._process.stdout.readline().decode().strip()
        assert answer, f"the writer on {self.disk} has ended"
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=_ANSWER_S)
        self.disk.path("written").unlink()


@contextlib.contextmanager
def busy_processors(count: int) -> Iterator[None]:
    """So many processes that never wait."""
    words = [*DIES_WITH_US, "/bin/sh", "-c", "while :; do :; done"]
    processes = [subprocess.Popen(words) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait(timeout=60)
