"""The contenders: pyfreeze, and others that freeze and thaw the same filesystems.

Each is a callable that opens one window and returns its overhead in milliseconds. Whatever happens
in it, what it froze is thawed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyfreeze
from bench.support.comparison import Contender
from bench.support.filesystems import thaw_all
from bench.support.grace import wait_for_grace_periods
from bench.support.load import DIES_WITH_US
from tests.support.disks import Disk
from tests.support.namespace import assert_ours
from tests.support.waiting import wait_until

_MAX_WINDOW_S = 20.0
_HANG_S = 60.0
_NS_PER_MS = 1e6
#: Expedited grace periods, flush to convergence, in parallel: as options of floor.c.
_FLOOR_STEPS = ("--expedite", "--flush", "--parallel", "--park")


def _mount_points(disks: Sequence[Disk]) -> list[str]:
    assert disks, "nothing to freeze"
    for disk in disks:
        assert_ours(disk.mount_point)
    return [disk.mount_point for disk in disks]


def _safely(disks: Sequence[Disk], run: Contender) -> Contender:
    def contender() -> float:
        wait_for_grace_periods()
        try:
            return run()
        except BaseException:
            thaw_all(disks)
            raise

    return contender


# ---- pyfreeze ------------------------------------------------------------------------------------


def pyfreeze_command(disks: Sequence[Disk], **options: Any) -> Contender:
    """`pyfreeze.backup()` with a snapshot command that does nothing; the overhead it reports."""
    mounts = _mount_points(disks)

    def run() -> float:
        report = pyfreeze.backup(
            ["true"], mounts=mounts, scripts=False, max_window=_MAX_WINDOW_S, **options
        )
        assert report.status == "success", report.message
        assert report.consistency == "filesystem", report.message
        assert report.window is not None
        assert report.window.overhead_ms is not None
        return report.window.overhead_ms

    return _safely(disks, run)


def pyfreeze_block(disks: Sequence[Disk], **options: Any) -> Contender:
    """`pyfreeze.frozen()` around nothing: no command is run in the window.

    The overhead that it reports includes what telling the block, and hearing from it, takes.
    """
    mounts = _mount_points(disks)

    def run() -> float:
        with pyfreeze.frozen(mounts, max_window=_MAX_WINDOW_S, **options) as window:
            pass
        assert window.times is not None
        assert window.times.overhead_ms is not None
        return window.times.overhead_ms

    return _safely(disks, run)


def started_inside(disks: Sequence[Disk]) -> Contender:
    """A window around a block that starts `true` itself: the whole window, snapshot included."""
    mounts = _mount_points(disks)
    program = shutil.which("true") or "true"

    def run() -> float:
        with pyfreeze.frozen(mounts, max_window=_MAX_WINDOW_S) as window:
            subprocess.run([program], check=True, timeout=_HANG_S)
        assert window.times is not None
        assert window.times.window_ms is not None
        return window.times.window_ms

    return _safely(disks, run)


def started_parked(disks: Sequence[Disk]) -> Contender:
    """A window with `true` as the parked snapshot command: the whole window, snapshot included."""
    mounts = _mount_points(disks)

    def run() -> float:
        report = pyfreeze.backup(["true"], mounts=mounts, scripts=False, max_window=_MAX_WINDOW_S)
        assert report.window is not None, report.message
        assert report.window.window_ms is not None, report.message
        return report.window.window_ms

    return _safely(disks, run)


# ---- others --------------------------------------------------------------------------------------


def util_linux(disks: Sequence[Disk]) -> Contender:
    """`fsfreeze -f` of one after another, then `fsfreeze -u` of each in reverse.

    By the clock from before the first to after the last: so the start of each process is inside,
    as it is for whoever uses it, at about a millisecond each.
    """
    mounts = _mount_points(disks)
    program = shutil.which("fsfreeze") or "fsfreeze"

    def run() -> float:
        begin_ns = time.monotonic_ns()
        for mount in mounts:
            _spawn(program, "-f", mount)
        for mount in reversed(mounts):
            _spawn(program, "-u", mount)
        return (time.monotonic_ns() - begin_ns) / _NS_PER_MS

    return _safely(disks, run)


def _spawn(*words: str) -> None:
    # subprocess would take longer than the program.
    pid = os.posix_spawn(words[0], words, os.environ)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"{' '.join(words)}: wait status {status}"


def floor(program: str, disks: Sequence[Disk], *steps: str) -> Contender:
    """bench/floor.c: one window by its own clock; without steps plain FIFREEZE one after another.

    A new process each time, as every other contender has one.
    """
    words = [program, *steps, "--repeat", "1", "--pause-ms", "0", *_mount_points(disks)]

    def run() -> float:
        done = subprocess.run(words, check=True, capture_output=True, timeout=_HANG_S)
        return int(done.stdout.split()[0]) / _NS_PER_MS

    return _safely(disks, run)


class QemuAgent:
    """qemu-ga on a unix socket. It is only ever asked to freeze a list of mounts."""

    def __init__(self, directory: Path) -> None:
        path = directory / "socket"
        words = [
            *DIES_WITH_US,
            "qemu-ga",
            "-m",
            "unix-listen",
            "-p",
            str(path),
            "-t",
            str(directory),
        ]
        words += ["-f", str(directory / "pid"), "-l", str(directory / "log")]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_HANG_S)
        self._answers = self._socket.makefile("rb")
        try:
            wait_until(lambda: self._connects(str(path)), "qemu-ga listens")
            self.ask("guest-ping")
        except BaseException:
            self.close()
            raise

    def _connects(self, path: str) -> bool:
        try:
            self._socket.connect(path)
        except OSError:
            return False
        return True

    def ask(self, command: str, **arguments: object) -> Any:
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._answers.readline())
        assert "return" in answer, f"{command}: {answer}"
        return answer["return"]

    def contender(self, disks: Sequence[Disk]) -> Contender:
        """Freeze and thaw through the socket, by the clock from the one request to the last answer.

        Its thaw walks through every mount there is, and so thaws also what it did not freeze.
        """
        mounts = _mount_points(disks)

        def run() -> float:
            begin_ns = time.monotonic_ns()
            try:
                frozen = self.ask("guest-fsfreeze-freeze-list", mountpoints=mounts)
            finally:
                self.ask("guest-fsfreeze-thaw")
            end_ns = time.monotonic_ns()
            assert frozen == len(mounts), f"qemu-ga froze {frozen} of {len(mounts)}"
            return (end_ns - begin_ns) / _NS_PER_MS

        return _safely(disks, run)

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
        self._process.kill()
        self._process.wait(timeout=_HANG_S)

    def __enter__(self) -> QemuAgent:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Peers:
    """All that the benchmarks compare, by the names they have in the tables."""

    def __init__(self, program: Callable[[str], str], agent: QemuAgent) -> None:
        self.floor_program = program("floor")
        self.agent = agent

    def floor(self, disks: Sequence[Disk], *steps: str) -> Contender:
        return floor(self.floor_program, disks, *steps)

    def floors(self, disks: Sequence[Disk]) -> dict[str, Contender]:
        """Those that do the three steps, alone and with a fourth, and nothing else."""
        return {
            "floor": self.floor(disks, *_FLOOR_STEPS),
            "floor, SCHED_FIFO": self.floor(disks, *_FLOOR_STEPS, "--fifo"),
            "floor, no idle states": self.floor(disks, *_FLOOR_STEPS, "--cpu_latency"),
        }

    def others(self, disks: Sequence[Disk]) -> dict[str, Contender]:
        """Those that do none of pyfreeze's steps."""
        return {
            "plain C": self.floor(disks),
            "util-linux fsfreeze": util_linux(disks),
            "qemu-ga": self.agent.contender(disks),
        }
