"""The demo's filesystems: made, mounted, their snapshots mounted, all in the private namespace."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.files import read_if_there
from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._base.programs import CLEAN_ENVIRONMENT
from pyfreeze._base.text import last_line
from pyfreeze._demo.namespace import enter_private_namespace, mount_tmpfs, unmount
from pyfreeze._model.errors import FreezeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 1 << 20
_TOOL_TIMEOUT_S = 30.0

STAGE = os.path.join(STATE_DIRECTORY, "demo")
SNAPSHOT = os.path.join(STAGE, "snapshot")


class Volume(NamedTuple):
    """A filesystem in a file. Sizes in bytes."""

    name: str
    fstype: str
    size: int
    make: tuple[str, ...]
    check: tuple[str, ...]
    """Looks for damage and fixes nothing."""
    snapshot_options: str
    """Mount options that only read, and replay no journal."""

    @property
    def image(self) -> str:
        """The backing file."""
        return os.path.join(STAGE, f"{self.name}.img")

    @property
    def mount_point(self) -> str:
        """Where the application has it."""
        return os.path.join(STAGE, self.name)

    @property
    def snapshot(self) -> str:
        """The copy of the backing file."""
        return os.path.join(SNAPSHOT, f"{self.name}.img")

    @property
    def snapshot_mount_point(self) -> str:
        """Where the copy is mounted."""
        return os.path.join(SNAPSHOT, self.name)


ORDERS = Volume(
    "orders", "ext4", 64 * _MIB, ("mkfs.ext4", "-q", "-F"), ("e2fsck", "-fn"), "ro,noload"
)
AUDIT = Volume(
    "audit", "xfs", 300 * _MIB, ("mkfs.xfs", "-q"), ("xfs_repair", "-n"), "ro,norecovery,nouuid"
)
VOLUMES = (ORDERS, AUDIT)

#: The snapshot command: it runs while both filesystems are frozen.
SNAPSHOT_COMMAND = (
    "cp", "--reflink=auto", "--sparse=always", *(v.image for v in VOLUMES), SNAPSHOT,
)  # fmt: skip


@contextlib.contextmanager
def stage() -> Iterator[None]:
    """Enter a private namespace and mount the volumes there; unmount all at the end.

    The state directory gets a tmpfs of its own, so that no real run is met. What cannot be
    unmounted at the end goes with the process.

    Raises:
        OSError: something was refused. FreezeError: a tool failed.
    """
    enter_private_namespace()
    with contextlib.suppress(FileExistsError):
        os.makedirs(os.path.dirname(STATE_DIRECTORY), 0o755, exist_ok=True)
        os.mkdir(STATE_DIRECTORY, 0o700)
    with contextlib.ExitStack() as mounted:
        # Limits, not what is used: the images are sparse.
        for directory, size in ((STATE_DIRECTORY, 16 * _MIB), (STAGE, 1024 * _MIB)):
            os.makedirs(directory, 0o700, exist_ok=True)
            mount_tmpfs(directory, size)
            mounted.callback(_unmount_if_possible, directory)
        os.mkdir(SNAPSHOT)
        for volume in VOLUMES:
            _make_image(volume)
            mounted.enter_context(mounted_image(volume.image, volume.mount_point, "rw"))
        yield


def _make_image(volume: Volume) -> None:
    """Make a volume's filesystem in a new file, as sparse as it can be."""
    fresh = f"{volume.image}.new"
    with open(fresh, "xb") as file:
        file.truncate(volume.size)
    # Without what mkfs.xfs makes by default since 6.5, and Linux before 5.19 cannot mount.
    plain = ("-i", "nrext64=0") if volume.fstype == "xfs" else ()
    try:
        run_tool(*volume.make, *plain, fresh)
    except FreezeError:  # before 5.19 it has no such option
        run_tool(*volume.make, fresh)
    # mkfs.xfs writes 64 MiB of zeros as its log: a copy has holes there.
    run_tool("cp", "--sparse=always", fresh, volume.image)
    os.unlink(fresh)


@contextlib.contextmanager
def mounted_image(image: str, mount_point: str, options: str) -> Iterator[None]:
    """Mount an image. Any unmount frees its loop device (autoclear)."""
    os.makedirs(mount_point, exist_ok=True)
    run_tool("mount", "-o", f"loop,{options}", image, mount_point)
    try:
        yield
    finally:
        _unmount_if_possible(mount_point)


def is_ours(volume: Volume) -> bool:
    """Whether what is mounted for a volume is a loop device over the image that we made."""
    device = os.stat(volume.mount_point).st_dev
    loop = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/loop/backing_file"
    # Only loop devices have this file. In a chroot it may show the path from outside.
    return read_if_there(loop).rstrip("\n").endswith(volume.image)


def ask_tool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program and wait; in a session of its own, out of a terminal's Ctrl-C.

    Raises:
        FreezeError: it does not end.
    """
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=CLEAN_ENVIRONMENT,
            timeout=_TOOL_TIMEOUT_S,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        text = f"{' '.join(words)}: did not end within {_TOOL_TIMEOUT_S:g} s"
        raise FreezeError(errno.ETIMEDOUT, text) from error


def run_tool(*words: str) -> None:
    """Run a program that must succeed.

    Raises:
        FreezeError: it did not; says what it said.
    """
    done = ask_tool(*words)
    if done.returncode:
        said = last_line(done.stdout) or f"exit status {done.returncode}"
        raise FreezeError(errno.EIO, f"{' '.join(words)}: {said}")


def _unmount_if_possible(directory: str) -> None:
    with contextlib.suppress(OSError):
        unmount(directory)
