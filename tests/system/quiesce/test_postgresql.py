"""PostgreSQL's quiesce scripts, with a real server, under load: what its snapshots are worth."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.database import (
    assert_rows,
    copies_of,
    mounted_instead,
    snapshot,
)
from tests.support.disks import Disks, copy_command, tool
from tests.support.facts import assert_facts
from tests.support.foreign import FOREIGN
from tests.support.load import Writers
from tests.support.namespace import ROOT
from tests.support.postgresql import OTHER_MAJORS, USER, Database, Server, fresh_directory
from tests.support.quiesce import assert_application, output_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

#: Synchronous and asynchronous commits, each on connections of its own.
_SYNC, _ASYNC = (0, 1), (2, 3)


Make = Callable[..., Database]
Writing = Callable[[Writers], Writers]


def _made(postgresqls: Make, layout: str, major: int | None) -> Database:
    database = postgresqls(layout, major)
    (version,) = database.server.sql("SHOW server_version")
    assert major in (None, int(version.partition(".")[0]))
    return database


@pytest.fixture(
    params=[
        ("one", None),
        ("two", None),
        *(pytest.param(("one", major), marks=FOREIGN) for major in OTHER_MAJORS),
    ],
    ids=lambda made: f"{made[0]}-{made[1] or 'installed'}",
)
def database(request: pytest.FixtureRequest, postgresqls: Make) -> Database:
    return _made(postgresqls, *request.param)


@pytest.fixture
def one(request: pytest.FixtureRequest, postgresqls: Make) -> Database:
    """For what has nothing to do with where the WAL is; of the major version asked for."""
    return _made(postgresqls, "one", getattr(request, "param", None))


_OTHERS = [pytest.param(major, marks=FOREIGN) for major in OTHER_MAJORS]
of_every_version = pytest.mark.parametrize("one", [None, *_OTHERS], indirect=True, ids=str)
of_the_oldest = pytest.mark.parametrize("one", [None, _OTHERS[0]], indirect=True)


def start_of_backup(output: str) -> str:
    match = re.search(r"^START WAL LOCATION: ([0-9A-F/]+) ", output, flags=re.MULTILINE)
    assert match, output
    return match[1]


def start_of_recovery(log: str) -> str:
    match = re.search(r"redo starts at ([0-9A-F/]+)", log)
    assert match, log
    return match[1]


def as_number(position: str) -> int:
    high, low = position.split("/")
    return int(high, 16) << 32 | int(low, 16)


# ---- what a snapshot is worth --------------------------------------------------------------------


def test_every_acknowledged_row_is_restored_and_none_from_after_the_window(
    database: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    scripts = database.scripts(pyfreeze, script_dir)
    # Nobody but the script flushes what is acknowledged and in memory only.
    with database.server.stopped_process("walwriter"):
        writers = writing(database.writers(script_dir, ["on", "on", "off", "off"]))
        config = scripts.noting(writers.noting("before"), writers.noting("quiet"))
        command = snapshot(script_dir, database.disks, writers.noting("frozen"))
        done = pyfreeze.run(database.disks, command, config=config)
        writers.wait_for_more()
    assert_application(done.report)
    writers.stop()
    before, frozen = writers.acknowledged("before"), writers.acknowledged("frozen")
    quiet = writers.acknowledged("quiet")
    assert all(most > least for least, most in zip(before, writers.acknowledged(), strict=True))
    with database.restored(script_dir):
        # Synchronous commits: also what was acknowledged until the filesystems were frozen.
        assert all(quiet[writer] <= frozen[writer] for writer in _SYNC)
        assert_rows(
            database.numbers, [*(frozen[w] for w in _SYNC), *(before[w] for w in _ASYNC)], frozen
        )
        database.assert_undamaged()
        log = database.server.log
        # Recovery begins at the backup's own checkpoint.
        assert start_of_recovery(log) == start_of_backup(output_of(done.report, "post"))


def test_what_is_acknowledged_after_the_checkpoint_and_not_flushed_is_restored(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The client given lets a commit pass right before the flush, in that very moment."""
    one.server.sql("DELETE FROM written")
    insert = "SET synchronous_commit = off; INSERT INTO written VALUES (7, 1, '')"
    by_another = shlex.join(["psql", "-Xq", "-h", str(one.server.directory), "-c", insert])
    client = one.server.directory / "client"
    client.write_text(
        "#!/bin/sh\nwhile IFS= read -r line; do\n"
        f"case $line in *pg_logical_emit_message*) {by_another} postgres >&2 ;; esac\n"
        """printf '%s\\n' "$line"; done | psql "$@"\n""",
        encoding="utf-8",
    )
    client.chmod(0o755)
    config = one.scripts(pyfreeze, script_dir, client=client).config
    with one.server.stopped_process("walwriter"):
        done = pyfreeze.run(one.disks, snapshot(script_dir, one.disks), config=config)
    assert_application(done.report)
    assert one.numbers(7) == [1]
    with one.restored(script_dir):
        assert one.numbers(7) == [1]


def test_without_scripts_acknowledged_rows_are_lost_and_recovery_is_long(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    with one.server.stopped_process("walwriter"):
        writers = writing(one.writers(script_dir, ["off", "off"]))
        (position,) = one.server.sql("SELECT pg_current_wal_insert_lsn()")
        writers.wait_for_more()
        done = pyfreeze.run(one.disks, snapshot(script_dir, one.disks, writers.noting("frozen")))
    assert_facts(done.report, consistency="filesystem", code=1)
    writers.stop()
    frozen = writers.acknowledged("frozen")
    with one.restored(script_dir):
        found = [len(one.numbers(writer)) for writer in range(2)]
        assert any(there < least for there, least in zip(found, frozen, strict=True)), "none lost"
        # All that was written since the last checkpoint, which may have been long ago.
        assert as_number(start_of_recovery(one.server.log)) <= as_number(position)
        one.assert_undamaged()


# ---- two filesystems -----------------------------------------------------------------------------


def test_filesystems_copied_one_after_another_cannot_be_restored(
    postgresqls: Make, script_dir: ScriptDir, writing: Writing
) -> None:
    """Each is frozen while it is copied, and the server goes on in between."""
    two = postgresqls("two")
    writers = writing(two.writers(script_dir, ["on", "on", "on", "on"]))
    data, wal = two.disks
    for disk in (wal, data):
        (copy,) = copies_of(script_dir, [disk])
        disk.freeze()
        try:
            tool(*copy_command(disk, copy))
        finally:
            disk.thaw()
        writers.wait_for_more()
        # What the passing of time brings: the data directory relies on WAL from after the copy.
        two.server.sql("CHECKPOINT")
    writers.stop()
    two.server.stop()
    with mounted_instead(two.disks, copies_of(script_dir, two.disks)):
        (two.server.data / "postmaster.pid").unlink()
        two.server.launch()
        assert two.server.wait_for_end() != 0
        assert "could not locate a valid checkpoint record" in two.server.log
    two.server.start()


# ---- restoring to a later moment -----------------------------------------------------------------


@pytest.fixture
def archive(one: Database) -> Iterator[Path]:
    """WAL that is archived outside the filesystems."""
    directory = Path(ROOT, "archive")
    directory.mkdir(mode=0o700)
    shutil.chown(directory, USER, USER)
    one.server.stop()
    one.server.start("archive_mode=on", f"archive_command=cp %p {directory}/%f")
    yield directory
    one.server.stop()
    one.server.start()
    shutil.rmtree(directory)


def put(content: str, path: Path) -> None:
    """A file of the server's."""
    path.write_text(content, encoding="utf-8")
    shutil.chown(path, USER, USER)


@of_every_version
def test_with_backup_label_and_archive_it_is_restored_to_a_later_moment(
    one: Database, archive: Path, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    writers = writing(one.writers(script_dir, ["on", "on"]))
    labels = script_dir.path("labels")
    labels.mkdir(mode=0o700)
    scripts = one.scripts(pyfreeze, script_dir, label_directory=labels)
    done = pyfreeze.run(one.disks, snapshot(script_dir, one.disks), config=scripts.config)
    assert_application(done.report)
    writers.wait_for_more()
    writers.stop()
    (segment,) = one.server.sql("SELECT pg_walfile_name(pg_switch_wal())")
    archived = "SELECT last_archived_wal >= '{}' FROM pg_stat_archiver"
    wait_until(lambda: one.server.sql(archived.format(segment)) == ["t"], "it is archived")
    one.server.stop()
    label = (labels / str(done.report["run_id"]) / "backup_label").read_text(encoding="utf-8")
    assert label.strip() in output_of(done.report, "post")
    with mounted_instead(one.disks, copies_of(script_dir, one.disks)):
        data = one.server.data
        (data / "postmaster.pid").unlink()
        put(label, data / "backup_label")
        # Without the archive the WAL ends too early, and the server says so.
        one.server.launch()
        assert one.server.wait_for_end() != 0
        assert "WAL ends before" in one.server.log
        # As the script's comments say.
        put(label, data / "backup_label")
        for path in (data / "pg_wal").iterdir():
            if path.is_file():
                path.unlink()
        put("", data / "recovery.signal")
        one.server.start(f"restore_command=cp {archive}/%f %p")
        rows = writers.acknowledged()
        assert_rows(one.numbers, rows, rows)
        one.assert_undamaged()
        one.server.stop()
    one.server.start()


# ---- a standby -----------------------------------------------------------------------------------


@of_the_oldest
def test_a_standby_is_backed_up_like_a_primary(
    one: Database, disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    disk = disks.make("standby", "xfs")
    data = disk.path("cluster")
    data.mkdir(mode=0o700)
    shutil.chown(data, USER, USER)
    one.server.run(
        "pg_basebackup", "-h", str(one.server.directory), "-D", str(data), "-R", "-c", "fast"
    )
    # pg_basebackup may have written words that an older server does not know.
    follow = f"primary_conninfo=host={one.server.directory} user={USER}"
    settings = [*one.server.settings, follow]
    server = Server(data, fresh_directory(), settings=settings, major=one.server.major)
    standby = Database(server, [disk])
    server.start()
    try:
        writers = writing(one.writers(script_dir, ["on", "on"]))
        rows = writers.acknowledged()
        # A standby shows what it has replayed, later than the primary has acknowledged it.
        wait_until(
            lambda: all(len(standby.numbers(writer)) >= rows[writer] for writer in range(2)),
            "the standby has caught up",
        )
        config = standby.scripts(pyfreeze, script_dir).config
        done = pyfreeze.run(
            [disk], snapshot(script_dir, [disk], writers.noting("frozen")), config=config
        )
        assert_application(done.report)
        assert "a standby" in output_of(done.report, "pre")
        assert "BACKUP FROM: standby" in output_of(done.report, "post")
        writers.stop()
        server.stop()
        with mounted_instead([disk], copies_of(script_dir, [disk])):
            (data / "postmaster.pid").unlink()
            (data / "standby.signal").unlink()  # restored as a primary
            server.start()
            assert_rows(standby.numbers, rows, writers.acknowledged("frozen"))
            standby.assert_undamaged()
            server.stop()
    finally:
        server.stop()
        disks.drop("standby")
