"""The report of a backup: a pure function of its plan and its journal."""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING, Any, NamedTuple

from pyfreeze._backup.journal import (
    facts_of,
    freeze_failure,
    record_of,
    script_ends,
    snapshot_result,
)
from pyfreeze._backup.outcome import decide_outcome
from pyfreeze._backup.plan import continues, problems_of
from pyfreeze._backup.steps import route_of
from pyfreeze._base.text import counted, device_number
from pyfreeze._core.types import describe, duration_ms
from pyfreeze._model.codes import CODES, Level, OutcomeCode
from pyfreeze._model.report import (
    EffectiveReport,
    EventReport,
    FilesystemReport,
    NoteReport,
    PluginReport,
    Report,
    ScriptReport,
    SkippedReport,
    SnapshotReport,
    TransitionReport,
    WindowReport,
)
from pyfreeze._model.states import FilesystemState, Verdict
from pyfreeze._model.timeline import NS_PER_MS, window_times
from pyfreeze._model.transitions import describe_transition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyfreeze._backup.journal import Journal, ScriptEnd
    from pyfreeze._backup.outcome import Outcome
    from pyfreeze._backup.plan import Plan
    from pyfreeze._backup.steps import Route
    from pyfreeze._config.load import Plugin
    from pyfreeze._model.timeline import FilesystemTimes, WindowTimes
    from pyfreeze._snapshot.provider import SnapshotResult

_Note = tuple[OutcomeCode | None, str]


class Event(NamedTuple):
    """One thing of the timeline. Times are CLOCK_MONOTONIC ns."""

    begin_ns: int
    end_ns: int
    """Its beginning, if it has no end: its supervisor was lost, or a FIFREEZE never returned."""
    what: str
    detail: str


def make_report(plan: Plan, journal: Journal) -> Report:
    """Put it all together."""
    route = route_of(plan, journal.run_id)
    outcome = decide_outcome(facts_of(plan, route, journal), plan.policy)
    taken = snapshot_result(plan, route, journal)
    scripts = script_ends(plan, route, journal)
    notes = list(_notes(plan, route, journal, scripts))
    row = CODES[outcome.code]
    return Report(
        run_id=journal.run_id,
        status="success" if outcome.success else "error",
        consistency=outcome.level.label,
        code=outcome.code,
        name=row.name,
        message=_message(plan, journal, outcome, taken, notes),
        action=row.action,
        notes=[_note(code, message) for code, message in notes],
        scripts=[_script(one) for one in scripts],
        window=_window(plan, journal, taken),
        snapshot=_snapshot(taken),
        events=[_event(event, journal.begin_ns) for event in events_of(plan, journal)],
        below_required=outcome.below_required,
        still_frozen=list(journal.still_frozen),
        effective=effective(plan),
        transitions=_transitions(journal, plan) if _went_wrong(journal, outcome) else [],
    )


def _went_wrong(journal: Journal, outcome: Outcome) -> bool:
    clean = outcome.code in (OutcomeCode.APPLICATION_CONSISTENT, OutcomeCode.SUCCESS)
    return not (outcome.success and clean) or bool(journal.still_frozen)


def _transitions(journal: Journal, plan: Plan) -> list[TransitionReport]:
    mounts = [filesystem.mount_point for filesystem in plan.selection.filesystems]
    return [
        TransitionReport(
            t_ms=(one.ns - journal.begin_ns) / NS_PER_MS,
            kind=one.name,
            text=describe_transition(one, mounts),
        )
        for one in journal.transitions
    ]


def effective(plan: Plan) -> EffectiveReport:
    """The values that hold after defaults, caps and options.

    Whatever is not told here, the policy has by the same name, or else the configuration, or else
    the settings: these say what was asked for, the policy what became of it.
    """
    told: dict[str, Any] = {
        "require": plan.policy.require.label,
        "plugins": [_plugin(plugin) for plugin in plan.config.plugins],
    }
    sources = (plan.policy._asdict(), plan.config._asdict(), plan.settings._asdict())
    values: Mapping[str, Any] = ChainMap(told, *sources)
    return EffectiveReport(**{name: values[name] for name in EffectiveReport.__struct_fields__})


def _plugin(plugin: Plugin) -> PluginReport:
    config = plugin.config
    return PluginReport(
        plugin=plugin.name,
        config_path=plugin.config_path,
        pre_script=plugin.pre_script,
        post_script=plugin.post_script,
        pre_timeout_s=plugin.timeout_s,
        post_timeout_s=plugin.timeout_s,
        pre_retries=config.pre_script_retries if config else 0,
        post_retries=config.post_script_retries if config else 0,
        continue_on_failure=continues(plugin),
        fs_freeze_enabled=config is None or config.fs_freeze_enabled,
        app_name=config.app_name if config else None,
    )


def _note(code: OutcomeCode | None, message: str) -> NoteReport:
    name = CODES[code].name if code is not None else "notice"
    return NoteReport(
        code=code, name=name, message=message or (CODES[code].message if code else "")
    )


def _notes(
    plan: Plan, route: Route, journal: Journal, scripts: Sequence[ScriptEnd]
) -> Iterator[_Note]:
    for problem in problems_of(plan.config):
        yield problem.code, problem.message
    for notice in (*plan.config.notices, *plan.selection.notices, *journal.recovered):
        yield None, notice
    failure = freeze_failure(route, journal)
    if failure is not None:
        yield failure.code, str(failure.error) if failure.error else ""
    for script, end, _, code, _ in scripts:
        if code:
            words = f"{script.plugin}: {script.phase}-script {script.path} "
            yield code, words + describe(end, script.timeout_s)


def _script(one: ScriptEnd) -> ScriptReport:
    script, end = one.script, one.end
    text, dropped = _output(one.output, end.output_total)
    return ScriptReport(
        phase=script.phase,
        plugin=script.plugin,
        path=script.path,
        attempts=end.attempts,
        exit_status=end.exit_status,
        signal=end.signal,
        timed_out=end.timed_out,
        duration_ms=duration_ms(end),
        timeout_s=script.timeout_s,
        output=text,
        output_dropped_bytes=dropped,
        code=one.code,
        message=describe(end, script.timeout_s),
        app_name=script.app_name,
    )


def events_of(plan: Plan, journal: Journal) -> list[Event]:
    """The timeline, by the beginnings; without what could not even be forked."""
    begun = (event for event in _events(plan, journal) if event.begin_ns)
    return sorted(one._replace(end_ns=max(one.begin_ns, one.end_ns)) for one in begun)


def _events(plan: Plan, journal: Journal) -> Iterator[Event]:
    route = route_of(plan, journal.run_id)
    taken = snapshot_result(plan, route, journal)
    writeback = record_of(journal, route.writeback)
    if writeback is not None and writeback.is_over:
        yield Event(writeback.begin_ns, writeback.end_ns, "writeback", "")
    for script, end, *_ in script_ends(plan, route, journal):
        yield Event(end.start_ns, end.end_ns, f"{script.phase}-script", script.plugin)
    if taken is not None:
        yield Event(taken.begin_ns, taken.end_ns, "snapshot", taken.kind)
    window = record_of(journal, route.window)
    times = window_times(journal.filesystems)
    if window is None or not times.begin_ns:
        return
    count = counted(len(journal.filesystems), "filesystem")
    yield Event(window.begin_ns, times.begin_ns, "flush", count)
    yield Event(times.begin_ns, times.frozen_ns, "freeze", count)
    if times.thaw_ns:
        yield Event(times.thaw_ns, times.end_ns, "thaw", count)


def _failures(plan: Plan, journal: Journal, taken: SnapshotResult | None) -> Iterator[str]:
    """What went wrong beside the codes, in sentences."""
    if plan.config.freeze_problem is not None:
        yield plan.config.freeze_problem.message
    if journal.interruption:
        yield f"interrupted by {journal.interruption}"
    if journal.error is not None:
        yield str(journal.error)
    if journal.is_lost and (taken is None or taken.verdict is not Verdict.RESCUED):
        yield "the supervisor was lost; everything it had frozen was thawed"


def _message(
    plan: Plan,
    journal: Journal,
    outcome: Outcome,
    taken: SnapshotResult | None,
    notes: Sequence[_Note],
) -> str:
    """One paragraph: the worst first, then the particulars of the code."""
    parts: list[str] = []
    if journal.still_frozen:
        parts.append(f"May still be frozen: {', '.join(journal.still_frozen)}.")
    parts += [f"{text[:1].upper()}{text[1:]}." for text in _failures(plan, journal, taken)]
    if taken is not None:
        parts += _taken_message(plan, journal, taken)
    if taken is not None and not outcome.success and outcome.level > Level.NONE:
        parts.append(f"The snapshot exists; it is {outcome.level.label}-consistent.")
    if outcome.below_required:
        parts.append(f"Consistency level {outcome.level.label} is below the one required.")
    particulars = [text for code, text in notes if code == outcome.code and text]
    if not parts or outcome.code not in (OutcomeCode.ERROR, OutcomeCode.SUCCESS):
        parts.append(CODES[outcome.code].message)
    parts += [f"{text}." for text in particulars]
    return " ".join(parts)


def _taken_message(plan: Plan, journal: Journal, taken: SnapshotResult) -> list[str]:
    parts = []
    if taken.verdict is Verdict.EXPIRED:
        parts.append(
            f"Snapshots are inconsistent: the window of {plan.window.max_window_s:g} s expired "
            "before the snapshot ended."
        )
    elif taken.verdict in (Verdict.BROKEN, Verdict.RESCUED):
        foreign = [f.mount for f in journal.filesystems if f.state is FilesystemState.FOREIGN_THAW]
        thawed = "what else" if journal.still_frozen else "everything"
        lost = f"the supervisor was lost; {thawed} it had frozen was thawed"
        broken = f"somebody else thawed {', '.join(foreign)}" if foreign else "thawing failed"
        reason = lost if taken.verdict is Verdict.RESCUED else broken
        parts.append(f"Snapshots are inconsistent: {reason}.")
    elif taken.verdict is Verdict.ABORTED:
        parts.append("Snapshots are inconsistent: a signal ended the window early.")
    if taken.failure and taken.verdict is not Verdict.EXPIRED:
        parts.append(f"The snapshot {taken.kind} {taken.failure}.")
    return parts


def _window(plan: Plan, journal: Journal, taken: SnapshotResult | None) -> WindowReport:
    times = _times(journal, taken)
    selection, window = plan.selection, plan.window
    fstypes = {f.mount_point: f.fstype for f in selection.filesystems}
    return WindowReport(
        window_ms=times.window_ms,
        overhead_ms=times.overhead_ms,
        frozen_together_ms=times.frozen_together_ms if _all_frozen(times) else None,
        max_window_s=window.max_window_s,
        freeze_timeout_s=window.freeze_timeout_s,
        expired=taken is not None and taken.verdict is Verdict.EXPIRED,
        filesystems=[_filesystem(f, fstypes.get(f.mount, ""), journal) for f in times.filesystems],
        skipped=[SkippedReport(mount=s.mount, reason=s.reason) for s in selection.skipped],
    )


def _filesystem(times: FilesystemTimes, fstype: str, journal: Journal) -> FilesystemReport:
    """Whatever is not told here, the times have by the same name."""
    begin_ns = times.freeze_enter_ns
    told: dict[str, Any] = {
        "device": device_number(times.device),
        "fstype": fstype,
        "freeze_t_ms": (begin_ns - journal.begin_ns) / NS_PER_MS if begin_ns else None,
    }
    rest = (name for name in FilesystemReport.__struct_fields__ if name not in told)
    return FilesystemReport(**told, **{name: getattr(times, name) for name in rest})


def _times(journal: Journal, taken: SnapshotResult | None) -> WindowTimes:
    if taken is None or taken.verdict is None:
        return window_times(journal.filesystems)
    return window_times(journal.filesystems, taken.begin_ns, taken.end_ns)


def _all_frozen(times: WindowTimes) -> bool:
    return all(f.freeze_return_ns and f.thaw_enter_ns for f in times.filesystems)


def _snapshot(taken: SnapshotResult | None) -> SnapshotReport | None:
    if taken is None:
        return None
    end = taken.end
    text, dropped = _output(taken.output, end.output_total if end else 0)
    return SnapshotReport(
        kind=taken.kind,
        argv=list(taken.argv),
        exit_status=end.exit_status if end else None,
        signal=end.signal if end else None,
        timed_out=end.timed_out if end else False,
        duration_ms=_duration_ms(taken),
        output=text,
        output_dropped_bytes=dropped,
        message=taken.failure,
    )


def _duration_ms(taken: SnapshotResult) -> float | None:
    if not taken.begin_ns or not taken.end_ns:  # it never began, or was lost with its supervisor
        return None
    return max(taken.end_ns - taken.begin_ns, 0) / NS_PER_MS


def _event(event: Event, begin_ns: int) -> EventReport:
    return EventReport(
        t_ms=(event.begin_ns - begin_ns) / NS_PER_MS,
        what=event.what,
        duration_ms=(event.end_ns - event.begin_ns) / NS_PER_MS,
        detail=event.detail,
    )


def _output(kept: bytes, total: int) -> tuple[str, int]:
    """Output as text, and how many bytes before it were dropped."""
    return kept.decode("utf-8", errors="replace"), max(total - len(kept), 0)
