"""A model in Python of how the supervisor carries out a plan: the rules of csrc/supervisor/plan.c.

A step's fate says what happens to it once it is begun. The model says whether it is begun, and what
its end means for the others. tests/system/test_plans.py compares the model with the supervisor.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple

from pyfreeze._core.types import ChildEnd, Fact, Step, StepKind, StepRecord, StepStatus
from pyfreeze._model.errors import FreezeError, FreezeFailedError, FreezeTimeoutError
from pyfreeze._model.states import Verdict

_UNBEGUN = (StepStatus.PENDING, StepStatus.SKIPPED)
_TICK_NS = 1_000


class Fate(Enum):
    """What happens to a step that is begun."""

    SUCCEEDS = auto()
    RECOVERS = auto()
    """Its child fails, and succeeds at the second attempt, if it has one."""
    FAILS = auto()
    """Its child exits with 1; or it is told to proceed as one that failed."""
    TIMES_OUT = auto()
    STAYS = auto()
    """It goes on until the run is given up."""
    UNFORKED = auto()
    """Its child cannot be forked."""
    UNSTARTED = auto()
    """Its child fails before execve: a window's before it is parked."""
    UNEXECUTED = auto()
    """Its child fails in execve: a window's after it was let go."""
    FREEZE_FAILED = auto()
    FREEZE_TIMED_OUT = auto()
    EXPIRES = auto()
    BROKEN = auto()
    """Somebody else thaws in the window; its child succeeds."""
    SIGNALLED = auto()
    """A signal to the supervisor ends the window."""


class GivingUp(Enum):
    """What becomes of the run when only steps that stay are left of those under way."""

    ABORT = auto()
    """The client asks for it; later on again, if need be."""
    BYE = auto()
    """The client, or the run, ends."""
    LOSS = auto()
    """The supervisor is killed."""


class Carried(NamedTuple):
    """A plan that was carried out."""

    records: tuple[StepRecord, ...]
    facts: Fact
    outcome: str
    """PYFREEZE_OUTCOME, as it was told first; empty: to nobody."""
    is_lost: bool
    given_up_at: tuple[int, ...]
    """The steps that were under way when it was given up, each time."""


def groups_of(steps: Sequence[Step]) -> Iterator[range]:
    """The steps that are under way at the same time, one group after another."""
    first = 0
    while first < len(steps):
        end = first + 1
        while (
            steps[first].group != 0
            and steps[first].kind is StepKind.CHILD
            and end < len(steps)
            and (steps[end].kind, steps[end].group) == (StepKind.CHILD, steps[first].group)
        ):
            end += 1
        yield range(first, end)
        first = end


def carry_out(
    steps: Sequence[Step], fates: Sequence[Fate], giving_up: GivingUp, begin_ns: int = 1
) -> Carried:
    """What becomes of a plan.

    Args:
        steps: the plan.
        fates: of each step.
        giving_up: what happens when what is under way stays.
        begin_ns: the time of its beginning.
    """
    return _Model(steps, fates, giving_up, begin_ns).carry_out()


class _Model:
    def __init__(
        self, steps: Sequence[Step], fates: Sequence[Fate], giving_up: GivingUp, begin_ns: int
    ) -> None:
        self._steps = steps
        self._fates = fates
        self._giving_up = giving_up
        self._now_ns = begin_ns
        self._facts = Fact.NONE
        self._outcome = ""
        self._given_up_at: tuple[int, ...] = ()
        self._records = [
            StepRecord(
                step.kind,
                StepStatus.PENDING,
                Verdict.NONE,
                child=_unstarted() if step.child is not None else None,
            )
            for step in steps
        ]

    def carry_out(self) -> Carried:
        is_lost = any(self._is_lost_in(group) for group in groups_of(self._steps))
        return Carried(tuple(self._records), self._facts, self._outcome, is_lost, self._given_up_at)

    def _is_lost_in(self, group: range) -> bool:
        begun = [index for index in group if self._begins(index)]
        staying = [index for index in begun if self._fates[index] is Fate.STAYS]
        for index in begun:
            if index not in staying:
                self._end(index)
        if not staying:
            return False
        self._given_up_at += tuple(staying)
        if self._giving_up is GivingUp.LOSS:
            return True
        self._give_up()
        for index in staying:
            self._end(index)
        return False

    def _tick(self) -> int:
        self._now_ns += _TICK_NS
        return self._now_ns

    # ---- beginnings --------------------------------------------------------------------------

    def _is_due(self, step: Step) -> bool:
        if self._facts & step.skip_if or (step.only_if and not self._facts & step.only_if):
            return False
        return step.after < 0 or self._records[step.after].status not in _UNBEGUN

    def _begins(self, index: int) -> bool:
        step = self._steps[index]
        if not self._is_due(step):
            self._records[index] = self._records[index]._replace(status=StepStatus.SKIPPED)
            return False
        begin_ns = self._tick()
        self._records[index] = self._records[index]._replace(
            status=StepStatus.RUNNING, begin_ns=begin_ns
        )
        self._start(index)
        return True

    def _start(self, index: int) -> None:
        """What a step that goes on has in the journal meanwhile."""
        step, record = self._steps[index], self._records[index]
        is_window = step.kind is StepKind.WINDOW
        never = (Fate.UNFORKED, Fate.UNSTARTED, Fate.FREEZE_FAILED, Fate.FREEZE_TIMED_OUT)
        is_let_go = not is_window or self._fates[index] not in never
        if is_window and step.holds and self._fates[index] in (Fate.STAYS, Fate.FAILS):
            is_let_go = step.child is None  # it waits, or is told that all of it has failed
        by_flag = step.kind is StepKind.CHILD and step.takes_snapshot
        if by_flag:
            self._records[index] = record = record._replace(snapshot_ns=record.begin_ns)
        output = b""
        if step.child is not None and step.child.is_told_outcome:
            self._outcome = self._outcome or self._word()
            output = self._outcome.encode() if self._runs(index) else b""
        if step.child is not None and is_let_go and self._fates[index] is not Fate.UNFORKED:
            child = _unstarted()._replace(attempts=1, start_ns=self._tick())
            record = record._replace(child=child, output=output)
        elif step.child is not None:
            record = record._replace(child=_unstarted()._replace(attempts=1))
        if step.kind is StepKind.WAIT or (is_window and is_let_go):
            record = record._replace(snapshot_ns=self._tick())
        self._records[index] = record

    def _runs(self, index: int) -> bool:
        return self._fates[index] not in (Fate.UNFORKED, Fate.UNSTARTED, Fate.UNEXECUTED)

    def _word(self) -> str:
        word = "none"
        for step, record in zip(self._steps, self._records, strict=True):
            if step.takes_snapshot and record.snapshot_ns:
                word = "success" if record.status is StepStatus.DONE else "failed"
        if self._facts & Fact.INTERRUPTED:
            word = "interrupted"
        return "abandoned" if self._facts & Fact.ABANDONED else word

    # ---- ends --------------------------------------------------------------------------------

    def _give_up(self) -> None:
        over = any(
            step.takes_snapshot and record.snapshot_ns and record.status is not StepStatus.RUNNING
            for step, record in zip(self._steps, self._records, strict=True)
        )
        self._facts |= Fact.ABORTED
        if self._giving_up is GivingUp.BYE:
            self._facts |= Fact.ABANDONED
        elif not over:
            self._facts |= Fact.INTERRUPTED

    def _end(self, index: int) -> None:
        step, fate, record = self._steps[index], self._fates[index], self._records[index]
        verdict = _verdict(step, fate) if step.kind is StepKind.WINDOW else Verdict.NONE
        child = None
        if step.child is not None and record.child is not None:
            child = self._child_end(step, fate, record.child)
        failed = verdict not in (Verdict.NONE, Verdict.GOOD)
        failed |= fate is Fate.FAILS if child is None or step.holds else False
        failed |= child is None and fate in (Fate.STAYS, Fate.TIMES_OUT)
        failed |= child is not None and not _has_succeeded(child)
        self._records[index] = record._replace(
            status=StepStatus.FAILED if failed else StepStatus.DONE,
            verdict=verdict,
            error=_error(step, fate) if failed else None,
            end_ns=self._tick(),
            child=child,
        )
        if failed and (step.kind is not StepKind.WINDOW or _froze_not(verdict, child)):
            self._facts |= step.on_failure

    def _child_end(self, step: Step, fate: Fate, started: ChildEnd) -> ChildEnd:
        assert step.child is not None
        again = step.kind is StepKind.CHILD
        attempts = 1
        if fate in (Fate.FAILS, Fate.UNSTARTED, Fate.UNEXECUTED) and again:
            attempts = step.child.attempts
        if fate is Fate.RECOVERS and again:
            attempts = min(step.child.attempts, 2)
        is_window = step.kind is StepKind.WINDOW
        by_window = (Fate.FREEZE_FAILED, Fate.FREEZE_TIMED_OUT, Fate.EXPIRES, Fate.SIGNALLED)
        early = fate is Fate.STAYS or (is_window and fate in by_window)
        early |= is_window and step.holds and fate is Fate.FAILS
        killed = early or fate is Fate.TIMES_OUT
        unexecuted = fate in (Fate.UNFORKED, Fate.UNSTARTED, Fate.UNEXECUTED)
        status = 1 if fate is Fate.FAILS or (fate is Fate.RECOVERS and attempts < 2) else 0
        return started._replace(
            ended=True,
            attempts=attempts,
            exit_status=None if killed or unexecuted else status,
            signal=15 if killed and started.start_ns else None,
            exec_error=errno.ENOENT if unexecuted else 0,
            timed_out=fate is Fate.TIMES_OUT,
            ended_early=early,
            end_ns=0 if fate is Fate.UNFORKED else self._tick(),
        )


def _unstarted() -> ChildEnd:
    return ChildEnd(False, 0, None, None, 0, False, False, False, 0, 0, 0)


def _has_succeeded(child: ChildEnd) -> bool:
    return child.exit_status == 0 and not child.timed_out and not child.ended_early


def _verdict(step: Step, fate: Fate) -> Verdict:
    if fate is Fate.FAILS and step.holds and step.child is not None:
        return Verdict.ABORTED
    if fate is Fate.TIMES_OUT and step.child is None:
        return Verdict.EXPIRED
    return {
        Fate.STAYS: Verdict.ABORTED,
        Fate.SIGNALLED: Verdict.ABORTED,
        Fate.UNFORKED: Verdict.FREEZE_FAILED,
        Fate.UNSTARTED: Verdict.FREEZE_FAILED,
        Fate.FREEZE_FAILED: Verdict.FREEZE_FAILED,
        Fate.FREEZE_TIMED_OUT: Verdict.FREEZE_TIMEOUT,
        Fate.EXPIRES: Verdict.EXPIRED,
        Fate.BROKEN: Verdict.BROKEN,
    }.get(fate, Verdict.GOOD)


def _froze_not(verdict: Verdict, child: ChildEnd | None) -> bool:
    if verdict is Verdict.FREEZE_FAILED and child is not None and child.exec_error:
        return False
    return verdict in (Verdict.FREEZE_FAILED, Verdict.FREEZE_TIMEOUT)


def _error(step: Step, fate: Fate) -> FreezeError | None:
    if step.kind is StepKind.WAIT:
        number = {Fate.STAYS: errno.ECANCELED, Fate.TIMES_OUT: errno.ETIMEDOUT}.get(fate, 0)
        return FreezeError(number, "waiting") if number else None
    if fate in (Fate.FREEZE_TIMED_OUT, Fate.TIMES_OUT) and step.kind is not StepKind.CHILD:
        return FreezeTimeoutError(errno.ETIMEDOUT, "took too long", "/srv")
    if fate is Fate.FREEZE_FAILED or step.kind in (StepKind.OPEN, StepKind.FLUSH):
        return FreezeFailedError(errno.EIO, "cannot be frozen", "/srv")
    return None
