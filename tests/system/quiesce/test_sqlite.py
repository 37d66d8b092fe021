"""SQLite's quiesce scripts, with databases that are written to all the time."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.database import assert_rows, copies_of, mounted_instead, snapshot
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.load import Writers
from tests.support.quiesce import QuiesceScripts, assert_application, failed_script, output_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_NAMES = ("orders.db", "deep/er/no-suffix", "journal.sqlite")
_BUSY_S = 30.0


class _Rows:
    """One database's writer."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        mode = "delete" if "journal" in path.name else "wal"
        self._database.execute(f"PRAGMA journal_mode={mode}")
        self._database.execute("CREATE TABLE written (number INTEGER PRIMARY KEY, text)")

    def commit(self, number: int) -> bool:
        row = (number, "x" * (number % 500))
        self._database.execute("INSERT INTO written VALUES (?, ?)", row)
        return True

    def close(self) -> None:
        self._database.close()


class Shop:
    """Some databases on a disk, each with a writer."""

    def __init__(self, disk: Disk, script_dir: ScriptDir) -> None:
        self.disk = disk
        self.root = disk.path("shop")
        self.paths = [self.root / name for name in _NAMES]
        self.writers = Writers(script_dir, [_Rows(path) for path in self.paths])
        (self.root / "SQLite format 3").write_text("no database", encoding="ascii")

    def numbers(self, which: int) -> list[int]:
        database = sqlite3.connect(self.paths[which])
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = [row[0] for row in database.execute("SELECT number FROM written ORDER BY number")]
        database.close()
        return found


@pytest.fixture
def shop(ext4: Disk, script_dir: ScriptDir) -> Iterator[Shop]:
    made = Shop(ext4, script_dir)
    yield made
    made.writers.stop()
    for path in sorted(made.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    made.root.rmdir()


def scripts_of(
    pyfreeze: Pyfreeze, script_dir: ScriptDir, shop: Shop, **more: object
) -> QuiesceScripts:
    return QuiesceScripts(pyfreeze, script_dir, "sqlite", directory=shop.root, **more)


def test_every_committed_row_is_restored_and_none_from_after_the_window(
    shop: Shop, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = scripts_of(pyfreeze, script_dir, shop)
    config = scripts.noting(":", shop.writers.noting("quiet"))
    command = snapshot(script_dir, [shop.disk], shop.writers.noting("frozen"))
    done = pyfreeze.run([shop.disk], command, config=config)
    assert_application(done.report)
    assert "3 databases" in output_of(done.report, "pre")
    shop.writers.wait_for_more()
    shop.writers.stop()
    shop.writers.assert_nobody_wrote("quiet", "frozen")
    quiet = shop.writers.acknowledged("quiet")
    with mounted_instead([shop.disk], copies_of(script_dir, [shop.disk])):
        assert_rows(shop.numbers, quiet, quiet)
        # Not even a journal is left to be rolled back.
        assert not shop.paths[2].with_name("journal.sqlite-journal").exists()


def test_a_transaction_that_lasts_fails_the_script_and_not_the_application(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """One transaction over two databases, and a lock that is not to be had in time."""
    first, second = ext4.path("first.db"), ext4.path("second.db")
    database = sqlite3.connect(first, isolation_level=None)
    database.execute("ATTACH ? AS other", (str(second),))
    database.execute("CREATE TABLE main.t (n)")
    database.execute("CREATE TABLE other.t (n)")
    database.execute("BEGIN")
    database.execute("INSERT INTO main.t VALUES (1)")
    scripts = QuiesceScripts(
        pyfreeze, script_dir, "sqlite", directory=ext4.path(""), lock_wait_s="0.2"
    )
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert report["code"] == 300
    line = failed_script(report, "pre")
    assert "first.db" in line
    assert "lock_wait_s" in line
    # The application was not held up by it, and goes on.
    database.execute("COMMIT")
    database.close()
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert_application(report)
    first.unlink()
    second.unlink()


def test_at_its_deadline_the_holder_lets_go_and_the_post_script_fails(
    shop: Shop, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = scripts_of(pyfreeze, script_dir, shop, hold_at_most_s="0.2")
    command = [script_dir.script("snapshot", scripts.waiting_for("lost"))]
    report = pyfreeze.run([shop.disk], command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "deadline of 0.2 s" in failed_script(report, "post")
    shop.writers.wait_for_more()


def test_a_holder_that_is_killed_holds_nothing_and_the_post_script_fails(
    shop: Shop, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = scripts_of(pyfreeze, script_dir, shop)
    pid = f"pid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' {scripts.hold}/record.json)"
    command = [script_dir.script("snapshot", f"{pid}; kill -9 $pid")]
    report = pyfreeze.run([shop.disk], command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "not application-consistent" in failed_script(report, "post")
    shop.writers.wait_for_more()


def test_a_holder_that_is_stopped_is_killed_soon_after_its_deadline(
    shop: Shop, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = scripts_of(pyfreeze, script_dir, shop, hold_at_most_s="0.2")
    running = pyfreeze.start_run(
        [shop.disk], [script_dir.waiting_script()], "--no-freeze", config=scripts.config
    )
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    os.kill(scripts.holder, signal.SIGSTOP)
    wait_until(scripts.has_no_holder, "the kernel kills it")
    shop.writers.wait_for_more()
    script_dir.release()
    report = running.finish().report
    assert report["code"] == 301
    assert "was killed" in failed_script(report, "post")


def test_a_database_that_is_replaced_meanwhile_was_not_held(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    root = ext4.path("replaced")
    root.mkdir()
    with sqlite3.connect(root / "shop.db") as database:
        database.execute("CREATE TABLE t (n)")
    database.close()
    scripts = QuiesceScripts(pyfreeze, script_dir, "sqlite", directory=root)
    command = [script_dir.script("snapshot", f"cd {root}; cp shop.db new; mv new shop.db")]
    report = pyfreeze.run([ext4], command, "--no-freeze", config=scripts.config).report
    assert report["code"] == 301
    line = failed_script(report, "post")
    assert "replaced or removed meanwhile" in line
    assert "shop.db" in line
    shutil.rmtree(root)


def test_names_that_look_like_a_log(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Beside a directory, or a file that is no database, they are databases of their own."""
    root = ext4.path("names")
    (root / "shop").mkdir(parents=True)
    (root / "text").write_text("not a database\n", encoding="ascii")
    for name in ("shop-journal", "text-wal"):
        with sqlite3.connect(root / name) as database:
            database.execute("CREATE TABLE t (n)")
        database.close()
    scripts = QuiesceScripts(pyfreeze, script_dir, "sqlite", directory=root)
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert_application(report)
    assert "2 databases" in output_of(report, "pre")
    shutil.rmtree(root)


def test_more_databases_than_descriptors_are_allowed_at_first(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The soft limit is raised; at the hard limit the pre-script fails and names a database."""
    root = ext4.path("many")
    root.mkdir()
    for number in range(60):
        with sqlite3.connect(root / f"{number}.db") as database:
            database.execute("PRAGMA journal_mode=wal")
            database.execute("CREATE TABLE t (n)")
        database.close()
    scripts = QuiesceScripts(pyfreeze, script_dir, "sqlite", directory=root)
    for limit, code in (("100:4096", 0), ("100:100", 300)):
        prefix = ["prlimit", f"--nofile={limit}"]
        report = pyfreeze.run([ext4], ["true"], config=scripts.config, prefix=prefix).report
        assert report["code"] == code, output_of(report, "pre")
    assert ".db" in failed_script(report, "pre")
    shutil.rmtree(root)


def test_databases_that_come_and_go(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A program's temporary ones are nobody's loss."""
    root = ext4.path("temporary")
    root.mkdir()
    with sqlite3.connect(root / "kept.db") as kept:
        kept.execute("CREATE TABLE t (n)")
    kept.close()
    program = (
        "import itertools, os, sqlite3, sys\n"
        "os.chdir(sys.argv[1])\n"
        "for number in itertools.count():\n"
        "    database = sqlite3.connect(f'{number % 50}.db')\n"
        "    database.execute('CREATE TABLE t (n)')\n"
        "    database.close()\n"
        "    os.unlink(f'{number % 50}.db')\n"
    )
    words = [sys.executable, "-c", program, str(root)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        scripts = QuiesceScripts(pyfreeze, script_dir, "sqlite", directory=root)
        for _ in range(8):
            report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
            assert report["code"] in (0, 300, 301)
            outputs = output_of(report, "pre") + output_of(report, "post")
            assert "without a word" not in outputs
            assert "unexpected" not in outputs
    finally:
        process.kill()
        process.wait(timeout=60)
        shutil.rmtree(root)


def test_files_stay_their_owners(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Root's hand is not to be seen beside somebody else's database."""
    directory = ext4.path("theirs")
    directory.mkdir()
    path = directory / "theirs.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("CREATE TABLE t (n)")
    database.close()
    for one in (directory, path):
        os.chown(one, 65534, 65534)
    scripts = QuiesceScripts(pyfreeze, script_dir, "sqlite", directory=directory)
    owners = script_dir.path("owners")
    look = script_dir.script("snapshot", f"stat -c %u {directory}/* >{owners}")
    assert_application(pyfreeze.run([ext4], [look], config=scripts.config).report)
    assert set(owners.read_text(encoding="ascii").split()) == {"65534"}
    assert len(owners.read_text(encoding="ascii").split()) > 1
    for one in directory.iterdir():
        one.unlink()
    directory.rmdir()


@pytest.mark.parametrize(("name", "words"), [("missing", "expected the path of a directory"),
                                             ("", "no SQLite database")])  # fmt: skip
def test_nothing_to_hold(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, name: str, words: str
) -> None:
    """A directory that is missing, or has no database, fails the pre-script."""
    directory = script_dir.path("empty")
    directory.mkdir()
    scripts = QuiesceScripts(pyfreeze, script_dir, "sqlite", directory=directory / name)
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert report["code"] == 300
    assert words in failed_script(report, "pre")
