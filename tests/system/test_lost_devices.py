"""Devices that vanish or can take no more: an error that names the filesystem, and no freeze."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import FSTYPES, Disk, Disks, tool
from tests.support.facts import assert_facts
from tests.support.processes import helpers
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_FITHAW = 0xC0045878
_FILL = "dd if=/dev/zero bs=64k of={}/filler 2>/dev/null || true"


class Doomed:
    """A filesystem on a device that will be lost, opened while it can still be opened."""

    def __init__(self, fstype: str, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        tool("mount", "-t", "tmpfs", "-o", "size=600m", "none", str(directory))
        self.disk = Disk(fstype, directory / "image", str(directory / "mounted"))
        self.disk.make()
        self.disk.mount()
        Disk.mounted.remove(self.disk)  # it will not be writable to the end
        self.disk.path("data").write_bytes(bytes(50_000))
        tool("sync", "-f", self.disk.mount_point)
        self.device = tool("findmnt", "-no", "SOURCE", self.disk.mount_point).strip()
        self.fd = os.open(self.disk.mount_point, os.O_RDONLY | os.O_DIRECTORY)

    @property
    def vanish(self) -> str:
        """A shell command after which the device has no sectors any more."""
        return f"truncate -s 0 {self.disk.image} && losetup -c {self.device}"

    @property
    def fill(self) -> str:
        """A shell command that uses up the filesystem of the backing file."""
        return _FILL.format(self.directory)

    def write(self) -> None:
        """More than has room anywhere, into the page cache."""
        with contextlib.suppress(OSError), self.disk.path("dirty").open("wb") as file:
            file.write(os.urandom(1 << 20))

    def give_up(self) -> None:
        """XFS tries again for ever, and a FIFREEZE waits for it; other filesystems need no word."""
        for retries in Path("/sys/fs/xfs").glob(f"{Path(self.device).name}/error/*/*/max_retries"):
            retries.write_text("0", encoding="ascii")

    def assert_thawed(self) -> None:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            fcntl.ioctl(self.fd, _FITHAW, 0)

    def close(self) -> None:
        self.give_up()
        os.close(self.fd)
        tool("umount", "-l", self.disk.mount_point)
        self.disk.wait_until_free()
        tool("umount", str(self.directory))
        self.directory.rmdir()


@pytest.fixture(params=FSTYPES)
def doomed(request: pytest.FixtureRequest, script_dir: ScriptDir) -> Iterator[Doomed]:
    made = Doomed(request.param, script_dir.path("doomed"))
    made.give_up()
    yield made
    made.close()


WAYS = pytest.mark.parametrize("how", ["vanish", "fill"])


def lose(doomed: Doomed, how: str) -> str:
    """A shell command that loses the device."""
    return doomed.vanish if how == "vanish" else doomed.fill


@WAYS
def test_before_the_run(
    how: str, doomed: Doomed, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The flush fails, no script has run, and nothing is frozen."""
    subprocess.run(["sh", "-ec", lose(doomed, how)], check=True, timeout=60)
    doomed.write()
    done = pyfreeze.run([doomed.disk], ["true"], config=script_dir.config())
    assert_facts(done, exit_status=1, consistency="none", code=121)
    done.assert_one_line(doomed.disk.mount_point)
    assert not script_dir.exists("pre.ran"), "no application has to wait for nothing"
    doomed.assert_thawed()
    if how == "vanish":  # the first error has made the kernel give it up, in this way or that
        done = pyfreeze.run([doomed.disk], ["true"])
        assert done.status in (1, 2)
        done.assert_one_line(doomed.disk.mount_point)
        doomed.assert_thawed()


@WAYS
def test_in_the_pre_script(
    how: str, doomed: Doomed, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The freeze fails, no snapshot is taken, and nothing stays frozen."""
    write = f"dd if=/dev/urandom of={doomed.disk.mount_point}/dirty bs=1M count=1"
    pre = script_dir.script("pre", f"{lose(doomed, how)}\n{write}\ntrue")
    command = [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]
    done = pyfreeze.run([doomed.disk], command, config=script_dir.config(pre))
    assert_facts(done, exit_status=1, consistency="none", code=121)
    done.assert_one_line(doomed.disk.mount_point)
    assert not script_dir.exists("snapshot.ran")
    assert script_dir.outcomes == ["none"]
    doomed.assert_thawed()


@WAYS
def test_in_the_window(how: str, doomed: Doomed, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """What a snapshot of it is worth only its command can tell; a thaw needs no device."""
    doomed.write()
    done = pyfreeze.run([doomed.disk], ["sh", "-c", lose(doomed, how)], config=script_dir.config())
    assert done.status == 0, done.err
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]
    assert script_dir.outcomes == ["success"]
    doomed.assert_thawed()


def test_xfs_that_waits_for_its_device(
    disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Its log is written, so that nothing fails but the metadata that FIFREEZE waits for."""
    doomed = Doomed("xfs", script_dir.path("doomed"))
    other = disks["ext4"]
    try:
        config = script_dir.config(script_dir.script("pre", doomed.vanish))
        words = ("--freeze-timeout", "1", "--flush-rounds", "0")
        done = pyfreeze.run([other, doomed.disk], ["true"], *words, config=config)
        assert_facts(done, exit_status=5, code=122)
        assert done.report["still_frozen"] == [doomed.disk.mount_point]
        other.assert_writable()
        assert not other.is_frozen()
        assert script_dir.outcomes == ["none"]
    finally:
        doomed.give_up()
        wait_until(lambda: not helpers(), "FIFREEZE fails, and the supervisor ends")
        doomed.assert_thawed()
        doomed.close()
    assert pyfreeze.run([other], ["true"]).status == 0
