"""The report, over the whole space of plans and of what may become of them.

A model of the supervisor carries out the plans; tests/system/test_plans.py holds it against the
supervisor itself.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

import msgspec
from hypothesis import given, note, settings
from hypothesis import strategies as st

from pyfreeze._backup.journal import (
    Journal,
    outcome_word,
    pending_posts,
    record_of,
    snapshot_result,
)
from pyfreeze._backup.outcome import Policy, decide_snapshot
from pyfreeze._backup.plan import Plan, continues, failures_of
from pyfreeze._backup.report import make_report
from pyfreeze._backup.settings import Settings
from pyfreeze._backup.steps import Route, ScriptStep, late_steps, route_of
from pyfreeze._config.freeze_config import FreezeConfig
from pyfreeze._config.load import LoadedConfig, Plugin, Problem
from pyfreeze._config.script_config import ScriptConfig
from pyfreeze._core.types import Fact, Step, StepKind, StepRecord, StepStatus
from pyfreeze._model.codes import Level, OutcomeCode
from pyfreeze._model.errors import FreezeError, SupervisorError
from pyfreeze._model.options import Flush, resolve
from pyfreeze._model.report import Report
from pyfreeze._model.states import FilesystemState, Verdict
from pyfreeze._model.timeline import FilesystemTimes
from pyfreeze._mounts.selection import Filesystem, Selection
from pyfreeze._snapshot.callable import CallableProvider
from pyfreeze._snapshot.catalogue import Snapshot, provider_of
from pyfreeze._snapshot.peer import Peer
from pyfreeze._snapshot.provider import Call
from tests.support.facts import assert_facts
from tests.support.supervisor_model import Carried, Fate, GivingUp, carry_out

_BEGIN_NS = 5_000_000_000
_RUN_ID = "20260101T000000-00000000"
_UNBEGUN = (StepStatus.PENDING, StepStatus.SKIPPED)
_OVER = (StepStatus.DONE, StepStatus.FAILED)
_S = FilesystemState

# ---- plans -------------------------------------------------------------------------------------

#: What may be wrong with a plugin, and whether its configuration can be read all the same.
PLUGIN_PROBLEMS = {
    OutcomeCode.SCRIPT_CONFIG_BROKEN: False,
    OutcomeCode.SCRIPT_CONFIG_MODE: False,
    OutcomeCode.PRE_SCRIPT_NOT_FOUND: True,
    OutcomeCode.POST_SCRIPT_INSECURE: True,
}


@st.composite
def plugins(draw: st.DrawFn, number: int, host_timeout_s: float) -> Plugin:
    """One that is ready, absent without being missed, or wrong."""
    code = draw(
        st.sampled_from([None] * 20 + [OutcomeCode.SCRIPT_CONFIG_NOT_FOUND, *PLUGIN_PROBLEMS])
    )
    is_note = code is OutcomeCode.SCRIPT_CONFIG_NOT_FOUND
    is_read = code is None or PLUGIN_PROBLEMS.get(code, False)
    config = ScriptConfig(
        pre_script_location=f"/etc/{number}/pre.sh",
        post_script_location=f"/etc/{number}/post.sh",
        pre_script_retries=draw(st.integers(0, 2)),
        post_script_retries=draw(st.integers(0, 2)),
        timeout_s=draw(st.sampled_from([1.0, 30.0])),
        continue_backup_on_failure=draw(st.booleans()),
        fs_freeze_enabled=draw(st.sampled_from([True] * 9 + [False])),
        app_name=draw(st.none() | st.just("Ledger")),
    )
    timeout_s = min(config.timeout_s, host_timeout_s)
    return Plugin(
        name=f"Plugin{number}",
        config_path=f"/etc/{number}/config.json",
        config=config if is_read else None,
        pre_script=None if code is OutcomeCode.PRE_SCRIPT_NOT_FOUND else f"/etc/{number}/pre.sh",
        post_script=None if code is OutcomeCode.POST_SCRIPT_INSECURE else f"/etc/{number}/post.sh",
        timeout_s=timeout_s,
        problems=() if code is None else (Problem(code, "what is wrong", is_note),),
    )


@st.composite
def configs(draw: st.DrawFn) -> LoadedConfig:
    host_timeout_s = draw(st.sampled_from([10.0, 1800.0]))
    rarely = st.sampled_from([False] * 9 + [True])
    broken = draw(rarely)
    found = [draw(plugins(number, host_timeout_s)) for number in range(draw(st.integers(0, 3)))]
    problem = Problem(OutcomeCode.HOST_CONFIG_BROKEN, "plugin host configuration is wrong")
    freeze_problem = Problem(OutcomeCode.ERROR, "freeze configuration is wrong")
    return LoadedConfig(
        plugins=() if broken else tuple(found),
        host_timeout_s=host_timeout_s,
        freeze=FreezeConfig(),
        freeze_problem=freeze_problem if draw(rarely) else None,
        problems=(problem,) if broken else (),
        notices=draw(st.just(()) | st.just(("a notice",))),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """As `make_plan` makes them, out of what it reads."""
    config = draw(configs())
    readable = tuple(plugin for plugin in config.plugins if plugin.config is not None)
    freeze = draw(st.sampled_from([True] * 4 + [False])) and all(
        plugin.config.fs_freeze_enabled for plugin in readable if plugin.config is not None
    )
    kinds: list[Snapshot] = [("/bin/true",), lambda: None, Peer(1, 0)]
    snapshot = draw(st.sampled_from(kinds))
    settings_ = Settings(snapshot=snapshot)
    count = draw(st.integers(1, 3)) if freeze else 0
    filesystems = tuple(
        Filesystem(f"/srv/{n}", 10 + n, (8, n), "ext4", f"/dev/sd{n}", n % 2) for n in range(count)
    )
    return Plan(
        settings=settings_,
        provider=provider_of(snapshot, {}, "/", 5.0),
        config=config,
        plugins=readable,
        failures=failures_of(config),
        selection=Selection(filesystems, ()),
        policy=Policy(
            freeze=freeze,
            single_disk=draw(st.booleans()),
            continue_on_failure=all(continues(plugin) for plugin in readable),
            crash_fallback=draw(st.booleans()),
            require=draw(st.sampled_from([Level.NONE] * 5 + list(Level))),
        ),
        window=resolve(),
        writeback=Flush(rounds=2),
    )


# ---- what becomes of them ----------------------------------------------------------------------

_OF_SCRIPT = (
    Fate.SUCCEEDS,
    Fate.RECOVERS,
    Fate.FAILS,
    Fate.TIMES_OUT,
    Fate.UNFORKED,
    Fate.UNSTARTED,
    Fate.UNEXECUTED,
)
_OF_WINDOW = (
    Fate.SUCCEEDS,
    Fate.FREEZE_FAILED,
    Fate.FREEZE_TIMED_OUT,
    Fate.EXPIRES,
    Fate.BROKEN,
    Fate.SIGNALLED,
)


def _possible(plan: Plan, step: Step) -> tuple[Fate, ...]:
    if step.kind in (StepKind.OPEN, StepKind.FLUSH):
        return (Fate.SUCCEEDS, Fate.FAILS, Fate.TIMES_OUT)
    by_call = (Fate.FAILS,) if isinstance(plan.provider, CallableProvider) else ()
    if step.kind is StepKind.WAIT:
        return (Fate.SUCCEEDS, *(by_call or (Fate.TIMES_OUT,)))
    if step.kind is StepKind.WINDOW:
        return (*_OF_WINDOW, *(by_call if step.child is None else _OF_SCRIPT))
    return _OF_SCRIPT


class Story(NamedTuple):
    """A backup: what was planned, and what has become of it."""

    plan: Plan
    route: Route
    journal: Journal
    carried: Carried | None
    """None: it did not come to a plan."""


@st.composite
def _times(draw: st.DrawFn, plan: Plan, window: StepRecord | None) -> tuple[FilesystemTimes, ...]:
    """What the filesystems went through in a window; None: there was none."""
    times = []
    for filesystem in plan.selection.filesystems:
        state = draw(st.sampled_from(_states(window)))
        begin = window.begin_ns if window is not None else 0  # also of one that was skipped
        end = (window.end_ns or begin + 5_000) if window is not None else 0
        reached = [_S.FREEZING, _S.FROZEN, _S.THAWING, _S.THAWED]
        last = {_S.FAILED: 1, _S.STUCK: 2, _S.FOREIGN_THAW: 3}.get(state, -1)
        stage = reached.index(state) if state in reached else last
        stamps = (begin + 1, begin + 10, end - 20, end - 10)
        enter, frozen, thaw, thawed = (
            stamp if begin and number <= stage else 0 for number, stamp in enumerate(stamps)
        )
        row = (filesystem.mount_point, filesystem.device, filesystem.level, state, 0, 1, 100)
        times.append(FilesystemTimes(*row, enter, frozen, thaw, thawed))
    return tuple(times)


def _states(window: StepRecord | None) -> list[FilesystemState]:
    if window is None or window.status in _UNBEGUN:
        return [_S.CHOSEN, _S.OPEN, _S.FAILED]
    if window.status is StepStatus.RUNNING:  # its supervisor was lost; the client thawed
        return [_S.OPEN, _S.THAWED, _S.FOREIGN_THAW, _S.STUCK, _S.FREEZING]
    return {
        Verdict.GOOD: [_S.THAWED],
        Verdict.FREEZE_FAILED: [_S.OPEN, _S.FAILED, _S.THAWED],
        Verdict.FREEZE_TIMEOUT: [_S.OPEN, _S.FREEZING, _S.THAWED],
        Verdict.EXPIRED: [_S.THAWED, _S.FREEZING, _S.STUCK],
        Verdict.BROKEN: [_S.THAWED, _S.FOREIGN_THAW, _S.STUCK],
    }.get(window.verdict, [_S.OPEN, _S.THAWED])


@st.composite
def _fates(draw: st.DrawFn, plan: Plan, route: Route, giving_up: GivingUp) -> list[Fate]:
    """Often a single step is in trouble, since where many are, little comes of the run."""
    indices = range(len(route.steps))
    snapshots = [index for index in indices if route.steps[index].takes_snapshot]
    alone = draw(st.sampled_from([None, *indices, *snapshots * 6]))
    fates = []
    for index, step in enumerate(route.steps):
        outlives = step.child is not None and step.child.outlives
        stays = () if giving_up is GivingUp.ABORT and outlives else (Fate.STAYS,)
        possible = (*_possible(plan, step), *stays)
        if alone is None:
            fates.append(draw(st.sampled_from([Fate.SUCCEEDS, *possible])))
        else:
            fates.append(draw(st.sampled_from(possible)) if index == alone else Fate.SUCCEEDS)
    return fates


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A backup of any kind, to any end."""
    plan = draw(plans())
    route = route_of(plan, _RUN_ID)
    empty = Journal(_RUN_ID, _BEGIN_NS)
    if not plan.takes_snapshot:
        return Story(plan, route, empty, None)
    if draw(st.sampled_from([False] * 9 + [True])):
        return Story(plan, route, draw(st.sampled_from(_without_a_plan(empty))), None)
    giving_up = draw(st.sampled_from([GivingUp.ABORT, GivingUp.LOSS]))
    fates = draw(_fates(plan, route, giving_up))
    carried = carry_out(route.steps, fates, giving_up, _BEGIN_NS)
    note(f"fates: {[fate.name for fate in fates]}, {giving_up.name}")
    window = carried.records[route.window] if route.window is not None else None
    is_interrupted = bool(carried.given_up_at) and giving_up is GivingUp.ABORT
    journal = empty._replace(
        was_started=True,
        steps=carried.records,
        facts=carried.facts,
        filesystems=draw(_times(plan, window)),
        is_lost=carried.is_lost,
        interruption="SIGINT"
        if is_interrupted or (carried.is_lost and draw(st.booleans()))
        else "",
        call=_call(plan, route, carried, fates),
    )
    return Story(plan, route, journal, carried)


def _without_a_plan(empty: Journal) -> list[Journal]:
    refused = FreezeError(errno.ENOSPC, "the plan could not be handed over")
    return [
        empty._replace(error=SupervisorError(errno.ENOENT, "no such program")),
        empty._replace(error=FreezeError(errno.EMFILE, "too many open files")),
        empty._replace(error=refused, was_started=True),
        empty._replace(interruption="SIGINT"),
        empty._replace(interruption="SIGINT", was_started=True),
    ]


def _call(plan: Plan, route: Route, carried: Carried, fates: list[Fate]) -> Call | None:
    if not isinstance(plan.provider, CallableProvider):
        return None
    for index in (route.unfrozen, route.window):
        if index is not None and carried.records[index].snapshot_ns:
            begin_ns = carried.records[index].snapshot_ns + 1
            failure = "raised ValueError: no" if fates[index] is Fate.FAILS else ""
            return None if fates[index] is Fate.STAYS else Call(begin_ns, begin_ns + 1, failure)
    return None


THOROUGH = settings(max_examples=200, deadline=None)
#: What has to be found is rarer.
MOST_THOROUGH = settings(max_examples=800, deadline=None)


# ---- what must hold ----------------------------------------------------------------------------


def snapshot_record(story: Story) -> StepRecord | None:
    """The step that has taken the snapshot, or has tried to."""
    for step in (story.route.unfrozen, story.route.window):
        record = record_of(story.journal, step)
        if record is not None and record.status not in _UNBEGUN:
            return record
    return None


def records(story: Story, scripts: tuple[ScriptStep, ...]) -> list[StepRecord]:
    found = [record_of(story.journal, script.step) for script in scripts]
    return [record for record in found if record is not None]


@THOROUGH
@given(stories())
def test_a_report_is_made_of_whatever_happened(story: Story) -> None:
    """It has every key, with the types that it promises, and no time runs backwards."""
    report = make_report(story.plan, story.journal)
    assert msgspec.json.decode(report.to_json(), type=Report) == report
    assert msgspec.convert(report.to_builtins(), Report) == report
    assert report.message
    times = [event.t_ms for event in report.events]
    assert times == sorted(times)
    assert all(event.t_ms >= 0 and event.duration_ms >= 0 for event in report.events)
    assert all(script.duration_ms >= 0 for script in report.scripts)
    if report.snapshot is not None:
        assert report.snapshot.duration_ms is None or report.snapshot.duration_ms >= 0


@MOST_THOROUGH
@given(stories())
def test_success_needs_a_whole_snapshot(story: Story) -> None:
    report = make_report(story.plan, story.journal)
    if report.status == "error":
        return
    record = snapshot_record(story)
    assert record is not None
    assert record.status is StepStatus.DONE
    if record.kind is StepKind.WINDOW:
        assert record.verdict is Verdict.GOOD
        assert all(f.state is _S.THAWED for f in story.journal.filesystems)
    else:
        assert not story.plan.policy.freeze or report.consistency == "crash"
    left = [f.mount for f in story.journal.filesystems if f.may_be_frozen]
    assert report.still_frozen == left
    # What a FIFREEZE that hangs may freeze makes a crash-consistent snapshot no worse.
    assert not left or (story.plan.policy.crash_fallback and report.consistency == "crash")
    assert not left or report.message.startswith("May still be frozen: /srv/")


@THOROUGH
@given(stories())
def test_no_success_if_interrupted_or_lost(story: Story) -> None:
    """But an interruption after the snapshot's end spoils nothing."""
    report = make_report(story.plan, story.journal)
    if story.journal.facts & Fact.INTERRUPTED or story.journal.is_lost or story.carried is None:
        assert_facts(report, status="error", consistency="none")
    if story.journal.facts & Fact.INTERRUPTED:
        assert report.code == OutcomeCode.ERROR
        assert "interrupted by SIGINT" in report.message.lower().replace("sigint", "SIGINT")


@THOROUGH
@given(stories())
def test_application_consistency_needs_every_script(story: Story) -> None:
    report = make_report(story.plan, story.journal)
    if report.consistency != "application":
        return
    assert story.plan.plugins
    assert len(story.plan.plugins) == len(story.route.pre) == len(story.route.post)
    for script in (*story.route.pre, *story.route.post):
        record = record_of(story.journal, script.step)
        assert record is not None
        assert record.status is StepStatus.DONE
    assert all(script.code == OutcomeCode.APPLICATION_CONSISTENT for script in report.scripts)


@THOROUGH
@given(stories())
def test_a_post_script_follows_each_pre_script_that_was_begun(story: Story) -> None:
    """And no other; what a lost supervisor has not run is pending, and nothing else."""
    if story.carried is None:
        assert pending_posts(story.route, story.journal) == ()
        return
    pres, posts = records(story, story.route.pre), records(story, story.route.post)
    begun = [pre.status not in _UNBEGUN for pre in pres]
    is_over = [post.status in _OVER for post in posts]
    for pre_begun, post in zip(begun, posts, strict=True):
        assert post.status in _UNBEGUN or pre_begun
        assert story.carried.is_lost or (post.status in _OVER) == pre_begun
    pending = [n for n, pre_begun in enumerate(begun) if pre_begun and not is_over[n]]
    assert list(pending_posts(story.route, story.journal)) == pending
    assert not pending or story.carried.is_lost


@THOROUGH
@given(stories())
def test_each_script_that_has_ended_is_reported(story: Story) -> None:
    ended = [*records(story, story.route.pre), *records(story, story.route.post)]
    report = make_report(story.plan, story.journal)
    codes = {report.code, *(n.code for n in report.notes)}
    assert len(report.scripts) == sum(record.status in _OVER for record in ended)
    for script in report.scripts:
        assert (script.code == OutcomeCode.APPLICATION_CONSISTENT) == (not script.message)
        assert script.code in codes or not script.code


@THOROUGH
@given(stories())
def test_nothing_is_frozen_after_a_fatal_pre_script(story: Story) -> None:
    """On a single disk a snapshot is taken all the same; else none is."""
    if story.carried is None or story.carried.is_lost:
        return
    pres = records(story, story.route.pre)
    fatal = any(
        record.status is StepStatus.FAILED and not continues(plugin)
        for plugin, record in zip(story.plan.plugins, pres, strict=False)
    )
    fatal |= not decide_snapshot(
        story.plan.failures, story.plan.policy._replace(freeze=True)
    ).freeze
    window = record_of(story.journal, story.route.window)
    if fatal:
        assert window is None or window.status is StepStatus.SKIPPED
    if fatal and pres and not story.plan.policy.single_disk:
        assert snapshot_record(story) is None


@THOROUGH
@given(stories())
def test_post_scripts_are_told_what_the_report_says(story: Story) -> None:
    """PYFREEZE_OUTCOME is the supervisor's word; a success of the report is one of theirs."""
    if story.carried is None or story.carried.is_lost or not story.carried.outcome:
        return
    word = story.carried.outcome
    report = make_report(story.plan, story.journal)
    if report.status == "success":
        assert word == "success"
    taken = snapshot_result(story.plan, story.route, story.journal)
    if word == "success":
        assert taken is not None
        assert taken.verdict in (Verdict.GOOD, None)
        assert not taken.failure
    if word == "none":
        assert report.consistency == "none"
    gave_up = {
        n for n in story.carried.given_up_at if n >= len(story.route.steps) - len(story.route.post)
    }
    if not gave_up:
        assert word == outcome_word(story.route, story.journal)


@THOROUGH
@given(stories(), st.data())
def test_late_post_scripts_are_reported_like_others(story: Story, data: st.DataObject) -> None:
    """They are run in a run of their own, after the supervisor was lost; none is run twice."""
    pending = pending_posts(story.route, story.journal)
    word = outcome_word(story.route, story.journal)
    posts = [story.route.post[number] for number in pending]
    steps = late_steps([post.script for post in posts], _RUN_ID, word)
    assert [step.child.environment["PYFREEZE_OUTCOME"] for step in steps if step.child] == [
        word
    ] * len(pending)
    fates = [data.draw(st.sampled_from(_OF_SCRIPT)) for _ in steps]
    late = carry_out(steps, fates, GivingUp.BYE, _BEGIN_NS + 1_000_000)
    after = list(story.journal.steps)
    for post, record in zip(posts, late.records, strict=True):
        after[post.step] = record
    journal = story.journal._replace(steps=tuple(after))
    assert pending_posts(story.route, journal) == ()
    before, report = make_report(story.plan, story.journal), make_report(story.plan, journal)
    assert len(report.scripts) == len(before.scripts) + len(pending)
    assert_facts(report, status=before.status, consistency=before.consistency)
    assert word in ("none", "failed", "success", "interrupted")
    if pending and word == "success":
        taken = snapshot_record(story)
        assert taken is not None
        assert taken.status is StepStatus.DONE
