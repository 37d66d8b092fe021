"""The supervisor and its model: random plans, whose steps fail, time out and are given up.

What the property tests of reports suppose of the supervisor is what it does.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from pyfreeze._core.pages import Record
from pyfreeze._core.run import Run, new_run_id
from pyfreeze._core.structs import child_end
from pyfreeze._core.types import (
    ChildEnd,
    ChildOptions,
    EventKind,
    Fact,
    Group,
    Step,
    StepKind,
    StepStatus,
)
from pyfreeze._model.options import Flush, resolve
from pyfreeze._model.states import Verdict
from pyfreeze._native import ffi, lib
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import helpers
from tests.support.script_dir import ScriptDir
from tests.support.supervisor_model import Carried, Fate, GivingUp, carry_out, groups_of
from tests.support.waiting import wait_until

_LONG_S = 300.0
#: What is to time out does nothing else, so that how busy the machine is makes no difference.
_SHORT_S = 0.03
_LOOK_S = 0.005
_NOWHERE = "/nowhere"

#: How a child behaves that is told of its fate; the others do what it takes to stay.
_BODIES = {
    Fate.SUCCEEDS: "exit 0",
    Fate.RECOVERS: "exit $((PYFREEZE_ATTEMPT < 2))",
    Fate.FAILS: "exit 1",
}
_OF_CHILD = (
    Fate.SUCCEEDS,
    Fate.RECOVERS,
    Fate.FAILS,
    Fate.TIMES_OUT,
    Fate.STAYS,
    Fate.UNSTARTED,
    Fate.UNEXECUTED,
)
_OF_WAITING = (Fate.SUCCEEDS, Fate.FAILS, Fate.TIMES_OUT, Fate.STAYS)
_FACTS = (Fact.ABORTED, Fact.INTERRUPTED, Fact.UNFREEZABLE, Fact.NO_SNAPSHOT)


class Planned(NamedTuple):
    """A plan, and what happens to each of its steps."""

    steps: tuple[Step, ...]
    fates: tuple[Fate, ...]


def facts(*among: Fact) -> st.SearchStrategy[Fact]:
    return st.lists(st.sampled_from(among), max_size=2).map(
        lambda found: Fact(sum({fact.value for fact in found}))
    )


def _child(
    fate: Fate, *, attempts: int, told: bool, outlives: bool, numbered: bool
) -> ChildOptions:
    body = 'printf %s "$PYFREEZE_OUTCOME"; ' + _BODIES.get(fate, "exec sleep 600")
    return ChildOptions(
        argv=("sh", "-c", body),
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        directory=_NOWHERE if fate is Fate.UNSTARTED else "/",
        timeout_s=_SHORT_S if fate is Fate.TIMES_OUT else _LONG_S,
        path=_NOWHERE if fate is Fate.UNEXECUTED else "/bin/sh",
        attempts=attempts,
        is_numbered=numbered,
        is_told_outcome=told,
        outlives=outlives,
    )


@st.composite
def steps_with_fates(draw: st.DrawFn, count: int) -> tuple[Step, Fate]:
    """One step of any kind, and what happens to it."""
    kind = draw(st.sampled_from([StepKind.CHILD] * 4 + list(StepKind)))
    has_child = kind is StepKind.CHILD or (kind is StepKind.WINDOW and draw(st.booleans()))
    outlives = kind is StepKind.CHILD and draw(st.booleans())
    possible: tuple[Fate, ...] = (Fate.SUCCEEDS,)
    if has_child:
        possible = _OF_CHILD
    elif kind in (StepKind.WAIT, StepKind.WINDOW):
        possible = _OF_WAITING
    if kind is StepKind.WINDOW:
        possible += (Fate.EXPIRES,)
    if outlives:  # nothing but its own time-out would end it
        possible = tuple(fate for fate in possible if fate is not Fate.STAYS)
    fate = draw(st.sampled_from(possible))
    is_short = fate is Fate.EXPIRES or (fate is Fate.TIMES_OUT and not has_child)
    limit_s = _SHORT_S if is_short else _LONG_S
    child = None
    if has_child:
        child = _child(
            fate,
            attempts=draw(st.integers(1, 2)),
            told=draw(st.booleans()),
            outlives=outlives,
            numbered=kind is StepKind.CHILD,
        )
    step = Step(
        kind,
        child=child,
        flush=Flush(8) if kind is StepKind.FLUSH else None,
        window=resolve({"max_window": limit_s, "freeze_timeout": _LONG_S})
        if kind is StepKind.WINDOW
        else None,
        limit_s=limit_s if kind is StepKind.WAIT else 0.0,
        takes_snapshot=draw(st.booleans()),
        holds=kind is StepKind.WINDOW and has_child and draw(st.booleans()),
        group=draw(st.sampled_from(Group)) if kind is StepKind.CHILD else Group.NONE,
        skip_if=draw(facts(*_FACTS)),
        only_if=draw(st.just(Fact.NONE) | st.just(Fact.NONE) | facts(*_FACTS)),
        on_failure=draw(facts(Fact.UNFREEZABLE, Fact.NO_SNAPSHOT)),
        after=draw(st.just(-1) | st.integers(-1, count - 1)),
    )
    return step, fate


@st.composite
def plans(draw: st.DrawFn) -> Planned:
    count = draw(st.integers(1, 7))
    rows = [draw(steps_with_fates(count)) for _ in range(count)]
    return Planned(tuple(step for step, _ in rows), tuple(fate for _, fate in rows))


def for_a_client_that_goes(planned: Planned) -> Planned:
    """The same plan, but that nothing begins later on that only its client would end."""
    steps = tuple(
        step._replace(skip_if=step.skip_if | Fact.ABORTED)
        if fate is Fate.STAYS or step.kind in (StepKind.WAIT, StepKind.WINDOW)
        else step
        for step, fate in zip(planned.steps, planned.fates, strict=True)
    )
    return planned._replace(steps=steps)


# ---- the supervisor itself ---------------------------------------------------------------------


class Client:
    """Does for a plan what its fates say: lets steps proceed, and gives up what stays."""

    def __init__(self, run: Run, planned: Planned, giving_up: GivingUp) -> None:
        self._run = run
        self._planned = planned
        self._giving_up = giving_up
        self._groups = [list(group) for group in groups_of(planned.steps)]
        self._given_up: set[int] = set()
        self._waiting: set[int] = set()

    def carry_out(self) -> None:
        """Until the plan is over, or the client is to go."""
        self._run.request_plan(self._planned.steps, tells_steps=True)
        while True:
            event = self._run.next_event(_LOOK_S)
            assert event.kind is not EventKind.LOST
            if event.kind is EventKind.ENDED:
                assert event.error is None
                return
            if event.kind is EventKind.WAITING:
                self._proceed(event.step)
            staying = self._find_staying()
            if staying and self._giving_up is GivingUp.BYE:
                return
            if staying and not staying <= self._given_up:
                self._given_up |= staying
                self._run.request_abort()

    def _proceed(self, step: int) -> None:
        self._waiting.add(step)
        fate = self._planned.fates[step]
        is_held = self._planned.steps[step].child is not None
        if fate is Fate.STAYS or (not is_held and fate in (Fate.TIMES_OUT, Fate.EXPIRES)):
            return
        self._run.request_proceed(failed=fate is Fate.FAILS)

    def _find_staying(self) -> set[int]:
        """The steps under way, if all of them stay, and are where they are to be given up."""
        for group in self._groups:
            records = {index: self._run.step(index) for index in group}
            if any(record.status is StepStatus.PENDING for record in records.values()):
                return set()
            running = {n for n, record in records.items() if record.status is StepStatus.RUNNING}
            if running:
                return running if all(self._stays(index) for index in running) else set()
        return set()

    def _stays(self, index: int) -> bool:
        step = self._planned.steps[index]
        if self._planned.fates[index] is not Fate.STAYS:
            return False
        if step.child is None or step.holds:
            return index in self._waiting
        return self._run.child_end(index).start_ns != 0


class Found(NamedTuple):
    """What became of a step, as far as it does not depend on how long things take."""

    kind: StepKind
    status: StepStatus
    verdict: Verdict
    begun: bool
    ended: bool
    child: tuple[object, ...] | None


def _facts_of_child(child: ChildEnd | None) -> tuple[object, ...] | None:
    if child is None:
        return None
    was_killed = child.timed_out or child.ended_early
    how = None if was_killed else (child.exit_status, child.signal)
    marks = (child.timed_out, child.ended_early, bool(child.exec_error))
    return (child.ended, child.attempts, bool(child.start_ns), *marks, how)


def expected_of(carried: Carried) -> list[Found]:
    return [
        Found(
            one.kind,
            one.status,
            one.verdict,
            bool(one.begin_ns),
            bool(one.end_ns),
            _facts_of_child(one.child),
        )
        for one in carried.records
    ]


def _child_in(record: Record, index: int) -> ChildEnd | None:
    """What became of a step's child, as the run's page tells another process."""
    path, out = ffi.new("const char **"), ffi.new("pf_child_report *")
    fault = ffi.new("pf_fault *")
    result = lib.pf_record_child(record._record, index, path, out, fault)
    assert result in (0, -errno.ENOENT)
    return child_end(out) if result == 0 else None


def found_in(record: Record) -> list[Found]:
    return [
        Found(
            one.kind,
            one.status,
            one.verdict,
            bool(one.begin_ns),
            bool(one.end_ns),
            _facts_of_child(_child_in(record, index)),
        )
        for index, one in enumerate(record.steps())
    ]


THOROUGH = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@THOROUGH
@given(plans())
def test_a_plan_is_carried_out_as_the_model_says(planned: Planned) -> None:
    """Its client stays to the end, and aborts what stays, as often as it takes."""
    carried = carry_out(planned.steps, planned.fates, GivingUp.ABORT)
    note(f"model: {carried}")
    with Run((), new_run_id(), STATE_DIRECTORY) as run:
        Client(run, planned, GivingUp.ABORT).carry_out()
        found = found_in(Record(str(_page_of(run)), look_only=True))
        assert found == expected_of(carried)
        assert run.facts == carried.facts
        for index, record in enumerate(carried.records):
            assert bool(run.step(index).snapshot_ns) == bool(record.snapshot_ns), index
            if planned.fates[index] in _BODIES and record.child is not None:
                assert run.child_output(index) == record.output * record.child.attempts, index


@THOROUGH
@given(plans().map(for_a_client_that_goes))
def test_a_plan_whose_client_goes_is_carried_out_as_the_model_says(planned: Planned) -> None:
    """The supervisor ends what stays and goes through the rest of the plan by itself."""
    carried = carry_out(planned.steps, planned.fates, GivingUp.BYE)
    note(f"model: {carried}")
    run = Run((), new_run_id(), STATE_DIRECTORY)
    try:
        Client(run, planned, GivingUp.BYE).carry_out()
        record = Record(str(_page_of(run)), look_only=True)
    finally:
        run.close()
    assert found_in(record) == expected_of(carried)
    record.close()


def test_what_one_window_leaves_running_does_not_end_the_next(script_dir: ScriptDir) -> None:
    """It ends while the next one is open, which nobody but its client ends."""
    held = script_dir.waiting_script()
    command = _child(Fate.SUCCEEDS, attempts=1, told=False, outlives=False, numbered=False)
    command = command._replace(argv=("sh", "-c", f"'{held}' & exit 0"))
    options = resolve({"max_window": _LONG_S, "freeze_timeout": _LONG_S})
    window = Step(StepKind.WINDOW, window=options)
    with Run((), new_run_id(), STATE_DIRECTORY) as run:
        run.request_plan([window._replace(child=command), window])
        assert run.wait_for(EventKind.WAITING).step == 1
        script_dir.release()
        wait_until(lambda: len(helpers()) == 1, "of the first nothing is left, not even its reaper")
        run.request_proceed(failed=True)
        assert run.wait_for(EventKind.ENDED).error is None
        statuses = [step.status for step in run.steps()]
    assert statuses == [StepStatus.DONE, StepStatus.FAILED]


def _page_of(run: Run) -> Path:
    return Path(STATE_DIRECTORY, f"{run.run_id}.state")
