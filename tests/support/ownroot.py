"""A machine of the tests' own: a mount namespace whose `/` is one of their filesystems.

Nothing of the real machine can be frozen in it: programs are there as overlays, of which the kernel
freezes nothing, and before a command is run every mount is looked at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyfreeze
from tests.support.command import HANG_S, Running
from tests.support.disks import Disk, tool

_MIB = 1 << 20
#: Where the directory of its image is in it: a tmpfs.
OUTSIDE = "/run/outside"

_ENTER = """
new=$1 device=$2 outside=$3
shift 3
cd "$new"
mkdir -p old proc sys dev run tmp .none srv
while [ "$1" != -- ]; do
    mkdir -p ".$1"
    mount -t overlay -o "ro,lowerdir=$1:$new/.none" none ".$1"
    shift
done
mount -t proc none proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 none run
mkdir run/outside
mount --bind "$outside" run/outside
mount -t ext4 -o loop srv.img srv
export device
pivot_root . old
exec chroot . sh -euc '
umount -l /old
while read -r id parent number root point rest; do
    case $rest in
    *" - "ext[234]" "* | *" - xfs "* | *" - btrfs "* | *" - f2fs "* | *" - bcachefs "* | \\
        *" - jfs "* | *" - nilfs2 "* | *" - reiserfs "*)
        [ "$point $number" = "/ $device" ] || [ "$point" = /srv ] || exit 97
        ;;
    esac
done </proc/self/mountinfo
shift
exec "$@"
' sh "$@"
"""


class OwnRoot:
    """An ext4 that can be `/`, with /usr and all that Python needs, and an ext4 on it at /srv."""

    def __init__(self, disk: Disk) -> None:
        assert disk.fstype == "ext4"
        self.disk = disk
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if Path("/", name).is_symlink():
                self.path(name).symlink_to(os.readlink(f"/{name}"))
        self.path("etc").mkdir()
        if os.path.exists("/etc/ld.so.cache"):
            shutil.copy("/etc/ld.so.cache", self.path("etc"))
        image = self.path("srv.img")
        with image.open("xb") as file:
            file.truncate(8 * _MIB)
        tool("mkfs.ext4", "-q", "-F", str(image))

    def path(self, name: str) -> Path:
        """A file of it, seen from outside."""
        return self.disk.path(name.lstrip("/"))

    def script(self, name: str, body: str) -> str:
        """A script on its `/`, for root alone; returns its name there."""
        path = self.path(name)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o700)
        return f"/{name.lstrip('/')}"

    def sh(self, script: str) -> Running:
        """Start a shell in it; there, $PYTHON is this interpreter and "$@" is `pyfreeze`."""
        number = os.stat(self.disk.mount_point).st_dev
        device = f"{os.major(number)}:{os.minor(number)}"
        return Running(
            [
                *("unshare", "--mount", "--propagation", "private", "sh", "-euc", _ENTER, "sh"),
                *(self.disk.mount_point, device, str(self.disk.image.parent), *_programs(), "--"),
                *("sh", "-c", script, "sh", sys.executable, "-m", "pyfreeze"),
            ],
            cwd="/",
            env={**os.environ, "PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"},
        )


def _programs() -> list[str]:
    """The directories that Python, pyfreeze and the system's tools are in; none lies in another."""
    places = ["/usr", sys.prefix, sys.base_prefix, str(Path(pyfreeze.__file__).parents[1])]
    places += [f"/{name}" for name in ("bin", "sbin", "lib", "lib64")]
    real = sorted({os.path.realpath(place) for place in places if os.path.isdir(place)})
    names = {os.path.abspath(place) for place in places if not os.path.islink(place)}
    chosen: list[str] = []
    for place in sorted({*real, *names}):
        if os.path.isdir(place) and not any(place.startswith(f"{one}/") for one in chosen):
            chosen.append(place)
    return chosen


@contextlib.contextmanager
def thawed_at_last(disk: Disk, after_s: float = HANG_S / 2) -> Iterator[None]:
    """If the block hangs, thaw the disk from outside, by a descriptor opened beforehand."""
    over = threading.Event()
    fd = os.open(disk.mount_point, os.O_RDONLY | os.O_DIRECTORY)

    def watch() -> None:
        if not over.wait(after_s):
            with contextlib.suppress(OSError):
                disk.thaw_by(fd)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        os.close(fd)
