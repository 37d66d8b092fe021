"""The times of one window, out of the state page's timestamps: pure arithmetic."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._model.states import FilesystemState

if TYPE_CHECKING:
    from collections.abc import Sequence

NS_PER_MS = 1_000_000
_MAY_BE_FROZEN = (
    FilesystemState.FREEZING,
    FilesystemState.FROZEN,
    FilesystemState.THAWING,
    FilesystemState.STUCK,
)


class FilesystemTimes(NamedTuple):
    """What one filesystem went through. Times are CLOCK_MONOTONIC ns, 0: it never got there."""

    mount: str
    """Its mount point."""
    device: tuple[int, int]
    """(major, minor)."""
    level: int
    """0 is frozen first and thawed last; those of one level side by side."""
    state: FilesystemState
    """chosen, open, freezing, frozen, thawing, thawed, failed, foreign-thaw or stuck."""
    error: int
    """errno of what failed last, 0: nothing."""
    flush_rounds: int
    """How many rounds of syncfs there were right before the freeze."""
    flush_ns: int
    """Nanoseconds in syncfs, all rounds."""
    freeze_enter_ns: int
    """FIFREEZE was called: from here on writers wait."""
    freeze_return_ns: int
    """FIFREEZE returned: from here on nothing changes."""
    thaw_enter_ns: int
    """FITHAW was called."""
    thaw_return_ns: int
    """FITHAW returned."""

    @property
    def may_be_frozen(self) -> bool:
        """Whether it is, or may become, frozen by this run."""
        return self.state in _MAY_BE_FROZEN

    @property
    def outcome(self) -> str:
        """The state, or "pending": something hangs in the kernel and was given up."""
        opening_hangs = self.state is FilesystemState.OPEN and self.error == errno.ETIMEDOUT
        hangs = opening_hangs or self.state is FilesystemState.FREEZING
        return "pending" if hangs else self.state.value

    @property
    def flush_ms(self) -> float:
        """Milliseconds in syncfs, all rounds."""
        return self.flush_ns / NS_PER_MS

    @property
    def freeze_ms(self) -> float | None:
        """Milliseconds in FIFREEZE."""
        return _span_ms(self.freeze_enter_ns, self.freeze_return_ns)

    @property
    def frozen_ms(self) -> float | None:
        """Milliseconds from FIFREEZE's entry, when writers begin to wait, to FITHAW's return."""
        return _span_ms(self.freeze_enter_ns, self.thaw_return_ns)

    @property
    def thaw_ms(self) -> float | None:
        """Milliseconds in FITHAW."""
        return _span_ms(self.thaw_enter_ns, self.thaw_return_ns)


class WindowTimes(NamedTuple):
    """One window. Milliseconds; None where it never got there."""

    filesystems: tuple[FilesystemTimes, ...]
    """Each one's own times, in the order of freezing."""
    begin_ns: int
    """The first FIFREEZE's entry, CLOCK_MONOTONIC."""
    frozen_ns: int
    """The last FIFREEZE's return."""
    thaw_ns: int
    """The first FITHAW's entry."""
    end_ns: int
    """The last FITHAW's return."""
    snapshot_ms: float | None
    """The snapshot's own time inside the window."""

    @property
    def window_ms(self) -> float | None:
        """From the first FIFREEZE's entry to the last FITHAW's return."""
        return _span_ms(self.begin_ns, self.end_ns)

    @property
    def frozen_together_ms(self) -> float | None:
        """From the last FIFREEZE's return to the first FITHAW's entry."""
        return _span_ms(self.frozen_ns, self.thaw_ns)

    @property
    def overhead_ms(self) -> float | None:
        """The window less the snapshot's own time: what pyfreeze answers for."""
        if self.window_ms is None or self.snapshot_ms is None:
            return None
        return self.window_ms - self.snapshot_ms


def _span_ms(begin_ns: int, end_ns: int) -> float | None:
    return (end_ns - begin_ns) / NS_PER_MS if begin_ns and end_ns >= begin_ns else None


def window_times(
    filesystems: Sequence[FilesystemTimes], snapshot_begin_ns: int = 0, snapshot_end_ns: int = 0
) -> WindowTimes:
    """Put the filesystems' times together; the snapshot's are clipped to the window."""
    frozen = [f for f in filesystems if f.freeze_enter_ns]
    begin = min((f.freeze_enter_ns for f in frozen), default=0)
    together = max((f.freeze_return_ns for f in frozen), default=0)
    thaws = [f for f in frozen if f.thaw_enter_ns]
    thaw = min((f.thaw_enter_ns for f in thaws), default=0)
    end = max((f.thaw_return_ns for f in thaws), default=0)
    snapshot_ms = None
    if snapshot_begin_ns and end:
        span = min(snapshot_end_ns or end, end) - max(snapshot_begin_ns, begin)
        snapshot_ms = max(span, 0) / NS_PER_MS
    return WindowTimes(tuple(filesystems), begin, together, thaw, end, snapshot_ms)
