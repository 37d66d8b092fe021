"""The black box of a run: what live runs do, and what dead and failed ones did, in their order."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable

import pytest

from pyfreeze._recovery.recover import recover
from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import helpers
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until


@pytest.fixture
def frozen_run(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> Callable[[Disk], Running]:
    """Starts a run that stays in its window."""

    def start(disk: Disk) -> Running:
        running = pyfreeze.start_run([disk], [script_dir.waiting_script()], "--max-window", "300")
        wait_until(lambda: script_dir.holds, "the snapshot command runs")
        return running

    return start


def assert_in_order(lines: list[str], *parts: str) -> None:
    """Each part is in a line of its own, after that of the part before."""
    rest = iter(lines)
    for part in parts:
        assert any(part in line for line in rest), (part, lines)


def window_of(disk: Disk) -> tuple[str, ...]:
    """What opens any window."""
    mount = disk.mount_point
    return (
        "supervisor: ready, process ",
        f"{mount}: open",
        "parked right before execve",
        "window: freezing",
        f"{mount}: FIFREEZE begins",
        f"{mount}: frozen",
        "window: everything is frozen",
        "released",
    )


def test_live_run(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    """`status` tells all that it has done so far; its report tells none, once it has ended well."""
    running = frozen_run(disk)
    done = pyfreeze("status", "--verbose")
    assert_facts(done, exit_status=0, err="")
    assert_in_order(done.out.splitlines(), "alive", *window_of(disk))
    assert "parked right" not in pyfreeze("status").out, "only if asked for"
    (run,) = json.loads(pyfreeze("status", "--verbose", "--json").out)["runs"]
    times = [one["t_ns"] for one in run["transitions"]]
    assert times == sorted(times)
    assert run["transitions"][-1]["kind"] == "child-released"
    script_dir.release()
    assert running.finish().report["transitions"] == [], "all went well"


def test_dead_run_and_its_recovery(
    disk: Disk, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    """Its status tells all that it had done, and `thaw` the thawing after it."""
    frozen_run(disk).kill_with_supervisor()
    assert_in_order(pyfreeze("status", "--verbose").out.splitlines(), "dead", *window_of(disk))
    done = pyfreeze("thaw", "--verbose")
    assert_facts(done, exit_status=0, err="")
    mount = disk.mount_point
    assert_in_order(
        done.out.splitlines(),
        f"thawed {mount} (run ",
        *window_of(disk),
        f"{mount}: FITHAW begins",
        f"{mount}: thawed",
    )


def test_next_run_tells_of_the_dead_one(
    ext4: Disk, pyfreeze: Pyfreeze, frozen_run: Callable[[Disk], Running]
) -> None:
    frozen_run(ext4).kill_with_supervisor()
    wait_until(lambda: not helpers(), "the reapers end")
    done = pyfreeze.run([ext4], ["true"])
    assert done.status == 0
    (note,) = done.report["notes"]
    assert_facts(note, code=None, name="notice")
    assert note["message"].endswith(
        f"which was killed, had left {ext4.mount_point} frozen, thawed now"
    )


def test_recovery_logs_what_it_has_seen_to(
    ext4: Disk, frozen_run: Callable[[Disk], Running], caplog: pytest.LogCaptureFixture
) -> None:
    """The embedding process decides what becomes of it."""
    frozen_run(ext4).kill_with_supervisor()
    wait_until(lambda: not helpers(), "the reapers end")
    with caplog.at_level(logging.INFO, logger="pyfreeze"):
        (found,) = recover(STATE_DIRECTORY)
    assert found.thawed == (ext4.mount_point,)
    assert_in_order(caplog.messages, f"had left {ext4.mount_point} frozen", *window_of(ext4))


def test_supervisor_lost_in_the_window(ext4: Disk, frozen_run: Callable[[Disk], Running]) -> None:
    """The report tells the loss and the client's thaw, by the events' clock."""
    running = frozen_run(ext4)
    os.kill(running.supervisor, signal.SIGKILL)
    report = running.finish().report
    texts = [one["text"] for one in report["transitions"]]
    mount = ext4.mount_point
    lost = ("client: the supervisor is lost", f"{mount}: FITHAW begins", f"{mount}: thawed")
    assert_in_order(texts, *window_of(ext4), *lost)
    (rescue,) = [one for one in report["transitions"] if one["kind"] == "rescue"]
    (freeze,) = [event for event in report["events"] if event["what"] == "freeze"]
    assert rescue["t_ms"] > freeze["t_ms"] > 0, "one clock"


def test_snapshot_command_that_fails(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """The report tells its exit status, and that all was thawed after it."""
    report = pyfreeze.run([ext4], ["false"]).report
    texts = [one["text"] for one in report["transitions"]]
    mount = ext4.mount_point
    assert_in_order(texts, *window_of(ext4), "exited", "window: thawing (good)", f"{mount}: thawed")
    assert any("over, exit status 1" in text for text in texts)


def test_signal_to_the_supervisor(ext4: Disk, frozen_run: Callable[[Disk], Running]) -> None:
    """The report tells which signal, and that the window ended early for it."""
    running = frozen_run(ext4)
    os.kill(running.supervisor, signal.SIGTERM)
    texts = [one["text"] for one in running.finish().report["transitions"]]
    ended = ("supervisor: SIGTERM", "window: thawing (ended early)", "window: idle (ended early)")
    assert_in_order(texts, *window_of(ext4), *ended)


def test_page_of_another_version(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """Its run may have left something frozen: it is not taken for a page that was cut short."""
    page = f"{STATE_DIRECTORY}/other.state"
    with open(page, "wb") as file:
        file.write(b"pfrezpg1" + bytes(300))
    try:
        for done in (pyfreeze("thaw"), pyfreeze("status"), pyfreeze.run([ext4], ["true"])):
            assert done.status == 1
            assert "another version of pyfreeze" in done.err
        assert os.path.exists(page)
    finally:
        os.unlink(page)
