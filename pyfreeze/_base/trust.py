"""Whether a file may be trusted with root's power: owner, permissions and all directories above.

A user who can change one of these files, or swap it for another, runs commands as root. So the
answer must still be true when the file is used, and it must be about the file that is used:

- The path is walked from `/` one name at a time, each name looked up in the descriptor of the
  directory that was checked before it, never by a path.
- A directory passes only if root owns it and nobody else may write to it. From then on nobody but
  root can put another entry under any name in it, so what is found there stays there. The sticky
  bit does not help: it guards existing entries, but lets anybody create missing ones.
- Symlinks are resolved here, by hand, so that the directories on the way to them are checked as
  well. A symlink's own owner does not matter: its text cannot be changed, only replaced, and that
  takes the right to write to its directory.
- What decides is the status of the descriptor that the content is read from, never a second
  look-up by name.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyfreeze._base.files import kind_of, opened
from pyfreeze._base.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

Trouble = Literal[
    "missing", "owner", "mode", "type", "directory", "loop", "size", "unreadable", "noexec"
]

_ROOT_UID = 0
_MAX_SYMLINKS = 40  # the kernel's own limit, MAXSYMLINKS
_MAX_PATH_BYTES = 4095  # PATH_MAX without its NUL
_SHORTER = f"at most {_MAX_PATH_BYTES} bytes"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: should root swap the file for a FIFO in this very moment, the open does not hang.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Requirement(NamedTuple):
    """What a file must be, beyond being a regular file that root owns."""

    name: str
    forbidden_bits: int
    mode_in_words: str
    required_bits: int = 0
    max_bytes: int = 0
    """The most content that is read; 0: none is."""


SCRIPT_CONFIG = Requirement(
    name="script configuration",
    forbidden_bits=0o177,
    mode_in_words="0600 or stricter: no group or other bit, no execute bit",
    max_bytes=1 << 20,
)
HOST_CONFIG = Requirement(
    name="plugin host configuration",
    forbidden_bits=0o033,
    mode_in_words="0644 or stricter: group and other may at most read",
    max_bytes=1 << 20,
)
FREEZE_CONFIG = HOST_CONFIG._replace(name="freeze configuration")
SCRIPT = Requirement(
    name="script",
    forbidden_bits=0o077 | stat.S_ISUID | stat.S_ISGID,
    required_bits=0o500,
    mode_in_words=(
        "0700 or 0500: no group or other bit, readable and executable by root, no set-id bit"
    ),
)
PROGRAM = Requirement(
    name="program",
    forbidden_bits=_WRITABLE_BY_OTHERS,
    mode_in_words="a file that only root can write to",
)


class TrustedFile(NamedTuple):
    """A file that passed."""

    path: str
    """Its real path: absolute, no symlink in it, nobody but root can change where it leads."""
    content: bytes
    """What it held when it was checked; empty where the requirement does not read it."""


class TrustError(Exception):
    """A file may not be trusted; its text is one line.

    `path` is the path as it was asked for, `problem` the kind of failure, `found` what is there
    (naming the directory or the symlink's target where that is at fault), `needed` what must be.
    Trouble with the owner or mode of a directory is `owner` or `mode` as for the file itself;
    `directory` means that a name on the way is no directory.
    """

    def __init__(self, path: str, problem: Trouble, found: str, needed: str) -> None:
        super().__init__(path, problem, found, needed)
        self.path = path
        self.problem: Trouble = problem
        self.found = found
        self.needed = needed

    def __str__(self) -> str:
        return shown(f"{self.path}: {self.found}, needed {self.needed}")


def check(path: str, requirement: Requirement) -> TrustedFile:
    """Check one file and read it, if the requirement says so, from the descriptor checked.

    Raises `TrustError` whatever is wrong with the path or the file, and nothing else. Nothing but
    a regular file is ever opened for reading.
    """
    with _walking(path) as walk:
        return walk.to_file(requirement)


def check_directory(path: str) -> str:
    """Check a directory and all above it: root owns them, nobody else may write. Its real path.

    Raises `TrustError` like `check`.
    """
    with _walking(path) as walk:
        return walk.to_directory()


@contextlib.contextmanager
def _walking(path: str) -> Iterator[_Walk]:
    """A walk along a path; what the system refuses on it is a `TrustError`."""
    _check_spelling(path)
    try:
        with contextlib.closing(_Walk(path)) as walk:
            yield walk
    except FileNotFoundError:
        raise TrustError(path, "missing", "nothing there", "a regular file") from None
    except OSError as error:
        found = f"the error '{error.strerror or error}'"
        raise TrustError(path, "unreadable", found, "a file that root can read") from None


class _Walk:
    """A walk along one path; holds the descriptor of the directory it has come to."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._names: list[str] = []
        self._directory_fd: int | None = None
        self._symlinks = 0

    def close(self) -> None:
        if self._directory_fd is not None:
            os.close(self._directory_fd)
            self._directory_fd = None

    def to_directory(self) -> str:
        """Go to the directory itself and return its real path."""
        self._follow(self._path + "/.")
        return self._at(self._names)

    def _follow(self, path: str) -> str | None:
        """Follow a path to its last name, and return that; None where it ends in a directory."""
        self._go("/", [])
        pending = path.split("/")[::-1]
        while pending:
            name = pending.pop()
            # An empty name comes from a doubled or trailing slash and means "." to the kernel;
            # after a trailing one the name before is not the last, so it must be a directory.
            if name in ("", "."):
                continue
            if name == "..":
                self._go("..", self._names[:-1])
                continue
            target = self._target_if_symlink(name)
            if target is not None:
                if target.startswith("/"):
                    self._go("/", [])
                pending.extend(target.split("/")[::-1])
            elif pending:
                self._go(name, [*self._names, name])
            else:
                return name
        return None

    def to_file(self, requirement: Requirement) -> TrustedFile:
        """Go to the directory that holds the file, check the file, and read its content."""
        name = self._follow(self._path)
        if name is None:
            raise self._error("type", "a directory", "a regular file")
        at = self._at([*self._names, name])
        if len(os.fsencode(at)) > _MAX_PATH_BYTES:
            raise self._error("unreadable", "a path that resolves to one too long", _SHORTER)
        with opened(name, _LOOK, dir_fd=self._directory_fd) as fd:
            # First without opening it for I/O, for opening a device or FIFO can have effects.
            self._check_file(fd, at, requirement)
            if requirement.max_bytes == 0:
                return TrustedFile(at, b"")
        with opened(name, _READ, dir_fd=self._directory_fd) as fd:
            self._check_file(fd, at, requirement)
            return TrustedFile(at, self._content(fd, requirement))

    def _target_if_symlink(self, name: str) -> str | None:
        with opened(name, _LOOK, dir_fd=self._directory_fd) as fd:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return None
            self._symlinks += 1
            if self._symlinks > _MAX_SYMLINKS:
                raise self._error(
                    "loop",
                    f"more than {_MAX_SYMLINKS} symlinks on the way, the last of them "
                    + self._at([*self._names, name]),
                    "a path without a loop of symlinks",
                )
            return os.readlink("", dir_fd=fd)

    def _go(self, name: str, names: list[str]) -> None:
        """Enter a directory (`/`, `..`, or a name that is no symlink) and check it."""
        # Only with O_DIRECTORY does O_PATH trigger an automount instead of ending before it. What
        # this opens is what is checked and entered, whatever the look before it saw.
        try:
            fd = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=self._directory_fd)
        except NotADirectoryError:
            found = f"{self._at(names)}, which is no directory, on the way"
            raise self._error("directory", found, "a directory in its place") from None
        self.close()
        self._directory_fd = fd
        self._names = names
        status, at = os.fstat(fd), self._at(names)
        if status.st_uid != _ROOT_UID:
            found = f"directory {at} with owner uid {status.st_uid}"
            raise self._error("owner", found, "owner root (uid 0)")
        if status.st_mode & _WRITABLE_BY_OTHERS:
            found = f"directory {at} with {_mode_in_words(status.st_mode)}"
            raise self._error("mode", found, "a directory that only root can write to")

    def _check_file(self, fd: int, at: str, requirement: Requirement) -> None:
        status = os.fstat(fd)
        bits = stat.S_IMODE(status.st_mode)
        lacking = requirement.required_bits & ~bits
        problem: Trouble
        if not stat.S_ISREG(status.st_mode):
            problem, link, found = "type", ", ", kind_of(status.st_mode)
            needed = "a regular file"
        elif status.st_uid != _ROOT_UID:
            problem, link, found = "owner", " with ", f"owner uid {status.st_uid}"
            needed = "owner root (uid 0)"
        elif bits & requirement.forbidden_bits or lacking:
            problem, link, found = "mode", " with ", _mode_in_words(status.st_mode)
            needed = requirement.mode_in_words
        elif requirement.required_bits & stat.S_IXUSR and os.fstatvfs(fd).f_flag & os.ST_NOEXEC:
            problem, link, found = "noexec", " on ", "a filesystem mounted noexec"
            needed = "one that programs can be run from"
        else:
            return
        # The file is named, unless it is the very path that was asked for.
        raise self._error(problem, found if at == self._path else at + link + found, needed)

    def _content(self, fd: int, requirement: Requirement) -> bytes:
        limit = requirement.max_bytes
        size_bytes = os.fstat(fd).st_size
        # The size is for the message; the bound on what is read holds whatever the size says.
        with open(fd, "rb", closefd=False) as file:
            content = file.read(limit + 1) if size_bytes <= limit else b""
        size_bytes = max(size_bytes, len(content))
        if size_bytes > limit:
            raise self._error("size", f"{size_bytes} bytes", f"at most {limit} bytes")
        return content

    def _at(self, names: list[str]) -> str:
        return "/" + "/".join(names)

    def _error(self, problem: Trouble, found: str, needed: str) -> TrustError:
        return TrustError(self._path, problem, found, needed)


def _check_spelling(path: str) -> None:
    """Refuse what no file can be called; the system calls would raise all sorts of things."""
    needed = "an absolute path"
    if not path:
        raise TrustError(path, "unreadable", "an empty path", needed)
    if "\0" in path:
        raise TrustError(path, "unreadable", "a NUL character in the path", needed)
    if not path.startswith("/"):
        raise TrustError(path, "unreadable", "a relative path", needed)
    try:
        size_bytes = len(os.fsencode(path))
    except UnicodeEncodeError:
        found = "a character in the path that file names cannot hold"
        raise TrustError(path, "unreadable", found, needed) from None
    if size_bytes > _MAX_PATH_BYTES:
        raise TrustError(path, "unreadable", f"a path of {size_bytes} bytes", _SHORTER)


def _mode_in_words(mode: int) -> str:
    return f"mode {stat.S_IMODE(mode):04o} ({stat.filemode(mode)})"
