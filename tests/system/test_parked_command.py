"""Nothing is frozen before the snapshot command waits right before its execve."""

from __future__ import annotations

import os
import signal

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.processes import helpers, parent_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

#: The child's; the supervisor's own, to "/", comes as the first one of its process.
_DIRECTORY = "/usr"


def strace(script_dir: ScriptDir, delay_us: int) -> list[str]:
    calls = "chdir,ioctl,sendto,execve"
    slow = f"inject=chdir:delay_enter={delay_us}"
    return [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(script_dir.path("log")),
        f"--trace={calls}",
        "-e",
        slow,
    ]


def position(log: list[str], *words: str) -> int:
    found = [i for i, line in enumerate(log) if all(word in line for word in words)]
    assert found, f"no {words} in:\n" + "\n".join(log)
    return found[0]


def on_its_way() -> list[int]:
    """What a reaper has forked is called as the reaper is until its execve."""
    alive = helpers()
    reapers = [pid for pid in alive if parent_of(pid) in alive]
    return [pid for pid in reapers if parent_of(pid) in reapers]


def test_the_freeze_waits_for_it(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    prefix = strace(script_dir, 300_000)
    done = pyfreeze.run([ext4], ["true"], prefix=prefix, directory=_DIRECTORY)
    assert done.status == 0, done.err
    log = script_dir.read("log").splitlines()
    parked = position(log, "sendto(", '"p", 1')
    assert position(log, "chdir(", _DIRECTORY) < parked < position(log, "FIFREEZE")
    assert position(log, "FIFREEZE") < position(log, "execve(", '["true"]')


def test_one_that_never_gets_there(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """As in a working directory whose server is gone."""
    prefix = strace(script_dir, 5_000_000)
    words = ("--freeze-timeout", "1")
    done = pyfreeze.run([ext4], ["true"], *words, prefix=prefix, directory=_DIRECTORY)
    assert_facts(done, exit_status=1, code=122, consistency="none")
    assert "FIFREEZE" not in script_dir.read("log")
    ext4.assert_writable()


def test_one_that_dies_on_the_way(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The window waits for it already when it finds its working directory gone."""
    gone = script_dir.path("gone")
    gone.mkdir()
    config = script_dir.config(pre=script_dir.script("pre", 'rmdir "$D/gone"'))
    prefix = strace(script_dir, 300_000)
    done = pyfreeze.run([ext4], ["true"], config=config, prefix=prefix, directory=str(gone))
    assert_facts(done, exit_status=1, consistency="none")
    assert "could not be executed: No such file or directory" in done.report["message"]
    assert "FIFREEZE" not in script_dir.read("log")
    assert script_dir.outcomes == ["none"]
    ext4.assert_writable()


def test_one_that_is_killed_on_the_way(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Nothing is frozen for it, and the report says why."""
    prefix = strace(script_dir, 2_000_000)
    running = pyfreeze.start_run([ext4], ["true"], prefix=prefix, directory=_DIRECTORY)
    wait_until(on_its_way, "the command is on its way")
    (child,) = on_its_way()
    os.kill(child, signal.SIGKILL)
    done = running.finish()
    assert_facts(done, exit_status=1, consistency="none")
    assert "could not be executed: No such process" in done.report["message"]
    assert "FIFREEZE" not in script_dir.read("log")
    ext4.assert_writable()


def test_one_that_dies_before_it_is_awaited(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Its working directory goes after the command line was found to be right."""
    gone = script_dir.path("gone")
    gone.mkdir()
    config = script_dir.config(pre=script_dir.script("pre", 'rmdir "$D/gone"'))
    done = pyfreeze.run([ext4], ["true"], config=config, directory=str(gone))
    assert_facts(done, exit_status=1, consistency="none")
    assert not gone.exists()
    assert script_dir.outcomes == ["none"]
    ext4.assert_writable()
