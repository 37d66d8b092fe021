"""What cannot work is refused: one line that names it, the right exit status, nothing touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import namespace
from tests.support.command import Done, Pyfreeze
from tests.support.disks import Disk, Disks, tool
from tests.support.facts import assert_facts
from tests.support.processes import AS_NOBODY
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

USAGE = 2
_KEYS = {
    "version",
    "run_id",
    "status",
    "consistency",
    "code",
    "name",
    "message",
    "action",
    "notes",
    "scripts",
    "window",
    "snapshot",
    "events",
}


@pytest.fixture
def noted(script_dir: ScriptDir) -> list[str]:
    """A snapshot command that would be noticed."""
    return [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]


def assert_refused(done: Done, script_dir: ScriptDir, status: int, *parts: str) -> dict[str, Any]:
    assert done.status == status, done.err
    done.assert_one_line(*parts)
    report = done.report
    assert set(report) >= _KEYS
    assert_facts(report, status="error", consistency="none")
    assert report["message"]
    for name in ("pre.ran", "post.ran", "snapshot.ran"):
        assert not script_dir.exists(name), f"{name}: nothing was to be run"
    return report


def refuse(
    pyfreeze: Pyfreeze, script_dir: ScriptDir, words: list[str], command: list[str], *parts: str
) -> None:
    """As it is, and with scripts configured: neither runs anything."""
    done = pyfreeze("run", "--config", script_dir.config(), *words, "--json", "--", *command)
    assert_refused(done, script_dir, USAGE, *parts)


# ---- mounts --------------------------------------------------------------------------------------


def test_missing_mount_point(script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]) -> None:
    """A path that does not exist is refused."""
    missing = f"{namespace.ROOT}/missing"
    refuse(pyfreeze, script_dir, ["--mount", missing], noted, missing)


def test_file(script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]) -> None:
    """A regular file is refused."""
    refuse(pyfreeze, script_dir, ["--mount", noted[0]], noted, noted[0], "mount point")


def test_working_directory_that_was_removed(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """It is refused with the advice to leave it."""
    gone = script_dir.path("gone")
    gone.mkdir()
    prefix = ["sh", "-c", f'cd {gone}; rmdir {gone}; exec "$@"', "sh"]
    done = pyfreeze.run([ext4], ["true"], prefix=prefix)
    assert done.status == 2
    done.assert_one_line("working directory removed", "cd to another")


def test_directory_that_is_no_mount_point(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """It is refused, and the line names the mount it is on."""
    path = ext4.path("directory")
    path.mkdir(exist_ok=True)
    words = ["--mount", str(path)]
    refuse(pyfreeze, script_dir, words, noted, str(path), ext4.mount_point)


def test_tmpfs(script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]) -> None:
    """A filesystem that cannot be frozen is refused by its type."""
    directory = script_dir.path("tmpfs")
    directory.mkdir()
    tool("mount", "-t", "tmpfs", "none", str(directory))
    try:
        refuse(pyfreeze, script_dir, ["--mount", str(directory)], noted, str(directory), "tmpfs")
    finally:
        tool("umount", str(directory))


def test_relative_path(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """A relative path is refused."""
    relative = ext4.mount_point.lstrip("/")
    refuse(pyfreeze, script_dir, ["--mount", relative], noted, relative, "absolute")


@pytest.fixture
def twin(ext4: Disk, script_dir: ScriptDir) -> Iterator[str]:
    """A bind mount of the same filesystem."""
    directory = script_dir.path("twin")
    directory.mkdir()
    tool("mount", "--bind", ext4.mount_point, str(directory))
    yield str(directory)
    tool("umount", str(directory))


@pytest.mark.parametrize("second", ["same", "slash", "dots", "symlink", "bind"])
def test_filesystem_named_twice(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str], twin: str, second: str
) -> None:
    """One filesystem by two names is refused."""
    link = script_dir.path("link")
    link.symlink_to(ext4.mount_point)
    again = {
        "same": ext4.mount_point,
        "slash": ext4.mount_point + "/",
        "dots": ext4.mount_point + "/./",
        "symlink": str(link),
        "bind": twin,
    }[second]
    words = ["--mount", ext4.mount_point, "--mount", again]
    refuse(pyfreeze, script_dir, words, noted, ext4.mount_point)


@pytest.mark.parametrize("way", ["symlink", "slash", "bind"])
def test_other_names_of_a_mount_point_work(
    disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze, way: str
) -> None:
    disk = disks["ext4"]
    directory = script_dir.path("other")
    if way == "bind":
        directory.mkdir()
        tool("mount", "--bind", disk.mount_point, str(directory))
    else:
        directory.symlink_to(disk.mount_point)
    name = disk.mount_point + "//" if way == "slash" else str(directory)
    try:
        done = pyfreeze("run", "--no-scripts", "--mount", name, "--json", "--", "true")
    finally:
        if way == "bind":
            tool("umount", str(directory))
    assert_facts(done, exit_status=0, consistency="filesystem")
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]


def test_read_only_filesystem(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """It is refused: nothing can be frozen there."""
    tool("mount", "-o", "remount,ro", disk.mount_point)
    try:
        refuse(
            pyfreeze,
            script_dir,
            ["--mount", disk.mount_point],
            noted,
            disk.mount_point,
            "read-only",
        )
    finally:
        tool("mount", "-o", "remount,rw", disk.mount_point)


def test_mount_that_is_skipped_too(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """A mount both named and skipped is refused."""
    words = ["--mount", ext4.mount_point, "--skip", ext4.mount_point]
    refuse(pyfreeze, script_dir, words, noted, ext4.mount_point)


# ---- options and commands ------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "-inf", "abc", "", "1e999", "86401"])
@pytest.mark.parametrize("option", ["--max-window", "--freeze-timeout", "--snapshot-timeout"])
def test_number_of_seconds(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str], option: str, value: str
) -> None:
    """A number out of its bounds, or none, is refused with its option."""
    words = ["--mount", ext4.mount_point, f"{option}={value}"]
    refuse(pyfreeze, script_dir, words, noted, option)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--frobnicate"], "--frobnicate"),
        (["--require", "perfection"], "perfection"),
        (["--max-window"], "--max-window"),
        (["stray"], ""),
    ],
)
def test_wrong_option(
    ext4: Disk,
    script_dir: ScriptDir,
    pyfreeze: Pyfreeze,
    noted: list[str],
    words: list[str],
    named: str,
) -> None:
    """A word that is no option is refused with that word."""
    config = ["--config", script_dir.config(), "--mount", ext4.mount_point, "--json"]
    if named:
        done = pyfreeze("run", *config, *words, "--", *noted)
        assert_refused(done, script_dir, USAGE, named)
    else:
        done = pyfreeze(*words, "--json")
        assert_refused(done, script_dir, USAGE, "stray")


def test_no_command(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Without a command after `--` the run is refused."""
    done = pyfreeze("run", "--mount", ext4.mount_point, "--json")
    assert_refused(done, script_dir, USAGE, "COMMAND")
    done = pyfreeze("run", "--mount", ext4.mount_point, "--json", "--")
    assert_refused(done, script_dir, USAGE, "COMMAND")


def test_command_that_cannot_be_run(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A command that cannot be executed is refused before anything is frozen."""
    plain = script_dir.path("plain")
    plain.write_text("#!/bin/sh\n", encoding="utf-8")
    for name in ("no-such-program-anywhere", "/no/such/program", str(plain), ext4.mount_point):
        refuse(pyfreeze, script_dir, ["--mount", ext4.mount_point], [name], name)


def test_unprivileged_user(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """One line says that root is needed, and nothing is frozen."""
    done = pyfreeze.run([ext4], ["true"], prefix=AS_NOBODY)
    assert_refused(done, script_dir, 1, "root")
    ext4.assert_writable()


# ---- other runs, other tools ---------------------------------------------------------------------


def test_another_run_holds_the_lock(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """The second run ends with 4, and the first one's window goes on."""
    first = pyfreeze.start_run([ext4], [script_dir.waiting_script()], "--max-window", "60")
    wait_until(lambda: script_dir.holds, "the first run is in its window")
    done = pyfreeze.run([ext4], noted, config=script_dir.config())
    assert_refused(done, script_dir, 4, "another run")
    assert ext4.is_frozen()
    script_dir.release()
    assert first.finish().status == 0


def test_frozen_by_somebody_else(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """A failure that names the mount; the foreign freeze is left alone."""
    disk.freeze()
    try:
        done = pyfreeze.run([disk], noted, config=script_dir.config())
        still = disk.is_frozen()
    finally:
        disk.thaw()
    assert still
    assert_facts(done, exit_status=1, consistency="none", code=121)
    done.assert_one_line(disk.mount_point, "somebody else")
    assert not script_dir.exists("snapshot.ran")
    assert script_dir.outcomes == ["none"]


def test_one_of_several_frozen_by_somebody_else(
    disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """What was frozen until then is thawed."""
    foreign, own = disks["xfs"], disks["ext4"]
    foreign.freeze()
    try:
        done = pyfreeze.run([own, foreign], noted)
        assert foreign.is_frozen()
        own.assert_writable()
    finally:
        foreign.thaw()
    assert_facts(done, exit_status=1, code=121)
    assert foreign.mount_point in done.report["message"]


def test_frozen_by_somebody_else_with_crash_fallback(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, noted: list[str]
) -> None:
    """The snapshot is taken, crash-consistent, and it stays frozen."""
    ext4.freeze()
    try:
        done = pyfreeze.run([ext4], noted, "--crash-fallback", config=script_dir.config())
        assert ext4.is_frozen()
    finally:
        ext4.thaw()
    assert_facts(done, exit_status=0, consistency="crash", code=121)
    assert script_dir.exists("snapshot.ran")


def test_thawed_by_somebody_else(disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The run is an error, and the report says which was thawed."""
    done = pyfreeze.run([disk], ["fsfreeze", "-u", disk.mount_point], config=script_dir.config())
    report = done.report
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert [f["outcome"] for f in report["window"]["filesystems"]] == ["foreign-thaw"]
    done.assert_one_line(disk.mount_point, "somebody else thawed")
    assert script_dir.outcomes == ["failed"]


def test_thawed_and_frozen_again_by_somebody_else(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The kernel cannot tell, so neither can we; but nothing is left frozen."""
    again = f'fsfreeze -u "{ext4.mount_point}"; fsfreeze -f "{ext4.mount_point}"'
    done = pyfreeze.run([ext4], [script_dir.script("again", again)])
    assert done.report["window"]["filesystems"][0]["outcome"] == "thawed"
    ext4.assert_writable()


# ---- configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "content", "code"),
    [(0o644, None, 317), (0o600, "{", 305), (0o600, '{"pluginName": 7}', 305)],
)
def test_script_configuration_that_is_not_to_be_trusted(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, mode: int, content: str | None, code: int
) -> None:
    """Scripts do not run, and the report says so loudly."""
    config = Path(script_dir.config())
    if content is not None:
        config.write_text(content, encoding="utf-8")
    config.chmod(mode)
    done = pyfreeze.run([ext4], ["true"], config=str(config))
    assert_facts(done, exit_status=0, consistency="filesystem", code=code)
    done.assert_one_line(str(config))
    assert not script_dir.exists("pre.ran")
    assert script_dir.outcomes == []


def test_script_in_a_directory_that_others_can_write_to(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The script is refused with 306 and does not run."""
    directory = script_dir.path("open")
    directory.mkdir()
    script = directory / "pre"
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o700)
    config = script_dir.config(str(script))
    os.chmod(directory, 0o1777)
    done = pyfreeze.run([ext4], ["true"], config=config)
    assert_facts(done, exit_status=0, code=306)
    done.assert_one_line(str(directory))
    assert script_dir.outcomes == []
