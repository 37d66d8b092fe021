"""The checks of a snapshot. Each gives a plain result; none raises for a bad snapshot."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._demo.stage import ask_tool, last_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._demo.shop import Order
    from pyfreeze._demo.stage import Volume

# The ext4 superblock: where it is, where in it s_feature_incompat is, and the flag for a journal
# that must be replayed. Source: fs/ext4/ext4.h.
_EXT4_SUPERBLOCK = 1024
_EXT4_MAGIC_AT, _EXT4_MAGIC = 0x38, 0xEF53
_EXT4_INCOMPAT_AT, _EXT4_RECOVER = 0x60, 0x4


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
    """SQLite's own verdict, "ok" or what is wrong."""
    count: int
    first: int
    last: int
    """Order numbers; 0 where there is none."""
    cents: int
    """The sum of all orders."""


class Moments(NamedTuple):
    """The moments that decide what must be in the snapshot, and what must not. CLOCK_MONOTONIC ns,
    0 where it never got there."""

    paused_ns: int
    """The pre-script's end."""
    thawed_ns: int
    """The window's end."""


def equal(name: str, expected: str, found: str) -> Proof:
    """A check that something is exactly as expected."""
    return Proof(name, expected, found, found == expected)


# ---- filesystems ---------------------------------------------------------------------------------


def filesystem_clean(volume: Volume, image: str) -> Proof:
    """Let the filesystem's own checker look at an image; it mends nothing."""
    done = ask_tool(*volume.check, image)
    found = "clean"
    if done.returncode:
        found = f"status {done.returncode}: {last_line(done.stdout.splitlines())}"
    return Proof(f"{' '.join(volume.check)} {volume.name}.img", "clean", found, not done.returncode)


def journal_empty(volume: Volume, image: str) -> Proof:
    """Look whether an ext4 image's journal has something left to replay."""
    name = f"journal of {volume.name}.img"
    with open(image, "rb") as file:
        file.seek(_EXT4_SUPERBLOCK)
        superblock = file.read(1024)
    if _number(superblock, _EXT4_MAGIC_AT, 2) != _EXT4_MAGIC:
        return Proof(name, "nothing to replay", "no ext4 superblock", False)
    dirty = bool(_number(superblock, _EXT4_INCOMPAT_AT, 4) & _EXT4_RECOVER)
    found = "needs to be replayed" if dirty else "nothing to replay"
    return equal(name, "nothing to replay", found)


def _number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


# ---- databases -----------------------------------------------------------------------------------


def read_copy(database: str, work: str) -> Contents:
    """Copy a database and its write-ahead log out of a mounted snapshot, and read the copy.

    Args:
        database: its path in the snapshot.
        work: a directory to copy to.
    """
    name = os.path.basename(database)
    copy = os.path.join(work, name)
    try:
        shutil.copyfile(database, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{database}-wal", f"{copy}-wal")
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            rows = connection.execute("PRAGMA integrity_check").fetchall()
            count, first, last, cents = connection.execute(
                "SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0), "
                "coalesce(sum(cents), 0) FROM orders"
            ).fetchone()
    except (OSError, sqlite3.Error) as error:
        return Contents(name, str(error), 0, 0, 0, 0)
    return Contents(name, "; ".join(str(row[0]) for row in rows), count, first, last, cents)


def intact(contents: Contents) -> Proof:
    """SQLite's own verdict."""
    return equal(f"{contents.name}: integrity_check", "ok", contents.integrity)


def complete(contents: Contents, orders: Sequence[Order], moments: Moments) -> Proof:
    """Every order committed before the pre-script's end is there; without a gap."""
    name = f"{contents.name}: committed before"
    if not moments.paused_ns:
        return Proof(name, "all up to the pause", "there was no pause", False)
    due = max((o.number for o in orders if o.committed_ns <= moments.paused_ns), default=0)
    found = _numbers(contents.count, contents.first, contents.last)
    # No gap before `due`; orders beyond it are another check's business.
    unbroken = contents.count == contents.last and contents.first <= 1
    holds = due > 0 and unbroken and contents.last >= due
    return Proof(name, _numbers(due, min(due, 1), due), found, holds)


def nothing_later(contents: Contents, orders: Sequence[Order], moments: Moments) -> Proof:
    """No order is there that was committed after the pause began."""
    name = f"{contents.name}: committed after"
    if not moments.paused_ns:
        return Proof(name, "none", "there was no pause", False)
    due = max((o.number for o in orders if o.committed_ns <= moments.paused_ns), default=0)
    extra = max(contents.last - due, 0)
    return equal(name, "none", f"{extra}" if extra else "none" if contents.count else "no orders")


def agree(one: Contents, other: Contents) -> Proof:
    """Both databases tell of the same orders: the snapshots are of one moment."""
    return equal(
        "both tell the same", _money(one), _money(other)
    )._replace(holds=bool(one.count) and _same(one, other))  # fmt: skip


def _same(one: Contents, other: Contents) -> bool:
    return one._replace(name="", integrity="") == other._replace(name="", integrity="")


def _numbers(count: int, first: int, last: int) -> str:
    return f"{count:,} ({first:,} to {last:,})" if count else "0"


def _money(contents: Contents) -> str:
    return f"{contents.count:,} orders, {contents.cents / 100:,.2f}"


# ---- the application -----------------------------------------------------------------------------


def held_still(orders: Sequence[Order], moments: Moments) -> Proof:
    """The shop took no order from the pre-script's end until everything was thawed."""
    name = "orders while frozen"
    if not moments.paused_ns or not moments.thawed_ns:
        return Proof(name, "0", "there was no pause", False)
    taken = sum(moments.paused_ns < o.committed_ns <= moments.thawed_ns for o in orders)
    return equal(name, "0", f"{taken:,}")


def went_on(orders: Sequence[Order], moments: Moments, at_least: int) -> Proof:
    """The shop was not harmed: it took orders again."""
    after = sum(o.committed_ns > moments.thawed_ns for o in orders) if moments.thawed_ns else 0
    return Proof("orders afterwards", f"{at_least:,} or more", f"{after:,}", after >= at_least)
