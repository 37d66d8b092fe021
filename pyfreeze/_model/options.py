"""The options of a window, as plain data."""

from __future__ import annotations

import errno as _errno
from typing import NamedTuple

from pyfreeze._model.errors import UsageError

DAY_S = 86400.0


def check_seconds(name: str, seconds: float | None) -> None:
    """Refuse what is no number of seconds above 0 and within a day; None is none."""
    if seconds is not None and not 0 < seconds <= DAY_S:  # refuses NaN too
        raise UsageError(
            _errno.EINVAL, f"{name}: found {seconds!r}, expected seconds above 0, at most a day"
        )


class Target(NamedTuple):
    """A filesystem to open, by the mount that was chosen for it."""

    mount_point: str
    mount_id: int
    device: tuple[int, int]
    level: int


class Flush(NamedTuple):
    """How to flush before a freeze."""

    rounds: int = 8
    """At most so many rounds of syncfs; they end earlier when they no longer get shorter."""
    spend_s: float = 5.0
    """No further round begins after this."""
    limit_s: float = 10.0
    """A round that has not ended by then fails the flush."""


class WindowOptions(NamedTuple):
    """The options of a freeze window."""

    max_window_s: float
    """From the first FIFREEZE until everything is thawed regardless."""
    freeze_timeout_s: float
    """What all FIFREEZEs together may take."""
    flush: Flush
    """Right before."""
    expedite: bool = True
    """Raise rcu_expedited around the FIFREEZEs."""
    realtime: bool = True
    """SCHED_FIFO for the supervisor's threads meanwhile, if they would have to share processors."""
    cpu_latency: bool = True
    """No idle states for the processors meanwhile (PM QoS), for at most 20 ms of the snapshot."""
    parallel: bool = True
    """All filesystems of a level at once."""
