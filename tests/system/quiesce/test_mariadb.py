"""MariaDB's and MySQL's scripts, with real servers, under load: what their snapshots are worth."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pytest

from tests.support.command import Pyfreeze
from tests.support.database import assert_rows, copies_of, mounted_instead, snapshot
from tests.support.disks import Disks, copy_command, tool
from tests.support.facts import assert_facts
from tests.support.foreign import FOREIGN
from tests.support.load import Writers
from tests.support.mariadb import OWN_NETWORK, Database, Server, fresh_directory, network_of
from tests.support.quiesce import assert_application, failed_script, output_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

MYSQL_TOO = pytest.param("MySQL", marks=FOREIGN)

Make = Callable[..., Database]
Writing = Callable[[Writers], Writers]


def _more_than(before: int, count: Callable[[], int]) -> bool:
    return count() > before


@pytest.mark.parametrize(
    ("kind", "layout", "method", "how"),
    [
        ("MariaDB", "one", "stage", "BACKUP STAGE BLOCK_COMMIT"),
        ("MariaDB", "one", "ftwrl", "FLUSH TABLES WITH READ LOCK"),
        ("MariaDB", "two", "auto", "BACKUP STAGE BLOCK_COMMIT"),
        pytest.param("MySQL", "one", "auto", "FLUSH TABLES WITH READ LOCK", marks=FOREIGN),
        pytest.param("MySQL", "two", "ftwrl", "FLUSH TABLES WITH READ LOCK", marks=FOREIGN),
    ],
)
def test_every_acknowledged_row_is_restored_and_none_from_after_the_window(
    mariadbs: Make,
    kind: str,
    layout: str,
    method: str,
    how: str,
    script_dir: ScriptDir,
    pyfreeze: Pyfreeze,
    writing: Writing,
) -> None:
    database = mariadbs(layout, kind)
    writers = writing(database.writers(script_dir, 4))
    scripts = database.scripts(pyfreeze, script_dir, method=method)
    config = scripts.noting(":", writers.noting("quiet"))
    command = snapshot(
        script_dir, database.disks, writers.noting("frozen"), writers.noting("copied")
    )
    done = pyfreeze.run(database.disks, command, config=config)
    assert_application(done.report)
    assert re.search(rf"^{kind} [0-9.]+: {how}$", output_of(done.report, "pre"), re.MULTILINE)
    writers.wait_for_more()
    writers.stop()
    writers.assert_nobody_wrote("quiet", "copied")
    quiet = writers.acknowledged("quiet")
    with database.restored(script_dir):
        assert_rows(database.numbers, quiet, writers.acknowledged("copied"))
        for number in (1, 3):
            assert set(database.numbers(number, "plain")) >= set(range(1, quiet[number] + 1))
        assert database.server.sql("SELECT SUM(balance) FROM shop.account") == ["0"]
        assert database.complaints() == []


@pytest.mark.parametrize("kind", ["MariaDB", MYSQL_TOO])
def test_without_scripts_acknowledged_rows_are_lost_and_tables_are_open(
    mariadbs: Make, kind: str, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    one = mariadbs("one", kind)
    # InnoDB may have written its log a moment before the freeze; hardly every time. MySQL's writes
    # it at once, and the flush makes it last: only tables without transactions are worse off there.
    loses = kind == "MariaDB"
    assert any(
        _is_worse_without_scripts(one, script_dir, pyfreeze, writing, loses) for _ in range(6)
    )


def _is_worse_without_scripts(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing, loses: bool
) -> bool:
    writers = writing(one.writers(script_dir, 2))
    command = snapshot(script_dir, one.disks, writers.noting("frozen"))
    done = pyfreeze.run(one.disks, command)
    assert_facts(done.report, consistency="filesystem", code=1)
    writers.stop()
    frozen = writers.acknowledged("frozen")
    with one.restored(script_dir):
        found = [len(one.numbers(writer)) for writer in range(2)]
        lost = any(there < least for there, least in zip(found, frozen, strict=True))
        damaged = any("plain" in line or "closed" in line for line in one.complaints())
        return damaged and (lost or not loses)


@pytest.mark.parametrize("kind", ["MariaDB", MYSQL_TOO])
def test_filesystems_copied_one_after_another_do_not_fit(
    mariadbs: Make, kind: str, script_dir: ScriptDir, writing: Writing
) -> None:
    """Each is frozen while it is copied, and the server goes on in between."""
    two = mariadbs("two", kind)
    writers = writing(two.writers(script_dir, 4))
    data, logs = two.disks
    for disk in (logs, data):
        (copy,) = copies_of(script_dir, [disk])
        disk.freeze()
        try:
            tool(*copy_command(disk, copy))
        finally:
            disk.thaw()
        writers.wait_for_more()
        # What the passing of time brings: pages are written that the log's copy does not know of.
        two.server.sql("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0")
        two.server.sql("SET GLOBAL innodb_max_dirty_pages_pct = 0")
        flushed = two.server.pages_flushed()
        wait_until(partial(_more_than, flushed, two.server.pages_flushed), "pages are written")
    writers.stop()
    two.server.stop()
    with mounted_instead(two.disks, copies_of(script_dir, two.disks)):
        try:
            two.server.start()
        except AssertionError:
            pass  # it may refuse, too
        else:
            two.server.stop()
        assert "in the future" in two.server.log, two.server.log
    two.server.start()


class Replication(NamedTuple):
    """How one of the two says it."""

    kind: str
    settings: Sequence[str]
    """Both servers'."""
    not_yet: str
    """The replica's, which is looked at before it begins."""
    follow: str
    resume: str
    """As the script's comments say for a replica that was restored."""
    stop: str
    executed: str
    state: str


MARIADB = Replication(
    "MariaDB",
    (),
    "--skip-slave-start",
    "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_USER='replica',"
    " MASTER_PASSWORD='replica', MASTER_LOG_FILE='binlog.000001', MASTER_LOG_POS=4; START SLAVE",
    "CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE",
    "STOP SLAVE",
    "SELECT @@GLOBAL.gtid_slave_pos",
    "SHOW SLAVE STATUS",
)
MYSQL = Replication(
    "MySQL",
    ("--gtid-mode=ON", "--enforce-gtid-consistency=ON"),
    "--skip-replica-start",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_USER='replica',"
    " SOURCE_PASSWORD='replica', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1; START REPLICA",
    "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1; START REPLICA",
    "STOP REPLICA",
    "SELECT @@GLOBAL.gtid_executed",
    "SHOW REPLICA STATUS",
)


Replicated = Callable[[Replication], tuple[Database, Database]]


@pytest.fixture
def replicated(disks: Disks, kind_of: Callable[[str], type[Server]]) -> Iterator[Replicated]:
    """Makes a primary and its replica, which follows it."""
    with contextlib.ExitStack() as stack:
        yield lambda how: stack.enter_context(_replicated(disks, kind_of(how.kind), how))


@contextlib.contextmanager
def _replicated(
    disks: Disks, kind: type[Server], how: Replication
) -> Iterator[tuple[Database, Database]]:
    primary = Database.make(disks, "primary", OWN_NETWORK, kind=kind, settings=how.settings)
    disk = disks.make("replica", "xfs")
    settings = [*how.settings, how.not_yet, "--server-id=2", "--port=3307"]
    settings.append("--innodb-buffer-pool-size=32M")
    replica = Database(kind(disk.path("data"), fresh_directory(), settings=settings), [disk])
    replica.server.network = network_of(primary.server)
    try:
        replica.server.init()
        replica.server.start()
        primary.server.sql("CREATE USER replica IDENTIFIED BY 'replica'")
        primary.server.sql("GRANT REPLICATION SLAVE ON *.* TO replica")
        replica.server.sql(how.follow)
        yield primary, replica
    finally:
        # In order they would wait for each other.
        replica.server.stop(signal.SIGKILL)
        primary.server.stop(signal.SIGKILL)
        for one in (disk, *primary.disks):
            disks.drop(one.image.stem)


@pytest.mark.parametrize(
    "how", [MARIADB, pytest.param(MYSQL, marks=FOREIGN)], ids=["MariaDB", "MySQL"]
)
def test_a_replica_is_backed_up_and_goes_on_from_the_position_noted(
    replicated: Replicated,
    how: Replication,
    script_dir: ScriptDir,
    pyfreeze: Pyfreeze,
    writing: Writing,
) -> None:
    primary, replica = replicated(how)
    writers = writing(primary.writers(script_dir, 2))
    wait_until(lambda: len(_rows(replica, 1)) > 20, "the replica has caught up")
    config = replica.scripts(pyfreeze, script_dir).config
    look = shlex.join([*replica.server.client_words(), "-e", how.executed])
    command = snapshot(script_dir, replica.disks, f'{look} >"$D/first"', f'{look} >"$D/last"')
    done = pyfreeze.run(replica.disks, command, config=config)
    assert_application(done.report)
    writers.wait_for_more()
    writers.stop()
    position = script_dir.read("first").strip()
    assert position == script_dir.read("last").strip(), "the applier went on"
    assert f"GTID {position}\n" in output_of(done.report, "pre") + "\n"
    replica.server.sql(how.stop)
    with replica.restored(script_dir):
        assert replica.server.sql(how.executed) == [position]
        # The receiver was not held back: its relay log may end anywhere.
        replica.server.sql(how.resume)
        rows = writers.acknowledged()
        wait_until(
            lambda: [len(replica.numbers(writer)) for writer in range(2)] == rows,
            "the restored replica has what the primary has",
        )
        assert_rows(replica.numbers, rows, rows)
        assert "Duplicate" not in "".join(replica.server.sql(how.state))
        replica.server.sql(how.stop)


def test_a_replica_with_temporary_tables_open_is_refused(
    replicated: Replicated, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Statements that use them are still to come, and no snapshot has them."""
    primary, replica = replicated(MARIADB)
    client = primary.server.client("SET SESSION binlog_format = 'STATEMENT';")
    assert client.execute("CREATE TEMPORARY TABLE passing (id INT);")
    opened = "SHOW GLOBAL STATUS LIKE 'Slave_open_temp_tables'"
    wait_until(lambda: replica.server.sql(opened) == ["Slave_open_temp_tables\t1"], "it is open")
    config = replica.scripts(pyfreeze, script_dir).config
    report = pyfreeze.run(replica.disks, ["true"], config=config).report
    assert report["code"] == 300
    assert "has 1 temporary tables open" in failed_script(report, "pre")
    client.close()
    wait_until(lambda: replica.server.sql(opened) == ["Slave_open_temp_tables\t0"], "it is gone")
    assert_application(pyfreeze.run(replica.disks, ["true"], config=config).report)


def _rows(database: Database, writer: int) -> list[int]:
    """Also while the table is still on its way."""
    exists = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_NAME = 'written'"
    return database.numbers(writer) if database.server.sql(exists) else []
