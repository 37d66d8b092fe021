"""Each application's module: its scripts as text, and what is pure of what it says to a server."""

from __future__ import annotations

import re
import subprocess

import pytest

from pyfreeze._quiesce import mariadb, postgresql
from pyfreeze._quiesce.application import QuiesceError
from pyfreeze._quiesce.catalogue import SUMMARIES, load
from pyfreeze._quiesce.hold import is_release_of
from pyfreeze._quiesce.render import all_settings, hold_path, scripts
from pyfreeze._quiesce.settings import parse


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


def test_who_may_release() -> None:
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
    assert mariadb.knows_stages(version) is knows


def test_a_replicas_position_by_either_name() -> None:
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
