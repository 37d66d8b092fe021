"""The commands around a backup: check, init, explain, and run --dry-run."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyfreeze._model.codes import CODES
from tests.support.command import Done, Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.processes import AS_NOBODY
from tests.support.script_dir import ScriptDir


def check_rows(done: Done) -> list[dict[str, Any]]:
    return list(json.loads(done.out)["rows"])


def problems(done: Done) -> list[tuple[str, int]]:
    return [(row["topic"], row["code"]) for row in check_rows(done) if row["grade"] == "problem"]


# ---- check ---------------------------------------------------------------------------------------


def test_check_of_a_good_configuration(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Each thing looked at is in the table, and no script has run."""
    words = ["check", "--config", script_dir.config(), "--mount", ext4.mount_point]
    done = pyfreeze(*words, "--json")
    assert problems(done) == []
    assert done.status == 0
    rows = check_rows(done)
    subjects = {(row["topic"], row["grade"], row["subject"]) for row in rows}
    assert ("filesystems", "ok", ext4.mount_point) in subjects
    assert ("scripts", "ok", str(script_dir.path("pre"))) in subjects
    assert ("privileges", "ok", "CAP_SYS_ADMIN") in subjects
    assert ("supervisor", "ok", "pyfreeze-supervisor") in subjects
    assert not script_dir.exists("pre.ran"), "a check runs no script"
    table = pyfreeze(*words)
    assert table.status == 0
    assert "ready" in table.out
    assert ext4.mount_point in table.out


def test_check_names_every_problem_at_once(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    pre = script_dir.script("pre", "true")
    Path(pre).chmod(0o755)
    config = script_dir.config(pre, str(script_dir.path("missing")))
    done = pyfreeze("check", "--config", config, "--mount", ext4.mount_point, "--json")
    assert done.status == 1
    assert sorted(problems(done)) == [("configuration", 303), ("configuration", 306)]
    table = pyfreeze("check", "--config", config, "--mount", ext4.mount_point)
    assert table.status == 1
    assert "not ready: 2 problems" in table.out


def test_check_of_a_mount_that_is_none(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A directory that is no mount point is a problem of the filesystems."""
    done = pyfreeze("check", "--mount", str(script_dir.directory), "--json")
    assert problems(done) == [("filesystems", 2)]
    assert done.status == 1


def test_check_without_privileges(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Without root, the privileges are a problem."""
    prefix = AS_NOBODY
    done = pyfreeze("check", "--json", prefix=prefix)
    assert done.status == 1
    assert ("privileges", 2) in problems(done)


def test_check_warns_of_who_answers_permission_events(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    listener = subprocess.Popen(
        [sys.executable, "-c", _LISTENER, ext4.mount_point], stdout=subprocess.PIPE, text=True
    )
    try:
        assert listener.stdout is not None
        if listener.stdout.readline().strip() != "listens":
            pytest.fail("fanotify permission events are not to be had")
        done = pyfreeze("check", "--mount", ext4.mount_point, "--json")
        warnings = [row for row in check_rows(done) if row["topic"] == "listeners"]
        ours = [row for row in warnings if f"(process {listener.pid})" in row["subject"]]
        assert len(ours) == 1  # others may listen on this machine as well
        assert done.status == 0, "a warning, no problem"
    finally:
        listener.send_signal(signal.SIGKILL)
        listener.communicate(timeout=60)


# Marks a directory for FAN_OPEN_PERM in which nobody opens anything, and stays.
_LISTENER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
group = libc.fanotify_init(0x4, 0)
mark = libc.fanotify_mark
path = sys.argv[1] + "/watched"
os.makedirs(path, exist_ok=True)
good = group >= 0 and mark(group, 1, ctypes.c_uint64(0x10000), -100, path.encode()) == 0
print("listens" if good else os.strerror(ctypes.get_errno()), flush=True)
time.sleep(600)
"""


# ---- init ----------------------------------------------------------------------------------------


def test_init_writes_what_check_accepts_and_run_runs(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    directory = script_dir.path("azure")
    done = pyfreeze("init", "--directory", str(directory))
    assert done.status == 0, done.err
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()}
    assert modes == {
        "VMSnapshotScriptPluginConfig.json": 0o600,
        "pre-script.sh": 0o700,
        "post-script.sh": 0o700,
    }
    config = str(directory / "VMSnapshotScriptPluginConfig.json")
    assert pyfreeze("check", "--config", config, "--mount", ext4.mount_point).status == 0
    report = pyfreeze.run([ext4], ["true"], config=config).report
    assert_facts(report, consistency="application", code=0)


@pytest.mark.parametrize(
    "name", ["VMSnapshotScriptPluginConfig.json", "pre-script.sh", "post-script.sh"]
)
def test_init_overwrites_nothing(name: str, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    script_dir.path(name).symlink_to("/nowhere")
    done = pyfreeze("init", "--directory", str(script_dir.directory))
    assert done.status == 2
    done.assert_one_line(str(script_dir.path(name)), "exists")
    assert os.listdir(script_dir.directory) == [name], "all or nothing"


def test_init_in_an_unsafe_directory(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A directory that others can write to gets no scripts."""
    script_dir.directory.chmod(0o777)
    done = pyfreeze("init", "--directory", str(script_dir.path("azure")))
    assert done.status == 1
    done.assert_one_line(str(script_dir.directory), "only root can write to")
    assert not script_dir.exists("azure")


# ---- explain -------------------------------------------------------------------------------------


def test_explain_tells_all(pyfreeze: Pyfreeze) -> None:
    """Without a word `explain` lists every code."""
    done = pyfreeze("explain", "--json")
    assert [row["number"] for row in json.loads(done.out)] == list(CODES)
    assert len(pyfreeze("explain").out.splitlines()) == 3 * len(CODES)


@pytest.mark.parametrize(
    "name", ["308", "FailedPrepostPreScriptTimeout", "Pre-ScriptTimeout", "pre-scripttimeout"]
)
def test_explain_by_number_and_either_name(name: str, pyfreeze: Pyfreeze) -> None:
    done = pyfreeze("explain", name)
    assert done.status == 0
    assert done.out.startswith("308 FailedPrepostPreScriptTimeout (Pre-ScriptTimeout)")


def test_explain_of_no_code_names_the_nearest(pyfreeze: Pyfreeze) -> None:
    done = pyfreeze("explain", "Pre-ScriptTimout")
    assert done.status == 2
    done.assert_one_line("Pre-ScriptTimeout")


# ---- run --dry-run -------------------------------------------------------------------------------


def test_a_dry_run_tells_everything_and_does_nothing(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    words = ["run", "--config", script_dir.config(), "--mount", ext4.mount_point, "--dry-run"]
    command = ["sh", "-c", f"touch {script_dir.path('taken')}"]
    done = pyfreeze(*words, "--json", "--", *command)
    plan = json.loads(done.out)
    assert done.status == 0
    assert_facts(plan, takes_snapshot=True, freezes=True)
    assert [f["mount"] for f in plan["filesystems"]] == [ext4.mount_point]
    assert plan["snapshot"]["argv"] == command
    assert [s["path"] for s in plan["pre_scripts"]] == [str(script_dir.path("pre"))]
    assert {"mount": "/proc", "reason": "pseudo filesystem (proc)"} in plan["skipped"]
    text = pyfreeze(*words, "--", *command).out
    steps = [line for line in text.splitlines() if line[:1].isdigit()]
    verbs = [line.split()[1].rstrip(",") for line in steps]
    assert verbs == ["Write", "Run", "Flush", "Take", "Thaw", "Run"]
    assert not script_dir.exists("taken")
    assert not script_dir.exists("pre.ran")


def test_a_dry_run_of_everything_may_look_at_the_whole_machine(pyfreeze: Pyfreeze) -> None:
    done = pyfreeze("run", "--no-scripts", "--dry-run", "--json", "--", "true")
    assert done.status == 0
    plan = json.loads(done.out)
    levels = [f["level"] for f in plan["filesystems"]]
    assert levels == sorted(levels)
