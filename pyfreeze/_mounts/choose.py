"""Which filesystems a run freezes: the look at the machine that comes before everything."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pyfreeze._model.errors import FreezeError
from pyfreeze._model.options import Target
from pyfreeze._mounts.blockstack import read_block_stack
from pyfreeze._mounts.mountinfo import (
    by_mount_point,
    file_mounts,
    mount_holding,
    read_mounts,
    resolve_paths,
)
from pyfreeze._mounts.selection import select, single_disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._mounts.selection import Selection


def choose(
    state_directory: str, *, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> Selection:
    """Read the mount table and the block devices, and choose what to freeze.

    Raises:
        MountError: one of `only` cannot be frozen, or is no mount point.
        FreezeError: the state directory lies on a filesystem that would be frozen.
    """
    mounts = read_mounts()
    named = resolve_paths(only, mounts) if only else ()
    selection = select(
        mounts, read_block_stack(mounts), only=named, skip=skip, files=file_mounts(mounts)
    )
    # The supervisor and the client write the state page while everything chosen is frozen.
    holder = mount_holding(os.path.realpath(state_directory), by_mount_point(mounts))
    for filesystem in selection.filesystems:
        if holder is not None and filesystem.device == holder.device:
            raise FreezeError(
                errno.EDEADLK,
                f"found the state directory on {filesystem.mount_point}, which is to be frozen, "
                "expected it on a tmpfs: mount one there, or skip that filesystem",
                state_directory,
            )
    return selection


def has_single_disk() -> bool:
    """Whether everything mounted lies on one disk."""
    mounts = read_mounts()
    return single_disk(read_block_stack(mounts), mounts)


def targets(selection: Selection) -> tuple[Target, ...]:
    """The selection as the supervisor takes it."""
    return tuple(
        Target(f.mount_point, f.mount_id, f.device, f.level) for f in selection.filesystems
    )
