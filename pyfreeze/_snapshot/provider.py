"""What every kind of snapshot has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._core import run as core
from pyfreeze._core.run import wait_for

if TYPE_CHECKING:
    from pyfreeze._core.run import Run
    from pyfreeze._core.types import ChildEnd, Event
    from pyfreeze._model.errors import FreezeError
    from pyfreeze._model.options import WindowOptions


class SnapshotResult(NamedTuple):
    """What became of the snapshot. Times are CLOCK_MONOTONIC ns, 0 where it never got there."""

    kind: str
    verdict: str
    """The window's; "unfrozen" where there was none."""
    window_error: FreezeError | None
    failure: str
    """Empty, or how the snapshot itself failed, in a sentence."""
    begin_ns: int
    end_ns: int
    end: ChildEnd | None = None
    """Of a command."""
    output: bytes = b""
    argv: tuple[str, ...] = ()


class OpenWindow:
    """A window that was asked for: left by an exception, it is thawed at once."""

    def __init__(
        self,
        run: Run,
        options: WindowOptions,
        child: int = -1,
        peer: tuple[int, int] | None = None,
    ) -> None:
        self._run = run
        self.end: Event | None = None
        run.request_window(options, child=child, peer=peer)

    def wait(self, *kinds: int) -> Event:
        """Wait for a kind of event, or the window's end, whichever comes first."""
        event = wait_for(self._run, *kinds, core.CLOSED, core.LOST)
        if event.kind not in kinds:
            self.end = event
        return event

    def __enter__(self) -> OpenWindow:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self.end is None and not self._run.window_is_over:
            self._run.request_abort()
            self.wait()
