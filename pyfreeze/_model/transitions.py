"""What the black box of a run's state page tells: the last transitions, and the words for them."""

from __future__ import annotations

import os
import signal
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._model.states import word_of
from pyfreeze._model.timeline import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Sequence


class TransitionKind(Enum):
    """The kinds, by their names in csrc/pyfreeze.h, with the words for each."""

    CHOSEN = "{mount}: chosen"
    OPEN = "{mount}: open"
    FREEZING = "{mount}: FIFREEZE begins"
    FROZEN = "{mount}: frozen"
    THAWING = "{mount}: FITHAW begins"
    THAWED = "{mount}: thawed{error}"
    FAILED = "{mount}: not frozen{error}"
    FOREIGN_THAW = "{mount}: thawed by somebody else"
    STUCK = "{mount}: cannot be thawed{error}"
    GIVEN_UP = "{mount}: does not return from the kernel; nobody waits for it any more"
    WINDOW_IDLE = "window: idle ({verdict})"
    WINDOW_OPENING = "window: opening"
    WINDOW_FLUSHING = "window: flushing"
    WINDOW_AWAITING = "window: waiting for the snapshot command to be parked"
    WINDOW_FREEZING = "window: freezing"
    WINDOW_OPEN = "window: everything is frozen"
    WINDOW_THAWING = "window: thawing ({verdict})"
    WINDOW_SETTLING = "window: waiting for what was given up"
    DEADLINE = "window: the deadline has passed"
    LIMIT = "window: the time for this stage has passed"
    STEP_BEGUN = "step {index}: begun ({step})"
    STEP_ENDED = "step {index}: {ending}"
    CHILD_FORKED = "step {index}: child forked, attempt {value}"
    CHILD_PARKED = "step {index}: child parked right before execve"
    CHILD_RELEASED = "step {index}: child released"
    CHILD_EXITED = "step {index}: child exited"
    CHILD_ENDED = "step {index}: child over, {status}"
    CHILD_FAILED = "step {index}: child could not be started{error}"
    READY = "supervisor: ready, process {value}"
    REQUEST = "supervisor: asked to {request}"
    SIGNAL = "supervisor: {signal}"
    CLIENT_LOST = "supervisor: the client is gone"
    LEAVING = "supervisor: ending what is left"
    RESCUE = "client: the supervisor is lost"
    DEAD = "client: the supervisor's last thread has ended"
    RECOVER = "recovery: begun by process {value}"
    RECOVERED = "recovery: over, {value} may still be frozen"


#: In the order of enum pf_verdict.
VERDICTS = (
    "no verdict", "good", "freezing failed", "freezing timed out", "expired", "ended early",
    "broken", "rescued",
)  # fmt: skip
#: In the order of enum pf_request_kind, whose first number is 1.
REQUESTS = ("", "carry out a plan", "proceed", "abort", "leave")
#: In the order of enum pf_step_kind, whose first number is 1.
STEPS = ("", "open", "flush", "child", "window", "wait")
#: In the order of enum pf_step_status.
ENDINGS = ("pending", "running", "done", "failed", "skipped")


class Transition(NamedTuple):
    """One entry of the black box."""

    ns: int
    """CLOCK_MONOTONIC."""
    kind: TransitionKind
    subject: int
    """The number of the filesystem or of the step; -1: none."""
    value: int
    """An errno, or what the kind says."""

    @property
    def name(self) -> str:
        """The kind, as reports name it."""
        return word_of(self.kind)


def describe_transition(transition: Transition, mounts: Sequence[str]) -> str:
    """A transition in words; `mounts` are the run's mount points, in their order: pure."""
    index, value = transition.subject, transition.value
    return transition.kind.value.format(
        mount=mounts[index] if 0 <= index < len(mounts) else f"filesystem {index}",
        index=index,
        value=value,
        error=f": {os.strerror(value)}" if value else "",
        verdict=_word(VERDICTS, value),
        request=_word(REQUESTS, value),
        step=_word(STEPS, value),
        ending=_word(ENDINGS, value),
        signal=signal_name(value),
        status=_status(value),
    )


def transition_lines(transitions: Sequence[Transition], mounts: Sequence[str]) -> list[str]:
    """One line for each, with the milliseconds since the first one: pure."""
    return [
        f"{(one.ns - transitions[0].ns) / NS_PER_MS:+12.3f} ms  {describe_transition(one, mounts)}"
        for one in transitions
    ]


def _word(words: Sequence[str], number: int) -> str:
    return words[number] if 0 <= number < len(words) else f"number {number}"


def signal_name(number: int) -> str:
    """A signal's name; real-time ones have none but their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _status(status: int) -> str:
    if os.WIFEXITED(status):
        return f"exit status {os.WEXITSTATUS(status)}"
    return f"ended by {signal_name(os.WTERMSIG(status))}" if os.WIFSIGNALED(status) else "lost"
