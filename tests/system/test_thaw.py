"""`pyfreeze thaw` of what is named: of dead runs' only, and by force whoever froze it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import namespace
from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk, Disks
from tests.support.facts import assert_facts
from tests.support.processes import AS_NOBODY, journals, state_pages
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

STILL = 5


def start(pyfreeze: Pyfreeze, script_dir: ScriptDir, *disks: Disk) -> Running:
    """A run that stays in its window."""
    running = pyfreeze.start_run(disks, [script_dir.waiting_script()], "--max-window", "300")
    wait_until(lambda: script_dir.holds, "the snapshot command runs")
    return running


@pytest.fixture
def pair(disks: Disks) -> tuple[Disk, Disk]:
    return disks["ext4"], disks["xfs"]


def test_one_mount_of_what_a_dead_run_left(
    pair: tuple[Disk, Disk], script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Only that one is thawed, and the exit status says that more is left."""
    one, other = pair
    start(pyfreeze, script_dir, one, other).kill_with_supervisor()
    done = pyfreeze("thaw", "--mount", one.mount_point)
    assert done.status == STILL
    assert done.out.startswith(f"thawed {one.mount_point} (run ")
    done.assert_one_line(other.mount_point, "pyfreeze thaw")
    one.assert_writable()
    assert other.is_frozen()
    again = pyfreeze("thaw", "--mount", one.mount_point)
    assert_facts(again, exit_status=STILL, out=f"nothing to thaw on {one.mount_point}\n")
    rest = pyfreeze("thaw", "--mount", other.mount_point)
    assert_facts(rest, exit_status=0, err="")
    other.assert_writable()
    assert state_pages() == []


def test_what_somebody_else_froze_stays_frozen(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    ext4.freeze()
    try:
        done = pyfreeze("thaw", "--mount", ext4.mount_point)
        assert ext4.is_frozen()
    finally:
        ext4.thaw()
    assert_facts(done, exit_status=0, out=f"nothing to thaw on {ext4.mount_point}\n")


def test_force_thaws_what_somebody_else_froze(disk: Disk, pyfreeze: Pyfreeze) -> None:
    disk.freeze()
    done = pyfreeze("thaw", "--force", "--mount", disk.mount_point)
    disk.assert_writable()
    assert_facts(done, exit_status=0, out=f"thawed {disk.mount_point}\n", err="")
    again = pyfreeze("thaw", "--force", "--mount", disk.mount_point)
    assert_facts(again, exit_status=0, out=f"not frozen: {disk.mount_point}\n")


def test_force_on_what_a_dead_run_left(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """It is thawed, and its page is gone."""
    start(pyfreeze, script_dir, ext4).kill_with_supervisor()
    done = pyfreeze("thaw", "--force", "--mount", ext4.mount_point)
    assert_facts(done, exit_status=0, out=f"thawed {ext4.mount_point}\n", err="")
    ext4.assert_writable()
    assert state_pages() == [], "seen to"


def test_journal_of_a_dead_run(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """It stays as long as the state page does, and goes with it."""
    start(pyfreeze, script_dir, ext4).kill_with_supervisor()
    assert [path.stem for path in journals()] == [path.stem for path in state_pages()]
    assert len(journals()) == 1
    assert pyfreeze("thaw").status == 0
    assert journals() == []


@pytest.mark.parametrize("words", [["thaw"], ["run", "--no-scripts", "--no-freeze", "--", "true"]])
def test_journal_without_a_state_page(pyfreeze: Pyfreeze, words: list[str]) -> None:
    """It is nobody's: `thaw` and the next run remove it."""
    Path(namespace.STATE_DIRECTORY, "left.journal").write_bytes(bytes(4096))
    done = pyfreeze(*words)
    assert done.status == 0
    assert journals() == []


def test_journal_of_a_live_run(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """`thaw` leaves it alone."""
    running = start(pyfreeze, script_dir, ext4)
    (journal,) = journals()
    assert pyfreeze("thaw").status == 4
    assert journals() == [journal]
    script_dir.release()
    assert running.finish().status == 0


def test_force_on_a_live_run_says_what_it_spoils(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    running = start(pyfreeze, script_dir, ext4)
    done = pyfreeze("thaw", "--force", "--mount", ext4.mount_point)
    ext4.assert_writable()
    assert_facts(done, exit_status=0, out=f"thawed {ext4.mount_point}\n")
    script_dir.release()
    report = running.finish().report
    done.assert_one_line(ext4.mount_point, report["run_id"], "alive", "inconsistent")
    assert_facts(report, status="error", consistency="none")


def test_force_needs_a_name(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """On the command line: a variable that lies about in the environment names nothing."""
    ext4.freeze()
    try:
        done = pyfreeze("thaw", "--force", environment={"PYFREEZE_MOUNT": ext4.mount_point})
        assert ext4.is_frozen()
    finally:
        ext4.thaw()
    assert done.status == 2
    done.assert_one_line("--force", "--mount", "expected")


@pytest.mark.parametrize("words", [[], ["--force"]])
@pytest.mark.parametrize("name", ["missing", "plain"])
def test_no_mount_point(
    pyfreeze: Pyfreeze, script_dir: ScriptDir, words: list[str], name: str
) -> None:
    """A path that is no mount point is refused, with --force or without."""
    Path(namespace.ROOT, "plain").mkdir(exist_ok=True)
    path = f"{namespace.ROOT}/{name}"
    done = pyfreeze("thaw", *words, "--mount", path)
    assert_facts(done, exit_status=2, out="")
    done.assert_one_line(path, "expected a mount point")


def test_unprivileged_force(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """One line says that root is needed, and nothing is thawed."""
    ext4.freeze()
    try:
        done = pyfreeze("thaw", "--force", "--mount", ext4.mount_point, prefix=AS_NOBODY)
        assert ext4.is_frozen()
    finally:
        ext4.thaw()
    assert_facts(done, exit_status=1, out="")
    done.assert_one_line(ext4.mount_point, "root")
