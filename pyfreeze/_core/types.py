"""What the C core is handed and hands back, as plain data; nothing here needs the core itself.

The members of the enums have the names of csrc/pyfreeze.h, those of `Fact` its numbers, too.
"""

from __future__ import annotations

import errno
import os
from enum import Enum, IntEnum, IntFlag, auto
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._model.timeline import NS_PER_MS
from pyfreeze._model.transitions import signal_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyfreeze._model.errors import FreezeError
    from pyfreeze._model.options import Flush, WindowOptions
    from pyfreeze._model.states import Verdict


# ---- what the supervisor is to do ----------------------------------------------------------------


class Fact(IntFlag):
    """What holds while a plan is carried out: a step's failure adds to it, and it skips others."""

    NONE = 0
    ABORTED = 1
    """The client asked for it, or it or the run ended."""
    INTERRUPTED = 2
    """Aborted before the snapshot had ended."""
    ABANDONED = 4
    """The client, or the run, ended before the plan."""
    UNFREEZABLE = 16
    """Nothing is to be frozen any more."""
    NO_SNAPSHOT = 32
    """No snapshot is to be taken any more."""


class Group(IntEnum):
    """Steps that run side by side."""

    NONE = 0
    """The step runs alone."""
    PRE_SCRIPTS = 1
    POST_SCRIPTS = 2


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
    is_numbered: bool = False
    """It is given PYFREEZE_ATTEMPT."""
    is_told_outcome: bool = False
    """It is given PYFREEZE_OUTCOME: what became of the snapshot."""
    may_leave: bool = False
    """What a success leaves running is never ended."""
    has_umask_077: bool = False
    outlives: bool = False
    """Neither an abort nor the end of the client or of the run ends it."""


class StepKind(Enum):
    """What a step does."""

    OPEN = auto()
    """Open and verify every filesystem."""
    FLUSH = auto()
    CHILD = auto()
    """Run a child."""
    WINDOW = auto()
    """Flush, freeze, let the child go, thaw at its end; or wait to be told to proceed, and thaw."""
    WAIT = auto()
    """Wait to be told to proceed."""


class Step(NamedTuple):
    """One step of a plan."""

    kind: StepKind
    child: ChildOptions | None = None
    flush: Flush | None = None
    window: WindowOptions | None = None
    limit_s: float = 0.0
    """How long a WAIT may take; 0: without a limit."""
    takes_snapshot: bool = False
    holds: bool = False
    """A window's child is let go only when the step is told to proceed."""
    has_peer: bool = False
    """The plan's descriptors tell that it waits, and to proceed."""
    group: int = Group.NONE
    """Neighbours with the same number but 0, all children, run side by side."""
    skip_if: Fact = Fact.NONE
    """It is skipped if any of these holds."""
    only_if: Fact = Fact.NONE
    """And unless any of these does; none: whatever holds."""
    on_failure: Fact = Fact.NONE
    """What holds after it has failed; of a window: after freezing has failed."""
    after: int = -1
    """It is skipped unless that step was begun; -1: whatever was."""


# ---- what it tells -------------------------------------------------------------------------------


class EventKind(Enum):
    """What the supervisor tells."""

    TIMEOUT = auto()
    """Nothing came in time."""
    INTERRUPTED = auto()
    """A signal handler ran."""
    STEP = auto()
    """A step has begun or ended."""
    WAITING = auto()
    """A step waits to be told to proceed; a window is frozen."""
    ENDED = auto()
    """The plan is over, or the error says why it was refused."""
    LOST = auto()
    """The supervisor is gone; what it had frozen is thawed."""


class Event(NamedTuple):
    """Something the supervisor told."""

    kind: EventKind
    step: int
    error: FreezeError | None


class StepStatus(Enum):
    """How far a step has come."""

    PENDING = auto()
    RUNNING = auto()
    DONE = auto()
    FAILED = auto()
    SKIPPED = auto()


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


class StepRecord(NamedTuple):
    """What became of a step, as the journal has it. Times are CLOCK_MONOTONIC ns, 0: never."""

    kind: StepKind
    status: StepStatus
    verdict: Verdict
    """Of a window."""
    error: FreezeError | None = None
    begin_ns: int = 0
    snapshot_ns: int = 0
    """When its child was let go, or its waiting was told."""
    end_ns: int = 0
    child: ChildEnd | None = None
    output: bytes = b""
    """The last of what the child has written."""

    @property
    def is_over(self) -> bool:
        """Whether it was begun and has ended."""
        return self.status in (StepStatus.DONE, StepStatus.FAILED)


# ---- in words ------------------------------------------------------------------------------------


def succeeded(end: ChildEnd) -> bool:
    """Whether a child did what it was asked to."""
    return end.ended and end.exit_status == 0 and not end.timed_out and not end.ended_early


def describe(end: ChildEnd, timeout_s: float) -> str:
    """Say in a sentence how a child failed; empty where it did not: pure."""
    if succeeded(end):
        return ""
    if end.exec_error:
        text = f"could not be executed: {os.strerror(end.exec_error)}"
        if end.exec_error == errno.ENOEXEC:  # neither a known binary format nor a #! line
            text += " (a script needs a #! line)"
    elif end.timed_out:
        text = f"did not end within {timeout_s:g} s"
    elif end.ended_early:
        text = "was ended early"
    elif end.signal is not None:
        text = f"was ended by {signal_name(end.signal)}"
    elif end.exit_status is None:
        text = "was lost with its supervisor"
    else:
        known = {126: " (a command that it found could not be executed)",
                 127: " (a command was not found)"}  # fmt: skip
        text = f"exited with status {end.exit_status}{known.get(end.exit_status, '')}"
    if end.unkillable:
        text += "; some of its processes could not be killed"
    return text


def duration_ms(end: ChildEnd) -> float:
    """Milliseconds from a child's start, or release, until its end was noticed."""
    return max(end.end_ns - end.start_ns, 0) / NS_PER_MS if end.start_ns else 0.0
