"""The overhead of a window over idle filesystems: what it lasts beyond the snapshot's own time."""

from __future__ import annotations

import pytest

from bench.support.comparison import Compare, Target
from bench.support.filesystems import Filesystems
from bench.support.peers import Peers, pyfreeze_command

_LEAST_ROUNDS = 20
_TO_FLOOR = Target("pyfreeze", "floor", at_most=1.25)


@pytest.mark.parametrize("fstype", ["ext4", "xfs", "btrfs"])
def test_one(compare: Compare, filesystems: Filesystems, peers: Peers, fstype: str) -> None:
    """One idle filesystem of each type, against the bare steps and other tools."""
    disks = filesystems.idle(1, fstype)
    compare(
        f"overhead, 1 {fstype}, idle",
        {
            "pyfreeze": pyfreeze_command(disks),
            **peers.floors(disks),
            **peers.others(disks),
        },
        unit="ms",
        least_rounds=_LEAST_ROUNDS,
        targets=[Target("pyfreeze", "util-linux fsfreeze", at_least=150), _TO_FLOOR],
    )


def test_seven(compare: Compare, filesystems: Filesystems, peers: Peers) -> None:
    """Seven idle ones of three types, against the same."""
    disks = filesystems.idle(7)
    compare(
        "overhead, 7 filesystems (ext4, xfs, btrfs), idle",
        {
            "pyfreeze": pyfreeze_command(disks),
            **peers.floors(disks),
            **peers.others(disks),
        },
        unit="ms",
        least_rounds=_LEAST_ROUNDS,
        targets=[Target("pyfreeze", "util-linux fsfreeze", at_least=250), _TO_FLOOR],
    )


def test_thirty_two(compare: Compare, filesystems: Filesystems, peers: Peers) -> None:
    """Thirty-two idle ones, against the bare steps."""
    disks = filesystems.idle(32)
    compare(
        "overhead, 32 filesystems (ext4, xfs, btrfs), idle",
        {"pyfreeze": pyfreeze_command(disks), **peers.floors(disks)},
        unit="ms",
        least_rounds=_LEAST_ROUNDS,
        targets=[_TO_FLOOR],
    )


def test_thirty_two_by_others(compare: Compare, filesystems: Filesystems, peers: Peers) -> None:
    """Thirty-two idle ones, against other tools."""
    # Apart from the floor, which needs more rounds than these take time for.
    disks = filesystems.idle(32)
    others = peers.others(disks)
    if compare.form == "short":
        del others["plain C"], others["qemu-ga"]
    compare(
        "overhead, 32 filesystems, idle, and others",
        {"pyfreeze": pyfreeze_command(disks), **others},
        unit="ms",
        least_rounds=3,
    )
