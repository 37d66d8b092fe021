"""What the C core is handed and hands back, as plain data; nothing here needs the core itself."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyfreeze._model.errors import FreezeError


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
    cancels: int = -1


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


def succeeded(end: ChildEnd) -> bool:
    """Whether a child did what it was asked to."""
    return end.ended and end.exit_status == 0 and not end.timed_out and not end.ended_early


def describe(end: ChildEnd, timeout_s: float) -> str:
    """Say in a sentence how a child failed; empty where it did not: pure."""
    if succeeded(end):
        return ""
    if end.exec_error:
        text = f"could not be executed: {os.strerror(end.exec_error)}"
        if end.exec_error == _NOEXEC:
            text += " (a script needs a #! line)"
    elif end.timed_out:
        text = f"did not end within {timeout_s:g} s"
    elif end.ended_early:
        text = "was ended early"
    elif end.signal is not None:
        text = f"was ended by {_signal_name(end.signal)}"
    elif end.exit_status is None:
        text = "was lost with its supervisor"
    else:
        text = f"exited with status {end.exit_status}"
        if end.exit_status == 126:
            text += " (a command that it found could not be executed)"
        elif end.exit_status == 127:
            text += " (a command was not found)"
    if end.unkillable:
        text += "; some of its processes could not be killed"
    return text


_NOEXEC = 8  # ENOEXEC: neither a known binary format nor a #! line


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def duration_ms(end: ChildEnd) -> float:
    """Milliseconds from a child's start, or release, until its end was noticed."""
    return max(end.end_ns - end.start_ns, 0) * 1e-6 if end.start_ns else 0.0
