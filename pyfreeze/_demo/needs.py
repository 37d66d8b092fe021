"""What the demo needs of the machine, and what of it is missing: all of it at once."""

from __future__ import annotations

import errno
import importlib.util
import os
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.files import read_if_there
from pyfreeze._base.processes import has_cap_sys_admin
from pyfreeze._base.programs import find_in_path
from pyfreeze._demo.namespace import mount

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOP_CONTROL = "/dev/loop-control"
_PACKAGES = {
    "cp": "coreutils",
    "mount": "mount",
    "mkfs.ext4": "e2fsprogs",
    "dumpe2fs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "xfs_repair": "xfsprogs",
}
_KERNEL_PACKAGE = "linux-image-generic or linux-image-amd64, with its modules"


class Missing(NamedTuple):
    """Something that the demo cannot do without."""

    name: str
    found: str
    """What is there instead, in a few words."""
    package: str | None
    """The Debian package that has it; None where no package helps."""


def missing() -> Iterator[Missing]:
    """Everything that is missing here; nothing is changed by looking."""
    if os.geteuid() != 0:
        yield Missing("root", f"this runs as uid {os.geteuid()}: try sudo", None)
    elif not has_cap_sys_admin():
        yield Missing("CAP_SYS_ADMIN", "root, but not allowed to mount: a container?", None)
    for name, package in _PACKAGES.items():
        # Not in the caller's PATH: on Debian a user's has no /usr/sbin, where most of these are.
        if find_in_path(name) is None:
            yield Missing(name, "not installed", package)
    if importlib.util.find_spec("_sqlite3") is None:
        yield Missing("sqlite3", "this Python was built without it", "libpython3-stdlib")
    try:
        os.close(os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        if os.geteuid() == 0:
            yield Missing(f"loop devices ({_LOOP_CONTROL})", "not allowed: a container?", None)
    except OSError as error:
        found = f"{os.strerror(error.errno or 0)}: try modprobe loop"
        yield Missing(f"loop devices ({_LOOP_CONTROL})", found, _KERNEL_PACKAGE)
    for fstype in ("ext4", "xfs"):
        if not _kernel_has(fstype):
            yield Missing(f"{fstype} in the kernel", "no such filesystem type", _KERNEL_PACKAGE)


def _kernel_has(fstype: str) -> bool:
    if fstype in read_if_there("/proc/filesystems").split():
        return True
    # The kernel loads the module on a mount, and says ENODEV if there is none. This mount cannot
    # come about: /dev/null is no block device.
    try:
        mount("/dev/null", "/", fstype)
    except OSError as error:
        return error.errno != errno.ENODEV
    return True
