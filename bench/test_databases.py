"""The cost of a backup to databases: by the scripts that `pyfreeze init --app` writes for them.

The longest transaction that any of four clients saw, and how many there were, with a backup in the
middle of the while and without one. Whoever writes has to wait from the pre-script to the
post-script. PostgreSQL, where nobody has to, is in test_application.py.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench.support.clients import Transaction, load
from bench.support.comparison import Compare, Contender
from bench.support.filesystems import Filesystems, thaw_all
from tests.support import mariadb, redis
from tests.support.command import Pyfreeze
from tests.support.database import TABLES, PipedClient, transaction
from tests.support.disks import Disk
from tests.support.namespace import ROOT
from tests.support.quiesce import QuiesceScripts, assert_application
from tests.support.script_dir import ScriptDir

_CLIENTS = 4
_SPAN_S = 1.5
#: When in the span the backup begins.
_BACKUP_AT_S = 0.4
#: What takes the snapshot.
_SNAPSHOT = ["sleep", "0.005"]
_BUSY_S = 30.0


@pytest.fixture
def script_dir() -> Iterator[ScriptDir]:
    directory = Path(ROOT, "databases")
    yield ScriptDir(directory)
    shutil.rmtree(directory)


@pytest.fixture
def disk(filesystems: Filesystems) -> Disk:
    return filesystems.loaded("ext4")


def _backup(disk: Disk, scripts: QuiesceScripts) -> None:
    try:
        assert_application(Pyfreeze().run([disk], _SNAPSHOT, config=scripts.config).report)
    except BaseException:
        thaw_all([disk])
        raise


def _compare(
    compare: Compare, what: str, clients: Sequence[Transaction], backup: Callable[[], None]
) -> None:
    per_s: dict[str, list[float]] = {}

    def under_load(name: str, act: Callable[[], None]) -> Contender:
        def run() -> float:
            seen = load(clients, _SPAN_S, _BACKUP_AT_S, act)
            per_s.setdefault(name, []).append(seen.per_s)
            return seen.longest_ms

        return run

    acts = {"no backup": lambda: None, "pyfreeze": backup}
    compare(
        f"longest transaction, {what}",
        {name: under_load(name, act) for name, act in acts.items()},
        unit="ms",
        least_rounds=2,
    )
    compare.add(f"transactions per second, {what}", per_s, unit="1/s")


def test_mariadb(compare: Compare, disk: Disk, script_dir: ScriptDir) -> None:
    """Transactions of a shop, each client's on a connection of its own."""
    server = mariadb.Server(disk.path("mariadb"), mariadb.fresh_directory())
    clients: list[PipedClient] = []
    server.init()
    server.start()
    try:
        server.sql("CREATE DATABASE shop")
        for statement in TABLES:
            server.sql(f"USE shop; {statement}")
        accounts = ", ".join(f"({number}, 0)" for number in range(2 * _CLIENTS))
        server.sql(f"USE shop; INSERT INTO account VALUES {accounts}")
        clients += [server.client() for _ in range(_CLIENTS)]
        scripts = QuiesceScripts(Pyfreeze(), script_dir, "mariadb", socket=server.socket)
        begun = [0] * _CLIENTS

        def client(writer: int) -> Transaction:
            def execute(_number: int) -> None:
                begun[writer] += 1
                assert clients[writer].execute(transaction(writer, begun[writer]))

            return execute

        every = [client(writer) for writer in range(_CLIENTS)]
        _compare(compare, "MariaDB", every, lambda: _backup(disk, scripts))
    finally:
        for one in clients:
            one.close()
        server.stop()
        shutil.rmtree(disk.path("mariadb"))


@pytest.mark.parametrize(
    ("kept", "options"),
    [
        ("append-only file", ("--appendonly", "yes", "--save", "")),
        ("snapshots", ("--appendonly", "no", "--save", "3600 1")),
    ],
)
def test_redis(
    compare: Compare, disk: Disk, script_dir: ScriptDir, kept: str, options: tuple[str, ...]
) -> None:
    """Each client sets keys; the server keeps them in each of its two ways."""
    server = redis.Server(disk, script_dir, *options)
    server.start()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, disk.path("redis"))
        stack.callback(server.kill)
        scripts = QuiesceScripts(Pyfreeze(), script_dir, "redis", socket=server.socket)

        def client(writer: int) -> Transaction:
            connection = stack.enter_context(contextlib.closing(server.connect()))

            def execute(number: int) -> None:
                connection.ask("SET", f"{writer}:{number % 5000}", "x" * 200)

            return execute

        clients = [client(writer) for writer in range(_CLIENTS)]
        _compare(compare, f"Redis with {kept}", clients, lambda: _backup(disk, scripts))


def test_sqlite(compare: Compare, disk: Disk, script_dir: ScriptDir) -> None:
    """Each client has a database of its own: two writers of one wait for each other anyway."""
    root = disk.path("sqlite")
    root.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        scripts = QuiesceScripts(Pyfreeze(), script_dir, "sqlite", directory=root)

        def client(writer: int) -> Transaction:
            database = stack.enter_context(
                contextlib.closing(
                    sqlite3.connect(
                        root / f"{writer}.db",
                        timeout=_BUSY_S,
                        isolation_level=None,
                        check_same_thread=False,
                    )
                )
            )
            database.execute("PRAGMA journal_mode=wal")
            database.execute("PRAGMA busy_timeout=30000")
            database.execute("CREATE TABLE written (number INTEGER, text)")

            def execute(number: int) -> None:
                database.execute("INSERT INTO written VALUES (?, ?)", (number, "x" * 200))

            return execute

        clients = [client(writer) for writer in range(_CLIENTS)]
        _compare(compare, "SQLite", clients, lambda: _backup(disk, scripts))
