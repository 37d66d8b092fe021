"""The report: what was noted on the way, and the verdict, put into the report's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfreeze._backup.journal import Journal, _Event, _output
from pyfreeze._model.codes import CODES, Level, OutcomeCode
from pyfreeze._model.report import (
    EffectiveReport,
    EventReport,
    FilesystemReport,
    NoteReport,
    PluginReport,
    Report,
    SkippedReport,
    SnapshotReport,
    WindowReport,
)
from pyfreeze._model.timeline import NS_PER_MS, window_times

if TYPE_CHECKING:
    from pyfreeze._backup.outcome import Outcome
    from pyfreeze._backup.plan import Plan
    from pyfreeze._model.options import WindowOptions
    from pyfreeze._model.timeline import WindowTimes
    from pyfreeze._mounts.selection import Selection
    from pyfreeze._snapshot.provider import SnapshotResult


def make_report(
    journal: Journal,
    outcome: Outcome,
    taken: SnapshotResult | None,
    plan: Plan,
) -> Report:
    """Put it all together."""
    window = plan.window
    row = CODES[outcome.code]
    if taken is not None and taken.begin_ns:
        journal.event("snapshot", taken.begin_ns, taken.end_ns, taken.kind)
    return Report(
        run_id=journal.run_id,
        status="success" if outcome.success else "error",
        consistency=outcome.level.label,
        code=outcome.code,
        name=row.name,
        message=_message(journal, outcome, taken, window),
        action=row.action,
        notes=[_note(code, message) for code, message in journal.notes],
        scripts=journal.scripts,
        window=_window(journal, taken, plan.selection, window),
        snapshot=_snapshot(taken),
        events=[_event(event, journal.begin_ns) for event in sorted(journal.events)],
        below_required=outcome.below_required,
        still_frozen=list(journal.frozen_mounts),
        effective=effective(plan),
    )


def effective(plan: Plan) -> EffectiveReport:
    """The values that hold after defaults, caps and options."""
    return EffectiveReport(
        freeze=plan.policy.freeze,
        single_disk=plan.policy.single_disk,
        crash_fallback=plan.policy.crash_fallback,
        require=plan.policy.require.label,
        host_timeout_s=plan.config.host_timeout_s,
        snapshot_timeout_s=plan.settings.snapshot_timeout_s,
        plugins=[
            PluginReport(
                plugin=plugin.name,
                config_path=plugin.config_path,
                pre_script=plugin.pre_script,
                post_script=plugin.post_script,
                pre_timeout_s=plugin.pre_timeout_s,
                post_timeout_s=plugin.post_timeout_s,
                pre_retries=plugin.config.pre_script_retries if plugin.config else 0,
                post_retries=plugin.config.post_script_retries if plugin.config else 0,
                continue_on_failure=plugin.config is None
                or plugin.config.continue_backup_on_failure,
                fs_freeze_enabled=plugin.config is None or plugin.config.fs_freeze_enabled,
                app_name=plugin.config.app_name if plugin.config else None,
            )
            for plugin in plan.config.plugins
        ],
    )


def _note(code: OutcomeCode | None, message: str) -> NoteReport:
    name = CODES[code].name if code is not None else "notice"
    return NoteReport(
        code=code, name=name, message=message or (CODES[code].message if code else "")
    )


def _message(
    journal: Journal, outcome: Outcome, taken: SnapshotResult | None, window: WindowOptions
) -> str:
    """One paragraph: the worst first, then the particulars of the code."""
    parts: list[str] = []
    if journal.frozen_mounts:
        parts.append(f"May still be frozen: {', '.join(journal.frozen_mounts)}.")
    parts += [f"{text[:1].upper()}{text[1:]}." for text in journal.failures]
    if taken is not None:
        parts += _taken_message(journal, taken, window)
    if taken is not None and not outcome.success and outcome.level > Level.NONE:
        parts.append(f"The snapshot exists; it is {outcome.level.label}-consistent.")
    if outcome.below_required:
        parts.append(f"Consistency level {outcome.level.label} is below the one required.")
    particulars = [text for code, text in journal.notes if code == outcome.code and text]
    if not parts or outcome.code not in (OutcomeCode.ERROR, OutcomeCode.SUCCESS):
        parts.append(CODES[outcome.code].message)
    parts += [f"{text}." for text in particulars]
    return " ".join(parts)


def _taken_message(journal: Journal, taken: SnapshotResult, window: WindowOptions) -> list[str]:
    parts = []
    if taken.verdict == "expired":
        parts.append(
            f"Snapshots are inconsistent: the window of {window.max_window_s:g} s expired before "
            "the snapshot ended."
        )
    elif taken.verdict in ("broken", "rescued"):
        foreign = [f.mount for f in journal.filesystems if f.state == "foreign-thaw"]
        thawed = "what else" if journal.frozen_mounts else "everything"
        reason = {
            "rescued": f"the supervisor was lost; {thawed} it had frozen was thawed",
            "broken": f"somebody else thawed {', '.join(foreign)}" if foreign else "thawing failed",
        }[taken.verdict]
        parts.append(f"Snapshots are inconsistent: {reason}.")
    elif taken.verdict == "aborted":
        parts.append("Snapshots are inconsistent: a signal ended the window early.")
    if taken.failure and taken.verdict != "expired":
        parts.append(f"The snapshot {taken.kind} {taken.failure}.")
    return parts


def _window(
    journal: Journal, taken: SnapshotResult | None, selection: Selection, window: WindowOptions
) -> WindowReport:
    times = _times(journal, taken)
    fstypes = {f.mount_point: f.fstype for f in selection.filesystems}
    return WindowReport(
        window_ms=times.window_ms,
        overhead_ms=times.overhead_ms,
        frozen_together_ms=times.frozen_together_ms if _all_frozen(times) else None,
        max_window_s=window.max_window_s,
        freeze_timeout_s=window.freeze_timeout_s,
        expired=taken is not None and taken.verdict == "expired",
        filesystems=[
            FilesystemReport(
                mount=f.mount,
                device=f"{f.device[0]}:{f.device[1]}",
                fstype=fstypes.get(f.mount, ""),
                level=f.level,
                flush_ms=f.flush_ms,
                flush_rounds=f.flush_rounds,
                freeze_t_ms=_since(journal, f.freeze_enter_ns),
                freeze_ms=f.freeze_ms,
                frozen_ms=f.frozen_ms,
                thaw_ms=f.thaw_ms,
                outcome=f.outcome,
            )
            for f in times.filesystems
        ],
        skipped=[SkippedReport(mount=s.mount, reason=s.reason) for s in selection.skipped],
    )


def _since(journal: Journal, moment_ns: int) -> float | None:
    return (moment_ns - journal.begin_ns) / NS_PER_MS if moment_ns else None


def _times(journal: Journal, taken: SnapshotResult | None) -> WindowTimes:
    if taken is None or taken.verdict == "unfrozen":
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
        duration_ms=(taken.end_ns - taken.begin_ns) / NS_PER_MS if taken.begin_ns else None,
        output=text,
        output_dropped_bytes=dropped,
        message=taken.failure,
    )


def _event(event: _Event, begin_ns: int) -> EventReport:
    return EventReport(
        t_ms=(event.begin_ns - begin_ns) / NS_PER_MS,
        what=event.what,
        duration_ms=(event.end_ns - event.begin_ns) / NS_PER_MS,
        detail=event.detail,
    )
