"""What the C core is handed and hands back, as plain data; nothing here needs the core itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyfreeze._errors import FreezeError


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
    wakeful: bool = True
    """No idle states for the processors meanwhile (PM QoS), for at most 20 ms of the snapshot."""
    parallel: bool = True
    """All filesystems of a level at once."""


class ChildOptions(NamedTuple):
    """A script or a snapshot command."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    timeout_s: float
    path: str | None = None
    """What is executed, if it is not argv[0]."""
    attempts: int = 1
    grace_s: float = 0.5
    output_bytes: int = 65536
    flags: int = 0
    replaces: int = -1


class ChildEnd(NamedTuple):
    """What became of a child. Times are CLOCK_MONOTONIC ns."""

    ended: bool
    attempts: int
    exit_status: int | None
    """None where a signal ended it, or nothing ran."""
    signal: int | None
    exec_error: int
    """errno of execve, or of what comes before it; 0: it ran."""
    timed_out: bool
    ended_early: bool
    unkillable: bool
    start_ns: int
    end_ns: int
    output_total: int


class Event(NamedTuple):
    """Something the supervisor told."""

    kind: int
    child: int
    verdict: str
    error: FreezeError | None
