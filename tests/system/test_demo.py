"""`pyfreeze demo`, for real: it proves its snapshot, it can fail, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyfreeze._demo.needs import missing
from tests.support.command import HANG_S, Pyfreeze
from tests.support.needs import need
from tests.support.processes import AS_NOBODY
from tests.support.waiting import wait_until

_SEED = 20
_LONGEST_DEMO_S = 1.0


@pytest.fixture(autouse=True)
def able(able_machine: None) -> None:
    need(one.name for one in missing())


def traces() -> list[str]:
    """Processes that are, or mounts that are seen, in a demo's namespace; its loop devices."""
    found = []
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if "pyfreeze-demo" in path.read_text(encoding="utf-8", errors="replace"):
                found.append(path.parent.name)
        except OSError:
            continue  # gone
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if "/run/pyfreeze/demo/" in path.read_text(encoding="utf-8", errors="replace"):
                found.append(path.parts[3])
        except OSError:
            continue
    return found


def assert_no_trace() -> None:
    # A namespace's last unmounts are the kernel's, shortly after its last process.
    wait_until(lambda: not traces(), "nothing is left of the demo")


def inside(program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a process of its own, which may enter a namespace."""
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=True,
        cwd="/",
    )


def test_every_proof_holds(pyfreeze: Pyfreeze) -> None:
    done = pyfreeze("demo", "--json")
    assert done.status == 0, done.err
    report = done.report
    assert report["consistency"] == "application"
    assert report["code"] == 0
    assert report["holds"] is True
    assert [proof["name"] for proof in report["proofs"] if not proof["holds"]] == []
    assert len(report["proofs"]) == 17
    assert {f["fstype"] for f in report["window"]["filesystems"]} == {"ext4", "xfs"}
    assert report["writer"]["orders"] > 600
    assert report["writer"]["longest_ms"] >= report["writer"]["snapshot_ms"] > 0
    assert_no_trace()


def test_plain_text_on_a_pipe(pyfreeze: Pyfreeze) -> None:
    """Without a terminal there is neither colour nor a line beyond 80 columns."""
    done = pyfreeze("demo", environment={"COLUMNS": "80"})
    assert done.status == 0
    assert done.err == ""
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert "application-consistent" in done.out


def test_the_images_can_be_kept(pyfreeze: Pyfreeze, tmp_path: Path) -> None:
    done = pyfreeze("demo", "--json", "--keep", str(tmp_path / "new"))
    assert done.status == 0, done.err
    kept = [Path(path) for path in done.report["kept"]]
    assert sorted(tmp_path.glob("new/*")) == sorted(kept)
    check = ["e2fsck", "-fn", str(next(path for path in kept if path.name == "orders.img"))]
    subprocess.run(check, check=True, capture_output=True, timeout=HANG_S)


def test_what_is_hidden_cannot_be_kept_in(pyfreeze: Pyfreeze) -> None:
    done = pyfreeze("demo", "--keep", "/run/pyfreeze/kept")
    assert done.status == 2
    done.assert_one_line("/run/pyfreeze/kept")


def test_a_real_run_is_not_met(pyfreeze: Pyfreeze) -> None:
    program = """
        import subprocess, sys
        from pyfreeze._core.pages import take_lock
        lock = take_lock("/run/pyfreeze")
        sys.exit(subprocess.run([sys.executable, "-m", "pyfreeze", "demo"]).returncode)
    """
    assert "application-consistent" in inside(program).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_a_signal_at_any_moment(
    pyfreeze: Pyfreeze, number: signal.Signals
) -> None:
    moments = random.Random(_SEED)
    statuses = set()
    for _ in range(12):
        running = pyfreeze.start("demo")
        try:
            running.process.wait(moments.uniform(0, _LONGEST_DEMO_S))
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, number)  # as a terminal does
        done = running.finish()
        statuses.add(done.status)
        # Before the command can listen to signals, Python ends by them in its own way.
        assert done.status in {0, 128 + number, -number}, done.err
        if done.status == 128 + number:
            done.assert_one_line(f"ended by {number.name}")
        assert_no_trace()
    assert statuses != {0}


def test_without_privileges_it_says_what_is_missing(pyfreeze: Pyfreeze) -> None:
    done = pyfreeze("demo", "--json", prefix=AS_NOBODY)
    assert done.status == 1
    assert "missing: root" in done.err
    assert [one["name"] for one in done.report["missing"]] == ["root"]
    assert done.report["holds"] is False


def test_missing_programs_are_named_with_their_packages(tmp_path: Path) -> None:
    program = f"""
        import sys
        from pyfreeze._base import programs
        programs.CLEAN_ENVIRONMENT["PATH"] = {str(tmp_path)!r}
        from pyfreeze._cli.main import run
        status = run(["demo"])
        assert status == 1
    """
    said = inside(program).stderr
    assert re.search(r"mkfs\.xfs +not installed \(Debian package: xfsprogs\)", said)
    assert re.search(r"e2fsck +not installed \(Debian package: e2fsprogs\)", said)
    assert_no_trace()


# ---- proofs that must fail ----------------------------------------------------------------------


def failing(program: str) -> Sequence[str]:
    found: Sequence[str] = json.loads(inside(program).stdout)
    assert_no_trace()
    return found


def test_without_the_pre_script_the_proofs_fail() -> None:
    names = failing("""
        import json
        from pyfreeze._demo.play import play
        result = play(lambda text: None, scripts=False)
        assert not result.holds
        print(json.dumps([proof.name for proof in result.proofs if not proof.holds]))
    """)
    assert "consistency level" in names
    assert "orders.db: all before the pause" in names
    assert "orders taken during the freeze" in names
    assert "e2fsck -fn orders.img" not in names


_ON_AN_XFS = """
    import json, os
    import pyfreeze
    from pyfreeze._demo import proof
    from pyfreeze._demo.stage import (
        AUDIT, SNAPSHOT_COMMAND, STAGE, VOLUMES, mounted_image, run_tool, stage
    )

    with stage():
        for number in range(100):
            with open(os.path.join(AUDIT.mount_point, str(number)), "w") as file:
                file.write("x")
                os.fsync(file.fileno())
        if {frozen}:
            with pyfreeze.frozen([volume.mount_point for volume in VOLUMES]):
                run_tool(*SNAPSHOT_COMMAND)
        else:
            run_tool(*SNAPSHOT_COMMAND)
        with open(AUDIT.snapshot, "r+b") as file:
            file.seek(512)  # the header of allocation group 0's free space
            file.write({damage})
        found = [one.name for one in proof.xfs_clean(AUDIT, AUDIT.snapshot, STAGE) if not one.holds]
        if not found:
            with mounted_image(AUDIT.snapshot, AUDIT.snapshot_mount_point, AUDIT.snapshot_options):
                found = [f"{{len(os.listdir(AUDIT.snapshot_mount_point))}} files"]
        print(json.dumps(found))
"""


def test_a_frozen_xfs_is_clean_and_complete() -> None:
    assert failing(_ON_AN_XFS.format(frozen=True, damage=b"")) == ["100 files"]


def test_an_xfs_that_was_not_frozen_lacks_what_is_in_its_log() -> None:
    assert failing(_ON_AN_XFS.format(frozen=False, damage=b"")) != ["100 files"]


def test_a_damaged_xfs_is_not_clean() -> None:
    names = ["xfs_repair -n audit.img", "the same after a mount"]
    assert failing(_ON_AN_XFS.format(frozen=True, damage=bytes(4))) == names


def test_nothing_else_is_ever_frozen() -> None:
    # Something else is mounted over the script_dir: the demo refuses.
    said = inside("""
        from pyfreeze._demo import play
        from pyfreeze._demo.namespace import mount_tmpfs
        from pyfreeze._demo.stage import ORDERS, is_ours, stage
        with stage():
            assert is_ours(ORDERS)
            mount_tmpfs(ORDERS.mount_point, 1 << 20)
            print(is_ours(ORDERS))
    """).stdout
    assert said == "False\n"
    assert_no_trace()
