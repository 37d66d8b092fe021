"""As test_kills.py, with a `frozen()` block instead of the command."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest

import pyfreeze as library
from tests.support.disks import Disk, is_written
from tests.support.frozen import frozen
from tests.support.processes import helpers, state_pages, supervisors_of
from tests.support.snippets import start_python
from tests.support.waiting import wait_until


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


def wait_with_the_gil_held(pid: int, timeout_ms: int) -> bool:
    """Whether a process ends in time, while no other Python code can run in this one."""
    pidfd = os.pidfd_open(pid)
    try:
        request = _PollFd(pidfd, 1, 0)
        ready: int = ctypes.PyDLL(None).poll(ctypes.byref(request), 1, timeout_ms)
        return ready == 1
    finally:
        os.close(pidfd)


def test_supervisor_killed_in_a_block_of_busy_python(disk: Disk) -> None:
    """The watchdog, a thread that needs no GIL, thaws while the block goes on."""

    def lose_supervisor() -> None:
        with frozen([disk], max_window=300):
            writing = disk.start_writing()
            (supervisor,) = supervisors_of(os.getpid())
            os.kill(supervisor, signal.SIGKILL)
            assert wait_with_the_gil_held(writing.pid, 15_000), "not thawed"
            assert is_written(writing)

    with pytest.raises(library.InconsistentError, match="supervisor was lost") as caught:
        lose_supervisor()
    assert caught.value.times is not None
    assert caught.value.times.filesystems[0].state == "thawed"


def test_supervisor_stopped_in_a_block_of_busy_python(ext4: Disk) -> None:
    """The client's own thread thaws, though the GIL is held."""

    def stop_supervisor() -> None:
        with frozen([ext4], max_window=1):
            writing = ext4.start_writing()
            (supervisor,) = supervisors_of(os.getpid())
            os.kill(supervisor, signal.SIGSTOP)
            assert wait_with_the_gil_held(writing.pid, 15_000), "not thawed"
            assert is_written(writing)

    with pytest.raises(library.InconsistentError):
        stop_supervisor()


def test_signal_to_the_supervisor_of_a_block(ext4: Disk) -> None:
    """The filesystem is thawed, and the block's end raises."""

    def end_supervisor() -> None:
        with frozen([ext4]):
            (supervisor,) = supervisors_of(os.getpid())
            os.kill(supervisor, signal.SIGTERM)
            ext4.assert_writable()

    with pytest.raises(library.InconsistentError, match="by a signal"):
        end_supervisor()


BLOCK = """
import sys, pyfreeze
with pyfreeze.frozen(sys.argv[1:], max_window=300):
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_process_with_a_block_ended(disk: Disk, number: signal.Signals) -> None:
    """The supervisor thaws for a process that was ended in its block."""
    process = start_python(BLOCK, disk)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    assert disk.is_frozen()
    process.send_signal(number)
    disk.assert_writable()
    process.communicate(timeout=60)
    assert process.returncode == -number
    wait_until(lambda: not helpers(), "the supervisor ends")
    assert not state_pages()


SHORT_BLOCK = """
import sys, pyfreeze
try:
    with pyfreeze.frozen(sys.argv[1:], max_window=1.5):
        print("inside", flush=True)
        sys.stdin.read()
except pyfreeze.InconsistentError as error:
    print(error)
"""


def test_process_with_a_block_stopped(disk: Disk) -> None:
    """Thawed at the deadline, and told when it goes on."""
    process = start_python(SHORT_BLOCK, disk)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.send_signal(signal.SIGSTOP)
    disk.assert_writable()
    assert not disk.is_frozen()
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 0
    assert "the window expired" in out


FORKED_BLOCK = """
import os, sys, time, pyfreeze
with pyfreeze.frozen(sys.argv[1:], max_window=300):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    sys.stdin.read()
"""


def test_process_with_a_block_and_a_fork_killed(ext4: Disk) -> None:
    """The fork still holds what connects it with the supervisor; that is no sign of life."""
    process = start_python(FORKED_BLOCK, ext4)
    assert process.stdout is not None
    fork = int(process.stdout.readline())
    try:
        assert ext4.is_frozen()
        process.kill()
        ext4.assert_writable()
        wait_until(lambda: not helpers(), "the supervisor ends")
    finally:
        os.kill(fork, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not state_pages()
