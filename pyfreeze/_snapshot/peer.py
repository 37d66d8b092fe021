"""A snapshot taken by somebody who is told through descriptors."""

from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._model.errors import UsageError
from pyfreeze._model.timeline import window_times
from pyfreeze._snapshot.provider import OpenWindow, SnapshotResult

if TYPE_CHECKING:
    from pyfreeze._backup.settings import Settings
    from pyfreeze._core.run import Run
    from pyfreeze._model.options import WindowOptions


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


def _check_descriptor(fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError as error:
        raise UsageError(errno.EBADF, f"peer: found {fd!r}, expected an open descriptor") from error


def by_peer(
    run: Run, peer: Peer, settings: Settings, options: WindowOptions | None
) -> SnapshotResult:
    if options is None:
        begin_ns = time.monotonic_ns()
        os.write(peer.notify_fd, b"unfrozen\n")
        ready, _, _ = select.select([peer.done_fd], [], [], settings.snapshot_timeout_s)
        failure = "" if ready else f"did not answer within {settings.snapshot_timeout_s:g} s"
        return SnapshotResult("peer", "unfrozen", None, failure, begin_ns, time.monotonic_ns())
    with OpenWindow(run, options, peer=peer) as window:
        closed = window.wait()
    # The peer's own time is all of it that everything was frozen together.
    times = window_times(run.filesystems())
    return SnapshotResult("peer", closed.verdict, closed.error, "", times.frozen_ns, times.thaw_ns)
