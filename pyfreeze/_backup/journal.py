"""What happened in a backup, and what it means: pure functions of the plan and the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._backup.outcome import Facts, ScriptFailure
from pyfreeze._backup.plan import continues
from pyfreeze._backup.scripts import script_code
from pyfreeze._core.types import Fact, StepStatus
from pyfreeze._model.codes import OutcomeCode
from pyfreeze._model.errors import FreezeTimeoutError, SupervisorError
from pyfreeze._model.states import Verdict

if TYPE_CHECKING:
    from pyfreeze._backup.plan import Plan
    from pyfreeze._backup.scripts import Script
    from pyfreeze._backup.steps import Route
    from pyfreeze._core.types import ChildEnd, StepRecord
    from pyfreeze._model.errors import FreezeError
    from pyfreeze._model.timeline import FilesystemTimes
    from pyfreeze._model.transitions import Transition
    from pyfreeze._snapshot.provider import Call, SnapshotResult


class Journal(NamedTuple):
    """What a backup left behind. Times are CLOCK_MONOTONIC ns."""

    run_id: str
    begin_ns: int
    steps: tuple[StepRecord, ...] = ()
    """Of the route's steps; empty: it did not come to a plan."""
    facts: Fact = Fact.NONE
    filesystems: tuple[FilesystemTimes, ...] = ()
    call: Call | None = None
    """What was done in this process for the step that waited for it."""
    error: FreezeError | None = None
    """What kept the run from being started or from carrying out its plan."""
    was_started: bool = False
    """Whether there was a supervisor."""
    is_lost: bool = False
    """The supervisor was lost."""
    transitions: tuple[Transition, ...] = ()
    """The supervisor's black box, where it did not end well."""
    recovered: tuple[str, ...] = ()
    """What an earlier run had left, in sentences."""
    interruption: str = ""
    """What interrupted the caller, in a word."""

    @property
    def still_frozen(self) -> tuple[str, ...]:
        """The mounts that may still be frozen."""
        return tuple(f.mount for f in self.filesystems if f.may_be_frozen)


class ScriptEnd(NamedTuple):
    """A script that is over, with its code."""

    script: Script
    end: ChildEnd
    output: bytes
    code: OutcomeCode
    continues: bool
    """Its plugin's continueBackupOnFailure."""


class FreezeFailure(NamedTuple):
    """Why nothing was frozen, or not everything."""

    code: OutcomeCode
    error: FreezeError | None


def record_of(journal: Journal, step: int | None) -> StepRecord | None:
    """What became of a step; None: there is none, or it did not come to a plan."""
    return journal.steps[step] if step is not None and journal.steps else None


def script_ends(plan: Plan, route: Route, journal: Journal) -> tuple[ScriptEnd, ...]:
    """The scripts that were run, in the order of their starts."""
    ended = []
    for phase in (route.pre, route.post):
        for plugin, (script, step) in zip(plan.plugins, phase, strict=False):
            record = record_of(journal, step)
            if record is not None and record.is_over and record.child is not None:
                code = script_code(script, record.child)
                row = ScriptEnd(script, record.child, record.output, code, continues(plugin))
                ended.append(row)
    return tuple(ended)


def _window_failed(record: StepRecord | None) -> bool:
    """Whether freezing failed in a window, and not its command on its way to being parked."""
    if record is None or not record.is_over:
        return False
    if record.verdict is Verdict.FREEZE_FAILED:
        return record.child is None or record.child.exec_error == 0
    return record.verdict is Verdict.FREEZE_TIMEOUT


def freeze_failure(route: Route, journal: Journal) -> FreezeFailure | None:
    """Why freezing failed, as far as it did."""
    for step, otherwise in (
        (route.opening, OutcomeCode.MOUNT_NOT_OPENED),
        (route.writeback, OutcomeCode.FREEZE_FAILED),
    ):
        record = record_of(journal, step)
        if record is not None and record.status is StepStatus.FAILED:
            timed_out = isinstance(record.error, FreezeTimeoutError)
            code = OutcomeCode.FREEZE_TIMED_OUT if timed_out else otherwise
            return FreezeFailure(code, record.error)
    window = record_of(journal, route.window)
    if window is None or not _window_failed(window):
        return None
    timed_out = window.verdict is Verdict.FREEZE_TIMEOUT
    code = OutcomeCode.FREEZE_TIMED_OUT if timed_out else OutcomeCode.FREEZE_FAILED
    return FreezeFailure(code, window.error)


def snapshot_result(plan: Plan, route: Route, journal: Journal) -> SnapshotResult | None:
    """What became of the snapshot; None: it did not come to one, or it was interrupted."""
    if journal.facts & Fact.INTERRUPTED:
        return None
    window = record_of(journal, route.window)
    record, verdict = window, window.verdict if window is not None else None
    if window is None or window.status is StepStatus.SKIPPED or _window_failed(window):
        record, verdict = record_of(journal, route.unfrozen), None
    elif verdict is Verdict.FREEZE_FAILED:  # its command was never parked: nothing was frozen
        verdict = None
    if record is not None and record.status is StepStatus.RUNNING and journal.is_lost:
        verdict = Verdict.RESCUED
    elif record is None or not record.is_over:
        return None
    result = plan.provider.result(record, journal.call, journal.filesystems)
    return result._replace(verdict=verdict)


def outcome_word(route: Route, journal: Journal) -> str:
    """What the post-scripts of a lost run are told, as PYFREEZE_OUTCOME.

    The rules are the supervisor's own: pf_plan_outcome() of csrc/supervisor/plan.c.
    """
    records = (record_of(journal, step) for step in (route.window, route.unfrozen))
    begun = [record for record in records if record is not None and record.snapshot_ns]
    is_unheard = bool(journal.interruption) and not any(record.is_over for record in begun)
    if journal.facts & Fact.INTERRUPTED or is_unheard:
        return "interrupted"
    if not begun:
        return "none"
    return "success" if begun[-1].status is StepStatus.DONE else "failed"


def pending_posts(route: Route, journal: Journal) -> tuple[int, ...]:
    """Which of the post-scripts are still to be run, by their places in the route."""
    if not journal.steps:
        return ()
    unbegun = (StepStatus.PENDING, StepStatus.SKIPPED)
    return tuple(
        number
        for number, (before, after) in enumerate(zip(route.pre, route.post, strict=True))
        if journal.steps[before.step].status not in unbegun
        and not journal.steps[after.step].is_over
    )


def facts_of(plan: Plan, route: Route, journal: Journal) -> Facts:
    """All that decides what the backup is worth."""
    taken = snapshot_result(plan, route, journal)
    failure = freeze_failure(route, journal)
    failures = tuple(
        ScriptFailure(one.code, one.continues)
        for one in script_ends(plan, route, journal)
        if one.code
    )
    broken = taken is not None and taken.verdict not in (Verdict.GOOD, None)
    return Facts(
        scripts_configured=bool(plan.plugins),
        script_failures=(*plan.failures, *failures),
        freeze_code=failure.code if failure else None,
        # What may be frozen after a freeze that failed is the freeze's own failure.
        window_broken=broken or (failure is None and bool(journal.still_frozen)),
        snapshot_failed=taken is not None and bool(taken.failure),
        snapshot_taken=taken is not None,
        interrupted=bool(journal.interruption) and taken is None,
        error=_error_code(plan, journal),
    )


def _error_code(plan: Plan, journal: Journal) -> OutcomeCode | None:
    if isinstance(journal.error, SupervisorError) and not journal.was_started:
        return OutcomeCode.SUPERVISOR_NOT_FOUND
    if journal.error is not None or journal.is_lost or plan.config.freeze_problem is not None:
        return OutcomeCode.ERROR
    return None
