"""Redis' quiesce scripts, with a real server under load: what its snapshots are worth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.support.command import Pyfreeze
from tests.support.database import assert_rows, copies_of, mounted_instead, snapshot
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.load import Writers
from tests.support.needs import need_program
from tests.support.quiesce import QuiesceScripts, assert_application, failed_script, output_of
from tests.support.redis import Server
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_OPTIONS = {
    "append-only file": ("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
    "snapshots": ("--appendonly", "no", "--save", "3600 1"),
    "nothing": ("--appendonly", "no", "--save", ""),
}
Start = Callable[..., Server]
Writing = Callable[[Writers], Writers]


@pytest.fixture
def start(ext4: Disk, script_dir: ScriptDir) -> Iterator[Start]:
    need_program("redis-server")
    made: list[Server] = []

    def make(*options: str) -> Server:
        server = Server(ext4, script_dir, *options)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.kill()
    for one in made:
        for path in sorted(one.disk.path("redis").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def scripts_of(
    pyfreeze: Pyfreeze, script_dir: ScriptDir, server: Server, **more: object
) -> QuiesceScripts:
    return QuiesceScripts(pyfreeze, script_dir, "redis", socket=server.socket, **more)


@pytest.mark.parametrize("kept", _OPTIONS)
def test_every_acknowledged_key_is_restored_and_none_from_after_the_window(
    kept: str,
    start: Start,
    script_dir: ScriptDir,
    pyfreeze: Pyfreeze,
    writing: Writing,
) -> None:
    server = start(*_OPTIONS[kept])
    scripts = scripts_of(pyfreeze, script_dir, server)
    writers = writing(server.writers(script_dir))
    config = scripts.noting(":", writers.noting("quiet"))
    command = snapshot(script_dir, [server.disk], writers.noting("frozen"))
    done = pyfreeze.run([server.disk], command, config=config)
    assert_application(done.report)
    writers.wait_for_more()
    writers.stop()
    writers.assert_nobody_wrote("quiet", "frozen")
    server.kill()
    with mounted_instead([server.disk], copies_of(script_dir, [server.disk])):
        server.start()
        quiet = writers.acknowledged("quiet")
        assert_rows(server.numbers, quiet, quiet)
        server.kill()


def test_without_scripts_acknowledged_keys_are_lost(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    server = start(*_OPTIONS["snapshots"])
    writers = writing(server.writers(script_dir))
    before = writers.acknowledged()
    done = pyfreeze.run([server.disk], snapshot(script_dir, [server.disk]))
    assert done.report["consistency"] == "filesystem"
    writers.stop()
    server.kill()
    with mounted_instead([server.disk], copies_of(script_dir, [server.disk])):
        server.start()
        assert all(len(server.numbers(w)) < least for w, least in enumerate(before))
        server.kill()


def test_at_its_deadline_the_holder_lets_go_and_the_post_script_fails(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    server = start(*_OPTIONS["append-only file"])
    scripts = scripts_of(pyfreeze, script_dir, server, hold_at_most_s="0.2")
    writers = writing(server.writers(script_dir))
    command = [script_dir.script("snapshot", scripts.waiting_for("lost"))]
    report = pyfreeze.run([server.disk], command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "deadline of 0.2 s" in failed_script(report, "post")
    writers.wait_for_more()
    # And not only the server's own end of the pause: the other call is the pre-script's.
    with contextlib.closing(server.connect()) as client:
        assert client.info("commandstats")["cmdstat_client|unpause"].startswith("calls=2,")


def test_the_server_itself_ends_the_pause_of_a_holder_that_was_killed(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    server = start(*_OPTIONS["append-only file"])
    scripts = scripts_of(pyfreeze, script_dir, server, hold_at_most_s="0.5")
    writers = writing(server.writers(script_dir))
    pid = f"pid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' {scripts.hold}/record.json)"
    command = [script_dir.script("snapshot", f"{pid}; kill -9 $pid")]
    report = pyfreeze.run([server.disk], command, config=scripts.config).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "not application-consistent" in failed_script(report, "post")
    writers.wait_for_more()


def test_a_pause_that_somebody_else_ended_is_found_out(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    server = start(*_OPTIONS["append-only file"])
    scripts = scripts_of(pyfreeze, script_dir, server)
    writers = writing(server.writers(script_dir))
    running = pyfreeze.start_run(
        [server.disk], [script_dir.waiting_script()], "--no-freeze", config=scripts.config
    )
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    with contextlib.closing(server.connect()) as client:
        client.ask("CLIENT", "UNPAUSE")
    writers.wait_for_more()
    script_dir.release()
    report = running.finish().report
    assert report["code"] == 301
    assert "data was changed meanwhile" in failed_script(report, "post")


def test_an_append_only_file_just_switched_on_is_waited_for(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Until its first rewrite has ended, a restart would find nothing in it."""
    server = start("--appendonly", "no", "--save", "")
    with contextlib.closing(server.connect()) as client:
        for number in range(1, 201):
            client.ask("SET", f"0:{number}", "x")
        client.ask("CONFIG", "SET", "rdb-key-save-delay", "5000")  # microseconds, each
        client.ask("CONFIG", "SET", "appendonly", "yes")
        assert client.info("persistence")["aof_rewrite_in_progress"] == "1"
    scripts = scripts_of(pyfreeze, script_dir, server)
    done = pyfreeze.run([server.disk], snapshot(script_dir, [server.disk]), config=scripts.config)
    assert_application(done.report)
    server.kill()
    with mounted_instead([server.disk], copies_of(script_dir, [server.disk])):
        restored = Server(server.disk, script_dir, "--appendonly", "yes", "--save", "")
        restored.start()
        assert restored.numbers(0) == list(range(1, 201))
        restored.kill()


def test_a_change_that_a_snapshot_of_the_servers_own_covers_up_is_found_out(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    server = start(*_OPTIONS["snapshots"])
    scripts = scripts_of(pyfreeze, script_dir, server)
    running = pyfreeze.start_run(
        [server.disk], [script_dir.waiting_script()], "--no-freeze", config=scripts.config
    )
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    with contextlib.closing(server.connect()) as client:
        client.ask("CLIENT", "UNPAUSE")
        client.ask("SET", "key", "value")
        client.ask("BGSAVE")
        wait_until(
            lambda: client.info("persistence")["rdb_changes_since_last_save"] == "0",
            "Redis has saved",
        )
    script_dir.release()
    report = running.finish().report
    assert report["code"] == 301
    assert "data was changed meanwhile" in failed_script(report, "post")


def test_a_snapshot_of_the_servers_own_meanwhile_is_no_change(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze, writing: Writing
) -> None:
    """It begins by itself on a busy server, and its count of changes begins anew at its end."""
    server = start("--appendonly", "yes", "--save", "3600 1000000")
    writing(server.writers(script_dir))
    scripts = scripts_of(pyfreeze, script_dir, server)
    running = pyfreeze.start_run(
        [server.disk], [script_dir.waiting_script()], "--no-freeze", config=scripts.config
    )
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    with contextlib.closing(server.connect()) as client:
        assert client.info("persistence")["rdb_changes_since_last_save"] != "0"
        client.ask("BGSAVE")
        wait_until(
            lambda: client.info("persistence")["rdb_changes_since_last_save"] == "0",
            "Redis has saved",
        )
    script_dir.release()
    assert_application(running.finish().report)


def test_a_password_comes_from_a_file_of_roots_own(
    start: Start, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    server = start(*_OPTIONS["append-only file"], "--requirepass", "open sesame")
    file = script_dir.path("password")
    file.write_text("open sesame\n", encoding="utf-8")
    file.chmod(0o644)
    scripts = scripts_of(pyfreeze, script_dir, server, password_file=file)
    report = pyfreeze.run([server.disk], ["true"], config=scripts.config).report
    assert "password_file" in failed_script(report, "pre")
    file.chmod(0o600)
    report = pyfreeze.run([server.disk], ["true"], config=scripts.config).report
    assert_application(report)
    assert "writes paused" in output_of(report, "pre")


def test_no_server(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The pre-script fails and names the socket."""
    socket = script_dir.path("missing.sock")
    scripts = QuiesceScripts(pyfreeze, script_dir, "redis", socket=socket)
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert report["code"] == 300
    assert str(socket) in failed_script(report, "pre")
