"""Time runs out: in the snapshot, in freezing, in flushing."""

from __future__ import annotations

import signal

import pytest

import pyfreeze as library
from tests.support.command import Pyfreeze
from tests.support.disks import Disk, Disks, is_written
from tests.support.facts import assert_facts
from tests.support.frozen import frozen
from tests.support.processes import (
    helpers,
    is_alive,
    is_in_fifreeze,
    is_in_syncfs,
)
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until


def test_command_past_the_deadline(disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Writers go on at the deadline, while the command is still being ended."""
    running = pyfreeze.start_run(
        [disk], script_dir.blocking_command(), "--max-window", "1", config=script_dir.config()
    )
    wait_until(lambda: script_dir.stays, "the snapshot command runs")
    writing = disk.start_writing()
    assert is_written(writing)
    done = running.finish()
    report = done.report
    assert_facts(done, exit_status=1, status="error", consistency="none", code=2)
    assert report["window"]["expired"]
    assert report["window"]["max_window_s"] == 1
    # The deadline is set before the first FIFREEZE's entry, which the window is measured from.
    assert report["window"]["window_ms"] > 500
    assert report["message"].startswith("Snapshots are inconsistent")
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["thawed"]
    assert script_dir.outcomes == ["failed"]
    assert not any(is_alive(pid) for pid in script_dir.blocking_pids())


def test_command_past_its_own_timeout(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """It is killed with all it started, and the window has not expired."""
    words = ("--snapshot-timeout", "0.6", "--max-window", "300")
    done = pyfreeze.run([disk], script_dir.blocking_command(), *words, config=script_dir.config())
    report = done.report
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert report["snapshot"]["timed_out"] is True
    assert report["window"]["expired"] is False
    assert script_dir.outcomes == ["failed"]
    assert not any(is_alive(pid) for pid in script_dir.blocking_pids())


def test_command_that_lives_on_does_not_keep_the_window_open(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """What counts is the command's own end; what it left running is its own business."""
    left = 'while [ ! -e "$D/go" ]; do sleep 0.01; done; touch "$D/bye"'
    script_dir.script("left", left)
    command = [script_dir.script("snapshot", '"$D/left" &')]
    done = pyfreeze.run([ext4], command, "--max-window", "60")
    assert_facts(done, exit_status=0, consistency="filesystem")
    script_dir.release()
    wait_until(lambda: script_dir.exists("bye"), "it ends by itself")


# ---- FIFREEZE or syncfs that hangs in the kernel -------------------------------------------------


def release(lower: Disk, upper: Disk) -> None:
    """Let what hangs go on: its worker thaws the filesystem, and the supervisor ends."""
    lower.thaw()
    wait_until(lambda: not helpers(), "the supervisor ends")
    upper.assert_writable()
    assert not upper.is_frozen()


def test_freeze_that_hangs(
    blocked_pair: tuple[Disk, Disk], script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """It is given up at its timeout, its filesystem is reported, and no other run may begin."""
    lower, upper = blocked_pair
    command = [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]
    done = pyfreeze.run([upper], command, "--freeze-timeout", "0.7", config=script_dir.config())
    report = done.report
    assert_facts(done, exit_status=5, status="error", consistency="none")
    assert report["code"] == 122
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["pending"]
    assert report["still_frozen"] == [upper.mount_point]
    assert upper.mount_point in done.err
    assert not script_dir.exists("snapshot.ran")
    assert script_dir.outcomes == ["none"]
    # As long as it may become frozen, no other run begins.
    assert helpers()
    assert pyfreeze.run([upper], ["true"]).status == 4
    assert pyfreeze("thaw").status == 4
    release(lower, upper)


def test_freeze_that_hangs_past_the_deadline(
    blocked_pair: tuple[Disk, Disk], disks: Disks, pyfreeze: Pyfreeze
) -> None:
    """What is frozen already is thawed, though another FIFREEZE still hangs."""
    lower, upper = blocked_pair
    good = disks["ext4"]
    words = ("--max-window", "0.7", "--freeze-timeout", "300")
    done = pyfreeze.run([good, upper], ["true"], *words)
    assert_facts(done, exit_status=5, consistency="none")
    good.assert_writable()
    outcomes = {f["mount"]: f["outcome"] for f in done.report["window"]["filesystems"]}
    assert outcomes == {good.mount_point: "thawed", upper.mount_point: "pending"}
    release(lower, upper)


def test_flush_that_hangs(
    blocked_pair: tuple[Disk, Disk], script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """With dirty data it is syncfs that hangs, before anything is frozen."""
    lower, upper = blocked_pair
    upper.path("dirty").write_bytes(b"x" * 100_000)
    done = pyfreeze.run([upper], ["true"], "--freeze-timeout", "0.7", config=script_dir.config())
    report = done.report
    assert_facts(done, exit_status=1, code=122, consistency="none")
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["pending"]
    assert upper.mount_point in done.err
    release(lower, upper)


def test_signal_while_flushing_hangs(
    blocked_pair: tuple[Disk, Disk], script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The run ends by the signal, though syncfs() has not returned."""
    lower, upper = blocked_pair
    upper.path("dirty").write_bytes(b"x" * 100_000)
    running = pyfreeze.start_run(
        [upper], ["true"], "--freeze-timeout", "300", "--flush-timeout", "300"
    )
    assert running.supervisor
    wait_until(lambda: is_in_syncfs(running.supervisor), "a worker hangs")
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.status == 128 + signal.SIGTERM
    assert done.report["consistency"] == "none"
    release(lower, upper)


def test_signal_while_freezing_hangs(blocked_pair: tuple[Disk, Disk], pyfreeze: Pyfreeze) -> None:
    """The run ends by the signal, though FIFREEZE has not returned."""
    lower, upper = blocked_pair
    words = ("--freeze-timeout", "300", "--max-window", "300")
    running = pyfreeze.start_run([upper], ["true"], *words)
    wait_until(lambda: is_in_fifreeze(running.supervisor), "a worker hangs")
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.status in (128 + signal.SIGTERM, 5)
    assert done.report["consistency"] == "none"
    release(lower, upper)


def test_library_with_a_freeze_that_hangs(blocked_pair: tuple[Disk, Disk]) -> None:
    """The block does not run, and the exception names the filesystem."""
    lower, upper = blocked_pair
    with pytest.raises(library.FreezeError) as caught, frozen([upper], freeze_timeout=0.7):
        raise AssertionError("not frozen, and yet the block runs")
    assert isinstance(caught.value, (library.FreezeTimeoutError, library.StillFrozenError))
    assert caught.value.filename == upper.mount_point
    release(lower, upper)
