"""Nothing is frozen before the snapshot command waits right before its execve."""

from __future__ import annotations

import os
import signal

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.place import Place
from tests.support.processes import helpers, parent_of
from tests.support.waiting import wait_until

#: The child's; the supervisor's own, to "/", comes as the first one of its process.
_DIRECTORY = "/usr"


def strace(place: Place, delay_us: int) -> list[str]:
    calls = "chdir,ioctl,sendto,execve"
    slow = f"inject=chdir:delay_enter={delay_us}"
    return ["strace", "-f", "-qq", "-o", str(place.path("log")), f"--trace={calls}", "-e", slow]


def position(log: list[str], *words: str) -> int:
    found = [i for i, line in enumerate(log) if all(word in line for word in words)]
    assert found, f"no {words} in:\n" + "\n".join(log)
    return found[0]


def on_its_way() -> list[int]:
    """What a keeper has forked is called as the keeper is until its execve."""
    alive = helpers()
    keepers = [pid for pid in alive if parent_of(pid) in alive]
    return [pid for pid in keepers if parent_of(pid) in keepers]


def test_the_freeze_waits_for_it(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    prefix = strace(place, 300_000)
    done = pyfreeze.run([ext4], ["true"], prefix=prefix, directory=_DIRECTORY)
    assert done.status == 0, done.err
    log = place.read("log").splitlines()
    parked = position(log, "sendto(", '"p", 1')
    assert position(log, "chdir(", _DIRECTORY) < parked < position(log, "FIFREEZE")
    assert position(log, "FIFREEZE") < position(log, "execve(", '["true"]')


def test_one_that_never_gets_there(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    """As in a working directory whose server is gone."""
    prefix = strace(place, 5_000_000)
    words = ("--freeze-timeout", "1")
    done = pyfreeze.run([ext4], ["true"], *words, prefix=prefix, directory=_DIRECTORY)
    assert (done.status, done.report["code"], done.report["consistency"]) == (1, 122, "none")
    assert "FIFREEZE" not in place.read("log")
    ext4.assert_writable()


def test_one_that_dies_on_the_way(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    """The window waits for it already when it finds its working directory gone."""
    gone = place.path("gone")
    gone.mkdir()
    config = place.config(pre=place.script("pre", 'rmdir "$D/gone"'))
    prefix = strace(place, 300_000)
    done = pyfreeze.run([ext4], ["true"], config=config, prefix=prefix, directory=str(gone))
    assert (done.status, done.report["consistency"]) == (1, "none")
    assert "could not be executed: No such file or directory" in done.report["message"]
    assert "FIFREEZE" not in place.read("log")
    assert place.outcomes == ["none"]
    ext4.assert_writable()


def test_one_that_is_killed_on_the_way(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    prefix = strace(place, 2_000_000)
    running = pyfreeze.start_run([ext4], ["true"], prefix=prefix, directory=_DIRECTORY)
    wait_until(on_its_way, "the command is on its way")
    (child,) = on_its_way()
    os.kill(child, signal.SIGKILL)
    done = running.finish()
    assert (done.status, done.report["consistency"]) == (1, "none")
    assert "could not be executed: No such process" in done.report["message"]
    assert "FIFREEZE" not in place.read("log")
    ext4.assert_writable()


def test_one_that_dies_before_it_is_awaited(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    """Its working directory goes after the command line was found to be right."""
    gone = place.path("gone")
    gone.mkdir()
    config = place.config(pre=place.script("pre", 'rmdir "$D/gone"'))
    done = pyfreeze.run([ext4], ["true"], config=config, directory=str(gone))
    assert (done.status, done.report["consistency"]) == (1, "none")
    assert not gone.exists()
    assert place.outcomes == ["none"]
    ext4.assert_writable()
