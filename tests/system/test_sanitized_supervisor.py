"""The real command with a supervisor that is built with ASan and UBSan: they find nothing."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from pyfreeze._core import run as core
from tests.support.command import Pyfreeze
from tests.support.disks import Disk, Disks, copy_command, opened_copy, tool
from tests.support.facts import assert_facts
from tests.support.processes import helpers, is_alive, is_in_fifreeze, recoverers, state_pages
from tests.support.sanitized import MEMORY, Build
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

#: A sanitizer's shadow is terabytes of address space, which mlockall() would have to fill.
UNLOCKED = ["prlimit", "--memlock=0:0", "setpriv", "--bounding-set=-ipc_lock"]


@pytest.fixture(scope="module")
def build(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """In the installed one's place, in this namespace, for these tests."""
    missing = [name for name in ("gcc", "ar", "prlimit") if shutil.which(name) is None]
    assert not missing, f"missing: {', '.join(missing)}"
    made = Build(MEMORY, tmp_path_factory.mktemp("supervisor"))
    made.make()
    tool("mount", "--bind", str(made.supervisor), core.PROGRAM)
    yield made
    tool("umount", "--lazy", core.PROGRAM)


@pytest.fixture(autouse=True)
def no_findings(build: Build, nothing_left: None) -> Iterator[None]:
    yield
    wait_until(lambda: not helpers(), "supervisor and reapers have ended, and told their findings")
    assert build.take_findings() == ""


def is_sanitized(pid: int) -> bool:
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        return "libasan" in maps.read()


def test_main_job(disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """With a stack of filesystems, a retry, and more output than is kept."""
    lower = disks["xfs"]
    upper = disks.make("upper", "ext4", lower.path("upper.img"))
    pre = script_dir.script(
        "pre", 'head -c 300000 /dev/zero; [ -e "$D/again" ] || { touch "$D/again"; exit 1; }'
    )
    config = script_dir.config(pre, preScriptNoOfRetries=1)
    copy = script_dir.path("copy")
    done = pyfreeze.run([lower, upper], copy_command(lower, copy), config=config, prefix=UNLOCKED)
    assert_facts(done, exit_status=0, consistency="application")
    assert [script["attempts"] for script in done.report["scripts"]] == [2, 1]
    with opened_copy("xfs", copy):
        pass


def test_command_past_the_deadline(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """No finding while a window expires."""
    done = pyfreeze.run([ext4], script_dir.blocking_command(), "--max-window", "1", prefix=UNLOCKED)
    assert done.status == 1, done.err
    assert done.report["window"]["expired"], done.err
    ext4.assert_writable()


@pytest.mark.parametrize("victim", ["client", "supervisor"])
def test_killed_in_the_window(
    victim: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """No finding in the supervisor that thaws, or is the victim."""
    running = pyfreeze.start_run(
        [ext4],
        script_dir.blocking_command(),
        "--max-window",
        "300",
        config=script_dir.config(),
        prefix=UNLOCKED,
    )
    wait_until(lambda: script_dir.stays, "the snapshot command runs")
    supervisor = running.supervisor
    assert is_sanitized(supervisor)
    assert ext4.is_frozen()
    if victim == "client":
        running.kill()
    else:
        os.kill(supervisor, signal.SIGKILL)
        assert running.finish().status == 1
    ext4.assert_writable()
    wait_until(lambda: script_dir.outcomes, "the post-script runs")
    wait_until(lambda: not is_alive(supervisor), "the supervisor ends")
    assert not state_pages()
    assert script_dir.outcomes == ["abandoned" if victim == "client" else "failed"]


def test_signal_in_the_pre_script(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """No finding while a run is ended early."""
    config = script_dir.config(script_dir.waiting_script())
    running = pyfreeze.start_run([ext4], ["true"], config=config, prefix=UNLOCKED)
    wait_until(lambda: script_dir.holds, "the pre-script runs")
    running.signal(signal.SIGTERM)
    assert running.finish().status == 128 + signal.SIGTERM
    assert script_dir.outcomes == ["interrupted"]


def test_recoverer(blocked_pair: tuple[Disk, Disk], pyfreeze: Pyfreeze) -> None:
    """The program's other role, after a supervisor that was killed while a FIFREEZE hangs."""
    lower, upper = blocked_pair
    words = ("--freeze-timeout", "300")
    running = pyfreeze.start_run([upper], ["true"], *words, prefix=UNLOCKED)
    supervisor = running.supervisor
    wait_until(lambda: is_in_fifreeze(supervisor), "a worker hangs")
    os.kill(supervisor, signal.SIGKILL)
    assert running.finish().status == 5
    (recoverer,) = recoverers()
    assert is_sanitized(recoverer)
    lower.thaw()
    wait_until(lambda: not helpers(), "the recoverer ends")
    upper.assert_writable()
    assert not state_pages()
