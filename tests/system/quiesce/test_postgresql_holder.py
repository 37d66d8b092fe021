"""PostgreSQL's quiesce scripts: what is held and until when, what cannot be, what stays secret."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.facts import assert_facts
from tests.support.postgresql import USER, Database
from tests.support.quiesce import assert_application, failed_script, output_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until


@pytest.fixture
def one(postgresqls: Callable[[str], Database]) -> Database:
    return postgresqls("one")


# ---- what is held, and what is not ---------------------------------------------------------------


def test_at_its_deadline_the_holder_lets_go_and_the_post_script_fails(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = one.scripts(pyfreeze, script_dir, hold_at_most_s="0.2")
    command = [script_dir.script("snapshot", scripts.waiting_for("lost"))]
    report = pyfreeze.run(one.disks, command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    line = failed_script(report, "post")
    assert "not application-consistent" in line
    assert "deadline of 0.2 s (hold_at_most_s)" in line
    assert one.server.sessions_of_pyfreeze() == 0


@pytest.mark.parametrize("victim", ["holder", "client", "server's session"])
def test_what_held_it_is_killed_and_the_post_script_fails(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, victim: str
) -> None:
    scripts = one.scripts(pyfreeze, script_dir)
    record = scripts.hold / "record.json"
    pid = f"pid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' {record})"
    kill = {
        "holder": f"{pid}; kill -9 $pid",
        "client": f"{pid}; kill -9 $(cat /proc/$pid/task/$pid/children)",
        "server's session": " ".join(
            one.server.words(
                *("psql", "-XqAt", "-h", str(one.server.directory), "-c"),
                "'SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = $$pyfreeze$$'",
                "postgres",
            )
        ),
    }
    command = [script_dir.script("snapshot", f"set -e\n{kill[victim]}")]
    report = pyfreeze.run(one.disks, command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "not application-consistent" in failed_script(report, "post")
    assert one.server.sessions_of_pyfreeze() == 0


def test_a_second_pre_script_while_something_is_held(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The second one fails, and names the run that holds the server."""
    scripts = one.scripts(pyfreeze, script_dir)
    second = script_dir.script("snapshot", f"! PYFREEZE_RUN_ID=other {scripts.pre} 2>$D/second")
    done = pyfreeze.run(one.disks, [second], config=scripts.config)
    assert_application(done.report)
    assert f"of run {done.report['run_id']} still holds" in script_dir.read("second")


def test_a_post_script_of_another_run_releases_nothing(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = one.scripts(pyfreeze, script_dir)
    post = f"! PYFREEZE_RUN_ID=other {scripts.post} 2>$D/other"
    held = f"! flock -n {scripts.hold}/lock true"
    other = script_dir.script(
        "snapshot", f"set -e\n{post} || exit 1\n{post} || exit 1\n{held} || exit 1"
    )
    # Frozen, the server could not end the backup, and a wrong release would not be seen.
    done = pyfreeze.run(one.disks, [other], "--no-freeze", config=scripts.config)
    assert_application(done.report)
    assert done.report["snapshot"]["exit_status"] == 0
    assert "no pre-script of this run has held" in script_dir.read("other")


def test_the_post_script_releases_before_its_program_has_started(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = one.scripts(pyfreeze, script_dir)
    subprocess.run([scripts.pre], check=True, timeout=60, stdout=subprocess.DEVNULL)
    shell = Path(scripts.post).read_text(encoding="utf-8").partition("\nexec ")[0]
    subprocess.run(["sh", "-c", shell], check=True, timeout=60)
    wait_until(scripts.has_no_holder, "the holder has let go")
    assert scripts.record["phase"] == "released"
    # And then says so; as often as it is asked, for a post-script may be run again.
    for _ in range(2):
        subprocess.run([scripts.post], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_a_holder_that_is_stopped_is_killed_soon_after_its_deadline(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    scripts = one.scripts(pyfreeze, script_dir, hold_at_most_s="0.2")
    running = pyfreeze.start_run(
        one.disks, [script_dir.waiting_script()], "--no-freeze", config=scripts.config
    )
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    os.kill(scripts.holder, signal.SIGSTOP)
    wait_until(lambda: one.server.sessions_of_pyfreeze() == 0, "its session has ended")
    script_dir.release()
    report = running.finish().report
    assert report["code"] == 301
    assert "was killed" in failed_script(report, "post")


# ---- pre-scripts that fail -----------------------------------------------------------------------


def test_a_checkpoint_that_takes_too_long(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The pre-script gives up at `checkpoint_wait_s`, and nothing is held."""
    scripts = one.scripts(pyfreeze, script_dir, checkpoint_wait_s="0.3")
    with one.server.stopped_process("checkpointer"):
        report = pyfreeze.run(one.disks, ["true"], config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=300)
    assert "the checkpoint took longer than 0.3 s" in failed_script(report, "pre")
    assert "nothing was held" in output_of(report, "post")


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "no server": ({"port": 1}, "No such file or directory"),
    "no client": ({"client": "/no/psql"}, "/no/psql: no such program"),
    "no system user": ({"os_user": "no-such-user"}, "no system user 'no-such-user'"),
    "not let in": ({"os_user": "nobody", "db_user": "postgres"}, "authentication failed"),
    "no database": ({"database": "nowhere"}, 'database "nowhere" does not exist'),
    "not a number": ({"port": "5432; id"}, 'setting port: found "5432; id"'),
    "no directory": ({"label_directory": "/no/where"}, "label_directory: /no/where"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_pre_script_that_cannot_says_why_on_one_line(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze, what: str
) -> None:
    settings, words = WRONG[what]
    scripts = one.scripts(pyfreeze, script_dir)
    scripts.set(**settings)
    scripts.assert_pre_script_fails(one.disks, words)


def test_a_server_with_minimal_wal_has_no_backup_mode(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    one.server.stop()
    one.server.start("wal_level=minimal", "max_wal_senders=0")
    try:
        scripts = one.scripts(pyfreeze, script_dir)
        report = pyfreeze.run(one.disks, ["true"], config=scripts.config).report
        assert "WAL level not sufficient" in failed_script(report, "pre")
        scripts.set(backup_mode="no")
        assert_application(pyfreeze.run(one.disks, ["true"], config=scripts.config).report)
    finally:
        one.server.stop()
        one.server.start()


# ---- secrets -------------------------------------------------------------------------------------


def test_a_password_is_in_no_command_line_and_in_no_environment(
    one: Database, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    secret = "correct-horse-battery"
    hba = one.server.data / "pg_hba.conf"
    peer = hba.read_text(encoding="ascii")
    one.server.sql(f"CREATE ROLE backup SUPERUSER LOGIN PASSWORD '{secret}'")
    hba.write_text("local all backup scram-sha-256\n" + peer, encoding="ascii")
    one.server.sql("SELECT pg_reload_conf()")
    passwords = one.server.directory / "passwords"
    passwords.write_text(f"*:*:*:backup:{secret}\n", encoding="ascii")
    passwords.chmod(0o600)
    scripts = one.scripts(pyfreeze, script_dir, db_user="backup", password_file=passwords)
    # As root's, or with other people's bits, it is not the server's user's.
    report = pyfreeze.run(one.disks, ["true"], config=scripts.config).report
    assert f"{passwords}: owner uid 0" in failed_script(report, "pre")
    shutil.chown(passwords, USER, USER)
    seen = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null >$D/seen || true"
    done = pyfreeze.run(one.disks, [script_dir.script("snapshot", seen)], config=scripts.config)
    assert_application(done.report)
    everything = script_dir.path("seen").read_bytes()
    assert str(passwords).encode() in everything, "the client was not seen"
    assert secret.encode() not in everything
    hba.write_text(peer, encoding="ascii")
    one.server.sql("SELECT pg_reload_conf()")
    one.server.sql("DROP ROLE backup")
