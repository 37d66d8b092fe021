"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PART = ".part"
#: Nobody takes so long to write one: it was left by somebody who was killed.
_LEFT_AFTER_S = 3600.0
_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFLNK: "a symlink",
}


def kind_of(mode: int) -> str:
    """What a file with this mode is, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something unknown")


def check_target(path: str) -> None:
    """Refuse a file that could not be written later.

    Raises:
        OSError: its directory is not there, or something is that is no regular file.
    """
    real = os.path.realpath(path)
    directory = os.path.dirname(real)
    if not os.path.isdir(directory):
        raise OSError(errno.ENOENT, "its directory does not exist; make it first", path)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "its directory cannot be written to", path)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(real).st_mode):
            text = "found something that is no regular file, expected one, or nothing"
            raise OSError(errno.EINVAL, text, path)


@contextlib.contextmanager
def opened(path: str, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor for as long as it is needed."""
    fd = os.open(path, flags | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def bytes_if_there(path: str) -> bytes | None:
    """What a file holds; None where there is none, or none that can be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def read_if_there(path: str) -> str:
    """What a text file holds; nothing where there is none, or none that can be read."""
    return (bytes_if_there(path) or b"").decode("utf-8", errors="replace")


def save(path: str, content: str, *, mode: int | None = None) -> None:
    """As `replace()`, but of a symbolic link the target is replaced, not the link."""
    replace(os.path.realpath(path), content, mode=mode)


def replace(path: str, content: str, *, mode: int | None = None) -> None:
    """Put a file in place, whole: nobody ever reads half of it.

    Args:
        path: where; what is there is replaced, also if it is a symbolic link.
        content: what, as UTF-8.
        mode: permissions, whatever the umask; None: 0666 less the umask.

    Raises:
        OSError: it is as it was before.
    """
    directory, name = os.path.split(path)
    _sweep(directory, name)
    part = os.path.join(directory, f".{name}.{os.urandom(4).hex()}{_PART}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(part, flags, 0o666)
        with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            if mode is not None:
                os.fchmod(fd, mode)
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.rename(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        if isinstance(error, OSError):
            error.filename = path  # the part's name says nothing to anybody
        raise


def _sweep(directory: str, name: str) -> None:
    """Remove the parts of this file that killed runs have left."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            is_part = entry.name.startswith(f".{name}.") and entry.name.endswith(_PART)
            if is_part and entry.stat(follow_symlinks=False).st_mtime < time.time() - _LEFT_AFTER_S:
                os.unlink(entry.path)
