"""Each of the steps that make a window short: alone, together, and all but one.

By `frozen()`, which flushes only right before the freeze; a backup has flushed once before that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from bench.support.comparison import Compare, Contender
from bench.support.filesystems import Filesystems
from bench.support.load import Writer, busy_processors
from bench.support.peers import Peers, pyfreeze_block, started_inside, started_parked
from tests.support.disks import Disk

_ALL: dict[str, Any] = {
    "expedite": True,
    "flush_rounds": 8,
    "cpu_latency": True,
    "realtime": True,
    "parallel": True,
}
_NONE: dict[str, Any] = dict.fromkeys(_ALL, False) | {"flush_rounds": 0}
_NAMES = {
    "expedite": "expedited grace periods",
    "flush_rounds": "flush to convergence",
    "cpu_latency": "no idle states",
    "realtime": "realtime class",
    "parallel": "parallel",
}


def _each_option(disks: list[Disk]) -> dict[str, Contender]:
    alone = {
        f"only {name}": pyfreeze_block(disks, **{**_NONE, key: _ALL[key]})
        for key, name in _NAMES.items()
    }
    without = {
        f"all but {name}": pyfreeze_block(disks, **{**_ALL, key: _NONE[key]})
        for key, name in _NAMES.items()
    }
    return {
        "all": pyfreeze_block(disks, **_ALL),
        "none": pyfreeze_block(disks, **_NONE),
        **alone,
        **without,
    }


@pytest.mark.parametrize("count", [1, 7])
def test_idle(compare: Compare, filesystems: Filesystems, count: int) -> None:
    """The overhead with all options, with none, with each alone, and with all but each."""
    contenders = _each_option(filesystems.idle(count))
    if count == 1:
        del contenders["only parallel"], contenders["all but parallel"]
    compare(f"overhead by options, {_filesystems(count)}, idle", contenders, unit="ms")


def _filesystems(count: int) -> str:
    return f"{count} filesystem{'s' * (count > 1)}"


def test_busy_processors(compare: Compare, filesystems: Filesystems) -> None:
    """Twice as many busy loops as processors."""
    disks = filesystems.idle(3)
    contenders = {
        "all": pyfreeze_block(disks, **_ALL),
        "all but realtime class": pyfreeze_block(disks, **{**_ALL, "realtime": False}),
        "all but parallel": pyfreeze_block(disks, **{**_ALL, "parallel": False}),
    }
    with busy_processors(2 * (os.cpu_count() or 1)):
        compare(
            "overhead by options, 3 filesystems, busy processors",
            contenders,
            unit="ms",
            least_rounds=10,
        )


def test_buffered_writes(
    compare: Compare, filesystems: Filesystems, program: Callable[[str], str]
) -> None:
    """The same while 100 MB/s are written, where flushing has something to do."""
    disk = filesystems.loaded("ext4")
    writer = Writer(program("stall"), "buffered", disk)

    def under_load(window: Contender) -> Contender:
        def run() -> float:
            writer.settle()
            return window()

        return run

    contenders = _each_option([disk])
    del contenders["only parallel"], contenders["all but parallel"]
    if compare.form != "full":
        kept = ("all", "none", "all but flush to convergence", "only flush to convergence")
        contenders = {name: contenders[name] for name in kept}
    try:
        compare(
            "overhead by options, 1 ext4, 100 MB/s buffered writes",
            {name: under_load(window) for name, window in contenders.items()},
            unit="ms",
            least_rounds=3,
        )
    finally:
        writer.close()


@pytest.mark.parametrize("count", [1, 7])
def test_workers(compare: Compare, filesystems: Filesystems, peers: Peers, count: int) -> None:
    """What pyfreeze always does and cannot be told to leave: so by the bare steps."""
    disks = filesystems.idle(count)
    base = ("--expedite", "--flush")
    compare(
        f"overhead by workers (bare steps), {_filesystems(count)}, idle",
        {
            "parked, realtime": peers.floor(disks, *base, "--parallel", "--park", "--fifo"),
            "parked": peers.floor(disks, *base, "--parallel", "--park"),
            "started inside": peers.floor(disks, *base, "--parallel"),
            "one after another": peers.floor(disks, *base),
        },
        unit="ms",
        least_rounds=10,
    )


def test_snapshot_child(compare: Compare, filesystems: Filesystems) -> None:
    """What a command that is started before the freeze, and parked, saves in the window."""
    disks = filesystems.idle(1, "ext4")
    compare(
        "whole window with a command that does nothing, 1 ext4, idle",
        {
            "parked snapshot child": started_parked(disks),
            "started from the Python block": started_inside(disks),
        },
        unit="ms",
        least_rounds=10,
    )
