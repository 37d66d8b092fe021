"""The filesystems that are frozen: the benchmarks' own, on loop devices, and no others."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.disks import FSTYPES, Disk, mount, tool
from tests.support.namespace import ROOT

_MIB = 1 << 20
#: xfs and btrfs have a least size; the images are sparse.
_SMALL_BYTES = {"ext4": 64 * _MIB, "xfs": 300 * _MIB, "btrfs": 256 * _MIB}
#: For the writers' files; btrfs writes everything anew before it frees the old.
_LARGE_BYTES = {"ext4": 1024 * _MIB, "xfs": 1024 * _MIB, "btrfs": 3072 * _MIB}
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
_FITHAW = 0xC0045878


class LoopDisk(Disk):
    """A filesystem on a loop device whose image is on memory, or on a disk that is really written.

    The image has no name any more when the device is there: nothing is left of a killed run.
    """

    def __init__(self, fstype: str, mount_point: str, directory: str, size_bytes: int) -> None:
        descriptor, name = tempfile.mkstemp(prefix="pyfreeze-bench-", dir=directory)
        os.close(descriptor)
        super().__init__(fstype, Path(name), mount_point)
        self.size_bytes = size_bytes

    def make(self) -> None:
        try:
            os.truncate(self.image, self.size_bytes)
            tool(*_MAKE[self.fstype], str(self.image), timeout_s=120)
            self._attach()
        finally:
            self.image.unlink()

    def _attach(self) -> None:
        # Direct, so that what the filesystem has written is not in the page cache once more.
        direct = os.stat(ROOT).st_dev != os.stat(self.image.parent).st_dev
        words = ["losetup", "--find", "--show", f"--direct-io={'on' if direct else 'off'}"]
        device = tool(*words, str(self.image)).strip()
        try:
            Path(self.mount_point).mkdir()
            mount("-t", self.fstype, device, self.mount_point)
            Disk.mounted.append(self)
        finally:
            tool("losetup", "--detach", device)  # when it is unmounted


class Filesystems:
    """All of them, made when they are first wanted."""

    def __init__(self, real_directory: str) -> None:
        self._real_directory = real_directory
        self._small: dict[str, list[Disk]] = {fstype: [] for fstype in FSTYPES}
        self._large: dict[str, Disk] = {}
        self._numbers = itertools.count()

    def idle(self, count: int, *fstypes: str) -> list[Disk]:
        """Small ones on memory; of several types as many of each as there are in turn."""
        wanted = list(itertools.islice(itertools.cycle(fstypes or FSTYPES), count))
        for fstype in set(wanted):
            while len(self._small[fstype]) < wanted.count(fstype):
                self._small[fstype].append(self._make(fstype, ROOT, _SMALL_BYTES))
        iterators = {fstype: iter(self._small[fstype]) for fstype in FSTYPES}
        return [next(iterators[fstype]) for fstype in wanted]

    def loaded(self, fstype: str) -> Disk:
        """One on the real disk, large enough to be written to all the time."""
        if fstype not in self._large:
            self._large[fstype] = self._make(fstype, self._real_directory, _LARGE_BYTES)
        return self._large[fstype]

    def _make(self, fstype: str, directory: str, sizes: dict[str, int]) -> Disk:
        mount_point = f"{ROOT}/bench-{next(self._numbers)}-{fstype}"
        disk = LoopDisk(fstype, mount_point, directory, sizes[fstype])
        disk.make()
        return disk

    def close(self) -> None:
        disks = [*self._large.values(), *itertools.chain(*self._small.values())]
        thaw_all(disks)
        for disk in disks:
            disk.unmount()


def thaw_all(disks: Sequence[Disk]) -> None:
    """Thaw what may be frozen, whoever froze it; what is not frozen stays as it is."""
    for disk in disks:
        fd = os.open(disk.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, _FITHAW, 0)
        finally:
            os.close(fd)
