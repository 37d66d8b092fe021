"""Files that no document names: a clear error with its code, never a script run from them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.command import Done, Pyfreeze
from tests.support.disks import Disk, tool
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir

REFUSED = {304, 305, 306, 307, 313, 314, 315, 316, 317, 318}


def run(pyfreeze: Pyfreeze, disk: Disk, *words: str) -> Done:
    return pyfreeze("run", *words, "--mount", disk.mount_point, "--json", "--", "true")


def check_refused(done: Done, script_dir: ScriptDir, code: int, *says: str) -> None:
    """Surfaced with its code, in a sentence that names the thing; no script has run."""
    report = done.report
    assert_facts(done, exit_status=0, code=code, consistency="filesystem")
    for word in says:
        assert word in report["message"], report["message"]
    assert "Traceback" not in done.err
    assert report["scripts"] == []
    assert not script_dir.exists("pre.ran")
    assert script_dir.outcomes == []


# ---- the script configuration as something else --------------------------------------------------


def test_a_directory(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A directory in the configuration's place is refused with 305."""
    script_dir.path("c.json").mkdir(mode=0o700)
    done = run(pyfreeze, ext4, "--config", str(script_dir.path("c.json")))
    check_refused(done, script_dir, 305, "c.json", "a directory", "a regular file")


def test_a_fifo_does_not_block(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    os.mkfifo(script_dir.path("c.json"), 0o600)
    done = run(pyfreeze, ext4, "--config", str(script_dir.path("c.json")))
    check_refused(done, script_dir, 305, "c.json", "a FIFO")


def test_a_device(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A character device in the configuration's place is refused and not read."""
    os.mknod(script_dir.path("c.json"), 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    done = run(pyfreeze, ext4, "--config", str(script_dir.path("c.json")))
    check_refused(done, script_dir, 305, "a character device")


def test_a_symlink_into_a_directory_that_all_may_write(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The target's directory is what is not to be trusted."""
    real = Path(script_dir.config())
    shared = script_dir.path("shared")
    shared.mkdir()
    shared.chmod(0o1777)
    real.rename(shared / "c.json")
    script_dir.path("link").symlink_to(shared / "c.json")
    done = run(pyfreeze, ext4, "--config", str(script_dir.path("link")))
    check_refused(done, script_dir, 317, str(shared), "mode 1777")


def test_a_symlink_out_of_a_directory_that_all_may_write(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The link's directory is what is not to be trusted."""
    real = script_dir.config()
    shared = script_dir.path("shared")
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "link").symlink_to(real)
    done = run(pyfreeze, ext4, "--config", str(shared / "link"))
    check_refused(done, script_dir, 317, str(shared))


def test_a_symlink_between_safe_directories_works(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    script_dir.path("link").symlink_to(script_dir.config())
    done = run(pyfreeze, ext4, "--config", str(script_dir.path("link")))
    assert_facts(done, exit_status=0, consistency="application")


def test_a_loop_of_symlinks(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A loop is refused with 305."""
    script_dir.path("a").symlink_to(script_dir.path("b"))
    script_dir.path("b").symlink_to(script_dir.path("a"))
    done = run(pyfreeze, ext4, "--config", str(script_dir.path("a")))
    check_refused(done, script_dir, 305, "symlinks")


def test_a_directory_of_somebody_else_above(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A directory above that is not root's is refused with 318."""
    path = script_dir.config()
    os.chown(script_dir.directory, 65534, 0)
    done = run(pyfreeze, ext4, "--config", path)
    check_refused(done, script_dir, 318, str(script_dir.directory), "uid 65534")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b" " * (50 << 20), "52428800 bytes"),
        (b'{"pluginName": "\xff\xfe"}', "UTF-8"),
        (b"", "column 1"),
        (b'{"timeoutInSeconds": 1, "timeoutInSeconds": 2}', "timeoutInSeconds"),
        (b"[" * 100_000, "deep"),
        (b"null", "object"),
    ],
    ids=["50 MB", "not UTF-8", "empty", "duplicate keys", "nested", "no object"],
)
def test_content(
    content: bytes, says: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Bytes that are no configuration are refused with 305, and the line says what is wrong."""
    path = Path(script_dir.config())
    path.write_bytes(content)
    check_refused(run(pyfreeze, ext4, "--config", str(path)), script_dir, 305, str(path), says)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("timeoutInSeconds", "NaN", "$.timeoutInSeconds"),
        ("timeoutInSeconds", "1e999", "$.timeoutInSeconds"),
        ("timeoutInSeconds", "-Infinity", "$.timeoutInSeconds"),
        ("timeoutInSeconds", "0", "$.timeoutInSeconds"),
        ("timeoutInSeconds", '"30"', "$.timeoutInSeconds"),
        ("timeoutInSeconds", "true", "$.timeoutInSeconds"),
        ("timeoutInSeconds", "9" * 5000, "$.timeoutInSeconds"),
        ("preScriptLocation", '"pre.sh"', "$.preScriptLocation"),
        ("preScriptLocation", '""', "$.preScriptLocation"),
        ("preScriptLocation", '"/a\\u0000b"', "$.preScriptLocation"),
        ("preScriptParams", '["a\\u0000b"]', "$.preScriptParams[0]"),
        ("preScriptParams", "[null]", "$.preScriptParams[0]"),
        ("preScriptParams", '"a b"', "$.preScriptParams"),
        ("preScriptNoOfRetries", "1.5", "$.preScriptNoOfRetries"),
        ("preScriptNoOfRetries", "-1", "$.preScriptNoOfRetries"),
        ("continueBackupOnFailure", "1", "$.continueBackupOnFailure"),
        ("pluginName", '"Other"', "$.pluginName"),
    ],
)
def test_value(
    key: str, value: str, says: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A value that is wrong is refused with 305, and the line names its key."""
    path = Path(script_dir.config())
    content = json.loads(path.read_text(encoding="utf-8"))
    content[key] = "@"
    path.write_text(json.dumps(content).replace('"@"', value), encoding="utf-8")
    check_refused(run(pyfreeze, ext4, "--config", str(path)), script_dir, 305, str(path), says)


def test_an_unknown_key_is_only_a_warning(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    done = run(pyfreeze, ext4, "--config", script_dir.config(timeoutInSecond=3))
    assert_facts(done, exit_status=0, code=0)
    (note,) = done.report["notes"]
    assert "timeoutInSecond" in note["message"]
    assert "timeoutInSeconds" in note["message"], "the nearest known key"
    assert done.report["scripts"][0]["timeout_s"] == 30


# ---- scripts -------------------------------------------------------------------------------------


def test_a_script_without_a_first_line(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A script without #! fails with 300, and the message says what it needs."""
    pre = script_dir.script("pre", "echo hello", first_line="")
    done = run(pyfreeze, ext4, "--config", script_dir.config(pre))
    assert done.report["code"] == 300
    assert "#! line" in done.report["message"]


def test_a_script_on_a_noexec_mount(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A script that the mount does not let run is refused with 306."""
    script_dir.path("noexec").mkdir(mode=0o700)
    tool("mount", "-t", "tmpfs", "-o", "noexec,mode=700", "none", str(script_dir.path("noexec")))
    try:
        pre = script_dir.path("noexec/pre")
        pre.write_text("#!/bin/sh\n", encoding="utf-8")
        pre.chmod(0o700)
        done = run(pyfreeze, ext4, "--config", script_dir.config(str(pre)))
        check_refused(done, script_dir, 306, str(pre), "noexec")
    finally:
        tool("umount", str(script_dir.path("noexec")))


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_a_script_that_is_none(
    kind: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A directory or a FIFO in a script's place is refused with 306."""
    path = script_dir.path("pre")
    if kind == "directory":
        path.mkdir(mode=0o700)
    else:
        os.mkfifo(path, 0o700)
    done = run(pyfreeze, ext4, "--config", script_dir.config(str(path)))
    check_refused(done, script_dir, 306, str(path))


# ---- the INI files -------------------------------------------------------------------------------


def conf(script_dir: ScriptDir, name: str, content: bytes) -> str:
    path = script_dir.path(name)
    path.write_bytes(content)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[pre_post]\nnumberOfPlugins = many\n", "numberOfPlugins"),
        (b"[pre_post]\nnumberOfPlugins = 1\n", "pluginConfigPath0"),
        (b"[pre_post]\nnumberOfPlugins = 0\nnumberofplugins = 1\n", "numberofplugins"),
        (b"no section = 1\n", "line 1"),
        (b"[pre_post]\ntimeoutInSeconds = nan\nnumberOfPlugins = 0\n", "timeoutInSeconds"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_host_configuration(
    content: bytes, says: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A host configuration that is wrong is refused with 304, and the line says why."""
    path = conf(script_dir, "host.conf", content)
    done = run(pyfreeze, ext4, "--host-config", path)
    assert says.lower() in done.report["message"].lower()
    check_refused(done, script_dir, 304, path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[SnapshotThread]\ntimeout = soon\n", "timeout"),
        (b"[SnapshotThread]\ntimeout = -1\n", "timeout"),
        (b"[SnapshotThread]\nSafeFreezeWaitInSeconds = 1e999\n", "SafeFreezeWaitInSeconds"),
        (b"[SnapshotThread\n", "line 1"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_freeze_configuration_stops_the_run(
    content: bytes, says: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    path = conf(script_dir, "freeze.conf", content)
    done = run(pyfreeze, ext4, "--freeze-config", path, "--config", script_dir.config())
    report = done.report
    assert_facts(done, exit_status=1, code=2, consistency="none")
    assert path in report["message"]
    assert says.lower() in report["message"].lower()
    assert report["scripts"] == []


def test_freeze_configuration_and_the_options_that_win(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The file's times hold, and an option wins over them."""
    text = "[SnapshotThread]\ntimeout = 7\nSafeFreezeWaitInSeconds = 3\n"
    text += f"MountsToSkip = {ext4.mount_point}\n"
    path = conf(script_dir, "freeze.conf", text.encode())
    words = ["--freeze-config", path, "--config", script_dir.config()]
    window = run(pyfreeze, ext4, *words).report["window"]
    assert_facts(window, max_window_s=7, freeze_timeout_s=3)
    window = run(pyfreeze, ext4, *words, "--max-window", "4", "--freeze-timeout", "2").report[
        "window"
    ]
    assert_facts(window, max_window_s=4, freeze_timeout_s=2)


# ---- anything at all -----------------------------------------------------------------------------

RANDOM = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@RANDOM
@given(content=st.binary(max_size=200), option=st.sampled_from(["config", "host", "freeze"]))
def test_arbitrary_bytes(
    content: bytes, option: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A clear error with its code or a valid configuration, never a traceback."""
    path = conf(script_dir, "any", content)
    words = [f"--{option}" if option == "config" else f"--{option}-config", path]
    done = run(pyfreeze, ext4, *words)
    report = done.report
    assert "Traceback" not in done.err
    assert report["scripts"] == []
    assert report["code"] in REFUSED | {1, 2}
    assert report["code"] == 1 or path in report["message"]
