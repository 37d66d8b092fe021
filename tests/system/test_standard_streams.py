"""Standard streams closed, full or without a reader: a backup all the same, and no silent one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.processes import caught_by, is_writing_to
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

#: Runs the rest of its arguments with its own streams of these numbers made unfit beforehand.
_BREAK = """
import os, signal, sys
how, numbers = sys.argv[1], [int(digit) for digit in sys.argv[2]]
reader, fd = os.pipe() if how == "broken pipe" else (-1, os.open("/dev/full", os.O_WRONLY))
for number in numbers:
    os.dup2(fd, number)
    if how == "closed":
        os.close(number)
os.closerange(3, 10)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[3], sys.argv[3:])
"""
WAYS = pytest.mark.parametrize(
    ("how", "says"),
    [
        ("closed", "Bad file descriptor"),
        ("full", "No space left on device"),
        ("broken pipe", "Broken pipe"),
    ],
    ids=["closed", "full", "broken-pipe"],
)


def with_streams(how: str, numbers: str) -> list[str]:
    return [sys.executable, "-I", "-c", _BREAK, how, numbers]


@WAYS
def test_stdout(how: str, says: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The report is lost: the status says so, and the outcome is told where it still can be."""
    prefix = with_streams(how, "1")
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    assert done.status == 1
    done.assert_one_line("standard output", says, "success: application-consistent (code 0 ")
    assert script_dir.outcomes == ["success"], "the backup itself was one"


def test_stdout_in_text(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """A full standard output is an error, and stderr has the result."""
    words = ("run", "--no-scripts", "--mount", ext4.mount_point, "--", "true")
    done = pyfreeze(*words, prefix=with_streams("full", "1"))
    assert done.status == 1
    done.assert_one_line("standard output", "success: filesystem-consistent (code 1 ")


def test_stdout_hides_no_other_status(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The exit status stays the run's own."""
    prefix = with_streams("broken pipe", "1")
    done = pyfreeze.run([ext4], ["true"], "--require", "application", prefix=prefix)
    assert done.status == 3
    done.assert_one_line("standard output", "filesystem is below the one required")
    done = pyfreeze.run([ext4], ["/no/such/program"], prefix=prefix)
    assert done.status == 2
    done.assert_one_line("/no/such/program")


def test_stdout_of_other_commands(pyfreeze: Pyfreeze) -> None:
    """A reader that has read enough is no reason to complain; a full disk is."""
    done = pyfreeze("explain", prefix=with_streams("broken pipe", "1"))
    assert_facts(done, exit_status=1, err="")
    for command in ("explain", "thaw"):
        done = pyfreeze(command, prefix=with_streams("full", "1"))
        assert done.status == 1
        done.assert_one_line("standard output", "No space left on device")


@WAYS
def test_stderr(how: str, says: str, ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """What messages say is in the report, too."""
    done = pyfreeze.run([ext4], ["false"], prefix=with_streams(how, "2"))
    assert_facts(done, exit_status=1, err="")
    assert done.report["message"] == "The snapshot command exited with status 1."
    done = pyfreeze.run([ext4], ["true"], "--require", "application", prefix=with_streams(how, "2"))
    assert_facts(done, exit_status=3, consistency="filesystem")


def test_all_closed(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """No file of ours takes the place of a stream, for somebody else's last words to land in."""
    config = script_dir.config()
    running = pyfreeze.start_run(
        [ext4], [script_dir.waiting_script()], config=config, prefix=with_streams("closed", "012")
    )
    wait_until(lambda: script_dir.holds, "the snapshot command runs")
    files = [os.readlink(f"/proc/{running.pid}/fd/{number}") for number in range(3)]
    supervisors = [Path(f"/proc/{running.supervisor}/fd/{n}").readlink() for n in range(3)]
    script_dir.release()
    done = running.finish()
    assert files == ["/dev/null"] * 3
    assert supervisors == [Path("/dev/null")] * 3
    assert_facts(done, exit_status=1, out="", err="")
    assert script_dir.outcomes == ["success"]


def start_telling(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> Running:
    """A backup that is over, and whose report is longer than the pipe that nobody reads."""
    command = script_dir.script("talk", "head -c 65536 /dev/zero | tr '\\0' x")
    running = pyfreeze.start_run([ext4], [command], config=script_dir.config())
    wait_until(lambda: script_dir.outcomes == ["success"], "the post-script has run")
    wait_until(lambda: is_writing_to(running.pid, 1), "the pipe is full")
    return running


def test_signal_while_the_report_is_told(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """There is nothing to end any more: the report is whole, and it is the only one."""
    running = start_telling(ext4, script_dir, pyfreeze)
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert_facts(done, exit_status=0, err="", consistency="application")


def test_signals_while_nobody_reads_the_report(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A second one ends the command."""
    running = start_telling(ext4, script_dir, pyfreeze)
    running.signal(signal.SIGTERM)
    wait_until(lambda: signal.SIGTERM not in caught_by(running.pid), "it was let pass")
    running.signal(signal.SIGTERM)
    assert running.finish().status == -signal.SIGTERM
