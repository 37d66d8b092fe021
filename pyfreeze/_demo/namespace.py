"""A mount namespace of this process's own: what is mounted in it goes with its last process.

So nothing is left mounted and no loop device busy, even after SIGKILL. Done by system calls, since
util-linux unshare(1) cannot make the namespace private in a chroot whose root is no mount point.
"""

from __future__ import annotations

import ctypes
import errno
import os

from pyfreeze._base.files import opened

# linux/sched.h and linux/mount.h
_CLONE_NEWNS = 0x20000
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def enter_private_namespace() -> None:
    """Move this process, which must have one thread, into a mount namespace of its own.

    Nothing that is mounted from now on is seen outside, and nothing from outside is seen here.

    Raises:
        OSError: a system call was refused.
    """
    _call("unshare", _CLONE_NEWNS)
    try:
        mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _make_private_from_outside_chroot()


def mount_tmpfs(directory: str, size_bytes: int) -> None:
    """Mount a tmpfs of mode 700 with a limit in bytes; scripts may be executed on it."""
    options = f"mode=700,size={size_bytes}"
    mount("pyfreeze-demo", directory, "tmpfs", _MS_NOSUID | _MS_NODEV, options)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """Mount something: the system call itself."""
    words = (os.fsencode(source), os.fsencode(target), fstype.encode())
    _call("mount", *words, ctypes.c_ulong(flags), data.encode(), name=target)


def unmount(directory: str) -> None:
    """Unmount the topmost mount of a directory."""
    _call("umount2", os.fsencode(directory), 0, name=directory)


def _make_private_from_outside_chroot() -> None:
    # In a chroot "/" may be a plain directory, whose mount no path leads to. Entering a namespace,
    # be it the one we are in, sets the root directory to the namespace's own (mntns_install).
    with (
        opened("/proc/self/ns/mnt", os.O_RDONLY) as namespace,
        opened("/", os.O_RDONLY | os.O_DIRECTORY) as root,
        opened(".", os.O_RDONLY | os.O_DIRECTORY) as directory,
    ):
        _call("setns", namespace, _CLONE_NEWNS)
        try:
            mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
        finally:
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(directory)


def _call(function: str, *arguments: object, name: str | None = None) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        text = f"{function}: {os.strerror(number)}"
        raise OSError(number, text) if name is None else OSError(number, text, name)
