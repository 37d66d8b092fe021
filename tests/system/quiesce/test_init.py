"""`pyfreeze init --app`: the scripts as they are copied out."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

import pyfreeze as package
from pyfreeze._quiesce.catalogue import SUMMARIES
from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir


@pytest.mark.parametrize("name", SUMMARIES)
def test_init_writes_what_check_accepts(
    name: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    directory = script_dir.path(name)
    done = pyfreeze("init", "--app", name, "--directory", str(directory))
    assert done.status == 0, done.err
    found = {p.name: (p.stat().st_uid, stat.S_IMODE(p.stat().st_mode)) for p in directory.iterdir()}
    assert found == {
        "VMSnapshotScriptPluginConfig.json": (0, 0o600),
        "pre-script.sh": (0, 0o700),
        "post-script.sh": (0, 0o700),
    }
    config = str(directory / "VMSnapshotScriptPluginConfig.json")
    assert pyfreeze("check", "--config", config, "--mount", ext4.mount_point).status == 0
    assert json.loads(Path(config).read_text(encoding="utf-8"))["appName"]


def test_init_lists_the_applications(pyfreeze: Pyfreeze) -> None:
    done = pyfreeze("init", "--list")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(SUMMARIES)
    told = pyfreeze("init", "--help").out
    assert all(name in told for name in SUMMARIES)


def test_init_of_what_there_is_not(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """An unknown application is refused with the names of those there are."""
    done = pyfreeze("init", "--app", "oracle", "--directory", str(script_dir.path("oracle")))
    assert done.status == 2
    done.assert_one_line('"oracle"', *SUMMARIES)
    assert not script_dir.exists("oracle")


def test_init_of_an_application_overwrites_nothing(
    script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    script_dir.path("post-script.sh").touch()
    done = pyfreeze("init", "--app", "postgresql", "--directory", str(script_dir.directory))
    assert done.status == 2
    done.assert_one_line(str(script_dir.path("post-script.sh")), "exists")
    assert os.listdir(script_dir.directory) == ["post-script.sh"], "all or nothing"


def test_init_warns_of_a_program_that_others_can_change(script_dir: ScriptDir) -> None:
    copy = script_dir.path("pyfreeze")
    shutil.copytree(Path(package.__file__).parent, copy)
    (copy / "_quiesce" / "script.py").chmod(0o666)
    words = ["init", "--app", "postgresql", "--directory", str(script_dir.path("scripts"))]
    code = f"import sys; sys.path.insert(0, {str(script_dir.directory)!r})\n"
    code += f"from pyfreeze.__main__ import main; sys.argv[1:] = {words!r}; sys.exit(main())"
    done = Running([sys.executable, "-c", code]).finish()
    assert done.status == 0, done.err
    warnings = [line for line in done.err.splitlines() if "script.py" in line]
    assert len(warnings) == 1
    assert "mode 0666" in warnings[0]
    assert "warning" in warnings[0]


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_post_script_without_a_pre_script_fails(
    name: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """It waits for nobody: there is no FIFO, and no holder."""
    directory = script_dir.path(name)
    assert pyfreeze("init", "--app", name, "--directory", str(directory)).status == 0
    config = script_dir.config(None, str(directory / "post-script.sh"))
    report = pyfreeze.run([ext4], ["true"], config=config).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "no pre-script of this run has held" in report["scripts"][1]["output"]


def test_the_holders_directory_is_roots_alone(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    hold = Path("/run/pyfreeze/quiesce")
    hold.mkdir(exist_ok=True)
    hold.chmod(0o777)
    directory = script_dir.path("postgresql")
    assert pyfreeze("init", "--app", "postgresql", "--directory", str(directory)).status == 0
    config = str(directory / "VMSnapshotScriptPluginConfig.json")
    try:
        report = pyfreeze.run([ext4], ["true"], config=config).report
    finally:
        hold.chmod(0o700)
    assert report["code"] == 300
    assert f"{hold} with mode 0777" in report["scripts"][0]["output"]
