"""Filesystems in files, on loop devices: the only ones that tests freeze."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.namespace import assert_ours
from tests.support.waiting import holds_within, wait_until

FSTYPES = ("ext4", "xfs", "btrfs")

_MIB = 1 << 20
_SIZES = {"ext4": 64 * _MIB, "xfs": 512 * _MIB, "btrfs": 256 * _MIB}
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
_CHECK = {
    "ext4": ("e2fsck", "-fn"),
    "xfs": ("xfs_repair", "-n"),
    "btrfs": ("btrfs", "check", "--readonly"),
}
#: They only read, and replay no journal.
_COPY_OPTIONS = {
    "ext4": "ro,noload",
    "xfs": "ro,norecovery,nouuid",
    "btrfs": "ro,rescue=nologreplay",
}
_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878


def tool(*words: str, timeout_s: float = 60) -> str:
    """Run a program that must succeed; returns its output."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def mount(*words: str) -> None:
    """Run mount with these words.

    Where others use loop devices too, one may be busy that was free a moment ago: losetup and mount
    claim it while they only look whether they can have it.
    """

    def is_mounted() -> bool:
        try:
            tool("mount", *words)
        except AssertionError as error:
            if "mount point busy" not in str(error):
                raise
            return False
        return True

    wait_until(is_mounted, f"mount {' '.join(words)} finds its device free")


class Disk:
    """One filesystem that may be frozen."""

    #: All that are mounted, for the look around after each test.
    mounted: list[Disk] = []  # noqa: RUF012

    def __init__(self, fstype: str, image: Path, mount_point: str) -> None:
        assert_ours(mount_point)
        self.fstype = fstype
        self.image = image
        self.mount_point = mount_point

    def __repr__(self) -> str:
        return f"<{self.fstype} on {self.mount_point}>"

    def make(self) -> None:
        with self.image.open("xb") as file:
            file.truncate(_SIZES[self.fstype])
        tool(*_MAKE[self.fstype], str(self.image))

    def mount(self, options: str = "loop") -> None:
        Path(self.mount_point).mkdir(exist_ok=True)
        mount("-t", self.fstype, "-o", options, str(self.image), self.mount_point)
        Disk.mounted.append(self)

    def unmount(self) -> None:
        if self in Disk.mounted:
            # What a test has killed may take a moment to let go.
            wait_until(self._try_unmount, f"{self} can be unmounted")
            Disk.mounted.remove(self)
        self.wait_until_free()

    def wait_until_free(self) -> None:
        """Its loop device goes with its last user: whoever still has it open would keep it."""
        wait_until(
            lambda: not tool("losetup", "-j", str(self.image)), f"{self}: its device is free"
        )

    def _try_unmount(self) -> bool:
        done = subprocess.run(
            ["umount", self.mount_point], capture_output=True, timeout=60, check=False
        )
        return done.returncode == 0

    def path(self, name: str) -> Path:
        return Path(self.mount_point, name)

    # ---- frozen or not -----------------------------------------------------------------------

    def start_writing(self) -> subprocess.Popen[bytes]:
        """Begin a small write in another process: it ends when the filesystem lets it."""
        return subprocess.Popen(
            ["/bin/sh", "-c", 'echo x >"$0" && rm "$0"', str(self.path(".probe"))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def is_frozen(self) -> bool:
        """Ask the kernel: freezing what is frozen is EBUSY."""
        fd = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _FIFREEZE, 0)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return True
            raise
        else:
            fcntl.ioctl(fd, _FITHAW, 0)
            return False
        finally:
            os.close(fd)

    def assert_writable(self, timeout_s: float = 15) -> None:
        """Fail if it is frozen, after thawing it, so that the next test finds it as it should."""
        if not is_written(self.start_writing(), timeout_s):
            self.thaw()
            raise AssertionError(f"{self} was left frozen")

    def freeze(self) -> None:
        tool("fsfreeze", "-f", self.mount_point)

    @staticmethod
    def thaw_by(fd: int) -> None:
        """Without starting a program, which may be on what is frozen."""
        fcntl.ioctl(fd, _FITHAW, 0)

    def thaw(self) -> None:
        subprocess.run(["fsfreeze", "-u", self.mount_point], timeout=60, check=False)


def is_written(writing: subprocess.Popen[bytes], timeout_s: float = 15) -> bool:
    """Whether a write that was begun ends well in time. It cannot be killed while it waits."""
    return holds_within(lambda: writing.poll() is not None, timeout_s) and writing.returncode == 0


class Disks:
    """The filesystems of a test module, made when they are first wanted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._made: dict[str, Disk] = {}

    def __getitem__(self, fstype: str) -> Disk:
        """The module's disk of that type, mounted."""
        return self._made[fstype] if fstype in self._made else self.make(fstype, fstype)

    def __contains__(self, name: str) -> bool:
        return name in self._made

    def make(self, name: str, fstype: str, image: Path | None = None) -> Disk:
        """Make a further one; its image may lie on another."""
        script_dir = image or self.directory / f"{name}.img"
        disk = Disk(fstype, script_dir, str(self.directory / name))
        disk.make()
        disk.mount()
        self._made[name] = disk
        return disk

    def drop(self, name: str) -> None:
        disk = self._made.pop(name)
        disk.unmount()
        disk.image.unlink()

    def close(self) -> None:
        for name in reversed(list(self._made)):
            self.drop(name)


# ---- what a copy is worth ------------------------------------------------------------------------


def _needs_a_mount(fstype: str, copy: Path) -> bool:
    """Whether only the next mount puts something right that is no damage.

    xfs_fs_freeze() ends with a superblock in the log, and the superblock's count of free blocks
    lacks what is reserved for delayed allocation. On an ext4, what was deleted while it was open is
    on the list of orphans, and `e2fsck -n` takes it for deleted without a time of deletion.
    """
    if fstype == "ext4":
        superblock = tool("dumpe2fs", "-h", str(copy))
        assert "needs_recovery" not in superblock, "there is a journal to replay"
        return "First orphan inode:" in superblock or "orphan_present" in superblock
    return fstype == "xfs"


def _check_recovered(fstype: str, copy: Path) -> None:
    """Check a copy as its next mount leaves it."""
    twin, directory = Path(f"{copy}.twin"), Path(f"{copy}.recovered")
    tool("cp", "--sparse=always", str(copy), str(twin))
    directory.mkdir()
    mount(
        "-t", fstype, "-o", "loop,nouuid" if fstype == "xfs" else "loop", str(twin), str(directory)
    )
    tool("umount", str(directory))
    tool(*_CHECK[fstype], str(twin))
    directory.rmdir()
    twin.unlink()


def copy_command(disk: Disk, target: Path) -> list[str]:
    """What copies a disk's image: run in a window, this is the snapshot."""
    return ["cp", "--sparse=always", str(disk.image), str(target)]


@contextlib.contextmanager
def opened_copy(fstype: str, copy: Path) -> Iterator[Path]:
    """Prove a copy undamaged, and mount it without any journal replay."""
    if _needs_a_mount(fstype, copy):
        _check_recovered(fstype, copy)
    else:
        tool(*_CHECK[fstype], str(copy))
    if fstype == "btrfs":
        header = tool("btrfs", "inspect-internal", "dump-super", str(copy))
        log_root = [
            line.split()[1] for line in header.splitlines() if line.startswith("log_root\t")
        ]
        assert log_root == ["0"], "there is a log to replay"
        # The original is mounted: the kernel would take one for the other.
        tool("btrfstune", "-f", "-m", str(copy))
    directory = Path(f"{copy}.mounted")
    directory.mkdir()
    mount("-t", fstype, "-o", f"loop,{_COPY_OPTIONS[fstype]}", str(copy), str(directory))
    try:
        yield directory
    finally:
        tool("umount", str(directory))
        directory.rmdir()
