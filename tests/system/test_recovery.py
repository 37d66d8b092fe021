"""What dead runs left is thawed by a process of its own: a FITHAW may hang, and nobody with it.

Here it does because it has to write to what lies below, which somebody else has frozen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import pyfreeze as library
from pyfreeze._core import run as core
from tests.support.command import Pyfreeze
from tests.support.disks import Disk, Disks, tool
from tests.support.facts import assert_facts
from tests.support.frozen import frozen
from tests.support.processes import helpers, recoverers, state_pages, supervisors_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

STILL = 5
HANGS = "FITHAW has not returned yet; a process waits for it"


@pytest.fixture
def pair(disks: Disks) -> Iterator[tuple[Disk, Disk]]:
    """A filesystem, and one in a file on it; afterwards neither is frozen by somebody else."""
    lower = disks["xfs"]
    if "upper" not in disks:
        disks.make("upper", "ext4", lower.path("upper.img"))
    yield lower, disks["upper"]
    if lower.is_frozen():
        lower.thaw()


def leave_frozen(pyfreeze: Pyfreeze, script_dir: ScriptDir, *disks: Disk) -> None:
    """A run that is killed in its window, with its supervisor."""
    running = pyfreeze.start_run(disks, [script_dir.waiting_script()], "--max-window", "300")
    wait_until(lambda: script_dir.holds, "the snapshot command runs")
    running.kill_with_supervisor()
    wait_until(lambda: not helpers(), "the reapers end")


def assert_goes_on(lower: Disk, upper: Disk, pyfreeze: Pyfreeze) -> None:
    """A process waits, and holds the lock; and when the other one thaws, all is well."""
    (recoverer,) = recoverers()
    assert f"supervisor {recoverer} running" in pyfreeze("status").out
    assert pyfreeze("thaw").status == 4
    lower.thaw()
    wait_until(lambda: not helpers(), "the recoverer ends")
    upper.assert_writable()
    assert not upper.is_frozen()
    assert not state_pages()


def test_thaw_does_not_hang(
    pair: tuple[Disk, Disk], script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    lower, upper = pair
    leave_frozen(pyfreeze, script_dir, upper)
    lower.freeze()
    done = pyfreeze("thaw")
    assert_facts(done, exit_status=STILL, out="")
    done.assert_one_line(f"still frozen: {upper.mount_point}: {HANGS}")
    assert_goes_on(lower, upper, pyfreeze)


def test_thaw_of_others_beside_one_that_hangs(
    pair: tuple[Disk, Disk], disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """What does not hang is thawed, and named as thawed."""
    lower, upper = pair
    other = disks["ext4"]
    leave_frozen(pyfreeze, script_dir, upper, other)
    lower.freeze()
    done = pyfreeze("thaw")
    assert done.status == STILL
    assert done.out.startswith(f"thawed {other.mount_point} (run ")
    other.assert_writable()
    assert_goes_on(lower, upper, pyfreeze)


def test_next_run_does_not_hang(
    pair: tuple[Disk, Disk], script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    lower, upper = pair
    leave_frozen(pyfreeze, script_dir, upper)
    lower.freeze()
    done = pyfreeze.run([upper], ["true"])
    assert done.status == STILL
    assert f"{upper.mount_point}: {HANGS}" in done.err
    assert_goes_on(lower, upper, pyfreeze)


def test_client_does_not_hang(pair: tuple[Disk, Disk], pyfreeze: Pyfreeze) -> None:
    """Its supervisor is dead, and so it is its client who thaws; what hangs it leaves to others."""
    lower, upper = pair

    def lose_supervisor() -> None:
        with frozen([upper], max_window=300):
            lower.freeze()
            (supervisor,) = supervisors_of(os.getpid())
            os.kill(supervisor, signal.SIGKILL)

    with pytest.raises(library.StillFrozenError) as caught:
        lose_supervisor()
    assert caught.value.mounts == (upper.mount_point,)
    assert_goes_on(lower, upper, pyfreeze)


def test_program_that_cannot_be_executed(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Then whoever recovers does it itself."""
    leave_frozen(pyfreeze, script_dir, ext4)
    script_dir.path("broken").touch()
    tool("mount", "--bind", str(script_dir.path("broken")), core.PROGRAM)
    try:
        done = pyfreeze("thaw", "--verbose")
    finally:
        tool("umount", core.PROGRAM)
    assert_facts(done, exit_status=0, err="")
    assert done.out.startswith(f"thawed {ext4.mount_point} (run ")
    assert "recovery: begun by process" not in done.out
    ext4.assert_writable()
    assert not state_pages()


def test_program_that_is_lost_with_the_supervisor(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """An update removes it while a run goes on, whose supervisor then dies."""
    running = pyfreeze.start_run([ext4], [script_dir.waiting_script()], "--max-window", "300")
    wait_until(lambda: script_dir.holds, "the snapshot command runs")
    script_dir.path("broken").touch()
    tool("mount", "--bind", str(script_dir.path("broken")), core.PROGRAM)
    try:
        os.kill(running.supervisor, signal.SIGKILL)
        ext4.assert_writable()
        assert running.finish().report["still_frozen"] == []
    finally:
        tool("umount", core.PROGRAM)
