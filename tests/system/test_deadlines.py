"""Time runs out: in the snapshot, in freezing, in flushing."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest

import pyfreeze as library
from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk, Disks, is_written
from tests.support.frozen import frozen
from tests.support.held_write import held_write
from tests.support.place import Place
from tests.support.processes import (
    count_in_fifreeze,
    heirs,
    helpers,
    is_alive,
    is_in_fifreeze,
    is_in_syncfs,
    parent_of,
    state_pages,
    supervisors_of,
)
from tests.support.waiting import wait_until


def test_command_past_the_deadline(disk: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    """Writers go on at the deadline, while the command is still being ended."""
    running = pyfreeze.start_run(
        [disk], place.staying(), "--max-window", "1", config=place.config()
    )
    wait_until(lambda: place.stays, "the snapshot command runs")
    writing = disk.start_writing()
    assert is_written(writing)
    done = running.finish()
    report = done.report
    assert (done.status, report["status"], report["code"]) == (1, "error", 2)
    assert (report["consistency"], report["window"]["expired"]) == ("none", True)
    assert report["window"]["max_window_s"] == 1
    # The deadline is set before the first FIFREEZE's entry, which the window is measured from.
    assert report["window"]["window_ms"] > 500
    assert report["message"].startswith("Snapshots are inconsistent")
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["thawed"]
    assert place.outcomes == ["failed"]
    assert not any(is_alive(pid) for pid in place.staying_pids())


def test_command_past_its_own_timeout(disk: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    words = ("--snapshot-timeout", "0.6", "--max-window", "300")
    done = pyfreeze.run([disk], place.staying(), *words, config=place.config())
    report = done.report
    assert (done.status, report["consistency"], report["code"]) == (1, "none", 2)
    assert report["snapshot"]["timed_out"] is True
    assert report["window"]["expired"] is False
    assert place.outcomes == ["failed"]
    assert not any(is_alive(pid) for pid in place.staying_pids())


def test_command_that_lives_on_does_not_keep_the_window_open(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze
) -> None:
    """What counts is the command's own end; what it left running is its own business."""
    left = 'while [ ! -e "$D/go" ]; do sleep 0.01; done; touch "$D/bye"'
    place.script("left", left)
    command = [place.script("snapshot", '"$D/left" &')]
    done = pyfreeze.run([ext4], command, "--max-window", "60")
    assert (done.status, done.report["consistency"]) == (0, "filesystem")
    place.go()
    wait_until(lambda: place.exists("bye"), "it ends by itself")


# ---- FIFREEZE or syncfs that hangs in the kernel -------------------------------------------------


def release(lower: Disk, upper: Disk) -> None:
    """Let what hangs go on: its worker thaws the filesystem, and the supervisor ends."""
    lower.thaw()
    wait_until(lambda: not helpers(), "the supervisor ends")
    upper.assert_writable()
    assert not upper.is_frozen()


def test_freeze_that_hangs(stuck: tuple[Disk, Disk], place: Place, pyfreeze: Pyfreeze) -> None:
    lower, upper = stuck
    command = [place.script("snapshot", 'touch "$D/snapshot.ran"')]
    done = pyfreeze.run([upper], command, "--freeze-timeout", "0.7", config=place.config())
    report = done.report
    assert (done.status, report["status"], report["consistency"]) == (5, "error", "none")
    assert report["code"] == 122
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["pending"]
    assert report["still_frozen"] == [upper.mount_point]
    assert upper.mount_point in done.err
    assert not place.exists("snapshot.ran")
    assert place.outcomes == ["none"]
    # As long as it may become frozen, no other run begins.
    assert helpers()
    assert pyfreeze.run([upper], ["true"]).status == 4
    assert pyfreeze("thaw").status == 4
    release(lower, upper)


def test_freeze_that_hangs_past_the_deadline(
    stuck: tuple[Disk, Disk], disks: Disks, pyfreeze: Pyfreeze
) -> None:
    """What is frozen already is thawed, though another FIFREEZE still hangs."""
    lower, upper = stuck
    good = disks["ext4"]
    words = ("--max-window", "0.7", "--freeze-timeout", "300")
    done = pyfreeze.run([good, upper], ["true"], *words)
    assert (done.status, done.report["consistency"]) == (5, "none")
    good.assert_writable()
    outcomes = {f["mount"]: f["outcome"] for f in done.report["window"]["filesystems"]}
    assert outcomes == {good.mount_point: "thawed", upper.mount_point: "pending"}
    release(lower, upper)


def test_flush_that_hangs(stuck: tuple[Disk, Disk], place: Place, pyfreeze: Pyfreeze) -> None:
    """With dirty data it is syncfs that hangs, before anything is frozen."""
    lower, upper = stuck
    upper.path("dirty").write_bytes(b"x" * 100_000)
    done = pyfreeze.run([upper], ["true"], "--freeze-timeout", "0.7", config=place.config())
    report = done.report
    assert (done.status, report["code"], report["consistency"]) == (1, 122, "none")
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["pending"]
    assert upper.mount_point in done.err
    release(lower, upper)


def test_signal_while_flushing_hangs(
    stuck: tuple[Disk, Disk], place: Place, pyfreeze: Pyfreeze
) -> None:
    lower, upper = stuck
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


def test_signal_while_freezing_hangs(stuck: tuple[Disk, Disk], pyfreeze: Pyfreeze) -> None:
    lower, upper = stuck
    words = ("--freeze-timeout", "300", "--max-window", "300")
    running = pyfreeze.start_run([upper], ["true"], *words)
    wait_until(lambda: is_in_fifreeze(running.supervisor), "a worker hangs")
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert done.status in (128 + signal.SIGTERM, 5)
    assert done.report["consistency"] == "none"
    release(lower, upper)


def kill_while_freezing_hangs(pyfreeze: Pyfreeze, running: Running, *hanging: Disk) -> None:
    """Kill the supervisor when these hang in FIFREEZE, and all else is frozen."""
    names = {disk.mount_point for disk in hanging}

    def hangs() -> bool:
        states = dict(re.findall(r"^  (/\S+) \(.*\): (\w+)", pyfreeze("status").out, re.MULTILINE))
        freezing = {name for name, state in states.items() if state == "freezing"}
        frozen = {name for name, state in states.items() if state == "frozen"}
        return freezing == names and freezing | frozen == set(states)

    wait_until(hangs, "these hang, and all else is frozen")
    wait_until(lambda: count_in_fifreeze(running.supervisor) == len(names), "in FIFREEZE itself")
    os.kill(running.supervisor, signal.SIGKILL)


def test_supervisor_killed_while_freezing_hangs(
    stuck: tuple[Disk, Disk], place: Place, disks: Disks, pyfreeze: Pyfreeze
) -> None:
    """Its thread cannot die, and nobody is left in it to thaw: an heir waits for that."""
    lower, upper = stuck
    good = disks["ext4"]
    words = ("--freeze-timeout", "300", "--max-window", "300")
    running = pyfreeze.start_run([good, upper], ["true"], *words, config=place.config())
    kill_while_freezing_hangs(pyfreeze, running, upper)
    done = running.finish()
    assert (done.status, done.report["consistency"]) == (5, "none")
    assert done.report["still_frozen"] == [upper.mount_point]
    assert "the supervisor was lost; what else it had frozen was thawed" in done.report["message"]
    assert place.outcomes == ["none"]
    good.assert_writable()
    # As long as it may become frozen, the run is not over.
    (heir,) = heirs()
    assert str(heir) in pyfreeze("status").out
    assert pyfreeze("thaw").status == 4
    assert pyfreeze.run([good], ["true"]).status == 4
    release(lower, upper)
    assert not state_pages()
    assert pyfreeze.run([good, upper], ["true"]).status == 0


def test_supervisor_killed_while_freezing_hangs_below(disks: Disks, pyfreeze: Pyfreeze) -> None:
    """Thawing what lies on it hangs as well, and neither keeps the client waiting."""
    lower, others = disks["xfs"], disks["ext4"]
    if "upper" not in disks:
        disks.make("upper", "ext4", lower.path("upper.img"))
    upper = disks["upper"]
    with held_write(lower.path("held")):
        words = ("--freeze-timeout", "300", "--max-window", "300")
        running = pyfreeze.start_run([lower, upper, others], ["true"], *words)
        kill_while_freezing_hangs(pyfreeze, running, lower)
        done = running.finish()
        assert (done.status, done.report["consistency"]) == (5, "none")
        assert set(done.report["still_frozen"]) == {upper.mount_point, lower.mount_point}
        others.assert_writable()
        assert heirs()
    wait_until(lambda: not helpers(), "everything ends")
    for disk in (lower, upper):
        disk.assert_writable()
        assert not disk.is_frozen()
    assert not state_pages()


def test_two_freezes_hang_and_the_supervisor_is_killed(disks: Disks, pyfreeze: Pyfreeze) -> None:
    """The one that returns is thawed, though the other keeps the supervisor from dying."""
    first, second = disks["xfs"], disks["ext4"]
    with held_write(second.path("held")):
        with held_write(first.path("held")):
            running = pyfreeze.start_run([first, second], ["true"], "--freeze-timeout", "300")
            kill_while_freezing_hangs(pyfreeze, running, first, second)
            done = running.finish()
            assert set(done.report["still_frozen"]) == {first.mount_point, second.mount_point}
        first.assert_writable()
        assert heirs()
    wait_until(lambda: not helpers(), "everything ends")
    for disk in (first, second):
        disk.assert_writable()
        assert not disk.is_frozen()
    assert not state_pages()


def test_heir_killed_too(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """Then nobody is left, but whoever comes next."""
    with held_write(ext4.path("held")):
        running = pyfreeze.start_run([ext4], ["true"], "--freeze-timeout", "300")
        kill_while_freezing_hangs(pyfreeze, running, ext4)
        assert running.finish().status == 5
        (heir,) = heirs()
        os.kill(heir, signal.SIGKILL)
        wait_until(lambda: not heirs(), "the heir dies")
        assert pyfreeze("thaw").status == 4
    wait_until(lambda: not helpers(), "the supervisor dies, and its keepers with it")
    assert ext4.is_frozen()
    assert pyfreeze("thaw").status == 0
    ext4.assert_writable()
    assert not ext4.is_frozen()
    assert not state_pages()


def test_library_with_a_freeze_that_hangs(stuck: tuple[Disk, Disk]) -> None:
    lower, upper = stuck
    with pytest.raises(library.FreezeError) as caught, frozen([upper], freeze_timeout=0.7):
        raise AssertionError("not frozen, and yet the block runs")
    assert isinstance(caught.value, (library.FreezeTimeoutError, library.StillFrozenError))
    assert caught.value.filename == upper.mount_point
    release(lower, upper)


def test_library_with_a_supervisor_killed_while_freezing_hangs(stuck: tuple[Disk, Disk]) -> None:
    """The embedding process goes on: what hangs is not its business, nor is a zombie."""
    lower, upper = stuck

    def kill() -> None:
        wait_until(lambda: any(map(is_in_fifreeze, supervisors_of(os.getpid()))), "it hangs")
        os.kill(supervisors_of(os.getpid())[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(library.StillFrozenError) as caught, frozen([upper], freeze_timeout=300):
        raise AssertionError("not frozen, and yet the block runs")
    killer.join()
    assert caught.value.mounts == (upper.mount_point,)
    (heir,) = heirs()
    assert parent_of(heir) != os.getpid()
    release(lower, upper)
    assert not state_pages()
