"""`pyfreeze freeze`: fsfreeze's job, with a promise to thaw."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pyfreeze._cli.freeze import _EXAMPLES, _answers
from tests.support.command import HANG_S, Pyfreeze, Running
from tests.support.disks import Disk, Disks
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def start(pyfreeze: Pyfreeze, *disks: Disk, window_s: str = "300", stdin: int) -> Running:
    """A freeze that has said that it is one."""
    mounts = [word for disk in disks for word in ("--mount", disk.mount_point)]
    running = pyfreeze.start("freeze", "--max-window", window_s, *mounts, stdin=stdin)
    assert running.process.stdout is not None
    line = running.process.stdout.readline()
    assert line.startswith("frozen " + ", ".join(disk.mount_point for disk in disks)), line
    return running


def end_input(running: Running, text: str) -> None:
    """Write and end standard input, in such a way that communicate() still works."""
    stdin, running.process.stdin = running.process.stdin, None
    assert stdin is not None
    stdin.write(text)
    stdin.close()


@pytest.mark.parametrize("text", ["", "\n", "done\n"], ids=["end", "line", "word"])
def test_standard_input_ends_it(ext4: Disk, pyfreeze: Pyfreeze, text: str) -> None:
    running = start(pyfreeze, ext4, stdin=subprocess.PIPE)
    assert ext4.is_frozen()
    end_input(running, text)
    done = running.finish()
    assert_facts(done, exit_status=0, err="")
    assert done.out.startswith("thawed after ")
    ext4.assert_writable()


def test_several_filesystems(disks: Disks, pyfreeze: Pyfreeze) -> None:
    """All are frozen, and the end of standard input thaws all."""
    both = disks["btrfs"], disks["ext4"]
    running = start(pyfreeze, *both, stdin=subprocess.PIPE)
    assert [disk.is_frozen() for disk in both] == [True, True]
    end_input(running, "")
    assert running.finish().status == 0
    for disk in both:
        disk.assert_writable()


def test_deadline(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """It comes without anybody's help, and standard input at its end from the beginning is none."""
    running = start(pyfreeze, ext4, window_s="0.5", stdin=subprocess.DEVNULL)
    done = running.finish()
    assert done.status == 1
    done.assert_one_line("--max-window", "expired after 0.5 s", "thawed")
    ext4.assert_writable()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signal(ext4: Disk, pyfreeze: Pyfreeze, number: signal.Signals) -> None:
    """It thaws, and is named in the one line and in the exit status."""
    running = start(pyfreeze, ext4, stdin=subprocess.DEVNULL)
    assert ext4.is_frozen()
    running.signal(number)
    done = running.finish()
    assert done.status == 128 + number
    done.assert_one_line(number.name)
    ext4.assert_writable()


def test_killed(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """The supervisor thaws for a client that was killed."""
    running = start(pyfreeze, ext4, stdin=subprocess.DEVNULL)
    assert ext4.is_frozen()
    running.kill()
    ext4.assert_writable()


def test_supervisor_killed(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """The client thaws for a supervisor that was killed, and says so."""
    running = start(pyfreeze, ext4, stdin=subprocess.PIPE)
    os.kill(running.supervisor, signal.SIGKILL)
    ext4.assert_writable()
    end_input(running, "")
    done = running.finish()
    assert done.status == 1
    done.assert_one_line("supervisor was lost")


def test_foreign_thaw(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """Somebody else's thaw is an error that names the mount."""
    running = start(pyfreeze, ext4, stdin=subprocess.PIPE)
    ext4.thaw()
    end_input(running, "")
    done = running.finish()
    assert_facts(done, exit_status=1, out="")
    done.assert_one_line(ext4.mount_point, "somebody else thawed")


def test_foreign_freeze(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """What somebody else has frozen is refused and left frozen."""
    ext4.freeze()
    try:
        done = pyfreeze("freeze", "--max-window", "5", "--mount", ext4.mount_point)
        assert ext4.is_frozen(), "it is not ours to thaw"
    finally:
        ext4.thaw()
    assert_facts(done, exit_status=1, out="")
    done.assert_one_line(ext4.mount_point, "somebody else has frozen it")


def test_another_run(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """A second one ends with 4, and points to `pyfreeze status`."""
    running = start(pyfreeze, ext4, stdin=subprocess.PIPE)
    done = pyfreeze("freeze", "--max-window", "5", "--mount", ext4.mount_point)
    assert_facts(done, exit_status=4, out="")
    done.assert_one_line("another run", "pyfreeze status")
    end_input(running, "")
    assert running.finish().status == 0


def test_nobody_hears_that_it_is_frozen(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """A closed standard output is an error, and nothing stays frozen."""
    read, write = os.pipe()
    os.close(read)
    shell = ["bash", "-c", f'exec "$@" >&{write}', "-"]
    words = ["freeze", "--max-window", "300", "--mount", ext4.mount_point]
    done = pyfreeze(*words, prefix=shell, pass_fds=[write])
    os.close(write)
    assert done.status == 1
    ext4.assert_writable()


def test_output_on_what_is_to_be_frozen(disk: Disk, pyfreeze: Pyfreeze) -> None:
    """Standard output on that filesystem would block: it is refused."""
    words = ["sh", "-c", f'exec "$@" >"{disk.path("out")}"', "-"]
    done = pyfreeze("freeze", "--max-window", "300", "--mount", disk.mount_point, prefix=words)
    assert done.status == 2
    done.assert_one_line(disk.mount_point, "found standard output", "expected", "elsewhere")
    disk.path("out").unlink()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--max-window", "5"], "--mount"),
        (["--max-window", "0", "--mount", "/mnt/x"], "--max-window"),
        (["--mount", "/mnt/x"], "--max-window"),
        (["--max-window", "5", "--mount", "/mnt/x"], "/mnt/x"),
    ],
)
def test_wrong_usage(pyfreeze: Pyfreeze, words: list[str], named: str) -> None:
    """The line names the option or the mount, and says what was expected."""
    done = pyfreeze("freeze", *words)
    assert_facts(done, exit_status=2, out="")
    done.assert_one_line(named, "expected")


def test_what_counts_as_an_answer(tmp_path: Path) -> None:
    """A plain file or /dev/null is at its end at once; another's terminal is for others."""
    file = tmp_path / "input"
    file.touch()
    read, write = os.pipe()
    leader, terminal = os.openpty()
    ours, theirs = socket.socketpair()
    with open(file, "rb") as plain, open(os.devnull, "rb") as null, ours, theirs:
        found = [
            _answers(f) for f in (read, ours.fileno(), terminal, plain.fileno(), null.fileno())
        ]
    for fd in (read, write, leader, terminal):
        os.close(fd)
    assert found == [True, True, False, False, False]
    assert not _answers(read), "closed"


def test_enter_on_the_terminal(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """A line typed on the terminal thaws."""
    leader, terminal = os.openpty()
    words = ["freeze", "--max-window", "300", "--mount", ext4.mount_point]
    running = pyfreeze.start(*words, prefix=["setsid", "-c", "-w"], stdin=terminal)
    assert running.process.stdout is not None
    assert "standard input" in running.process.stdout.readline()
    os.write(leader, b"\n")
    done = running.finish()
    os.close(leader)
    os.close(terminal)
    assert_facts(done, exit_status=0, err="")
    ext4.assert_writable()


def test_the_documented_script(ext4: Disk, script_dir: ScriptDir) -> None:
    """The one of --help and of the manual page, run by bash as it stands there."""
    (script,) = [one.lines for one in _EXAMPLES if "coproc" in one.lines]
    ask = f"'{sys.executable}' -m pyfreeze status --json >'{script_dir.path('status')}'"
    script = script.replace("pyfreeze freeze", f"'{sys.executable}' -m pyfreeze freeze")
    script = script.replace("take-the-snapshot", ask).replace("/srv", ext4.mount_point)
    done = subprocess.run(
        ["bash", "-euc", script],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd="/",
        check=False,
    )
    assert_facts(done, returncode=0, stderr="")
    assert '"state": "frozen"' in script_dir.read("status")
    ext4.assert_writable()


def test_variables_stand_for_its_options(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    environment = {"PYFREEZE_MAX_WINDOW": "0.3", "PYFREEZE_MOUNT": ext4.mount_point}
    done = pyfreeze("freeze", environment=environment)
    assert done.status == 1
    done.assert_one_line("expired after 0.3 s")
    wait_until(lambda: not ext4.is_frozen(), "thawed")
