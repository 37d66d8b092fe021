"""`frozen()` and `backup()` in a process of one's own."""

from __future__ import annotations

import errno
import itertools
import os
import threading

import pytest

import pyfreeze
from pyfreeze._core import run as core
from pyfreeze._core.types import ChildOptions, EventKind, Step, StepKind
from pyfreeze._mounts.choose import choose, targets
from tests.support import namespace
from tests.support.disks import FSTYPES, Disk, Disks, is_written, tool
from tests.support.facts import assert_facts
from tests.support.frozen import backup, frozen
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import supervisors_of, threads_of
from tests.support.snippets import run_python
from tests.support.waiting import wait_until

# ---- frozen() ------------------------------------------------------------------------------------


def test_frozen_from_begin_to_end(disk: Disk) -> None:
    """In the block nobody can write; afterwards the times say so."""
    with frozen([disk]) as window:
        assert disk.is_frozen()
        writing = disk.start_writing()
        assert [f.mount_point for f in window.filesystems] == [disk.mount_point]
        assert writing.poll() is None
    assert is_written(writing)
    times = window.times
    assert times is not None
    (one,) = times.filesystems
    assert_facts(one, mount=disk.mount_point, state="thawed", error=0, level=0)
    assert one.flush_rounds >= 1
    assert one.freeze_enter_ns < one.freeze_return_ns < one.thaw_enter_ns < one.thaw_return_ns
    assert_facts(times, begin_ns=one.freeze_enter_ns, end_ns=one.thaw_return_ns)
    assert times.window_ms is not None
    assert times.overhead_ms is not None
    assert times.snapshot_ms is not None
    assert 0 < times.overhead_ms < times.window_ms
    assert times.snapshot_ms < times.window_ms


def test_frozen_together(disks: Disks) -> None:
    """All kinds of filesystems are frozen at one and the same time."""
    three = [disks[fstype] for fstype in FSTYPES]
    with frozen(three) as window:
        assert all(disk.is_frozen() for disk in three)
    times = window.times
    assert times is not None
    assert [f.state for f in times.filesystems] == ["thawed"] * 3
    assert max(f.freeze_return_ns for f in times.filesystems) == times.frozen_ns
    assert times.frozen_ns < times.thaw_ns == min(f.thaw_enter_ns for f in times.filesystems)


def test_one_after_another(disks: Disks) -> None:
    """Frozen in order, thawed in reverse, each when the one before has ended."""
    with frozen([disks[fstype] for fstype in FSTYPES], parallel=False) as window:
        assert all(disks[fstype].is_frozen() for fstype in FSTYPES)
    assert window.times is not None
    by_freeze = sorted(window.times.filesystems, key=lambda f: f.freeze_enter_ns)
    for before, after in itertools.pairwise(by_freeze):
        assert before.freeze_return_ns <= after.freeze_enter_ns
        assert after.thaw_return_ns <= before.thaw_enter_ns


@pytest.mark.parametrize("realtime", [True, False])
def test_real_time_class_where_processors_are_short(disks: Disks, realtime: bool) -> None:
    """Three workers, and one processor that they may use."""
    three = [disks[fstype] for fstype in FSTYPES]
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        with frozen(three, realtime=realtime):
            (supervisor,) = supervisors_of(os.getpid())
            classes = {os.sched_getscheduler(thread) for thread in threads_of(supervisor)}
    finally:
        os.sched_setaffinity(0, processors)
    fifo = os.SCHED_FIFO if realtime else os.SCHED_OTHER
    assert {policy & ~os.SCHED_RESET_ON_FORK for policy in classes} == {fifo}


def test_a_client_that_reads_nothing_for_long(ext4: Disk) -> None:
    """The supervisor keeps what it has to tell, and never waits for its reader."""
    with core.Run(targets(choose(STATE_DIRECTORY, only=[ext4.mount_point])), "unread") as run:
        child = ChildOptions(["/bin/true"], {}, "/", 60.0)
        steps = [Step(StepKind.OPEN), *[Step(StepKind.CHILD, child=child, group=1)] * 400]
        run.request_plan(steps, tells_steps=True)
        wait_until(lambda: all(one.is_over for one in run.steps()), "all have ended")
        events = [run.next_event(20) for _ in range(2 * len(steps) + 1)]
        assert sorted(event.step for event in events[:-1]) == sorted([*range(len(steps))] * 2)
        assert events[-1].kind is EventKind.ENDED


def test_a_window_can_be_used_again(ext4: Disk) -> None:
    window = frozen([ext4], flush_rounds=0, expedite=False, realtime=False)
    for _ in range(3):
        with window:
            assert ext4.is_frozen()
        ext4.assert_writable()


def test_nested(ext4: Disk, disks: Disks) -> None:
    """A second window inside another raises LockedError and freezes nothing."""
    with frozen([ext4]):
        with pytest.raises(pyfreeze.LockedError), frozen([disks["xfs"]]):
            raise AssertionError("two windows at once")
        with pytest.raises(pyfreeze.LockedError):
            backup([disks["xfs"]], ["true"])
        assert ext4.is_frozen()
        assert not disks["xfs"].is_frozen()


def test_exception_in_the_block(disk: Disk) -> None:
    """It comes through as it was, after the thaw."""
    with pytest.raises(ZeroDivisionError) as caught, frozen([disk]) as window:
        raise ZeroDivisionError
    disk.assert_writable()
    assert not getattr(caught.value, "__notes__", [])
    assert window.times is not None


def test_exception_in_a_block_that_expires_tells_both(ext4: Disk) -> None:
    def expire_and_raise() -> None:
        with frozen([ext4], max_window=0.2):
            ext4.assert_writable()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        expire_and_raise()
    assert "expired" in caught.value.__notes__[0]


def test_expired(disk: Disk) -> None:
    """The deadline thaws inside the block, whose end raises InconsistentError."""
    with (
        pytest.raises(pyfreeze.InconsistentError, match="expired") as caught,
        frozen([disk], max_window=0.2),
    ):
        disk.assert_writable()
    assert caught.value.errno == errno.ETIMEDOUT
    assert caught.value.times is not None
    assert caught.value.times.filesystems[0].state == "thawed"


def test_thawed_by_somebody_else(ext4: Disk) -> None:
    """The block's end raises InconsistentError with the mount."""
    with (
        pytest.raises(pyfreeze.InconsistentError, match="somebody else thawed") as caught,
        frozen([ext4]),
    ):
        ext4.thaw()
    assert ext4.mount_point in str(caught.value)


def test_frozen_by_somebody_else(ext4: Disk) -> None:
    """FreezeFailedError with EBUSY and the mount; it stays frozen."""
    ext4.freeze()
    try:
        with pytest.raises(pyfreeze.FreezeFailedError) as caught, frozen([ext4]):
            raise AssertionError("not frozen by us, and yet the block runs")
        assert ext4.is_frozen()
    finally:
        ext4.thaw()
    assert_facts(caught.value, errno=errno.EBUSY, filename=ext4.mount_point)


def test_unmounted_in_the_block(disks: Disks) -> None:
    """A lazy unmount takes the path away, not the descriptor to thaw by."""
    disk = disks.make("leaving", "ext4")
    with frozen([disk]) as window:
        tool("umount", "-l", disk.mount_point)
    assert window.times is not None
    assert window.times.filesystems[0].state == "thawed"
    Disk.mounted.remove(disk)
    disk.wait_until_free()
    disk.mount()
    disk.assert_writable()
    disks.drop("leaving")


def test_wrong_arguments(ext4: Disk) -> None:
    """Each one raises the error of its kind, before anything is frozen."""
    for options in ({"max_window": 0}, {"max_window": float("nan")}, {"freeze_timeout": -1}):
        with pytest.raises(pyfreeze.UsageError):
            frozen([ext4], **options)
    with pytest.raises(pyfreeze.UsageError):
        pyfreeze.frozen([])
    with pytest.raises(pyfreeze.UsageError):
        pyfreeze.frozen(ext4.mount_point)
    missing = pyfreeze.frozen([f"{namespace.ROOT}/missing"])
    with pytest.raises(pyfreeze.MountError, match="missing"), missing:
        raise AssertionError("nothing to freeze")
    with pytest.raises(ValueError, match="twice"), frozen([ext4, ext4]):
        raise AssertionError("once would do")


def test_state_directory_on_what_is_frozen(ext4: Disk) -> None:
    """It is refused, because its page could not be written."""
    directory = ext4.path("state")
    directory.mkdir(mode=0o700, exist_ok=True)
    window = frozen([ext4], state_directory=str(directory))
    with pytest.raises(pyfreeze.FreezeError, match="state directory"), window:
        raise AssertionError("its page would be on a frozen filesystem")


def test_descriptors_and_threads_are_not_leaked(ext4: Disk) -> None:
    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    with frozen([ext4]):
        pass
    before = count()
    for _ in range(5):
        with frozen([ext4]):
            pass
        backup([ext4], ["true"])
    assert count() == before


def test_busy_threads(ext4: Disk) -> None:
    """They hold the GIL most of the time; that delays neither the freeze's end nor the thaw."""
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with frozen([ext4]) as window:
            assert ext4.is_frozen()
        report = backup([ext4], lambda: None)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert window.times is not None
    assert report.status == "success"


FORK = """
import fcntl, os, sys, warnings, pyfreeze
mount = sys.argv[1]
def is_frozen():
    fd = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0xC0045877, 0)
    except OSError as error:
        return error.errno == 16
    else:
        fcntl.ioctl(fd, 0xC0045878, 0)
        return False
    finally:
        os.close(fd)
warnings.simplefilter("ignore")
with pyfreeze.frozen([mount], max_window=60) as window:
    child = os.fork()
    if child == 0:
        try:
            window.__exit__(None, None, None)
        except pyfreeze.FreezeError as error:
            print(type(error).__name__, "fork" in str(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(is_frozen(), flush=True)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    print(is_frozen(), flush=True)
    try:
        pyfreeze.frozen([mount]).__enter__()
    except pyfreeze.LockedError:
        print("locked", flush=True)
print(is_frozen(), window.times.filesystems[0].state)
"""


def test_fork_in_a_block_neither_thaws_nor_unlocks(ext4: Disk) -> None:
    lines = run_python(FORK, ext4).splitlines()
    assert lines == ["SupervisorError True", "True", "True", "locked", "False thawed"]


SPARSE_IMPORTS = """
import sys
import pyfreeze
with pyfreeze.frozen(sys.argv[1:]) as window:
    pass
names = "dataclasses json argparse logging rich msgspec click subprocess typing inspect".split()
print(window.times.filesystems[0].state, *[name for name in names if name in sys.modules])
"""


def test_frozen_imports_little(ext4: Disk) -> None:
    state, *imported = run_python(SPARSE_IMPORTS, ext4).split()
    assert state == "thawed"
    # Of the standard library's own, typing alone is allowed to frozen().
    assert set(imported) <= {"typing"}
