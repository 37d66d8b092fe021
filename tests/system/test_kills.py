"""Somebody dies, stops or is told to end, at the worst moment: nothing stays frozen."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.processes import helpers, is_alive, state_pages
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

LONG = ("--max-window", "300")


@pytest.fixture
def inside(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> Callable[..., Running]:
    """Starts a run with scripts, and waits until its snapshot command stays in the window."""

    def start(disk: Disk, *words: str) -> Running:
        running = pyfreeze.start_run(
            [disk], script_dir.blocking_command(), *words, config=script_dir.config()
        )
        wait_until(lambda: script_dir.stays, "the snapshot command runs")
        assert disk.is_frozen()
        return running

    return start


def assert_tree_gone(script_dir: ScriptDir) -> None:
    wait_until(
        lambda: not any(is_alive(pid) for pid in script_dir.blocking_pids()),
        "the snapshot command's tree is gone",
    )


def assert_next_run_works(pyfreeze: Pyfreeze, disk: Disk) -> None:
    wait_until(lambda: not helpers(), "supervisor and reapers are gone")
    assert not state_pages()
    done = pyfreeze.run([disk], ["true"])
    assert_facts(done, exit_status=0, consistency="filesystem")


# ---- SIGKILL -------------------------------------------------------------------------------------


def test_client_killed_in_the_window(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    """The supervisor thaws, ends the snapshot command and runs the post-script."""
    running = inside(disk, *LONG)
    running.kill()
    disk.assert_writable()
    assert_tree_gone(script_dir)
    wait_until(lambda: script_dir.outcomes, "the supervisor runs the post-script")
    assert_next_run_works(pyfreeze, disk)
    assert script_dir.outcomes == ["abandoned"]


def test_client_killed_in_the_pre_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The supervisor runs the post-script."""
    config = script_dir.config(script_dir.waiting_script())
    running = pyfreeze.start_run([ext4], ["true"], config=config)
    wait_until(lambda: script_dir.holds, "the pre-script runs")
    running.kill()
    wait_until(lambda: script_dir.outcomes, "the supervisor runs the post-script")
    assert_next_run_works(pyfreeze, ext4)
    assert script_dir.outcomes == ["abandoned"]


def test_client_killed_in_the_post_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """It goes on to its end, and does not run twice."""
    config = script_dir.config(None, script_dir.script("post", 'echo x >>"$D/begun"; . "$D/held"'))
    script_dir.waiting_script()
    running = pyfreeze.start_run([ext4], ["true"], config=config)
    wait_until(lambda: script_dir.holds, "the post-script runs")
    running.kill()
    script_dir.release()
    assert_next_run_works(pyfreeze, ext4)
    assert script_dir.read("holds") == "success\n"
    assert script_dir.read("begun") == "x\n"


def test_supervisor_killed_in_the_window(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    """The client thaws, and reports an error."""
    running = inside(disk, *LONG)
    os.kill(running.supervisor, signal.SIGKILL)
    disk.assert_writable()
    done = running.finish()
    report = done.report
    assert_facts(done, exit_status=1, status="error", consistency="none")
    assert report["code"] == 2
    assert "supervisor was lost" in report["message"]
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["thawed"]
    assert script_dir.outcomes == ["failed"]
    assert_tree_gone(script_dir)
    assert_next_run_works(pyfreeze, disk)


def test_supervisor_killed_in_the_pre_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The client reports an error, and the post-script runs."""
    running = pyfreeze.start_run(
        [ext4], ["true"], config=script_dir.config(script_dir.waiting_script())
    )
    wait_until(lambda: script_dir.holds, "the pre-script runs")
    os.kill(running.supervisor, signal.SIGKILL)
    done = running.finish()
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert script_dir.outcomes == ["none"]
    assert_next_run_works(pyfreeze, ext4)


def test_supervisor_killed_in_the_post_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The snapshot has been taken, and the report has to tell of it."""
    post = script_dir.script(
        "post", 'touch "$D/begun"; [ -e "$D/second" ] && exit 0; touch "$D/second"; sleep 600'
    )
    running = pyfreeze.start_run([ext4], ["true"], config=script_dir.config(None, post))
    wait_until(lambda: script_dir.exists("second"), "the post-script runs")
    os.kill(running.supervisor, signal.SIGKILL)
    done = running.finish()
    assert_facts(done, exit_status=1, status="error")
    assert done.report["run_id"]
    assert done.report["snapshot"]["exit_status"] == 0
    assert_next_run_works(pyfreeze, ext4)


def test_thaw_after_both_were_killed(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    inside(disk, *LONG).kill_with_supervisor()
    assert disk.is_frozen()
    assert len(state_pages()) == 1
    wait_until(lambda: not helpers(), "the reapers end")
    assert_tree_gone(script_dir)
    done = pyfreeze("thaw")
    assert_facts(done, exit_status=0, err="")
    assert done.out.startswith(f"thawed {disk.mount_point} ")
    disk.assert_writable()
    assert pyfreeze("thaw").out == "nothing to thaw\n"
    assert_next_run_works(pyfreeze, disk)


def test_next_run_thaws_after_both_were_killed(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, inside: Callable[..., Running]
) -> None:
    inside(disk, *LONG).kill_with_supervisor()
    assert disk.is_frozen()
    wait_until(lambda: not helpers(), "the reapers end")
    assert_next_run_works_after_recovery(pyfreeze, disk)


def assert_next_run_works_after_recovery(pyfreeze: Pyfreeze, disk: Disk) -> None:
    done = pyfreeze.run([disk], ["true"])
    assert_facts(done, exit_status=0, consistency="filesystem")
    assert not state_pages()
    disk.assert_writable()


def test_thaw_leaves_a_living_run_alone(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, inside: Callable[..., Running]
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
    disk: Disk, script_dir: ScriptDir, inside: Callable[..., Running]
) -> None:
    """The client kills it soon after the deadline, and thaws."""
    running = inside(disk, "--max-window", "1.5")
    supervisor = running.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    disk.assert_writable()
    done = running.finish()
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert not is_alive(supervisor)
    assert script_dir.outcomes == ["failed"]
    assert_tree_gone(script_dir)


def test_client_stopped_in_the_window(
    disk: Disk, script_dir: ScriptDir, inside: Callable[..., Running]
) -> None:
    """The supervisor thaws at the deadline."""
    running = inside(disk, "--max-window", "1.5")
    running.signal(signal.SIGSTOP)
    disk.assert_writable()
    assert_tree_gone(script_dir)
    running.signal(signal.SIGCONT)
    done = running.finish()
    assert_facts(done, exit_status=1, code=2)
    assert done.report["window"]["expired"] is True


@pytest.mark.parametrize("recovery", ["thaw", "run"])
def test_supervisor_stopped_and_client_killed_in_the_window(
    ext4: Disk,
    script_dir: ScriptDir,
    inside: Callable[..., Running],
    pyfreeze: Pyfreeze,
    recovery: str,
) -> None:
    """Nobody is left to let it go on but whoever comes next; it still does all that is pending."""
    running = inside(ext4, "--max-window", "300")
    supervisor = running.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    running.kill()
    assert ext4.is_frozen()
    done = pyfreeze("thaw") if recovery == "thaw" else pyfreeze.run([ext4], ["true"])
    assert done.status == 0, done.err
    ext4.assert_writable()
    assert not is_alive(supervisor)
    assert script_dir.outcomes == ["abandoned"]
    assert_tree_gone(script_dir)


def test_supervisor_stopped_under_a_client_that_lives(
    ext4: Disk, inside: Callable[..., Running], pyfreeze: Pyfreeze
) -> None:
    """That is the client's business: nobody else lets it go on."""
    running = inside(ext4, "--max-window", "300")
    os.kill(running.supervisor, signal.SIGSTOP)
    assert pyfreeze("thaw").status == 4
    assert ext4.is_frozen()
    os.kill(running.supervisor, signal.SIGCONT)
    running.signal(signal.SIGTERM)
    running.finish()
    ext4.assert_writable()


# ---- signals that ask to end ---------------------------------------------------------------------

ENDING = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)


@ENDING
def test_signal_in_the_pre_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, number: signal.Signals
) -> None:
    """No snapshot is taken, and the post-script runs."""
    command = [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]
    running = pyfreeze.start_run(
        [ext4], command, config=script_dir.config(script_dir.waiting_script())
    )
    wait_until(lambda: script_dir.holds, "the pre-script runs")
    running.signal(number)
    done = running.finish()
    assert_facts(done, exit_status=128 + number, status="error")
    assert_facts(done, consistency="none", code=2)
    assert number.name in done.report["message"]
    assert not script_dir.exists("snapshot.ran")
    assert script_dir.outcomes == ["interrupted"]


@ENDING
def test_signal_in_the_window(
    disk: Disk, script_dir: ScriptDir, inside: Callable[..., Running], number: signal.Signals
) -> None:
    """The signal thaws, and is the run's exit status."""
    running = inside(disk, *LONG)
    running.signal(number)
    disk.assert_writable()
    done = running.finish()
    assert_facts(done, exit_status=128 + number, status="error")
    assert_facts(done, consistency="none", code=2)
    assert number.name in done.report["message"]
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]
    assert script_dir.outcomes == ["interrupted"]
    assert_tree_gone(script_dir)


@ENDING
def test_signal_in_the_post_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, number: signal.Signals
) -> None:
    """The application waits for it: it goes on to its end."""
    script_dir.waiting_script()
    post = script_dir.script("post", '. "$D/held"; touch "$D/whole"')
    running = pyfreeze.start_run([ext4], ["true"], config=script_dir.config(None, post))
    wait_until(lambda: script_dir.holds, "the post-script runs")
    running.signal(number)
    script_dir.release()
    done = running.finish()
    assert done.status == 128 + number
    assert number.name in done.report["message"]
    assert done.report["snapshot"]["exit_status"] == 0
    assert script_dir.exists("whole")


def test_signal_that_whoever_started_it_ignores(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """As nohup does: the backup goes on."""
    command = [script_dir.script("snapshot", '. "$D/held"')]
    script_dir.waiting_script()
    running = pyfreeze.start_run(
        [ext4], command, *LONG, config=script_dir.config(), prefix=["nohup"]
    )
    wait_until(lambda: script_dir.holds, "the snapshot command runs")
    running.signal(signal.SIGHUP)
    assert ext4.is_frozen()
    script_dir.release()
    done = running.finish()
    assert_facts(done, exit_status=0, consistency="application")


def test_second_signal_changes_nothing(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    post = script_dir.script("post", '. "$D/held"; touch "$D/whole"')
    script_dir.waiting_script()
    running = pyfreeze.start_run([ext4], ["true"], config=script_dir.config(None, post))
    wait_until(lambda: script_dir.holds, "the post-script runs")
    for _ in range(3):
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
    script_dir.release()
    done = running.finish()
    assert done.status in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert done.report["run_id"]
    assert script_dir.exists("whole")


@ENDING
def test_signal_to_the_supervisor_in_the_window(
    ext4: Disk, script_dir: ScriptDir, inside: Callable[..., Running], number: signal.Signals
) -> None:
    """The signal thaws, and the run is an error."""
    running = inside(ext4, *LONG)
    os.kill(running.supervisor, number)
    ext4.assert_writable()
    done = running.finish()
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert "a signal ended the window early" in done.report["message"]
    assert script_dir.outcomes == ["failed"]
    assert_tree_gone(script_dir)
