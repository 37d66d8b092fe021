"""The supervisor is killed while a FIFREEZE hangs: no signal reaches it, so a recoverer waits."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

import pyfreeze as library
from pyfreeze._core import run as core
from tests.soak.strace import Fault, calls_in, faults_of, injected
from tests.support.command import Done, Pyfreeze, Running
from tests.support.disks import Disk, Disks, tool
from tests.support.facts import assert_facts
from tests.support.frozen import frozen
from tests.support.held_write import held_write
from tests.support.needs import need_program
from tests.support.processes import (
    count_in_fifreeze,
    helpers,
    is_in_fifreeze,
    parent_of,
    recoverers,
    state_pages,
    supervisors_of,
)
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until


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
    blocked_pair: tuple[Disk, Disk], script_dir: ScriptDir, disks: Disks, pyfreeze: Pyfreeze
) -> None:
    """Its thread cannot die, and nobody is left in it to thaw: a process waits for that."""
    lower, upper = blocked_pair
    good = disks["ext4"]
    words = ("--freeze-timeout", "300", "--max-window", "300")
    running = pyfreeze.start_run([good, upper], ["true"], *words, config=script_dir.config())
    kill_while_freezing_hangs(pyfreeze, running, upper)
    done = running.finish()
    assert_facts(done, exit_status=5, consistency="none")
    assert done.report["still_frozen"] == [upper.mount_point]
    assert "the supervisor was lost; what else it had frozen was thawed" in done.report["message"]
    assert script_dir.outcomes == ["none"]
    good.assert_writable()
    # As long as it may become frozen, the run is not over.
    (recoverer,) = recoverers()
    status = pyfreeze("status").out
    assert f"supervisor {recoverer} running" in status
    assert "within" not in status, "as nobody can promise that"
    assert pyfreeze("thaw").status == 4
    assert pyfreeze.run([good], ["true"]).status == 4
    lower.thaw()
    wait_until(lambda: not helpers(), "the recoverer ends")
    upper.assert_writable()
    assert not upper.is_frozen()
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
        assert_facts(done, exit_status=5, consistency="none")
        assert set(done.report["still_frozen"]) == {upper.mount_point, lower.mount_point}
        others.assert_writable()
        assert recoverers()
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
        assert recoverers()
    wait_until(lambda: not helpers(), "everything ends")
    for disk in (first, second):
        disk.assert_writable()
        assert not disk.is_frozen()
    assert not state_pages()


def test_recoverer_killed_too(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """Then nobody is left, but whoever comes next."""
    with held_write(ext4.path("held")):
        running = pyfreeze.start_run([ext4], ["true"], "--freeze-timeout", "300")
        kill_while_freezing_hangs(pyfreeze, running, ext4)
        assert running.finish().status == 5
        (recoverer,) = recoverers()
        os.kill(recoverer, signal.SIGKILL)
        wait_until(lambda: not recoverers(), "the recoverer dies")
        assert pyfreeze("thaw").status == 4
    wait_until(lambda: not helpers(), "the supervisor dies, and its reapers with it")
    assert ext4.is_frozen()
    assert pyfreeze("thaw").status == 0
    ext4.assert_writable()
    assert not ext4.is_frozen()
    assert not state_pages()


def test_library_with_a_supervisor_killed_while_freezing_hangs(
    blocked_pair: tuple[Disk, Disk],
) -> None:
    """The embedding process goes on: what hangs is not its business, nor is a zombie."""
    lower, upper = blocked_pair

    def kill() -> None:
        wait_until(lambda: any(map(is_in_fifreeze, supervisors_of(os.getpid()))), "it hangs")
        os.kill(supervisors_of(os.getpid())[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(library.StillFrozenError) as caught, frozen([upper], freeze_timeout=300):
        raise AssertionError("not frozen, and yet the block runs")
    killer.join()
    assert caught.value.mounts == (upper.mount_point,)
    (recoverer,) = recoverers()
    assert parent_of(recoverer) != os.getpid()
    lower.thaw()
    wait_until(lambda: not helpers(), "the recoverer ends")
    upper.assert_writable()
    assert not state_pages()


# ---- the recoverer's own system calls ------------------------------------------------------------


#: The supervisor's program, with its recoverers traced. -D: the child is the recoverer itself, not
#: its tracer.
_TRACED = """[ "$2" = recover ] || exec "$D/supervisor" "$@"
exec strace -D -f -qq -e signal=none -o "$D/strace" $(cat "$D/words") "$D/supervisor" "$@"
"""


@pytest.fixture
def traced(script_dir: ScriptDir) -> Iterator[ScriptDir]:
    """Where the recoverers' calls are written down, and the words for strace read."""
    need_program("strace")
    shutil.copy(core.PROGRAM, script_dir.path("supervisor"))
    tool("mount", "--bind", script_dir.script("traced", _TRACED), core.PROGRAM)
    yield script_dir
    tool("umount", "--lazy", core.PROGRAM)


def run_with_recoverer(traced: ScriptDir, words: str, disk: Disk, pyfreeze: Pyfreeze) -> Done:
    """A run whose FIFREEZE takes a while, and whose supervisor is killed meanwhile."""
    log = traced.path("strace")
    log.unlink(missing_ok=True)
    traced.path("words").write_text(words, encoding="ascii")
    with held_write(disk.path("held")):
        running = pyfreeze.start_run([disk], ["true"], "--freeze-timeout", "300")
        kill_while_freezing_hangs(pyfreeze, running, disk)
        wait_until(
            lambda: recoverers() or running.process.poll() is not None, "a recoverer, or an end"
        )
    return running.finish()


def record(traced: ScriptDir, disk: Disk, pyfreeze: Pyfreeze) -> list[Fault]:
    """A recoverer's calls from its main() on: the first and the last of each, with one error."""
    done = run_with_recoverer(traced, "", disk, pyfreeze)
    assert_facts(done, exit_status=1, still_frozen=[])
    log = traced.path("strace")
    became, *lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    pid, call = became.split(maxsplit=1)
    assert call.startswith("execve("), "which is not its own"
    log.write_text("".join(lines), encoding="utf-8")
    calls, before = calls_in(log, int(pid), "PR_SET_NAME")
    assert before, "its begin is there"
    return faults_of("recoverer", calls, before, brief=True)


@pytest.mark.timeout(300)
def test_each_call_of_the_recoverer_fails_once(
    traced: ScriptDir, ext4: Disk, pyfreeze: Pyfreeze
) -> None:
    """Then it, or the client, or `pyfreeze thaw` does it: nothing is lost, and nobody hangs."""
    faults = record(traced, ext4, pyfreeze)
    tried = Counter[str]()
    for fault in faults:
        words = f"-e inject={fault.call}:error={fault.error}:when={fault.when}"
        done = run_with_recoverer(traced, words, ext4, pyfreeze)
        assert done.status in (1, 5), (fault, done)
        tried[fault.call] += injected(traced.path("strace"))
        wait_until(lambda: not helpers(), f"everything ends: {fault}")
        wait_until(lambda: pyfreeze("thaw").status != 4, f"the lock is free: {fault}")
        assert pyfreeze("thaw").status == 0, fault
        assert not ext4.is_frozen(), fault
        assert not state_pages(), fault
    assert {"clone", "clone3", "ioctl", "ppoll", "unlinkat", "flock"} <= set(+tried)
