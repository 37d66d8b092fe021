"""`pyfreeze status`: what live runs do and dead ones have left, and no run is disturbed by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk, tool
from tests.support.facts import assert_facts
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import is_alive, state_pages
from tests.support.script_dir import ScriptDir
from tests.support.snippets import run_python
from tests.support.waiting import wait_until

LEFT = 5
#: Of csrc/protocol/page.h's struct pf_page.
BOOT_ID_AT, CLIENT_PID_AT = 56, 96


@pytest.fixture
def frozen_run(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> Callable[[Disk], Running]:
    """Starts a run that stays in its window."""

    def start(disk: Disk) -> Running:
        running = pyfreeze.start_run([disk], [script_dir.waiting_script()], "--max-window", "300")
        wait_until(lambda: script_dir.holds, "the snapshot command runs")
        return running

    return start


def runs_of(pyfreeze: Pyfreeze, status: int) -> list[dict[str, Any]]:
    done = pyfreeze("status", "--json")
    assert_facts(done, exit_status=status, err="")
    data = json.loads(done.out)
    assert data["left_frozen"] == [mount for run in data["runs"] for mount in run["left_frozen"]]
    return list(data["runs"])


def test_no_run(pyfreeze: Pyfreeze) -> None:
    """It says so, and ends with 0."""
    done = pyfreeze("status")
    assert_facts(done, exit_status=0, out="no run\n", err="")
    assert runs_of(pyfreeze, 0) == []


def test_no_run_since_the_boot(pyfreeze: Pyfreeze) -> None:
    """There is no state directory yet, and looking makes none."""
    script = 'mount -t tmpfs none /run && "$@" && ls -A /run'
    done = pyfreeze("status", prefix=["unshare", "-m", "sh", "-c", script, "-"])
    assert_facts(done, exit_status=0, out="no run\n", err="")


def test_live_run(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    """Its processes, deadline and frozen filesystems are told, in both forms."""
    running = frozen_run(disk)
    (run,) = runs_of(pyfreeze, 0)
    assert_facts(run, alive=True, is_this=False, left_frozen=[])
    assert run["client"] == {"pid": running.pid, "state": "running"}
    assert run["supervisor"] == {"pid": running.supervisor, "state": "running"}
    assert 0 < run["deadline_left_s"] < 300
    (one,) = run["filesystems"]
    assert_facts(one, mount=disk.mount_point, state="frozen", may_be_frozen=True)
    assert 0 < one["frozen_s"] <= run["age_s"]
    table = pyfreeze("status")
    assert table.status == 0
    assert f"run {run['run_id']}: alive" in table.out
    assert "thaws everything within 2" in table.out
    assert re.search(rf"{disk.mount_point} \(\d+:\d+\): frozen for [\d.]+ s\n", table.out)
    script_dir.release()
    done = running.finish()
    assert_facts(done, exit_status=0, run_id=run["run_id"])
    assert runs_of(pyfreeze, 0) == []


def test_looking_disturbs_nobody(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    """No lock, no signal, and no page that could be written to, by mistake or otherwise."""
    running = frozen_run(ext4)
    (page,) = state_pages()
    content, changed_ns = page.read_bytes(), page.stat().st_mtime_ns
    log = script_dir.path("calls")
    calls = "openat,open,flock,fcntl,kill,tgkill,pidfd_send_signal,ptrace,mmap,unlink,unlinkat"
    done = pyfreeze("status", prefix=["strace", "-f", "-y", "-o", str(log), "-e", f"trace={calls}"])
    assert done.status == 0
    assert page.read_bytes() == content
    assert page.stat().st_mtime_ns == changed_ns
    lines = [line for line in log.read_text("utf-8").splitlines() if STATE_DIRECTORY in line]
    assert any("O_RDONLY" in line for line in lines), "it was looked at"
    for line in lines:
        assert not re.search(r"O_RDWR|O_WRONLY|PROT_WRITE|flock\(|unlink", line), line
    assert "kill(" not in log.read_text("utf-8")
    script_dir.release()
    assert running.finish().status == 0


def test_what_a_dead_run_left(
    disk: Disk, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    """What may be frozen is told, and only `thaw` thaws it."""
    frozen_run(disk).kill_with_supervisor()
    (run,) = runs_of(pyfreeze, LEFT)
    assert_facts(run, alive=False, left_frozen=[disk.mount_point])
    assert run["client"]["state"] == "gone"
    assert run["supervisor"]["state"] == "gone"
    table = pyfreeze("status")
    assert table.status == LEFT
    assert f"run {run['run_id']}: dead" in table.out
    assert f"{disk.mount_point} " in table.out
    assert "may be frozen for" in table.out
    (window,) = [step for step in run["steps"] if step["what"] == "window"]
    assert_facts(window, status="running", ended_s=None, verdict=None)
    assert re.search(r"window \S+: begun [\d.]+ s ago, not ended when the run died\n", table.out)
    assert "pyfreeze thaw" in table.out
    assert disk.is_frozen(), "a look thaws nothing"
    assert pyfreeze("thaw").status == 0
    assert runs_of(pyfreeze, 0) == []


class Held(NamedTuple):
    """A run that is held in one of its steps, and what is told of each step then."""

    pre: str
    snapshot: str
    post: str
    pre_status: str
    window_status: str
    post_status: str
    verdict: str | None


HELD = {
    "pre-script": Held("held", "free", "free", "running", "pending", "pending", None),
    "window": Held("free", "held", "free", "done", "running", "pending", None),
    "post-script": Held("free", "free", "held", "done", "done", "running", "good"),
}


@pytest.mark.parametrize("where", HELD)
def test_steps_of_a_live_run(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, where: str
) -> None:
    """Whoever asks sees which steps are over, which one goes on, and which are to come."""
    held = HELD[where]
    free, waiting = script_dir.script("free", "true"), script_dir.waiting_script()
    pre, snapshot, post = (
        waiting if one == "held" else free for one in (held.pre, held.snapshot, held.post)
    )
    config = script_dir.config(pre, post)
    running = pyfreeze.start_run([ext4], [snapshot], "--max-window", "300", config=config)
    wait_until(lambda: script_dir.holds, "it is held")
    (run,) = runs_of(pyfreeze, 0)
    steps = {step["what"]: step for step in run["steps"]}
    assert list(steps) == ["open", "flush", "pre-script", "window", "post-script"]
    for what in ("open", "flush"):
        assert_facts(steps[what], status="done", path=None, verdict=None)
    assert_facts(steps["pre-script"], status=held.pre_status, path=pre)
    assert_facts(steps["window"], status=held.window_status, path=snapshot, verdict=held.verdict)
    assert_facts(steps["post-script"], status=held.post_status, path=post)
    for step in run["steps"]:
        assert (step["begun_s"] is None) == (step["status"] == "pending")
        assert (step["ended_s"] is None) == (step["status"] in ("pending", "running"))
    table = pyfreeze("status").out
    assert re.search(rf"\n  {where} {waiting}: running for [\d.]+ s\n", table)
    script_dir.release()
    assert running.finish().status == 0


def test_steps_of_a_failed_run(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A failed pre-script, and the window that is skipped for it."""
    pre = script_dir.script("pre", "exit 3")
    config = script_dir.config(pre, script_dir.waiting_script(), continueBackupOnFailure=False)
    running = pyfreeze.start_run([ext4], ["true"], "--several-disks", config=config)
    wait_until(lambda: script_dir.holds, "its post-script runs")
    table = pyfreeze("status").out
    assert re.search(rf"\n  pre-script {pre}: failed after [\d.]+ s\n", table)
    assert re.search(r"\n  window \S*/true: skipped\n", table)
    script_dir.release()
    assert running.finish().status == 1


def test_dead_run_and_live_run(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    """A client's process id that is somebody else's by now makes no run alive."""
    running = frozen_run(ext4)
    (page,) = state_pages()
    other = bytearray(page.read_bytes())
    struct.pack_into("<ii", other, CLIENT_PID_AT, os.getpid(), 0)
    other[16 : 16 + 8] = b"other-id"
    left = Path(STATE_DIRECTORY, "other.state")
    left.write_bytes(other)
    runs = {run["run_id"]: run for run in runs_of(pyfreeze, LEFT)}
    left.unlink()
    assert sorted(run["alive"] for run in runs.values()) == [False, True]
    (dead,) = [run for run in runs.values() if not run["alive"]]
    assert dead["run_id"].startswith("other-id")
    assert dead["client"] == {"pid": os.getpid(), "state": "gone"}
    script_dir.release()
    assert running.finish().status == 0


def test_nothing_is_frozen_since_before_the_boot(
    ext4: Disk, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    frozen_run(ext4).kill_with_supervisor()
    (page,) = state_pages()
    content = bytearray(page.read_bytes())
    content[BOOT_ID_AT] ^= 1
    page.write_bytes(content)
    (run,) = runs_of(pyfreeze, 0)
    assert_facts(run, alive=False, left_frozen=[], deadline_left_s=None)
    assert run["steps"] == []
    page.unlink()
    page.with_suffix(".journal").unlink()
    ext4.thaw()


def test_page_that_is_being_made(pyfreeze: Pyfreeze) -> None:
    """A page without content yet is no run, and no error."""
    page = Path(STATE_DIRECTORY, "made.state")
    page.write_bytes(bytes(4096))
    try:
        assert runs_of(pyfreeze, 0) == []
    finally:
        page.unlink()


def test_stopped_supervisor_of_a_killed_client(
    ext4: Disk, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    """The run counts as alive: its supervisor will thaw."""
    running = frozen_run(ext4)
    supervisor = running.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    running.kill()
    (run,) = runs_of(pyfreeze, 0)
    assert run["alive"]
    assert run["client"]["state"] == "gone"
    assert run["supervisor"] == {"pid": supervisor, "state": "stopped"}
    os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: not is_alive(supervisor), "it goes on, thaws and ends")


def test_a_script_knows_its_own_run(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    command = f"'{sys.executable}' -m pyfreeze status --json"
    pre = script_dir.script(
        "pre", f'{command} >"$D/json" && {command.removesuffix("--json")} >"$D/text"'
    )
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(pre))
    assert_facts(done, exit_status=0, code=0)
    (run,) = json.loads(script_dir.read("json"))["runs"]
    assert_facts(run, run_id=done.report["run_id"], is_this=True)
    assert f"{run['run_id']} (this run): alive" in script_dir.read("text")


def test_unprivileged_user(pyfreeze: Pyfreeze) -> None:
    """One line says that root is needed, and nothing is made."""
    assert shutil.which("setpriv")
    before = tool("ls", "-A", STATE_DIRECTORY)
    # The interpreter and its modules may be where only root can read: so they are loaded before.
    out = run_python(
        "import contextlib, io, os, sys\n"
        "from pyfreeze._cli import main, status\n"
        "import pyfreeze._recovery.status, pyfreeze._core.pages, pyfreeze._model.codes\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "errors = io.StringIO()\n"
        "with contextlib.redirect_stderr(errors):\n"
        "    result = main._run(['status'])\n"
        "print(result, errors.getvalue(), end='')"
    )
    assert out.startswith(f"1 pyfreeze: {STATE_DIRECTORY}: ")
    assert "run this as root" in out
    assert tool("ls", "-A", STATE_DIRECTORY) == before
