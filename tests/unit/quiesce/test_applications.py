"""Each application's module: its scripts as text, and what is pure of what it says to a server."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from pyfreeze._base.text import numbers_in
from pyfreeze._quiesce.application import all_settings, parse
from pyfreeze._quiesce.apps import mariadb, postgresql, resp, sqlite
from pyfreeze._quiesce.catalogue import SUMMARIES, load
from pyfreeze._quiesce.errors import QuiesceError
from pyfreeze._quiesce.rendezvous import is_release_of
from pyfreeze._setup.render import hold_path, scripts


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_scripts_hand_over_every_setting_with_its_default(name: str) -> None:
    application = load(name)
    assert application.name == name
    pre, post = scripts(application, "/etc/somewhere")
    words = [f"{one.name}={one.default}" for one in all_settings(application)]
    # The program's place is taken by one that prints its arguments, a line each.
    shown = re.sub(r"^exec .* pre ", "printf '%s\\\\n' pre ", pre, flags=re.MULTILINE)
    done = subprocess.run(["sh", "-c", shown], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["pre", hold_path(application, "/etc/somewhere"), *words]
    parse(words, all_settings(application))
    subprocess.run(["sh", "-n"], input=post, check=True, text=True)


@pytest.mark.parametrize("name", SUMMARIES)
def test_only_paths_make_a_scripts_line_long(name: str) -> None:
    for text in scripts(load(name), "/etc/somewhere"):
        long = [line for line in text.splitlines() if len(line) > 100]
        assert all(line.startswith("exec /") for line in long), long


def test_each_directory_has_a_holder_of_its_own() -> None:
    application = load("postgresql")
    assert hold_path(application, "/etc/a") != hold_path(application, "/etc/b")


def test_an_unknown_application_is_told_those_there_are() -> None:
    with pytest.raises(QuiesceError, match="did you mean postgresql") as caught:
        load("postgres")
    for name in SUMMARIES:
        assert name in str(caught.value)


@pytest.mark.parametrize("setting", ["systemctl", "systemd_run"])
def test_a_missing_program_of_systemd_is_named_in_its_own_setting(setting: str) -> None:
    application = load("systemd")
    words = ["unit=shop.service", "systemctl=/bin/true", f"{setting}=/no/where"]
    quiescer = application(parse(words, all_settings(application)))
    told = f"/no/where: no such program; install systemd, or name it in the setting {setting}"
    with pytest.raises(QuiesceError, match=f"^{told}$"):
        quiescer.quiesce()


def test_who_may_release() -> None:
    """Only the run that holds it, or the one that ends for it."""
    assert is_release_of("20260101T000000-12345678", "20260101T000000-12345678")
    # The run that ends what a lost supervisor has begun.
    assert is_release_of("20260101T000000-12345678-post", "20260101T000000-12345678")
    assert not is_release_of("20260101T000000-87654321", "20260101T000000-12345678")


# ---- PostgreSQL ----------------------------------------------------------------------------------


def test_backup_functions_have_their_versions_names() -> None:
    for major in (12, 13, 14):
        start = postgresql.start_statement(major, "it's")
        assert start == "SELECT pg_start_backup('it''s', fast => true, exclusive => false);"
        stop = postgresql.stop_statement(major, wait=False)
        assert "pg_stop_backup(exclusive => false, wait_for_archive => false)" in stop
    for major in (15, 18):
        start = postgresql.start_statement(major, "it's")
        assert start == "SELECT pg_backup_start('it''s', fast => true);"
        stop = postgresql.stop_statement(major, wait=True)
        assert "pg_backup_stop(wait_for_archive => true)" in stop


# ---- MariaDB and MySQL ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "knows"),
    [
        ("MariaDB 10.3.39", False),
        ("MariaDB 10.4.1", True),
        ("MariaDB 11.8.2", True),
        ("MySQL 8.0.36", False),
        ("MySQL 9.1.0", False),
    ],
)
def test_which_versions_know_stages(version: str, knows: bool) -> None:
    """MariaDB from 10.4 on knows BACKUP STAGE, and MySQL does not."""
    assert mariadb.knows_stages(version) is knows


@pytest.mark.parametrize(
    ("version", "log", "replica"),
    [
        ("MariaDB 11.8.2", "MASTER", "ALL SLAVES"),
        ("MySQL 8.0.21", "MASTER", "SLAVE"),
        ("MySQL 8.0.36", "MASTER", "REPLICA"),
        ("MySQL 8.4.0", "BINARY LOG", "REPLICA"),
    ],
)
def test_what_versions_call_their_positions(version: str, log: str, replica: str) -> None:
    """Each version is asked by the names that it knows."""
    queries = (f"SHOW {log} STATUS;", f"SHOW {replica} STATUS;")
    assert mariadb.position_queries(version) == queries


def _connection(number: int, command: str, time: str, **others: str) -> dict[str, str]:
    row = {"Id": str(number), "User": "shop", "Command": command, "Time": time}
    return {**row, "State": "", "Info": "SELECT 1", **others}


def test_who_may_have_been_in_the_way() -> None:
    """Busy connections, the longest first; one that waits itself is none."""
    rows = [
        _connection(1, "Sleep", "900", Info="NULL"),
        _connection(2, "Query", "3", State="User sleep"),
        _connection(3, "Query", "70", State="updating"),
        _connection(4, "Query", "99", State="Waiting for backup lock"),
        _connection(5, "Daemon", "99", User="event_scheduler"),
        _connection(6, "Query", "0", Info="SHOW PROCESSLIST"),
        _connection(7, "Connect", "NULL", User="unauthenticated user"),
    ]
    assert mariadb.suspects(rows) == [
        "connection 3 of shop (Query updating, 70 s)",
        "connection 2 of shop (Query User sleep, 3 s)",
        "connection 7 of unauthenticated user (Connect, 0 s)",
    ]
    assert mariadb.suspects(rows[:1]) == ["connection 1 of shop (Sleep, 900 s)"]
    assert mariadb.suspects(rows[3:6]) == []


def test_a_replicas_position_by_either_name() -> None:
    """MariaDB's old names and MySQL's new ones mean the same."""
    maria = {
        "Connection_name": "",
        "Master_Host": "a",
        "Relay_Master_Log_File": "bin.7",
        "Exec_Master_Log_Pos": "42",
        "Gtid_Slave_Pos": "0-1-5",
    }
    assert mariadb.replica_position(maria) == "replica of a: executed up to bin.7 42, GTID 0-1-5"
    mysql = {
        "Channel_Name": "main",
        "Source_Host": "b",
        "Relay_Source_Log_File": "bin.8",
        "Exec_Source_Log_Pos": "43",
        "Executed_Gtid_Set": "",
    }
    assert mariadb.replica_position(mysql) == "replica main of b: executed up to bin.8 43, GTID ?"


# ---- Redis ---------------------------------------------------------------------------------------


def test_a_request_in_redis_words() -> None:
    """A request is an array of bulk strings, counted in bytes."""
    assert (
        resp.request(["SET", "a b", "ü"]) == b"*3\r\n$3\r\nSET\r\n$3\r\na b\r\n$2\r\n\xc3\xbc\r\n"
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("7.0.15", (7, 0, 15)), ("MariaDB 10.4", (10, 4)), ("8", (8,)), ("?", ())],
)
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    """A version is as many numbers as it has."""
    assert numbers_in(text) == numbers


# ---- SQLite --------------------------------------------------------------------------------------


def test_databases_are_known_by_their_content(tmp_path: Path) -> None:
    for name in ("a.db", "b", "deep/c.sqlite"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE t (n)")
        database.close()
    (tmp_path / "text.db").write_text("SQLite format 4", encoding="ascii")
    (tmp_path / "link").symlink_to(tmp_path / "a.db")
    os.link(tmp_path / "a.db", tmp_path / "a-too.db")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "b-wal").write_bytes((tmp_path / "b").read_bytes())
    found = [os.path.relpath(path, tmp_path) for _, path in sqlite.databases(str(tmp_path))]
    assert sorted(found) == ["a-too.db", "b", "deep/c.sqlite"]
    held = {identity for identity, _ in sqlite.databases(str(tmp_path))}
    assert list(sqlite.databases(str(tmp_path), held)) == []
