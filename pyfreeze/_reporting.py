"""The report: what was noted on the way, and the verdict, put into the report's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._codes import CODES, C
from pyfreeze._outcome import Level
from pyfreeze._report import (
    EffectiveReport,
    EventReport,
    FilesystemReport,
    NoteReport,
    PluginReport,
    Report,
    ScriptReport,
    SkippedReport,
    SnapshotReport,
    WindowReport,
)
from pyfreeze._scripts import describe, duration_ms
from pyfreeze._timeline import NS_PER_MS, window_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._exchange import ChildEnd, WindowOptions
    from pyfreeze._mounts.selection import Selection
    from pyfreeze._outcome import Outcome
    from pyfreeze._plan import Plan
    from pyfreeze._scripts import Script
    from pyfreeze._snapshot import Taken
    from pyfreeze._timeline import FilesystemTimes, WindowTimes


class _Event(NamedTuple):
    begin_ns: int
    end_ns: int
    what: str
    detail: str


class Story:
    """What a backup notes on its way, as it happens. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, run_id: str, begin_ns: int) -> None:
        self.run_id = run_id
        self.begin_ns = begin_ns
        self.notes: list[tuple[C | None, str]] = []
        self.failures: list[str] = []
        """What went wrong beside the codes, in sentences."""
        self.scripts: list[ScriptReport] = []
        self.events: list[_Event] = []
        self.filesystems: tuple[FilesystemTimes, ...] = ()
        self.frozen_mounts: tuple[str, ...] = ()

    def note(self, code: C | None, message: str) -> None:
        """Note a code with its particulars, or a notice."""
        self.notes.append((code, message))

    def fail(self, message: str) -> None:
        """Note what went wrong."""
        self.failures.append(message)

    def event(self, what: str, begin_ns: int, end_ns: int, detail: str = "") -> None:
        """Note one thing of the timeline."""
        self.events.append(_Event(begin_ns, end_ns, what, detail))

    def script(self, script: Script, end: ChildEnd, output: bytes, code: C) -> None:
        """Note a script's end."""
        message = describe(end, script.timeout_s)
        text, dropped = _output(output, end.output_total)
        self.scripts.append(
            ScriptReport(
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
                code=code,
                message=message,
                app_name=script.app_name,
            )
        )
        if code:
            self.note(code, f"{script.plugin}: {script.phase}-script {script.path} {message}")
        self.event(f"{script.phase}-script", end.start_ns, end.end_ns, script.plugin)

    def window(self, asked_ns: int, filesystems: Sequence[FilesystemTimes]) -> None:
        """Note a window's times, after its end; `asked_ns` is where its flush began."""
        self.filesystems = tuple(filesystems)
        times = window_times(filesystems)
        if not times.begin_ns:
            return
        count = len(self.filesystems)
        self.event("flush", asked_ns, times.begin_ns, f"{count} filesystems")
        self.event("freeze", times.begin_ns, times.frozen_ns, f"{count} filesystems")
        if times.thaw_ns:
            self.event("thaw", times.thaw_ns, times.end_ns, f"{count} filesystems")

    def still_frozen(self, filesystems: Sequence[FilesystemTimes]) -> None:
        """Note what may be frozen after all."""
        if filesystems:
            self.filesystems = tuple(filesystems)
            self.frozen_mounts = tuple(f.mount for f in filesystems if f.may_be_frozen)


def make_report(
    story: Story,
    outcome: Outcome,
    taken: Taken | None,
    plan: Plan,
) -> Report:
    """Put it all together."""
    window = plan.window
    row = CODES[outcome.code]
    if taken is not None and taken.begin_ns:
        story.event("snapshot", taken.begin_ns, taken.end_ns, taken.kind)
    return Report(
        run_id=story.run_id,
        status="success" if outcome.success else "error",
        consistency=outcome.level.label,
        code=outcome.code,
        name=row.name,
        message=_message(story, outcome, taken, window),
        action=row.action,
        notes=[_note(code, message) for code, message in story.notes],
        scripts=story.scripts,
        window=_window(story, taken, plan.selection, window),
        snapshot=_snapshot(taken),
        events=[_event(event, story.begin_ns) for event in sorted(story.events)],
        below_required=outcome.below_required,
        still_frozen=list(story.frozen_mounts),
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


def _note(code: C | None, message: str) -> NoteReport:
    name = CODES[code].name if code is not None else "notice"
    return NoteReport(
        code=code, name=name, message=message or (CODES[code].message if code else "")
    )


def _message(story: Story, outcome: Outcome, taken: Taken | None, window: WindowOptions) -> str:
    """One paragraph: the worst first, then the particulars of the code."""
    parts: list[str] = []
    if story.frozen_mounts:
        parts.append(f"May still be frozen: {', '.join(story.frozen_mounts)}.")
    parts += [f"{text[:1].upper()}{text[1:]}." for text in story.failures]
    if taken is not None:
        parts += _taken_message(story, taken, window)
    if taken is not None and not outcome.success and outcome.level > Level.NONE:
        parts.append(f"The snapshot exists; it is {outcome.level.label}-consistent.")
    if outcome.below_required:
        parts.append(f"Consistency level {outcome.level.label} is below the one required.")
    particulars = [text for code, text in story.notes if code == outcome.code and text]
    if not parts or outcome.code not in (C.ERROR, C.SUCCESS):
        parts.append(CODES[outcome.code].message)
    parts += [f"{text}." for text in particulars]
    return " ".join(parts)


def _taken_message(story: Story, taken: Taken, window: WindowOptions) -> list[str]:
    parts = []
    if taken.verdict == "expired":
        parts.append(
            f"Snapshots are inconsistent: the window of {window.max_window_s:g} s expired before "
            "the snapshot ended."
        )
    elif taken.verdict in ("broken", "rescued"):
        foreign = [f.mount for f in story.filesystems if f.state == "foreign-thaw"]
        thawed = "what else" if story.frozen_mounts else "everything"
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
    story: Story, taken: Taken | None, selection: Selection, window: WindowOptions
) -> WindowReport:
    times = _times(story, taken)
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
                freeze_t_ms=_since(story, f.freeze_enter_ns),
                freeze_ms=f.freeze_ms,
                frozen_ms=f.frozen_ms,
                thaw_ms=f.thaw_ms,
                outcome=f.outcome,
            )
            for f in times.filesystems
        ],
        skipped=[SkippedReport(mount=s.mount, reason=s.reason) for s in selection.skipped],
    )


def _since(story: Story, moment_ns: int) -> float | None:
    return (moment_ns - story.begin_ns) / NS_PER_MS if moment_ns else None


def _times(story: Story, taken: Taken | None) -> WindowTimes:
    if taken is None or taken.verdict == "unfrozen":
        return window_times(story.filesystems)
    return window_times(story.filesystems, taken.begin_ns, taken.end_ns)


def _all_frozen(times: WindowTimes) -> bool:
    return all(f.freeze_return_ns and f.thaw_enter_ns for f in times.filesystems)


def _snapshot(taken: Taken | None) -> SnapshotReport | None:
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


def _output(kept: bytes, total: int) -> tuple[str, int]:
    """Output as text, and how many bytes before it were dropped."""
    return kept.decode("utf-8", errors="replace"), max(total - len(kept), 0)
