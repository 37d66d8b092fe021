"""A backup that works: what is copied in the window is whole, and the report says how."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import FSTYPES, Disk, Disks, copy_command, opened_copy
from tests.support.facts import assert_facts
from tests.support.frozen import frozen
from tests.support.script_dir import ScriptDir
from tests.support.writer import Writer, records_in

ORDER = ["writeback", "pre-script", "flush", "freeze", "snapshot", "thaw", "post-script"]


def noting_config(script_dir: ScriptDir, disks: Sequence[Disk]) -> str:
    """Scripts that note how much was acknowledged when they ended, or began."""
    for phase in ("pre", "post"):
        copies = "\n".join(
            f'cat "$D/{d.fstype}.acknowledged" >"$D/{d.fstype}.{phase}"' for d in disks
        )
        script_dir.script(phase, f'{copies}\necho "$PYFREEZE_OUTCOME" >>"$D/{phase}.ran"')
    return script_dir.config(str(script_dir.path("pre")), str(script_dir.path("post")))


def snapshot_of(script_dir: ScriptDir, disks: Sequence[Disk]) -> list[str]:
    """Copies the images; says so if one is not frozen."""
    looks = [
        f'if fsfreeze -f "{d.mount_point}" 2>/dev/null; then\n'
        f'  fsfreeze -u "{d.mount_point}"; echo "{d.mount_point} is not frozen"\nfi'
        for d in disks
    ]
    lines = [" ".join(copy_command(disk, script_dir.path(f"{disk.fstype}.copy"))) for disk in disks]
    return [script_dir.script("snapshot", "set -e\n" + "\n".join([*looks, *lines, *looks]))]


def assert_application_consistent(report: dict[str, Any], disks: Sequence[Disk]) -> None:
    assert_facts(report, status="success", consistency="application", code=0)
    assert [event["what"] for event in report["events"]] == ORDER
    ends = {e["what"]: e["t_ms"] + e["duration_ms"] for e in report["events"]}
    begins = {e["what"]: e["t_ms"] for e in report["events"]}
    for earlier, later in itertools.pairwise(ORDER):
        assert begins[earlier] <= begins[later]
        assert ends[earlier] <= begins[later] + 0.001, f"{earlier} goes on in {later}"
    window = report["window"]
    assert window["expired"] is False
    assert 0 < window["overhead_ms"] <= window["window_ms"]
    assert 0 < window["frozen_together_ms"] <= window["window_ms"]
    assert report["snapshot"]["duration_ms"] <= window["frozen_together_ms"]
    assert report["snapshot"]["output"] == ""
    assert sorted(f["mount"] for f in window["filesystems"]) == sorted(d.mount_point for d in disks)
    for one in window["filesystems"]:
        assert one["outcome"] == "thawed"
        assert one["flush_rounds"] >= 1
        assert 0 < one["freeze_ms"] <= one["frozen_ms"] <= window["window_ms"]
        assert 0 < one["thaw_ms"] <= one["frozen_ms"]
    assert not report["still_frozen"]
    assert [script["phase"] for script in report["scripts"]] == ["pre", "post"]


def assert_whole(script_dir: ScriptDir, disk: Disk) -> None:
    at_pre_end = int(script_dir.read(f"{disk.fstype}.pre"))
    at_post_begin = int(script_dir.read(f"{disk.fstype}.post"))
    with opened_copy(disk.fstype, script_dir.path(f"{disk.fstype}.copy")) as copy:
        count = records_in(copy)
    # One more may have been written than was acknowledged.
    assert at_pre_end <= count <= at_post_begin + 1


def test_copy_taken_under_a_writer_is_application_consistent(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, writer: Callable[[Disk], Writer]
) -> None:
    running = writer(disk)
    config = noting_config(script_dir, [disk])
    done = pyfreeze.run([disk], snapshot_of(script_dir, [disk]), config=config)
    assert done.status == 0, done.err
    assert done.err == ""
    assert_application_consistent(done.report, [disk])
    assert script_dir.outcomes == ["success"]
    running.wait_for_more()
    assert_whole(script_dir, disk)


def test_three_kinds_of_filesystem_in_one_window(
    disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze, writer: Callable[[Disk], Writer]
) -> None:
    three = [disks[fstype] for fstype in FSTYPES]
    for disk in three:
        writer(disk)
    config = noting_config(script_dir, three)
    done = pyfreeze.run(three, snapshot_of(script_dir, three), config=config)
    assert done.status == 0, done.err
    assert_application_consistent(done.report, three)
    for disk in three:
        assert_whole(script_dir, disk)


@pytest.fixture
def stack(disks: Disks) -> list[Disk]:
    """An ext4 whose image lies on an xfs."""
    lower = disks["xfs"]
    if "upper" not in disks:
        disks.make("upper", "ext4", lower.path("upper.img"))
    return [lower, disks["upper"]]


def test_what_lies_on_another_is_frozen_before_it_and_thawed_after_it(stack: list[Disk]) -> None:
    lower, upper = stack
    with frozen([lower, upper]) as window:
        assert upper.is_frozen()
    assert window.times is not None
    by_mount = {f.mount: f for f in window.times.filesystems}
    above, below = by_mount[upper.mount_point], by_mount[lower.mount_point]
    assert above.level == 0
    assert below.level == 1
    assert above.freeze_return_ns <= below.freeze_enter_ns
    assert below.thaw_return_ns <= above.thaw_enter_ns
    times = window.times
    assert times.begin_ns == above.freeze_enter_ns
    assert times.frozen_ns == below.freeze_return_ns <= times.thaw_ns == below.thaw_enter_ns
    assert times.end_ns == above.thaw_return_ns


def test_command_on_a_stack(stack: list[Disk], script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The lower filesystem's copy holds a whole upper one."""
    lower, _upper = stack
    copy = script_dir.path("xfs.copy")
    done = pyfreeze.run(stack, copy_command(lower, copy), config=script_dir.config())
    assert done.status == 0, done.err
    assert_application_consistent(done.report, stack)
    with opened_copy("xfs", copy) as mounted, opened_copy("ext4", _plain(mounted, script_dir)):
        pass


def _plain(mounted: Any, script_dir: ScriptDir) -> Any:
    copy = script_dir.path("upper.copy")
    copy.write_bytes((mounted / "upper.img").read_bytes())
    return copy


def test_without_freeze_and_scripts(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """A success that is only crash-consistent."""
    done = pyfreeze("run", "--no-freeze", "--no-scripts", "--json", "--", "true")
    report = done.report
    assert_facts(done, exit_status=0, consistency="crash", code=1)
    assert report["window"]["filesystems"] == []


def test_require(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """--require fails below the level, and is silent at it."""
    done = pyfreeze.run([ext4], ["true"], "--require", "application")
    assert_facts(done, exit_status=3, consistency="filesystem")
    assert done.report["status"] == "error"
    config = script_dir.config()
    done = pyfreeze.run([ext4], ["true"], "--require", "application", config=config)
    assert_facts(done, exit_status=0, code=0)


def test_dry_run_runs_nothing_and_freezes_nothing(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    command = [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]
    done = pyfreeze.run([disk], command, "--dry-run", config=script_dir.config())
    assert done.status == 0, done.err
    assert [f["mount"] for f in done.report["filesystems"]] == [disk.mount_point]
    for name in ("pre.ran", "post.ran", "snapshot.ran"):
        assert not script_dir.exists(name)


def test_text_report(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The first line says the level, and the command's output is shown."""
    words = (
        "run",
        "--config",
        script_dir.config(),
        "--mount",
        ext4.mount_point,
        "--",
        "echo",
        "taken",
    )
    done = pyfreeze(*words)
    assert done.status == 0, done.err
    assert done.out.startswith("success: application-consistent (code 0 ")
    assert "taken" in done.out
    assert done.err == ""
