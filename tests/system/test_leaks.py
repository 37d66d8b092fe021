"""A process that backs up for months: after a thousand windows it is as small as after a few."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from pyfreeze._core import run as core
from pyfreeze._core.types import EventKind, Step, StepKind
from pyfreeze._model.options import resolve
from pyfreeze._model.states import Verdict
from pyfreeze._mounts.choose import choose, targets
from tests.support.disks import Disk
from tests.support.frozen import backup, frozen
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import helpers, resident_kib, supervisors_of, threads_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

#: After these, whatever is made once has been made: buffers, caches, the allocator's arenas.
SETTLED = 600
MANY = 1400
#: Within 800 windows: a page lost in each would be 3,200 KiB, and 400 bytes more than this.
CLIENT_GROWTH_KIB = 300
#: Its memory is locked and made in advance.
SUPERVISOR_GROWTH_KIB = 64


class Held(NamedTuple):
    """What a process holds that has a number."""

    descriptors: int
    threads: int


def held_by(pid: int) -> Held:
    return Held(len(os.listdir(f"/proc/{pid}/fd")), len(threads_of(pid)))


def children() -> list[int]:
    """The children of this process: also the zombies, and the orphans left to a subreaper."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(word) for word in (task / "children").read_text(encoding="ascii").split()]
    return found


def assert_as_before(held: Held, before: list[int]) -> None:
    assert held_by(os.getpid()) == held
    assert children() == before
    wait_until(lambda: not helpers(), "supervisors and reapers are gone")


@pytest.mark.timeout(400)
def test_one_window_used_again_and_again(ext4: Disk) -> None:
    """Each use has a supervisor of its own."""
    window = frozen([ext4], flush_rounds=0)
    held, before = held_by(os.getpid()), children()
    for _ in range(SETTLED):
        with window:
            pass
    settled_kib = resident_kib(os.getpid())
    for _ in range(MANY - SETTLED):
        with window:
            pass
    assert resident_kib(os.getpid()) - settled_kib <= CLIENT_GROWTH_KIB
    assert_as_before(held, before)


def test_one_supervisor_for_all_windows(ext4: Disk) -> None:
    """Neither process holds more after a thousand windows than after a few."""
    chosen = targets(choose(STATE_DIRECTORY, only=[ext4.mount_point]))
    options = resolve({"max_window": 30, "freeze_timeout": 20, "flush_rounds": 0})
    held_before, before = held_by(os.getpid()), children()
    with core.Run(chosen, "leaks") as run:
        run.request_plan([Step(StepKind.OPEN)])
        assert run.next_event(20).kind is EventKind.ENDED

        def window() -> None:
            run.request_plan([Step(StepKind.WINDOW, window=options)])
            assert run.next_event(20).kind is EventKind.WAITING
            run.request_proceed()
            assert run.next_event(20).kind is EventKind.ENDED
            assert run.step(0).verdict is Verdict.GOOD

        both = (os.getpid(), *supervisors_of(os.getpid()))
        for _ in range(SETTLED):
            window()
        held = [held_by(pid) for pid in both]
        client_kib, supervisor_kib = map(resident_kib, both)
        for _ in range(MANY - SETTLED):
            window()
        assert [held_by(pid) for pid in both] == held
        assert resident_kib(both[0]) - client_kib <= CLIENT_GROWTH_KIB
        assert resident_kib(both[1]) - supervisor_kib <= SUPERVISOR_GROWTH_KIB
    assert_as_before(held_before, before)


def test_windows_made_anew(ext4: Disk) -> None:
    """A process that starts a supervisor for each window is as before."""
    held, before = held_by(os.getpid()), children()
    for _ in range(150):
        with frozen([ext4], flush_rounds=0):
            pass
    assert_as_before(held, before)


def test_backups_with_scripts(ext4: Disk, script_dir: ScriptDir) -> None:
    """A process that has made many backups is as before."""
    config = script_dir.config()
    assert backup([ext4], ["/bin/true"], config=config).code == 0  # what is imported once, is now
    held, before = held_by(os.getpid()), children()
    for _ in range(50):
        assert backup([ext4], ["/bin/true"], config=config).code == 0
    assert script_dir.outcomes == ["success"] * 51
    assert_as_before(held, before)
