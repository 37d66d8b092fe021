"""What a backup is asked to do, checked before anything happens."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pyfreeze._client import STATE_DIRECTORY
from pyfreeze._errors import UsageError, check_seconds
from pyfreeze._outcome import Level
from pyfreeze._scripts import CLEAN_ENVIRONMENT

DEFAULT_SNAPSHOT_TIMEOUT_S = 3600.0


class Peer(NamedTuple):
    """A snapshot taken by somebody who is told through descriptors: given to `backup()`.

    Pipes or sockets, whose other ends belong to a thread, an event loop or another process. The
    supervisor itself writes and reads them, so the window needs neither Python nor the GIL. They
    stay open, and the caller's.

    Whether the peer's snapshot succeeded is the peer's to say: the answer ends the window and
    means nothing else. No answer within max_window seconds is an expired window.
    """

    notify_fd: int
    """Written on: the line "frozen" when everything is frozen, "unfrozen" with freeze=False."""
    done_fd: int
    """Everything is thawed when this becomes readable, or its other end is closed."""


Snapshot = Sequence[str] | Callable[[], object] | Peer


class Settings(NamedTuple):
    """One backup's settings. None: as the configuration files say, or their defaults."""

    snapshot: Snapshot
    config: str | None = None
    host_config: str | None = None
    freeze_config: str | None = None
    mounts: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    max_window_s: float | None = None
    freeze_timeout_s: float | None = None
    flush_timeout_s: float | None = None
    """For writing the bulk of dirty data at the beginning; None: as long as freezing may take."""
    snapshot_timeout_s: float = DEFAULT_SNAPSHOT_TIMEOUT_S
    scripts: bool = True
    freeze: bool = True
    require: Level = Level.NONE
    single_disk: bool | None = None
    crash_fallback: bool = False
    expedite: bool = True
    realtime: bool = True
    wakeful: bool = True
    parallel: bool = True
    flush_rounds: int = 8
    environment: Mapping[str, str] = CLEAN_ENVIRONMENT
    directory: str = "/"
    state_directory: str = STATE_DIRECTORY


def check(settings: Settings) -> Settings:
    """Check all that can be checked without touching a filesystem; resolve the command.

    Raises:
        UsageError: naming the option, what was found and what was expected.
    """
    for name, seconds in (
        ("max_window", settings.max_window_s),
        ("freeze_timeout", settings.freeze_timeout_s),
        ("flush_timeout", settings.flush_timeout_s),
        ("snapshot_timeout", settings.snapshot_timeout_s),
    ):
        check_seconds(name, seconds)
    snapshot = settings.snapshot
    if callable(snapshot):
        return settings
    if isinstance(snapshot, Peer):
        for fd in snapshot:
            _check_descriptor(fd)
        return settings
    if isinstance(snapshot, str) or not snapshot:
        raise UsageError(
            errno.EINVAL, f"snapshot command: found {snapshot!r}, expected a program and arguments"
        )
    words = tuple(os.fspath(word) for word in snapshot)
    for word in words:
        if "\0" in word:
            raise UsageError(
                errno.EINVAL, f"snapshot command: found a NUL in {word!r}, expected none"
            )
    return settings._replace(snapshot=words)


def parse_level(text: str) -> Level:
    """A level by its name.

    Raises:
        UsageError: there is no such level.
    """
    for level in Level:
        if level.label == text:
            return level
    names = ", ".join(level.label for level in Level)
    raise UsageError(errno.EINVAL, f"require: found {text!r}, expected one of {names}")


def find_program(name: str, environment: Mapping[str, str], directory: str) -> str:
    """The path to execute for a command's first word, looked up as a shell would.

    Raises:
        UsageError: there is no such program, or it cannot be executed.
    """
    if "/" in name:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
        if not os.path.exists(path):
            raise UsageError(
                errno.ENOENT, "found no such file, expected the snapshot command", name
            )
        text = "found no executable file, expected the snapshot command: is it mode 755?"
        raise UsageError(errno.EACCES, text, name)
    found = shutil.which(name, path=environment.get("PATH", CLEAN_ENVIRONMENT["PATH"]))
    if found is None:
        text = "found no such program in PATH, expected the snapshot command: give its path"
        raise UsageError(errno.ENOENT, text, name)
    return os.path.join(directory, found)


def _check_descriptor(fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError as error:
        raise UsageError(errno.EBADF, f"peer: found {fd!r}, expected an open descriptor") from error
