"""Two hundred filesystems: all in one window, in order, or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk, Disks, tool
from tests.support.facts import assert_facts
from tests.support.processes import helpers
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_COUNT = 200
_IMAGE_BYTES = 2 << 20
_MOUNT = """
n=0
while [ $n -lt $1 ]; do
    mkdir $2/m$n
    mount -t ext4 -o loop $2/$n.img $2/m$n
    n=$((n + 1))
done
"""


class Many:
    """A disk with the images of 199 others on it. Not in Disk.mounted, where each costs a probe."""

    def __init__(self, bottom: Disk) -> None:
        self.bottom = bottom
        first = bottom.path("0.img")
        with first.open("xb") as file:
            file.truncate(_IMAGE_BYTES)
        tool("mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(first))
        for number in range(1, _COUNT - 1):
            shutil.copy(first, bottom.path(f"{number}.img"))
        tool("sh", "-euc", _MOUNT, "sh", str(_COUNT - 1), bottom.mount_point)
        points = [str(bottom.path(f"m{number}")) for number in range(_COUNT - 1)]
        self.uppers = [Disk("ext4", first, point) for point in points]

    @property
    def all(self) -> list[Disk]:
        return [self.bottom, *self.uppers]

    def close(self) -> None:
        tool("umount", *(disk.mount_point for disk in self.uppers))


def left_frozen(disks: Sequence[Disk]) -> list[Disk]:
    """Those that can be thawed, and are: unlike freezing each to see, this takes no time."""
    found = []
    for disk in disks:
        fd = os.open(disk.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            Disk.thaw_by(fd)
        except OSError:
            continue
        else:
            found.append(disk)
        finally:
            os.close(fd)
    return found


@pytest.fixture(scope="module")
def many(disks: Disks) -> Iterator[Many]:
    made = Many(disks["xfs"])
    yield made
    made.close()


def test_all_in_one_window(many: Many, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """However many there are, what lies on another before it; each is frozen, and thawed."""
    look = 'for m in "$@"; do ! fsfreeze -f "$m" 2>/dev/null || echo "$m is not frozen"; done'
    points = [disk.mount_point for disk in many.all]
    command = [script_dir.script("snapshot", look), *points]
    done = pyfreeze.run(many.all, command, "--max-window", "60", config=script_dir.config())
    assert_facts(done, exit_status=0, consistency="application")
    assert done.report["snapshot"]["output"] == ""
    found = done.report["window"]["filesystems"]
    assert {f["mount"]: f["level"] for f in found} == {
        point: int(point == many.bottom.mount_point) for point in points
    }
    assert {f["outcome"] for f in found} == {"thawed"}
    assert left_frozen(many.all) == []


def test_one_of_them_frozen_by_somebody_else(many: Many, pyfreeze: Pyfreeze) -> None:
    """All others are thawed again, and the line names that one."""
    foreign = many.uppers[_COUNT // 2]
    foreign.freeze()
    try:
        done = pyfreeze.run(many.all, ["true"])
        assert foreign.is_frozen()
    finally:
        found = left_frozen(many.all)
    assert found == [foreign]
    assert_facts(done, exit_status=1, code=121)
    done.assert_one_line(foreign.mount_point, "somebody else")


@pytest.mark.parametrize(
    "limit", [["--nofile=100"], ["--memlock=6000000"]], ids=["descriptors", "locked-memory"]
)
def test_with_little(
    limit: list[str], many: Many, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Without the descriptors nothing begins; without locked memory it works."""
    caps = "-sys_resource,-ipc_lock"
    without = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"]
    prefix = ["prlimit", *limit, *without]
    done = pyfreeze.run(many.all, ["true"], config=script_dir.config(), prefix=prefix)
    if limit == ["--nofile=100"]:
        assert_facts(done, exit_status=1, consistency="none")
        done.assert_one_line("Too many open files")
        assert not script_dir.exists("pre.ran")
    else:
        assert_facts(done, exit_status=0, consistency="application")


def test_client_killed(many: Many, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The supervisor thaws all of them."""
    command = script_dir.blocking_command()
    running = pyfreeze.start_run(many.all, command, "--max-window", "300")
    wait_until(lambda: script_dir.stays, "the snapshot command runs")
    running.kill()
    wait_until(lambda: not helpers(), "the supervisor has thawed and ends")
    assert left_frozen(many.all) == []
