"""The library, on filesystems that the tests have made and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyfreeze
from tests.support.disks import Disk
from tests.support.namespace import assert_ours

if TYPE_CHECKING:
    from pyfreeze import Report, Window


def frozen(disks: Sequence[Disk], **options: Any) -> Window:
    """`pyfreeze.frozen()`."""
    for disk in disks:
        assert_ours(disk.mount_point)
    return pyfreeze.frozen([disk.mount_point for disk in disks], **options)


def backup(disks: Sequence[Disk], snapshot: Any, **options: Any) -> Report:
    """`pyfreeze.backup()`, without scripts unless a config is given."""
    for disk in disks:
        assert_ours(disk.mount_point)
    assert disks or options.get("freeze") is False
    options.setdefault("scripts", "config" in options)
    return pyfreeze.backup(snapshot, mounts=[disk.mount_point for disk in disks], **options)
