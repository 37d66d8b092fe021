"""Mounts that change between the look-up and the freeze, lie under others, or on each other."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk, Disks, copy_command, opened_copy, tool
from tests.support.facts import assert_facts
from tests.support.processes import parent_of
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until
from tests.support.writer import Writer, records_in


@pytest.fixture
def leaving(disks: Disks) -> Iterator[Disk]:
    """A disk that may be unmounted in a test."""
    disk = disks.make("leaving", "ext4")
    yield disk
    if not os.path.ismount(disk.mount_point):
        Disk.mounted.remove(disk)
        disk.wait_until_free()
    disks.drop("leaving")


@pytest.fixture
def between(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> Callable[..., Running]:
    """Starts a run and stops it when it has chosen what to freeze, and has opened nothing yet."""

    def start(disk: Disk) -> Running:
        log = script_dir.path("strace.log")
        # A pidfd of itself is the last thing it makes before it starts the supervisor.
        stop = ["-e", "trace=pidfd_open", "-e", "inject=pidfd_open:signal=SIGSTOP:when=1"]
        prefix = ["strace", "-qq", "-o", str(log), *stop]
        running = pyfreeze.start_run([disk], ["true"], config=script_dir.config(), prefix=prefix)
        wait_until(
            lambda: log.exists() and "stopped by SIGSTOP" in log.read_text(encoding="utf-8"),
            "the run is stopped",
        )
        return running

    return start


def go_on(running: Running) -> None:
    """Let go on what strace runs."""
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    for pid in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if parent_of(pid) == running.pid:
                os.kill(pid, signal.SIGCONT)


# ---- between the look-up and the freeze ----------------------------------------------------------


@pytest.mark.parametrize("words", [["umount"], ["umount", "-l"]], ids=["umount", "lazy"])
def test_unmounted_before_it_is_opened(
    words: list[str],
    leaving: Disk,
    script_dir: ScriptDir,
    between: Callable[..., Running],
) -> None:
    """Code 123 names the mount, and no script has run."""
    running = between(leaving)
    tool(*words, leaving.mount_point)
    go_on(running)
    done = running.finish()
    assert_facts(done, exit_status=1, consistency="none", code=123)
    done.assert_one_line(leaving.mount_point, "unmounted")
    assert not script_dir.exists("pre.ran")


def test_mounted_over_before_it_is_opened(
    leaving: Disk, ext4: Disk, script_dir: ScriptDir, between: Callable[..., Running]
) -> None:
    """What lies there now was never chosen, and is not frozen."""
    running = between(leaving)
    tool("mount", "--bind", ext4.mount_point, leaving.mount_point)
    try:
        go_on(running)
        done = running.finish()
    finally:
        tool("umount", leaving.mount_point)
    assert_facts(done, exit_status=1, code=123)
    done.assert_one_line(leaving.mount_point, "or something else is mounted there now")
    assert not script_dir.exists("pre.ran")


def test_remounted_read_only_before_it_is_opened(
    leaving: Disk, between: Callable[..., Running]
) -> None:
    """Nothing can change on it any more: freezing it is a matter of form."""
    running = between(leaving)
    tool("mount", "-o", "remount,ro", leaving.mount_point)
    go_on(running)
    done = running.finish()
    tool("mount", "-o", "remount,rw", leaving.mount_point)
    assert_facts(done, exit_status=0, consistency="application")
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]


def test_unmounted_in_the_pre_script(
    leaving: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A lazy unmount takes the path, not the filesystem that is open; an ordinary one fails."""
    point = leaving.mount_point
    pre = script_dir.script("pre", f"! umount {point} || exit 70\nexec umount -l {point}")
    copy = script_dir.path("copy")
    done = pyfreeze.run([leaving], copy_command(leaving, copy), config=script_dir.config(pre))
    assert_facts(done, exit_status=0, consistency="application")
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]
    with opened_copy("ext4", copy):
        pass


def test_remounted_read_only_in_the_pre_script(
    leaving: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """It is frozen all the same."""
    pre = script_dir.script("pre", f"mount -o remount,ro {leaving.mount_point}")
    post = script_dir.script("post", f"mount -o remount,rw {leaving.mount_point}")
    done = pyfreeze.run([leaving], ["true"], config=script_dir.config(pre, post))
    assert_facts(done, exit_status=0, consistency="application")


def test_unmounted_in_the_window(leaving: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A lazy unmount does not keep it from being thawed."""
    done = pyfreeze.run(
        [leaving], ["umount", "-l", leaving.mount_point], config=script_dir.config()
    )
    assert_facts(done, exit_status=0, consistency="application")
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]


def test_mounted_over_in_the_window(
    leaving: Disk, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The thaw is of what was frozen, wherever the path leads by then."""
    over = ["mount", "--bind", ext4.mount_point, leaving.mount_point]
    try:
        done = pyfreeze.run([leaving], over, config=script_dir.config())
    finally:
        tool("umount", leaving.mount_point)
    assert_facts(done, exit_status=0, consistency="application")
    assert not leaving.is_frozen()


# ---- mounts under others -------------------------------------------------------------------------


def skipped(pyfreeze: Pyfreeze) -> dict[str, list[str]]:
    """What a run without --mount would leave out, and why."""
    report = pyfreeze("run", "--no-scripts", "--dry-run", "--json", "--", "true").report
    reasons: dict[str, list[str]] = {}
    for entry in report["skipped"]:
        reasons.setdefault(entry["mount"], []).append(entry["reason"])
    chosen = [f["mount"] for f in report["filesystems"]]
    assert not set(chosen) & {m for m, why in reasons.items() if "hidden" in " ".join(why)}
    return reasons


def test_hidden_under_what_cannot_be_frozen(leaving: Disk, pyfreeze: Pyfreeze) -> None:
    """The tmpfs above is what its path names, and that is refused."""
    tool("mount", "-t", "tmpfs", "none", leaving.mount_point)
    try:
        done = pyfreeze.run([leaving], ["true"])
        reasons = skipped(pyfreeze)
    finally:
        tool("umount", leaving.mount_point)
    assert done.status == 2
    done.assert_one_line(leaving.mount_point, "tmpfs cannot be frozen")
    assert sorted(reasons[leaving.mount_point]) == [
        "hidden under another mount",
        "kept in memory (tmpfs)",
    ]


def test_hidden_with_its_directory(disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A mount that no path leads to is refused, and a dry run says why."""
    directory = script_dir.path("covered")
    directory.mkdir()
    disk = Disk("ext4", script_dir.path("covered.img"), str(directory / "mounted"))
    disk.make()
    disk.mount()
    tool("mount", "-t", "tmpfs", "none", str(directory))
    try:
        done = pyfreeze.run([disk], ["true"])
        reasons = skipped(pyfreeze)
    finally:
        tool("umount", str(directory))
        disk.unmount()
    assert done.status == 2
    done.assert_one_line(disk.mount_point)
    assert reasons[disk.mount_point] == ["hidden under another mount"]


def test_hidden_under_another_disk(
    leaving: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Only the upper one is frozen; the lower one can still be written to by its other name."""
    upper = Disk("ext4", script_dir.path("upper.img"), leaving.mount_point)
    twin = script_dir.path("twin")
    twin.mkdir()
    tool("mount", "--bind", leaving.mount_point, str(twin))
    upper.make()
    upper.mount()
    try:
        command = ["sh", "-c", f"echo x >{twin}/written && stat -c%d {leaving.mount_point}"]
        device = os.stat(leaving.mount_point).st_dev
        done = pyfreeze.run([upper], command, "--max-window", "5")
    finally:
        upper.unmount()
        tool("umount", str(twin))
    assert done.status == 0, done.err
    assert done.report["snapshot"]["output"] == f"{device}\n", done.err
    found = done.report["window"]["filesystems"]
    assert [f["device"] for f in found] == [f"{os.major(device)}:{os.minor(device)}"]
    assert leaving.path("written").exists()


# ---- mounts on each other ------------------------------------------------------------------------


def test_three_deep(
    disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze, writer: Callable[[Disk], Writer]
) -> None:
    """The uppermost is frozen first, in whatever order they are named, and all copies are whole."""
    bottom = disks["xfs"]
    middle = disks.make("middle", "ext4", bottom.path("middle.img"))
    top = disks.make("top", "ext4", middle.path("top.img"))
    running = writer(top)
    try:
        copy = script_dir.path("xfs.copy")
        # Named in the wrong order: the order is for pyfreeze to find.
        words = [middle, bottom, top]
        done = pyfreeze.run(words, copy_command(bottom, copy), config=script_dir.config())
        running.wait_for_more()
        assert_facts(done, exit_status=0, consistency="application")
        found = [(f["mount"], f["level"]) for f in done.report["window"]["filesystems"]]
        assert found == [(d.mount_point, i) for i, d in enumerate([top, middle, bottom])]
        with opened_copy("xfs", copy) as lowest:
            image = script_dir.path("middle.copy")
            image.write_bytes((lowest / "middle.img").read_bytes())
        with opened_copy("ext4", image) as upper:
            image = script_dir.path("top.copy")
            image.write_bytes((upper / "top.img").read_bytes())
        with opened_copy("ext4", image) as highest:
            assert records_in(highest) > 0
    finally:
        running.stop()
        disks.drop("top")
        disks.drop("middle")
