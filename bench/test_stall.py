"""What an application feels: the longest write that an independent writer saw over a window.

The windows are empty: nothing is run in them. The writer is told to forget before the flush that
precedes a window, so a write that the flush holds up counts too.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from bench.support.comparison import Compare, Contender, Target
from bench.support.filesystems import Filesystems
from bench.support.load import Mode, Writer
from bench.support.peers import Peers, pyfreeze_block
from tests.support.disks import FSTYPES, Disk

_MODES: dict[Mode, str] = {
    "tick": "a small write each millisecond",
    "buffered": "100 MB/s buffered writes",
    "fsync": "random writes with fdatasync",
}
_FLUSHED = "flushed, not frozen"
_CONTROL = "nothing frozen"
FULL = pytest.mark.full_form
_BUFFERED_TARGET = Target("pyfreeze", "util-linux fsfreeze", at_least=100)


@pytest.fixture
def writer(program: Callable[[str], str]) -> Iterator[Callable[[Mode, Disk], Writer]]:
    """Starts the writer."""
    path = program("stall")
    with contextlib.ExitStack() as stack:

        def start(mode: Mode, disk: Disk) -> Writer:
            started = Writer(path, mode, disk)
            stack.callback(started.close)
            return started

        yield start


def _measure(
    compare: Compare, title: str, writer: Writer, windows: dict[str, Contender], rounds: int
) -> None:
    """Compare the stalls, and the overheads in the same windows."""
    overheads: dict[str, list[float]] = defaultdict(list)

    def stall_of(name: str, window: Contender) -> Contender:
        def run() -> float:
            writer.settle()
            overheads[name].append(window())
            return writer.longest_ms()

        return run

    def control() -> float:
        writer.settle()
        writer.wait_a_window()
        return writer.longest_ms()

    def flush() -> float:
        writer.settle()
        writer.flush()
        return writer.longest_ms()

    targets = [_BUFFERED_TARGET] if writer.mode == "buffered" else []
    compare(
        f"longest stalled write, {title}",
        {
            **{name: stall_of(name, window) for name, window in windows.items()},
            _FLUSHED: flush,
            _CONTROL: control,
        },
        unit="ms",
        least_rounds=rounds,
        targets=targets,
    )
    compare.add(f"overhead, {title}", overheads, unit="ms")


def _contenders(compare: Compare, peers: Peers, disks: list[Disk]) -> dict[str, Contender]:
    contenders = {
        "pyfreeze": pyfreeze_block(disks),
        **peers.floors(disks),
        **peers.others(disks),
    }
    if compare.form != "full":
        for name in ("floor, SCHED_FIFO", "floor, no idle states", "plain C"):
            del contenders[name]
    if compare.form == "short":
        del contenders["qemu-ga"]
    return contenders


@pytest.mark.parametrize("mode", _MODES)
@pytest.mark.parametrize(
    "fstype",
    [pytest.param(fstype, marks=() if fstype == "ext4" else FULL) for fstype in FSTYPES],
)
def test_one(
    compare: Compare,
    filesystems: Filesystems,
    peers: Peers,
    writer: Callable[[Mode, Disk], Writer],
    fstype: str,
    mode: Mode,
) -> None:
    """One filesystem of each type, with each way to write to it."""
    disk = filesystems.loaded(fstype)
    _measure(
        compare,
        f"1 {fstype}, {_MODES[mode]}",
        writer(mode, disk),
        _contenders(compare, peers, [disk]),
        5 if mode == "buffered" else 10,
    )


@FULL
@pytest.mark.parametrize("mode", ["buffered", "fsync"])
@pytest.mark.parametrize("count", [7, 32])
def test_many(
    compare: Compare,
    filesystems: Filesystems,
    peers: Peers,
    writer: Callable[[Mode, Disk], Writer],
    count: int,
    mode: Mode,
) -> None:
    """One of them, an ext4, is written to; the others are idle, but are frozen with it."""
    idle, loaded = filesystems.idle(count - 1), filesystems.loaded("ext4")
    middle = len(idle) // 2  # how long it is frozen depends on its place, one after another
    disks = [*idle[:middle], loaded, *idle[middle:]]
    _measure(
        compare,
        f"{count} filesystems, {_MODES[mode]} on one",
        writer(mode, loaded),
        _contenders(compare, peers, disks),
        5,
    )
