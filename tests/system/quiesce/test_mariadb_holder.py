"""MariaDB's and MySQL's scripts: what is held until when, what cannot be, what stays secret."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.support.command import Pyfreeze
from tests.support.facts import assert_facts
from tests.support.foreign import FOREIGN
from tests.support.load import Writers
from tests.support.mariadb import Database
from tests.support.processes import helpers, is_alive
from tests.support.quiesce import assert_application, failed_script, output_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

Writing = Callable[[Writers], Writers]


@pytest.fixture
def one(request: pytest.FixtureRequest, mariadbs: Callable[..., Database]) -> Database:
    return mariadbs("one", getattr(request, "param", "MariaDB"))


of_both = pytest.mark.parametrize(
    "one", ["MariaDB", pytest.param("MySQL", marks=FOREIGN)], indirect=True
)


# ---- what is held, and what is not ---------------------------------------------------------------


@of_both
def test_at_its_deadline_the_holder_lets_go_and_the_post_script_fails(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    writers = writing(one.writers(script_dir, 2))
    scripts = one.scripts(pyfreeze, script_dir, hold_at_most_s="0.2")
    command = [script_dir.script("snapshot", scripts.waiting_for("lost"))]
    report = pyfreeze.run(one.disks, command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    line = failed_script(report, "post")
    assert "not application-consistent" in line
    assert "deadline of 0.2 s (hold_at_most_s)" in line
    writers.wait_for_more()


@pytest.mark.parametrize(
    ("one", "method"),
    [("MariaDB", "stage"), ("MariaDB", "ftwrl"), pytest.param("MySQL", "auto", marks=FOREIGN)],
    indirect=["one"],
)
@pytest.mark.parametrize("victim", ["holder", "client", "server's session"])
def test_what_held_it_is_killed_and_the_post_script_fails(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, victim: str, method: str
) -> None:
    scripts = one.scripts(pyfreeze, script_dir, method=method)
    pid = f"pid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' {scripts.hold}/record.json)"
    sql = " ".join(one.server.client_words())
    sessions = f"""{sql} -e 'SHOW PROCESSLIST' | awk '$2 == "root" && /Sleep/ {{ print $1 }}'"""
    kill = {
        "holder": f"{pid}; kill -9 $pid",
        "client": f"{pid}; kill -9 $(cat /proc/$pid/task/$pid/children)",
        "server's session": f'{sql} -e "KILL $({sessions})"',
    }
    command = [script_dir.script("snapshot", f"set -e\n{kill[victim]}")]
    report = pyfreeze.run(one.disks, command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "not application-consistent" in failed_script(report, "post")
    one.server.sql("INSERT INTO shop.account VALUES (1000, 0)")
    one.server.sql("DELETE FROM shop.account WHERE id = 1000")


@of_both
def test_a_holder_that_is_stopped_loses_its_session_at_the_servers_deadline(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    writers = writing(one.writers(script_dir, 2))
    scripts = one.scripts(pyfreeze, script_dir, hold_at_most_s="2")
    subprocess.run([scripts.pre], check=True, timeout=60, stdout=subprocess.DEVNULL)
    os.kill(scripts.holder, signal.SIGSTOP)
    try:
        writers.wait_for_more()
    finally:
        # By now the kernel may have killed it, and its parent seen to that.
        with contextlib.suppress(ProcessLookupError):
            os.kill(scripts.holder, signal.SIGCONT)
    done = subprocess.run([scripts.post], check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1
    assert "not application-consistent" in done.stderr


@of_both
def test_nothing_is_held_any_more_when_all_of_pyfreeze_was_killed(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    """Client, supervisor and reapers at once: there is no post-script, only the deadline."""
    writers = writing(one.writers(script_dir, 2))
    scripts = one.scripts(pyfreeze, script_dir, hold_at_most_s="2")
    staying = script_dir.blocking_command()
    run = pyfreeze.start_run(one.disks, staying, config=scripts.config)
    wait_until(lambda: script_dir.stays, "the snapshot is being taken")
    holder = scripts.holder
    victims = [run.pid, *helpers()]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    run.finish()
    for pid in script_dir.blocking_pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert is_alive(holder), "it was not left to its deadline"
    assert pyfreeze("thaw").status == 0
    writers.wait_for_more()
    wait_until(scripts.has_no_holder, "the holder ends")
    assert scripts.record["phase"] == "lost"
    # The next backup is a good one.
    assert_application(pyfreeze.run(one.disks, ["true"], config=scripts.config).report)


# ---- pre-scripts that fail -----------------------------------------------------------------------


LOCKED, CHANGE = "LOCK TABLES plain WRITE;", "UPDATE idle SET id = 2 WHERE SLEEP(600);"
QUERY = "SELECT COUNT(*) FROM idle WHERE SLEEP(600);"


@pytest.mark.parametrize(
    ("one", "method", "statement", "shown"),
    [
        ("MariaDB", "stage", LOCKED, "Sleep"),
        ("MariaDB", "ftwrl", CHANGE, "Query"),
        pytest.param("MySQL", "auto", LOCKED, "Sleep", marks=FOREIGN),
        pytest.param("MySQL", "auto", CHANGE, "Query", marks=FOREIGN),
        pytest.param("MySQL", "auto", QUERY, "Query", marks=FOREIGN),
    ],
    indirect=["one"],
)
def test_a_lock_that_is_not_to_be_had_fails_the_script_and_not_the_application(
    one: Database,
    script_dir: ScriptDir,
    pyfreeze: Pyfreeze,
    writing: Writing,
    method: str,
    statement: str,
    shown: str,
) -> None:
    writers = writing(one.writers(script_dir, 2))
    with one.busy(statement) as connection:
        scripts = one.scripts(pyfreeze, script_dir, method=method, lock_wait_s="1")
        report = pyfreeze.run(one.disks, ["true"], config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=300)
    line = failed_script(report, "pre")
    assert "had to wait longer than 1 s (lock_wait_s)" in line
    assert f"connection {connection} of root ({shown}" in line
    assert "nothing was held" in output_of(report, "post")
    writers.wait_for_more()


@pytest.mark.parametrize("statement", [QUERY, CHANGE, "BEGIN; INSERT INTO idle VALUES (3);"])
def test_stages_wait_neither_for_long_statements_nor_for_an_open_transaction(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, statement: str
) -> None:
    with one.busy(statement):
        scripts = one.scripts(pyfreeze, script_dir, lock_wait_s="5")
        assert_application(pyfreeze.run(one.disks, ["true"], config=scripts.config).report)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "no server": ({"socket": "/no/socket"}, "Can't connect"),
    "no client": ({"client": "/no/mariadb"}, "/no/mariadb: no such program"),
    "not let in": ({"db_user": "root", "os_user": "nobody"}, "Access denied"),
    "no method": (
        {"method": "hope"},
        'setting method: found "hope", expected auto, stage or ftwrl',
    ),
    "no option file": ({"option_file": "/no/file"}, "option_file: /no/file"),
    "no time": ({"lock_wait_s": "soon"}, 'setting lock_wait_s: found "soon"'),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_pre_script_that_cannot_says_why_on_one_line(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, what: str
) -> None:
    settings, words = WRONG[what]
    scripts = one.scripts(pyfreeze, script_dir)
    scripts.set(**settings)
    scripts.assert_pre_script_fails(one.disks, words)


# ---- secrets -------------------------------------------------------------------------------------


@of_both
def test_a_password_is_in_no_command_line_and_in_no_environment(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    secret = "correct-horse-battery"
    one.server.sql(f"CREATE USER backup@localhost IDENTIFIED BY '{secret}'")
    one.server.sql(f"GRANT {one.server.BACKUP_RIGHTS} ON *.* TO backup@localhost")
    options = script_dir.path("options")
    options.write_text(f"[client]\nuser=backup\npassword={secret}\n", encoding="ascii")
    options.chmod(0o640)
    scripts = one.scripts(pyfreeze, script_dir, option_file=options)
    report = pyfreeze.run(one.disks, ["true"], config=scripts.config).report
    assert f"option_file: {options}: mode 0640" in failed_script(report, "pre")
    options.chmod(0o600)
    seen = 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null >"$D/seen" || true'
    done = pyfreeze.run(one.disks, [script_dir.script("snapshot", seen)], config=scripts.config)
    assert_application(done.report)
    everything = script_dir.path("seen").read_bytes()
    assert str(options).encode() in everything, "the client was not seen"
    assert secret.encode() not in everything
