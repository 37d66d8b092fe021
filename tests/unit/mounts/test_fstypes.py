"""The facts about types of filesystems, and that they are in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pyfreeze
from pyfreeze._mounts import fstypes
from pyfreeze._mounts.fstypes import FREEZABLE, FUSE, NO_FREEZE, PSEUDO, facts_of

ON_DISK, WITHOUT = (8, 1), (0, 41)
PACKAGE = Path(pyfreeze.__file__).parent


def test_what_can_be_frozen() -> None:
    """These drivers have `freeze_fs` or `freeze_super`."""
    assert FREEZABLE == (
        "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "reiserfs", "xfs",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fstype", "device", "obstacle"),
    [
        ("ext4", ON_DISK, None),
        ("btrfs", WITHOUT, None),
        ("fuse.sshfs", WITHOUT, FUSE),
        ("fuseblk.ntfs-3g", ON_DISK, FUSE),
        ("vfat", ON_DISK, NO_FREEZE),
        ("zfs", WITHOUT, NO_FREEZE),
        ("cgroup2", WITHOUT, PSEUDO),
        ("", WITHOUT, PSEUDO),
    ],
)
def test_a_type_or_else_its_device_tells(
    fstype: str, device: tuple[int, int], obstacle: str | None
) -> None:
    assert facts_of(fstype, device).obstacle == obstacle


def test_no_other_module_names_a_type() -> None:
    """The demo alone does: it makes filesystems."""
    others = set(PACKAGE.rglob("*.py")) - {Path(fstypes.__file__), *PACKAGE.glob("_demo/*.py")}
    assert len(others) > 50
    for path in others:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in fstypes._TYPES, f"{path}:{node.lineno}"
