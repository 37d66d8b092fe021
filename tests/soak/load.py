"""Writers: one process for each filesystem, which writes all the time and counts what it wrote."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.disks import Disk

_PR_SET_PDEATHSIG = 1
_BLOCK = bytes(16384)
_BLOCKS = 128
#: Writes begun, writes done, the longest of them in ns, and the errno that ended them, by disk.
_ROW = struct.Struct("QQQQ")
_WORDS = 4

_libc = ctypes.CDLL(None, use_errno=True)


class Load:
    """The counters, in a file that others map or copy; and the writers behind them."""

    def __init__(self, path: Path, disks: Sequence[Disk]) -> None:
        self.path = path
        path.write_bytes(bytes(_ROW.size * len(disks)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._map).cast("Q")
        self._count = len(disks)
        self._pids = [self._start(row, disk) for row, disk in enumerate(disks)]

    def restart(self, row: int, disk: Disk) -> None:
        """Go on after the disk of that row was made anew."""
        self._end(self._pids[row])
        self._words[row * _WORDS + 3] = 0
        self._pids[row] = self._start(row, disk)

    def _start(self, row: int, disk: Disk) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                os.closerange(3, 4096)  # a disk's descriptor would keep it busy
                if os.getppid() == parent:
                    _write(self._words, row * _WORDS, str(disk.path("load")))
            except OSError as error:
                self._words[row * _WORDS + 3] = error.errno or errno.EIO
            finally:
                os._exit(1)
        return pid

    def stop(self) -> None:
        for pid in self._pids:
            self._end(pid)

    @staticmethod
    def _end(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    @property
    def errors(self) -> list[int]:
        """What ended the writers, by disk; 0: it goes on."""
        return [self._words[row * _WORDS + 3] for row in range(self._count)]

    @property
    def done(self) -> list[int]:
        """How many writes have been done, by filesystem."""
        return [self._words[row * _WORDS + 1] for row in range(self._count)]

    def forget_longest(self) -> None:
        for row in range(self._count):
            self._words[row * _WORDS + 2] = 0

    @property
    def longest_ns(self) -> int:
        """The longest single write since then: the stall that an application felt."""
        return max(self._words[row * _WORDS + 2] for row in range(self._count))


def _write(words: memoryview, at: int, path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    while True:
        words[at] += 1
        begin_ns = time.monotonic_ns()
        os.pwrite(fd, _BLOCK, words[at] % _BLOCKS * len(_BLOCK))
        took_ns = time.monotonic_ns() - begin_ns
        words[at + 1] += 1
        words[at + 2] = max(words[at + 2], took_ns)
        time.sleep(0.0005)


def written_between(before: bytes, after: bytes) -> list[int]:
    """How many whole writes lie between two copies of the counters, by filesystem.

    Of a write that had ended just before the first copy, the count may come after it.
    """
    rows = zip(_ROW.iter_unpack(before), _ROW.iter_unpack(after), strict=True)
    return [max(0, new[1] - old[1] - 1) for old, new in rows]
