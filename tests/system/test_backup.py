"""`backup()` in a process of one's own: by a command, a callable, or a peer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

import pyfreeze
from pyfreeze._backup.backup import Backup
from pyfreeze._backup.plan import make_plan
from pyfreeze._backup.settings import Settings
from pyfreeze._core import run as core
from tests.support.disks import Disk, copy_command, opened_copy
from tests.support.facts import assert_facts
from tests.support.frozen import backup
from tests.support.processes import supervisors_of
from tests.support.script_dir import ScriptDir


def test_backup_by_command(disk: Disk, script_dir: ScriptDir) -> None:
    """The command's copy is whole, and the backup is application-consistent."""
    copy = script_dir.path("copy")
    disk.path("file").write_bytes(b"content")
    report = backup([disk], copy_command(disk, copy), config=script_dir.config())
    assert_facts(report, status="success", consistency="application", code=0)
    assert report.snapshot is not None
    assert_facts(report.snapshot, kind="command", exit_status=0)
    with opened_copy(disk.fstype, copy) as mounted:
        assert (mounted / "file").read_bytes() == b"content"


def test_copy_with_a_file_that_was_deleted_while_it_was_open(
    disk: Disk, script_dir: ScriptDir
) -> None:
    """The next mount removes it; that is no damage."""
    copy = script_dir.path("copy")
    path = disk.path("open")
    with path.open("wb") as file:
        file.write(bytes(1 << 16))
        file.flush()
        os.fsync(file.fileno())
        path.unlink()
        report = backup([disk], copy_command(disk, copy), config=script_dir.config())
    assert_facts(report, consistency="application")
    with opened_copy(disk.fstype, copy) as mounted:
        assert not (mounted / "open").exists()


def test_backup_by_callable(disk: Disk, script_dir: ScriptDir) -> None:
    """The callable runs while the filesystem is frozen."""
    seen = []
    report = backup([disk], lambda: seen.append(disk.is_frozen()), config=script_dir.config())
    assert seen == [True]
    assert_facts(report, status="success", consistency="application")
    assert report.snapshot is not None
    assert report.snapshot.kind == "callable"
    assert report.window.overhead_ms is not None
    assert report.window.window_ms is not None
    assert 0 < report.window.overhead_ms < report.window.window_ms
    assert script_dir.outcomes == ["success"]


def test_backup_by_callable_that_raises(ext4: Disk, script_dir: ScriptDir) -> None:
    """Its exception becomes the report's message; the filesystem is thawed."""

    def fail() -> None:
        raise ValueError("no room")

    report = backup([ext4], fail, config=script_dir.config())
    ext4.assert_writable()
    assert_facts(report, status="error", consistency="none", code=2)
    assert "ValueError: no room" in report.message
    assert script_dir.outcomes == ["failed"]


def test_backup_by_callable_that_is_interrupted(ext4: Disk, script_dir: ScriptDir) -> None:
    """KeyboardInterrupt comes through, after the thaw and the post-script."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup([ext4], interrupt, config=script_dir.config())
    ext4.assert_writable()
    assert script_dir.outcomes == ["interrupted"]


def test_backup_by_callable_past_the_deadline(ext4: Disk, script_dir: ScriptDir) -> None:
    """The supervisor thaws at the deadline, and the backup is an error."""
    report = backup([ext4], ext4.assert_writable, max_window=0.3, config=script_dir.config())
    assert_facts(report, status="error", consistency="none", code=2)
    assert report.window.expired
    assert script_dir.outcomes == ["failed"]


def test_backup_by_callable_that_loses_the_supervisor(ext4: Disk, script_dir: ScriptDir) -> None:
    """The client thaws, and the backup is an error."""

    def lose() -> None:
        os.kill(supervisors_of(os.getpid())[0], signal.SIGKILL)
        ext4.assert_writable()

    report = backup([ext4], lose, max_window=60, config=script_dir.config())
    assert_facts(report, status="error", consistency="none", code=2)
    assert "supervisor" in report.message
    assert script_dir.outcomes == ["failed"]


@pytest.fixture
def pipes() -> Iterator[Callable[[], tuple[int, int]]]:
    made: list[int] = []

    def make() -> tuple[int, int]:
        ends = os.pipe()
        made.extend(ends)
        return ends

    yield make
    for fd in made:
        os.close(fd)


def test_backup_by_peer(
    disk: Disk, script_dir: ScriptDir, pipes: Callable[[], tuple[int, int]]
) -> None:
    """The peer reads "frozen" while it is so, and its answer makes the backup a good one."""
    told, notify = pipes()
    done, answer = pipes()
    seen: list[object] = []

    def peer() -> None:
        seen.append(os.read(told, 100))
        seen.append(disk.is_frozen())
        os.write(answer, b"\n")

    thread = threading.Thread(target=peer)
    thread.start()
    report = backup([disk], pyfreeze.Peer(notify, done), max_window=60, config=script_dir.config())
    thread.join()
    assert seen == [b"frozen\n", True]
    assert_facts(report, status="success", consistency="application")
    assert report.snapshot is not None
    assert report.snapshot.kind == "peer"
    assert script_dir.outcomes == ["success"]


def test_backup_by_peer_that_never_answers(
    ext4: Disk, script_dir: ScriptDir, pipes: Callable[[], tuple[int, int]]
) -> None:
    """The window expires, and the backup is an error."""
    told, notify = pipes()
    done, _answer = pipes()
    peer = pyfreeze.Peer(notify, done)
    report = backup([ext4], peer, max_window=0.4, config=script_dir.config())
    assert os.read(told, 100) == b"frozen\n"
    assert_facts(report, status="error", consistency="none", code=2)
    assert report.window.expired
    assert script_dir.outcomes == ["failed"]


def test_wrong_peer(ext4: Disk) -> None:
    """A descriptor that is not open is refused."""
    with pytest.raises(pyfreeze.UsageError, match="descriptor"):
        backup([ext4], pyfreeze.Peer(9999, 0))


def test_failed_freeze_leaves_the_callable_alone(ext4: Disk, script_dir: ScriptDir) -> None:
    called: list[int] = []
    ext4.freeze()
    try:
        report = backup([ext4], lambda: called.append(1), config=script_dir.config())
    finally:
        ext4.thaw()
    assert_facts(report, status="error", code=121)
    assert called == []
    report = backup([ext4], lambda: called.append(1), config=script_dir.config())
    assert report.status == "success"
    assert called == [1]


def test_require(ext4: Disk) -> None:
    """A level below the required one is an error that keeps the level reached."""
    report = backup([ext4], ["true"], require="application")
    assert_facts(report, status="error", consistency="filesystem", below_required=True)


def test_working_directory_and_environment_of_the_command(
    ext4: Disk, script_dir: ScriptDir
) -> None:
    """Both are the ones asked for, with the run's id added."""
    command = [script_dir.script("look", 'pwd; echo "$WORD $PYFREEZE_RUN_ID"')]
    report = backup([ext4], command, environment={"WORD": "x"}, directory=str(script_dir.directory))
    assert report.snapshot is not None
    assert report.snapshot.output == f"{script_dir.directory}\nx {report.run_id}\n"


def test_interrupted_before_its_plan_is_handed_over(
    ext4: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the end of a plan that nobody has."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(core.Run, "request_plan", interrupt)
    settings = Settings(snapshot=("true",), mounts=(ext4.mount_point,), scripts=False)
    backup = Backup(make_plan(settings))
    with pytest.raises(KeyboardInterrupt):
        backup.perform()
    assert_facts(backup.report, status="error", consistency="none", snapshot=None)
