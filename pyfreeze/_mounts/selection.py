"""The filesystems to freeze, in order: a pure function of the mount table and the block stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.text import device_number, printable
from pyfreeze._mounts.blockstack import lies_on, whole_disks, with_all_beneath
from pyfreeze._mounts.fstypes import FREEZABLE, IMAGE
from pyfreeze._mounts.mountinfo import (
    Device,
    MountError,
    by_mount_point,
    check_absolute,
    mount_holding,
    normalise,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pyfreeze._mounts.blockstack import BlockStack
    from pyfreeze._mounts.mountinfo import Mount

_READ_ONLY = "mounted read-only"


class Filesystem(NamedTuple):
    """A filesystem to freeze, and the mount to open it by."""

    mount_point: str
    """The mount point that it is opened by."""
    mount_id: int
    """The kernel's number for that mount."""
    device: Device
    """(major, minor) of the superblock."""
    fstype: str
    """As the mount table names it: "ext4" or "xfs"."""
    source: str
    """As the mount table names it: a device, mostly."""
    level: int
    """0 is frozen first; those of one level may be frozen side by side; thawed in reverse order."""


class Skipped(NamedTuple):
    """A mount that is not opened, and why."""

    mount: str
    reason: str


class Selection(NamedTuple):
    """Every mount of the table is in one of the first two."""

    filesystems: tuple[Filesystem, ...]
    """By level, then by mount point."""
    skipped: tuple[Skipped, ...]
    """In the order of the mount table."""
    notices: tuple[str, ...] = ()
    """What an operator should hear of, and what is not an error."""


def select(
    mounts: Sequence[Mount],
    stack: BlockStack,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    files: Collection[int] = (),
) -> Selection:
    """Choose the filesystems to freeze, each once, and their order.

    Args:
        mounts: the mount table.
        stack: what its filesystems lie on.
        only: mount points to freeze; without any, every writable filesystem that can be frozen.
            Symlinks are the caller's to resolve (`mountinfo.resolve_paths`).
        skip: mount points to leave out; one that is not a mount point gives a notice.
        files: ids of mounts that show a file (`mountinfo.file_mounts`), which are never chosen.

    Raises:
        MountError: one of `only` is not a mount point, cannot be frozen, is read-only, is named
            twice (also as another mount of the same filesystem), or is in `skip` too.
    """
    reachable = by_mount_point(mounts)
    # What can be opened by its mount point: the candidates.
    usable = [m for m in reachable.values() if m.mount_id not in files]
    notices: list[str] = []
    left_out = _left_out(mounts, reachable, skip, notices)
    if only:
        chosen = _named(mounts, reachable, only, left_out, files)
    else:
        chosen = _best(m for m in usable if _refusal(m) is None and m.device not in left_out)
    # The filesystem of the root directory; where that is an overlay, those its files are on.
    roots = {m.device for m in usable if m.mount_point == "/"}
    if roots.isdisjoint(chosen):
        roots = {device for root in roots for device in _beneath(stack, root, chosen)}
    beneath = {device: _beneath(stack, device, chosen) for device in chosen}
    levels = freeze_levels(beneath, roots)
    notices += _cycles(beneath, chosen)
    filesystems = [
        Filesystem(m.mount_point, m.mount_id, m.device, m.fstype, m.source, levels[m.device])
        for m in chosen.values()
    ]
    usable_devices = {m.device for m in usable}
    skipped = []
    for mount in mounts:
        taken = chosen.get(mount.device)
        if mount is taken:
            continue
        reason = _refusal(mount)
        if reason is None and mount.device in left_out:
            reason = "left out on request"
            if normalise(mount.mount_point) != left_out[mount.device]:
                reason += f", as the same filesystem as {left_out[mount.device]}"
        elif reason is None and taken is not None:
            reason = f"same filesystem as {taken.mount_point}"
        elif reason is None and mount.device in usable_devices:
            reason = "not among the mounts named"
        elif reason is None:
            is_file = reachable.get(mount.mount_point) is mount
            reason = "a file, not a directory" if is_file else "hidden under another mount"
        skipped.append(Skipped(mount.mount_point, reason))
    return Selection(
        tuple(sorted(filesystems, key=lambda f: (f.level, f.mount_point))),
        tuple(skipped),
        tuple(notices),
    )


def freeze_levels(
    beneath: Mapping[Device, Collection[Device]], roots: Collection[Device] = ()
) -> dict[Device, int]:
    """The level of each filesystem: below that of everything it lies on, and as low as can be.

    Args:
        beneath: for each filesystem all those it lies on, directly or not (transitively closed).
        roots: raised to the last level, and what they lie on after them; this makes a further
            level only where they lie on something that must come after them.

    Filesystems that lie on each other get the same level.
    """
    above: dict[Device, list[Device]] = {device: [] for device in beneath}
    for upper, lowers in beneath.items():
        for lower in lowers:
            if lower in above and upper not in beneath[lower]:
                above[lower].append(upper)
    # `above` is closed too: everything above X has strictly fewer filesystems above it than X has.
    order = sorted(above, key=lambda device: len(above[device]))

    def assign(floors: Mapping[Device, int]) -> dict[Device, int]:
        levels: dict[Device, int] = {}
        for device in order:
            after = [levels[upper] + 1 for upper in above[device]]
            levels[device] = max([*after, floors.get(device, 0)])
        return levels

    levels = assign({})
    # Those in a cycle with a root share its floor, to stay on one level with it.
    raised = {d for d in beneath if any(d == r or _mutual(beneath, d, r) for r in roots)}
    under = {lower for device in raised for lower in beneath[device]}
    last = max((level for device, level in levels.items() if device not in under), default=0)
    return assign({device: max(last, levels[device]) for device in raised})


def single_disk(stack: BlockStack, mounts: Iterable[Mount]) -> bool:
    """Whether all mounted filesystems that are on block devices lie on one disk.

    Disks with nothing mounted are not seen; read-only images (squashfs, CD-ROMs) do not count. In
    doubt, as with a filesystem whose devices are unknown, and with no disk at all: False.
    """
    devices = set()
    for mount in mounts:
        if mount.facts.obstacle == IMAGE:
            continue
        if stack.members.get(mount.device):
            devices.add(mount.device)
        elif mount.facts.obstacle is None:
            return False
    return len(whole_disks(stack, devices)) == 1


def _refusal(mount: Mount) -> str | None:
    """Why a mount cannot be frozen, even if it is named; None: it can."""
    obstacle = mount.facts.obstacle
    if obstacle is not None:
        return f"{obstacle} ({mount.fstype})"
    # The superblock's "ro": a mount that is read-only by itself may show a writable filesystem.
    return _READ_ONLY if "ro" in mount.super_options else None


def _best(candidates: Iterable[Mount]) -> dict[Device, Mount]:
    """For each filesystem the mount that shows all of it; then the one with the shortest path."""

    def rank(mount: Mount) -> tuple[bool, int, str]:
        # A subvolume's mount is as good as any.
        is_part = mount.root != "/" and not mount.facts.has_subvolumes
        return (is_part, len(mount.mount_point), mount.mount_point)

    best: dict[Device, Mount] = {}
    for mount in candidates:
        best[mount.device] = min(mount, best.get(mount.device, mount), key=rank)
    return best


def _left_out(
    mounts: Sequence[Mount],
    reachable: Mapping[str, Mount],
    skip: Sequence[str],
    notices: list[str],
) -> dict[Device, str]:
    """The filesystems to skip, with the name each was skipped by."""
    hidden = {mount.mount_point: mount for mount in mounts}
    left_out: dict[Device, str] = {}
    for entry in skip:
        # As it stands first: a mount point may end in a blank.
        for name in (normalise(entry), normalise(entry.strip())):
            mount = reachable.get(name) or hidden.get(name)
            if mount is not None:
                left_out.setdefault(mount.device, name)
                break
        else:
            if entry.strip():
                notices.append(f"{printable(entry)}: named to be skipped, but is not a mount point")
    return left_out


def _named(
    mounts: Sequence[Mount],
    reachable: Mapping[str, Mount],
    only: Sequence[str],
    left_out: Mapping[Device, str],
    files: Collection[int],
) -> dict[Device, Mount]:
    """The mounts an operator named, by filesystem; MountError for one that cannot be used."""
    chosen: dict[Device, Mount] = {}
    for entry in only:
        check_absolute(entry)
        path = normalise(entry)
        mount = reachable.get(path)
        if mount is None:
            found = "is not a mount point"
            if any(m.mount_point == path for m in mounts):
                found = "is hidden under another mount"
            elif holder := mount_holding(path, reachable):
                found += f" (it lies on the filesystem mounted at {holder.mount_point})"
            raise MountError(path, found, "a mount point")
        obstacle = mount.facts.obstacle
        if obstacle is not None:
            found = f"{mount.fstype} cannot be frozen ({obstacle})"
            raise MountError(path, found, "one of " + ", ".join(FREEZABLE))
        if _refusal(mount) is not None:
            raise MountError(path, f"is {_READ_ONLY}", "a writable filesystem")
        if mount.mount_id in files:
            raise MountError(path, "is a file", "a mount point directory")
        if mount.device in left_out:
            found = f"is to be skipped as {left_out[mount.device]}"
            raise MountError(path, found, "to be named once")
        taken = chosen.get(mount.device)
        if taken is mount:
            raise MountError(path, "named twice", "each mount point once")
        if taken is not None:
            number = device_number(mount.device)
            same = f"is the same filesystem ({number}) as {taken.mount_point}"
            raise MountError(path, same, "only one of them")
        chosen[mount.device] = mount
    return chosen


def _mutual(beneath: Mapping[Device, Collection[Device]], one: Device, other: Device) -> bool:
    return other in beneath.get(one, ()) and one in beneath.get(other, ())


def _beneath(stack: BlockStack, filesystem: Device, chosen: Collection[Device]) -> set[Device]:
    """The chosen filesystems that one lies on, at any depth, whatever is in between."""
    return with_all_beneath(stack, lies_on(stack, filesystem)).intersection(chosen)


def _cycles(
    beneath: Mapping[Device, Collection[Device]], chosen: Mapping[Device, Mount]
) -> list[str]:
    """A notice for each group of chosen filesystems that lie on each other."""
    seen: set[Device] = set()
    notices = []
    for device in chosen:
        if device in seen or device not in beneath[device]:
            continue
        group = {other for other in beneath[device] if _mutual(beneath, device, other)}
        seen |= group
        names = ", ".join(sorted(printable(chosen[d].mount_point) for d in group))
        notices.append(f"{names}: lying on each other, frozen side by side")
    return notices
