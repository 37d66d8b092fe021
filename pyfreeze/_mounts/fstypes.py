"""What is known of each type of filesystem: one row for each, and nowhere else a type's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The reasons why a type cannot be frozen.
NO_FREEZE = "its driver has no freeze"
NETWORK = "network filesystem"
CLUSTER = "cluster filesystem"
FUSE = "FUSE filesystem"
AUTOMOUNT = "automount point"
STACKED = "its layers are on other filesystems"
IMAGE = "read-only image"
IN_MEMORY = "kept in memory"
PSEUDO = "pseudo filesystem"


class Fstype(NamedTuple):
    """The facts about a type; by default those of ext4."""

    obstacle: str | None = None
    """Why it cannot be frozen; None: it can."""
    is_local: bool | None = None
    """Whether this machine alone answers a lookup, which else may hang; None: on a block device."""
    device_options: tuple[str, ...] = ()
    """Mount options that name one more block device of the same filesystem."""
    is_anonymous: bool = False
    """On block devices, and yet with an anonymous device number (`set_anon_super`)."""
    source_separator: str = ""
    """What stands between the devices in the mount's source, where it lists them all."""
    has_registry: bool = False
    """Whether /sys/fs/TYPE/UUID/devices lists the devices of each filesystem."""
    has_subvolumes: bool = False
    """A subvolume's mount has its path as the root, and its files a device number of their own."""
    upper_option: str = ""
    """The mount option that names the directory which writes go to."""


_TYPES: Mapping[str, Fstype] = {
    # Local filesystems on block devices whose `super_operations` have `freeze_fs`: without it or
    # `freeze_super`, `ioctl_fsfreeze` answers EOPNOTSUPP.
    "bcachefs": Fstype(is_local=True, is_anonymous=True, source_separator=":"),
    "btrfs": Fstype(is_local=True, is_anonymous=True, has_registry=True, has_subvolumes=True),
    **dict.fromkeys(("ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "reiserfs"), Fstype()),
    "xfs": Fstype(device_options=("logdev=", "rtdev=")),
    # gfs2 has `freeze_super`, and freezes a whole cluster. All of these are on block devices, and
    # yet a lookup may wait for another machine's lock manager.
    **dict.fromkeys(("gfs", "gfs2", "ocfs2"), Fstype(CLUSTER, is_local=False)),
    "zfs": Fstype(NO_FREEZE, is_local=True),
    "autofs": Fstype(AUTOMOUNT, is_local=False),
    # fuseblk is on a block device, and yet a process answers its lookups.
    **dict.fromkeys(("fuse", "fuseblk"), Fstype(FUSE, is_local=False)),
    **dict.fromkeys(
        (
            "9p", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs",
            "nfs", "nfs4", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs",
            "vmhgfs",
        ),
        Fstype(NETWORK, is_local=False),
    ),
    **dict.fromkeys(("cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf"), Fstype(IMAGE)),
    "hugetlbfs": Fstype(IN_MEMORY),
    **dict.fromkeys(("devtmpfs", "ramfs", "rootfs", "tmpfs"), Fstype(IN_MEMORY, is_local=True)),
    **dict.fromkeys(("proc", "sysfs"), Fstype(PSEUDO, is_local=True)),
    "overlay": Fstype(STACKED, is_local=True, upper_option="upperdir="),
    **dict.fromkeys(("aufs", "ecryptfs", "overlayfs", "unionfs"), Fstype(STACKED)),
}  # fmt: skip

#: The types that can be frozen, in order.
FREEZABLE = tuple(sorted(name for name, facts in _TYPES.items() if facts.obstacle is None))


def facts_of(fstype: str, device: tuple[int, int]) -> Fstype:
    """Return the facts about a mount's type; of an unknown one its device tells the kind."""
    # The part behind a dot is a FUSE server's name (`FS_HAS_SUBTYPE`).
    facts = _TYPES.get(fstype) or _TYPES.get(fstype.partition(".")[0])
    return facts or Fstype(NO_FREEZE if device[0] != 0 else PSEUDO)
