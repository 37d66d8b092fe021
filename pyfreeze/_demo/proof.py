"""The checks of a snapshot. Each gives a plain result; none raises for a bad snapshot."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.text import last_line
from pyfreeze._demo.stage import ask_tool, mounted_image, run_tool
from pyfreeze._model.errors import FreezeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from subprocess import CompletedProcess

    from pyfreeze._demo.shop import Order
    from pyfreeze._demo.stage import Volume

# What xfs_repair -n says of every xfs that was frozen: see `xfs_clean`.
_XFS_LOG_MARK = re.compile(
    r"ALERT: The filesystem has valuable metadata.*?replay the log\.", re.DOTALL
)
_XFS_FREE_BLOCKS = re.compile(r"sb_fdblocks \d+, counted \d+")

_NO_PAUSE = "there was no pause"


class Proof(NamedTuple):
    """One check and its result."""

    name: str
    expected: str
    found: str
    holds: bool


class Contents(NamedTuple):
    """What a database holds."""

    name: str
    integrity: str
    """SQLite's own verdict: "ok", or what is wrong."""
    orders: int
    first: int
    last: int
    """Order numbers; 0 where there is none."""
    cents: int
    """The sum of all orders."""


class Moments(NamedTuple):
    """What decides which orders must be in the snapshot: CLOCK_MONOTONIC ns, 0 where it never came.

    In between the shop stands still, and everything is frozen.
    """

    paused_ns: int
    """The pre-script's end."""
    thawed_ns: int
    """The window's end."""


def equal(name: str, expected: str, found: str) -> Proof:
    """Check that something is exactly as expected."""
    return Proof(name, expected, found, found == expected)


# ---- filesystems ---------------------------------------------------------------------------------


def ext4_clean(volume: Volume, image: str) -> tuple[Proof, ...]:
    """Let e2fsck look at an image, and ask whether its journal has something left to replay."""
    done = ask_tool(*volume.check, image)
    checked = equal(_check_name(volume), "clean", _verdict(done))
    superblock = ask_tool("dumpe2fs", "-h", image)
    journal = "must be replayed" if "needs_recovery" in superblock.stdout else "empty"
    if superblock.returncode:
        journal = _verdict(superblock)
    return checked, equal(f"journal of {volume.name}.img", "empty", journal)


def xfs_clean(volume: Volume, image: str, work: str) -> tuple[Proof, ...]:
    """Let xfs_repair look at an image as it is, and at a copy that was mounted as after a restore.

    A freeze leaves a mark in xfs's log, so that a mount sees to deleted files that were still open
    (xfs_fs_freeze). To xfs_repair -n that is a log to be replayed, and status 1; and the count of
    free blocks, which such a mount computes anew, lacks what is reserved. Nothing else may differ:
    whatever else it says has to be what it says of the copy after the mount, which must be clean
    without any ifs.
    """
    name, after = _check_name(volume), "the same after a mount"
    copy = os.path.join(work, f"{volume.name}.mounted")
    raw = ask_tool(*volume.check, image)
    try:
        run_tool("cp", "--sparse=always", image, copy)
        with mounted_image(copy, f"{copy}.d", "rw,nouuid"):
            pass
    except FreezeError as error:
        said = str(error.strerror)
        return Proof(name, "clean", said, False), Proof(after, "clean", said, False)
    mounted = ask_tool(*volume.check, copy)
    beyond = _xfs_complaints(raw.stdout, mounted.stdout)
    return (
        equal(name, "clean", beyond[0] if beyond else "clean"),
        equal(after, "clean", _verdict(mounted)),
    )


def _xfs_complaints(said: str, usual: str) -> list[str]:
    """What xfs_repair says beyond the usual and what every frozen xfs makes it say: pure."""
    rest = _XFS_FREE_BLOCKS.sub("", _XFS_LOG_MARK.sub("", said))
    known = {"", *map(str.strip, usual.splitlines())}
    return [line for line in map(str.strip, rest.splitlines()) if line not in known]


def _check_name(volume: Volume) -> str:
    return f"{' '.join(volume.check)} {volume.name}.img"


def _verdict(done: CompletedProcess[str]) -> str:
    return f"status {done.returncode}: {last_line(done.stdout)}" if done.returncode else "clean"


# ---- databases -----------------------------------------------------------------------------------


def read_copy(database: str, work: str) -> Contents:
    """Copy a mounted snapshot's database and its write-ahead log into `work`; read the copy."""
    name = os.path.basename(database)
    copy = os.path.join(work, name)
    try:
        shutil.copyfile(database, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{database}-wal", f"{copy}-wal")
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            rows = connection.execute("PRAGMA integrity_check").fetchall()
            orders, first, last, cents = connection.execute(
                "SELECT count(*), ifnull(min(id), 0), ifnull(max(id), 0), ifnull(sum(cents), 0) "
                "FROM orders"
            ).fetchone()
    except (OSError, sqlite3.Error) as error:
        return Contents(name, str(error), 0, 0, 0, 0)
    return Contents(name, "; ".join(str(row[0]) for row in rows), orders, first, last, cents)


def intact(contents: Contents) -> Proof:
    """SQLite's own verdict."""
    return equal(f"{contents.name}: integrity_check", "ok", contents.integrity)


def complete(contents: Contents, orders: Sequence[Order], moments: Moments) -> Proof:
    """Every order committed before the pre-script's end is there, without a gap."""
    name = f"{contents.name}: all before the pause"
    if not moments.paused_ns:
        return Proof(name, "all", _NO_PAUSE, False)
    due = _due(orders, moments)
    unbroken = contents.first == 1 and contents.orders == contents.last
    # Orders beyond the last one due are `nothing_later`'s business.
    holds = due > 0 and unbroken and contents.last >= due
    found = _numbers(contents.orders, contents.first, contents.last)
    return Proof(name, _numbers(due, 1, due), found, holds)


def nothing_later(contents: Contents, orders: Sequence[Order], moments: Moments) -> Proof:
    """No order is there that was committed after the pre-script's end."""
    name = f"{contents.name}: any after the pause"
    if not moments.paused_ns:
        return Proof(name, "none", _NO_PAUSE, False)
    later = contents.last - _due(orders, moments)
    found = f"{later:,}" if later > 0 else "none"
    return equal(name, "none", found if contents.orders else "no orders at all")


def agree(one: Contents, other: Contents) -> Proof:
    """Both databases hold the same orders: their snapshots are of one moment."""
    same = one[2:] == other[2:]
    holds = same and one.orders > 0
    return Proof("both: the same number and sum", _sum(one), _sum(other), holds)


def _due(orders: Sequence[Order], moments: Moments) -> int:
    """The last order that must be there, 0 for none."""
    return max((o.number for o in orders if o.committed_ns <= moments.paused_ns), default=0)


def _numbers(orders: int, first: int, last: int) -> str:
    return f"{orders:,} ({first:,} to {last:,})" if orders else "none"


def _sum(contents: Contents) -> str:
    return f"{contents.orders:,}: {contents.cents / 100:,.2f}"


# ---- the application -----------------------------------------------------------------------------


def held_still(orders: Sequence[Order], moments: Moments) -> Proof:
    """The shop took no order from the pre-script's end until everything was thawed."""
    name = "orders taken during the freeze"
    taken = sum(moments.paused_ns < o.committed_ns <= moments.thawed_ns for o in orders)
    found = f"{taken:,}" if taken else "none"
    return equal(name, "none", found if moments.paused_ns and moments.thawed_ns else _NO_PAUSE)


def went_on(orders: Sequence[Order], moments: Moments, at_least: int) -> Proof:
    """The shop came to no harm: it took orders again."""
    after = sum(o.committed_ns > moments.thawed_ns for o in orders) if moments.thawed_ns else 0
    return Proof(
        "orders taken afterwards", f"{at_least:,} or more", f"{after:,}", after >= at_least
    )
