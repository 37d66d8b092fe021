"""A snapshot taken by somebody who is told through descriptors."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._core.types import StepKind
from pyfreeze._model.errors import UsageError
from pyfreeze._model.timeline import window_times
from pyfreeze._snapshot.provider import Provider, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._core.types import StepRecord
    from pyfreeze._model.timeline import FilesystemTimes


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


class PeerProvider(Provider):
    """The supervisor itself tells the peer, and hears its answer."""

    kind = "peer"

    def __init__(self, peer: Peer, timeout_s: float) -> None:
        for fd in peer:
            try:
                os.fstat(fd)
            except OSError as error:
                text = f"peer: found {fd!r}, expected an open descriptor"
                raise UsageError(errno.EBADF, text) from error
        self.peer = (peer.notify_fd, peer.done_fd)
        self.limit_s = timeout_s

    def result(
        self, record: StepRecord, call: object, filesystems: Sequence[FilesystemTimes]
    ) -> SnapshotResult:
        """Its time in a window is all of it that everything was frozen together."""
        if record.kind is StepKind.WAIT and record.is_over:
            late = record.error is not None and record.error.errno == errno.ETIMEDOUT
            failure = f"did not answer within {self.limit_s:g} s" if late else ""
            return SnapshotResult(self.kind, failure, record.begin_ns, record.end_ns)
        times = window_times(filesystems)
        return SnapshotResult(self.kind, "", times.frozen_ns, times.thaw_ns)
