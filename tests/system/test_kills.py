"""Somebody dies, stops or is told to end, at the worst moment: nothing stays frozen."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import pyfreeze as library
from tests.support import namespace
from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk, is_written
from tests.support.frozen import frozen
from tests.support.place import Place
from tests.support.processes import helpers, is_alive, supervisors_of
from tests.support.snippets import start_python
from tests.support.waiting import wait_until

LONG = ("--max-window", "300")


def state_pages() -> list[Path]:
    return sorted(Path(namespace.STATE_DIRECTORY).glob("*.state"))


@pytest.fixture
def inside(place: Place, pyfreeze: Pyfreeze) -> Callable[..., Running]:
    """Starts a run with scripts, and waits until its snapshot command stays in the window."""

    def start(disk: Disk, *words: str) -> Running:
        running = pyfreeze.start_run([disk], place.staying(), *words, config=place.config())
        wait_until(lambda: place.stays, "the snapshot command runs")
        assert disk.is_frozen()
        return running

    return start


def assert_tree_gone(place: Place) -> None:
    wait_until(
        lambda: not any(is_alive(pid) for pid in place.staying_pids()),
        "the snapshot command's tree is gone",
    )


def assert_next_run_works(pyfreeze: Pyfreeze, disk: Disk) -> None:
    wait_until(lambda: not helpers(), "supervisor and keepers are gone")
    assert not state_pages()
    done = pyfreeze.run([disk], ["true"])
    assert (done.status, done.report["consistency"]) == (0, "filesystem"), done.err


# ---- SIGKILL -------------------------------------------------------------------------------------


def test_client_killed_in_the_window(
    disk: Disk, place: Place, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    running = inside(disk, *LONG)
    running.kill()
    disk.assert_writable()
    assert_tree_gone(place)
    wait_until(lambda: place.outcomes, "the supervisor runs the post-script")
    assert_next_run_works(pyfreeze, disk)
    assert place.outcomes == ["abandoned"]


def test_client_killed_in_the_pre_script(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    config = place.config(place.held())
    running = pyfreeze.start_run([ext4], ["true"], config=config)
    wait_until(lambda: place.holds, "the pre-script runs")
    running.kill()
    wait_until(lambda: place.outcomes, "the supervisor runs the post-script")
    assert_next_run_works(pyfreeze, ext4)
    assert place.outcomes == ["abandoned"]


def test_client_killed_in_the_post_script(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    """It goes on to its end, and does not run twice."""
    config = place.config(None, place.script("post", 'echo x >>"$D/begun"; . "$D/held"'))
    place.held()
    running = pyfreeze.start_run([ext4], ["true"], config=config)
    wait_until(lambda: place.holds, "the post-script runs")
    running.kill()
    place.go()
    assert_next_run_works(pyfreeze, ext4)
    assert place.read("holds") == "success\n"
    assert place.read("begun") == "x\n"


def test_supervisor_killed_in_the_window(
    disk: Disk, place: Place, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    running = inside(disk, *LONG)
    os.kill(running.supervisor, signal.SIGKILL)
    disk.assert_writable()
    done = running.finish()
    report = done.report
    assert (done.status, report["status"], report["consistency"]) == (1, "error", "none")
    assert report["code"] == 2
    assert "supervisor was lost" in report["message"]
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["thawed"]
    assert place.outcomes == ["failed"]
    assert_tree_gone(place)
    assert_next_run_works(pyfreeze, disk)


def test_supervisor_killed_in_the_pre_script(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    running = pyfreeze.start_run([ext4], ["true"], config=place.config(place.held()))
    wait_until(lambda: place.holds, "the pre-script runs")
    os.kill(running.supervisor, signal.SIGKILL)
    done = running.finish()
    assert (done.status, done.report["consistency"], done.report["code"]) == (1, "none", 2)
    assert place.outcomes == ["none"]
    assert_next_run_works(pyfreeze, ext4)


def test_supervisor_killed_in_the_post_script(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    """The snapshot has been taken, and the report has to tell of it."""
    post = place.script(
        "post", 'touch "$D/begun"; [ -e "$D/second" ] && exit 0; touch "$D/second"; sleep 600'
    )
    running = pyfreeze.start_run([ext4], ["true"], config=place.config(None, post))
    wait_until(lambda: place.exists("second"), "the post-script runs")
    os.kill(running.supervisor, signal.SIGKILL)
    done = running.finish()
    assert (done.status, done.report["status"]) == (1, "error")
    assert done.report["run_id"]
    assert done.report["snapshot"]["exit_status"] == 0
    assert_next_run_works(pyfreeze, ext4)


def kill_both(running: Running) -> None:
    """At once: the client is stopped first, so that it cannot see the supervisor die."""
    supervisor = running.supervisor
    running.signal(signal.SIGSTOP)
    os.kill(supervisor, signal.SIGKILL)
    running.kill()
    wait_until(lambda: not is_alive(supervisor), "the supervisor is dead")


def test_thaw_after_both_were_killed(
    disk: Disk, place: Place, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    kill_both(inside(disk, *LONG))
    assert disk.is_frozen()
    assert len(state_pages()) == 1
    wait_until(lambda: not helpers(), "the keepers end")
    assert_tree_gone(place)
    done = pyfreeze("thaw")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"thawed {disk.mount_point} ")
    disk.assert_writable()
    assert pyfreeze("thaw").out == "nothing to thaw\n"
    assert_next_run_works(pyfreeze, disk)


def test_next_run_thaws_after_both_were_killed(
    disk: Disk, place: Place, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    kill_both(inside(disk, *LONG))
    assert disk.is_frozen()
    wait_until(lambda: not helpers(), "the keepers end")
    assert_next_run_works_after_recovery(pyfreeze, disk)


def assert_next_run_works_after_recovery(pyfreeze: Pyfreeze, disk: Disk) -> None:
    done = pyfreeze.run([disk], ["true"])
    assert (done.status, done.report["consistency"]) == (0, "filesystem"), done.err
    assert not state_pages()
    disk.assert_writable()


def test_thaw_leaves_a_living_run_alone(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    running = inside(ext4, *LONG)
    done = pyfreeze("thaw")
    assert done.status == 4
    done.assert_one_line("another run")
    assert ext4.is_frozen()
    running.signal(signal.SIGTERM)
    running.finish()


# ---- SIGSTOP -------------------------------------------------------------------------------------


def test_supervisor_stopped_in_the_window(
    disk: Disk, place: Place, inside: Callable[..., Running]
) -> None:
    """The client kills it soon after the deadline, and thaws."""
    running = inside(disk, "--max-window", "1.5")
    supervisor = running.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    disk.assert_writable()
    done = running.finish()
    assert (done.status, done.report["consistency"], done.report["code"]) == (1, "none", 2)
    assert not is_alive(supervisor)
    assert place.outcomes == ["failed"]
    assert_tree_gone(place)


def test_client_stopped_in_the_window(
    disk: Disk, place: Place, inside: Callable[..., Running]
) -> None:
    """The supervisor thaws at the deadline."""
    running = inside(disk, "--max-window", "1.5")
    running.signal(signal.SIGSTOP)
    disk.assert_writable()
    assert_tree_gone(place)
    running.signal(signal.SIGCONT)
    done = running.finish()
    assert (done.status, done.report["code"]) == (1, 2)
    assert done.report["window"]["expired"] is True


# ---- signals that ask to end ---------------------------------------------------------------------

ENDING = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)


@ENDING
def test_signal_in_the_pre_script(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, number: signal.Signals
) -> None:
    command = [place.script("snapshot", 'touch "$D/snapshot.ran"')]
    running = pyfreeze.start_run([ext4], command, config=place.config(place.held()))
    wait_until(lambda: place.holds, "the pre-script runs")
    running.signal(number)
    done = running.finish()
    assert (done.status, done.report["status"]) == (128 + number, "error")
    assert (done.report["consistency"], done.report["code"]) == ("none", 2)
    assert number.name in done.report["message"]
    assert not place.exists("snapshot.ran")
    assert place.outcomes == ["interrupted"]


@ENDING
def test_signal_in_the_window(
    disk: Disk, place: Place, inside: Callable[..., Running], number: signal.Signals
) -> None:
    running = inside(disk, *LONG)
    running.signal(number)
    disk.assert_writable()
    done = running.finish()
    assert (done.status, done.report["status"]) == (128 + number, "error")
    assert (done.report["consistency"], done.report["code"]) == ("none", 2)
    assert number.name in done.report["message"]
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]
    assert place.outcomes == ["interrupted"]
    assert_tree_gone(place)


@ENDING
def test_signal_in_the_post_script(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, number: signal.Signals
) -> None:
    """It is owed to the application: it goes on to its end."""
    place.held()
    post = place.script("post", '. "$D/held"; touch "$D/whole"')
    running = pyfreeze.start_run([ext4], ["true"], config=place.config(None, post))
    wait_until(lambda: place.holds, "the post-script runs")
    running.signal(number)
    place.go()
    done = running.finish()
    assert done.status == 128 + number
    assert number.name in done.report["message"]
    assert done.report["snapshot"]["exit_status"] == 0
    assert place.exists("whole")


def test_second_signal_changes_nothing(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    post = place.script("post", '. "$D/held"; touch "$D/whole"')
    place.held()
    running = pyfreeze.start_run([ext4], ["true"], config=place.config(None, post))
    wait_until(lambda: place.holds, "the post-script runs")
    for _ in range(3):
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
    place.go()
    done = running.finish()
    assert done.status in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert done.report["run_id"]
    assert place.exists("whole")


@ENDING
def test_signal_to_the_supervisor_in_the_window(
    ext4: Disk, place: Place, inside: Callable[..., Running], number: signal.Signals
) -> None:
    running = inside(ext4, *LONG)
    os.kill(running.supervisor, number)
    ext4.assert_writable()
    done = running.finish()
    assert (done.status, done.report["consistency"], done.report["code"]) == (1, "none", 2)
    assert "a signal ended the window early" in done.report["message"]
    assert place.outcomes == ["failed"]
    assert_tree_gone(place)


# ---- in the library ------------------------------------------------------------------------------


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
    """The guard, a thread that needs no GIL, thaws while the block goes on."""

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
