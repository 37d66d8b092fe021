"""Thawing by name what any program has frozen: `pyfreeze thaw --force`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pyfreeze._base.text import device_number
from pyfreeze._model.errors import FreezeError
from pyfreeze._mounts.mountinfo import MountError, by_mount_point, read_mounts, resolve_paths
from pyfreeze._recovery.recover import recover
from pyfreeze._recovery.status import read_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._mounts.mountinfo import Mount
    from pyfreeze._recovery.status import RunStatus


def named_mounts(paths: Sequence[str]) -> tuple[Mount, ...]:
    """The mounts at some paths.

    Raises:
        MountError: one is no mount point.
    """
    mounts = read_mounts()
    reachable = by_mount_point(mounts)
    found = []
    for path, resolved in zip(paths, resolve_paths(paths, mounts), strict=True):
        if resolved not in reachable:
            raise MountError(path, "is not a mount point", "a mount point (findmnt lists them)")
        found.append(reachable[resolved])
    return tuple(found)


def thaw_by_force(mount: Mount, state_directory: str) -> tuple[bool, RunStatus | None]:
    """FITHAW, also of what another program has frozen. No error if it is not frozen.

    Returns:
        Whether it was frozen, and the live run that had it frozen, whose snapshot is spoilt now.

    Raises:
        NotPermittedError: not root.
        FreezeError: it cannot be thawed.
    """
    from pyfreeze._core.pages import thaw_mount

    owner = _live_owner(mount, state_directory)  # asked before: then its run may have ended
    was_frozen = thaw_mount(mount.mount_point, mount.mount_id)
    with contextlib.suppress(FreezeError):
        # So that what a dead run left of it counts as seen to; a live one keeps its own page.
        recover(state_directory, only=[mount.mount_point])
    return was_frozen, owner if was_frozen else None


def _live_owner(mount: Mount, state_directory: str) -> RunStatus | None:
    device = device_number(mount.device)
    try:
        runs = read_status(state_directory)
    except FreezeError:  # a page that cannot be read keeps nobody from thawing
        return None
    for run in runs:
        if run.alive and any(f.device == device and f.may_be_frozen for f in run.filesystems):
            return run
    return None
