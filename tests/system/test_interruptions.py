"""A handler that raises wherever Python code runs: nothing hangs, is lost, or is left behind."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from pyfreeze._backup.backup import Backup
from pyfreeze._backup.plan import make_plan
from pyfreeze._backup.settings import Settings
from pyfreeze._core.pages import take_lock
from pyfreeze._model.errors import LockedError
from tests.support.disks import Disk
from tests.support.frozen import frozen
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import state_pages, supervisors_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

#: So many moments of a backup are tried, all over its duration.
_MOMENTS = 300
_HANGS_S = 30
_ROOMS = ("/pyfreeze/_backup/", "/pyfreeze/_core/", "/pyfreeze/_api/")


class InterruptionError(BaseException):
    """As KeyboardInterrupt, which pytest takes for its own."""


class Moments:
    """Counts where a handler could run in the package's own code, and raises at one of them."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.count = 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        # Where CPython looks whether a handler is due: at a function's begin, and after one in C.
        if event not in ("call", "c_return"):
            return
        if not any(room in frame.f_code.co_filename for room in _ROOMS):
            return
        # Before the first line of __exit__() nobody has taken the window over: it is thawed when
        # the exception that has it is dropped, and by its deadline.
        if event == "call" and frame.f_code.co_qualname == "Window.__exit__":
            return
        self.count += 1
        if self.count == self.at:
            self.where = f"a {event} in\n" + "".join(traceback.format_stack(frame, 4))
            sys.setprofile(None)
            raise InterruptionError


@contextmanager
def interrupted(moments: Moments) -> Iterator[None]:
    """A block that must end, interrupted or not."""

    def hangs(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"hangs when interrupted in {moments.where}")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(_HANGS_S)
    sys.setprofile(moments)
    try:
        yield
    except InterruptionError:
        pass
    finally:
        sys.setprofile(None)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def is_unlocked() -> bool:
    try:
        os.close(take_lock(STATE_DIRECTORY))
    except LockedError:
        return False
    return True


def assert_nothing_is_left(disk: Disk, where: str) -> None:
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), where
    assert not disk.is_frozen(), where
    # A supervisor that cannot leave a syncfs() takes the lock along, and ends with it.
    wait_until(is_unlocked, f"no lock, when interrupted by {where}")
    wait_until(lambda: not state_pages(), f"no state page, when interrupted by {where}")
    wait_until(
        lambda: not supervisors_of(os.getpid()), f"no supervisor, when interrupted by {where}"
    )


def at_each_moment(act: Callable[[Moments], None], disk: Disk) -> None:
    """Once to the end, then interrupted at moments all over it."""
    whole = Moments()
    with interrupted(whole):
        act(whole)
    for number in range(_MOMENTS):
        moments = Moments(1 + number * whole.count // _MOMENTS)
        with interrupted(moments):
            act(moments)
        assert_nothing_is_left(disk, moments.where)


# CPython itself drops what is raised while it closes a generator: that one is no interruption.
_DROPPED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@_DROPPED
def test_backup_interrupted_anywhere(ext4: Disk, script_dir: ScriptDir) -> None:
    """Each pre-script has its post-script; what was begun has its report."""
    settings = Settings(
        snapshot=["true"],
        config=script_dir.config(),
        mounts=(ext4.mount_point,),
        single_disk=False,
        state_directory=STATE_DIRECTORY,
    )

    def perform(moments: Moments) -> None:
        backup = Backup(make_plan(settings))
        before = len(script_dir.outcomes)
        try:
            backup.perform()
        finally:
            sys.setprofile(None)
            pre = script_dir.read("pre.ran").count("ran") if script_dir.exists("pre.ran") else 0
            # A pre-script may have been ended before its first line ran.
            assert pre <= len(script_dir.outcomes), moments.where
            if len(script_dir.outcomes) > before:
                assert backup.report is not None, moments.where

    at_each_moment(perform, ext4)


@_DROPPED
def test_window_interrupted_anywhere(ext4: Disk) -> None:
    """Wherever it is interrupted, nothing stays frozen or is left behind."""

    def hold(_moments: Moments) -> None:
        with frozen([ext4]):
            assert ext4.is_frozen()

    at_each_moment(hold, ext4)
