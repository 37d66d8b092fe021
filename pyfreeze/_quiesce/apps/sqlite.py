"""SQLite: every database below a directory, its log written back, its writers waiting."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from pyfreeze._base.files import opened
from pyfreeze._base.text import shown
from pyfreeze._quiesce.application import PATH, SECONDS, Quiescer, Setting
from pyfreeze._quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

#: https://www.sqlite.org/fileformat.html, "The Database Header".
_MAGIC = b"SQLite format 3\0"
_LOOK_AGAIN_S = 0.0001
_BESIDE = ("-wal", "-shm", "-journal")
#: How often is looked, at most: a database made while others are locked is found by the next look.
_LOOKS = 5

Identity = tuple[int, int]
"""Device and inode."""

_ABOUT = """\
It looks for SQLite databases below a directory, by their content and not their names, and for
each of them writes the write-ahead log back into the database (PRAGMA wal_checkpoint) and begins
a transaction (BEGIN IMMEDIATE). Queries go on. A writer waits as long as its own busy
timeout allows, and then gets SQLITE_BUSY. So applications need a busy timeout longer than
flush, freeze and snapshot take: a second will usually do.

A transaction under way is waited for, up to lock_wait_s; then the script fails, and the
application goes on. All databases are held at the same time, so the snapshot has one moment of
all of them.

To restore: mount the snapshot where the filesystem was, or copy a database with the files of the
same name and -wal, -shm or -journal behind it."""

_SETTINGS = (
    Setting("directory", "", "Where to look for databases, and below it. To be given.", PATH),
    Setting("lock_wait_s", "10", "How long all locks together may be waited for.", SECONDS),
)


class _Held(NamedTuple):
    identity: Identity
    path: str
    connection: sqlite3.Connection


class Application(Quiescer):
    """Some databases whose writers wait."""

    name = "sqlite"
    title = "SQLite"
    about = _ABOUT
    settings = _SETTINGS
    hold_at_most_s = 30.0  # writers wait all the while
    timeout_s = 30.0

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self._held: dict[Identity, _Held] = {}

    def quiesce(self) -> str:
        """Find all and lock them."""
        directory = self._values["directory"]
        if not directory or not os.path.isdir(directory):
            raise QuiesceError(
                f"setting directory: found {directory!r}, expected the path of a directory"
            )
        until_s = time.monotonic() + float(self._values["lock_wait_s"])
        for _ in range(_LOOKS):
            found = list(databases(directory, self._held))
            if not found:
                break
            self._hold([one for place in found if (one := self._open(*place))], until_s)
        else:
            raise QuiesceError(f"{directory}: new databases are made faster than they are locked")
        if not self._held:
            raise QuiesceError(f"{directory}: there is no SQLite database in it or below it")
        names = "\n".join(shown(held.path) for held in self._held.values())
        count = len(self._held)
        return f"{count} database{'s' * (count > 1)}, writers waiting\n{names}"

    def _open(self, identity: Identity, path: str) -> _Held | None:
        """A connection, which is closed with the others; None: there is no such file any more."""
        # Should descriptors be lacking, those of the others are free before the holder notes that.
        # As root, SQLite gives the files that it makes beside a database to the database's owner.
        uri = f"file:{quote(os.fsencode(path))}?mode=rw"
        try:
            connection = sqlite3.connect(uri, timeout=0, isolation_level=None, uri=True)
        except sqlite3.Error as error:
            if os.path.exists(path):
                raise QuiesceError(f"{path}: {error}") from None
            return None
        one = self._held[identity] = _Held(identity, path, connection)
        # As far as it goes without waiting: the rest is in the snapshot beside the database. What
        # else may be wrong, BEGIN tells.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return one

    def _hold(self, wanted: list[_Held], until_s: float) -> None:
        """Lock them all, each as soon as its writers leave a gap.

        SQLite's own waiting would sleep for up to 100 ms between two looks, and those that are held
        already would wait as long.
        """
        while wanted:
            missing = [one for one in wanted if not self._try(one)]
            if missing and time.monotonic() > until_s:
                raise QuiesceError(
                    f"{missing[0].path}: somebody is writing to it for longer than lock_wait_s"
                )
            if len(missing) == len(wanted):
                time.sleep(_LOOK_AGAIN_S)
            wanted = missing

    def _try(self, one: _Held) -> bool:
        """Whether there is nothing more to do about it."""
        try:
            one.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if "locked" in str(error):
                return False
            if os.path.exists(one.path):
                raise QuiesceError(f"{one.path}: {error}") from None
            self._held.pop(one.identity).connection.close()  # removed meanwhile
        return True

    def release(self) -> str:
        """End the transactions, after a look whether they were those of the files there are."""
        held = self._held.values()
        replaced = [one.path for one in held if _identity(one.path) != one.identity]
        self.abandon()
        if replaced:
            names = ", ".join(map(shown, replaced))
            raise QuiesceError(f"replaced or removed meanwhile, so not held: {names}")
        return ""

    def abandon(self) -> None:
        """End the transactions at once; they have changed nothing."""
        for held in self._held.values():
            with contextlib.suppress(sqlite3.Error):
                held.connection.close()


def databases(directory: str, held: Container[Identity] = ()) -> Iterator[tuple[Identity, str]]:
    """Device, inode and path of every database below a directory; links are not followed.

    One that is held is never opened, nor is what lies beside it: closing any descriptor of a file
    gives up all POSIX locks on it, and of a database with a write-ahead log they are on its -shm.

    Raises:
        QuiesceError: a directory cannot be read.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise QuiesceError(f"{error.filename}: {error.strerror}") from None

    seen: set[Identity] = set()
    for parent, _, names in os.walk(directory, onerror=fail):
        for name in sorted(names):
            path = os.path.join(parent, name)
            identity = _identity(path)
            if identity is None or identity in held or identity in seen:
                continue
            if not _is_beside_one(path, held) and _is_database(path):
                seen.add(identity)
                yield identity, path


def _is_beside_one(path: str, held: Container[Identity]) -> bool:
    """Whether it is a log or a journal, by its name, and there is the database that has it."""
    for base in [path.removesuffix(suffix) for suffix in _BESIDE if path.endswith(suffix)]:
        identity = _identity(base)
        if identity is not None and (identity in held or _is_database(base)):
            return True
    return False


def _identity(path: str) -> Identity | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _is_database(path: str) -> bool:
    try:
        with opened(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as fd:
            return os.read(fd, len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False
