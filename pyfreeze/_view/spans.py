"""What a report says of times, as stretches on rows: the same data for every picture of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._model.states import FilesystemState
from pyfreeze._model.timeline import NS_PER_MS

if TYPE_CHECKING:
    from pyfreeze._model.report import EventReport, FilesystemReport, Report


class Span(NamedTuple):
    """A stretch of a timeline, in ns since whatever the timeline counts from."""

    row: str
    phase: str
    """"paused", "pre-script", "flush", "freezing", "frozen", "thawing", "hanging", "snapshot" or
    "post-script"."""
    begin_ns: int
    end_ns: int

    @property
    def duration_ns(self) -> int:
        """How long it is."""
        return self.end_ns - self.begin_ns


def window_spans(report: Report) -> tuple[Span, ...]:
    """The freeze window, filesystem by filesystem in the order of freezing, and the snapshot."""
    begun = [f for f in report.window.filesystems if f.freeze_t_ms is not None]
    begun.sort(key=lambda f: f.freeze_t_ms or 0.0)
    snapshots = [_span("snapshot", "snapshot", e) for e in report.events if e.what == "snapshot"]
    if not begun:
        return ()
    last_ns = max(
        [span.end_ns for span in snapshots]
        + [_ns((f.freeze_t_ms or 0.0) + (f.frozen_ms or f.freeze_ms or 0)) for f in begun]
    )
    return tuple(span for f in begun for span in filesystem_spans(f, last_ns)) + tuple(snapshots)


def filesystem_spans(filesystem: FilesystemReport, last_ns: int) -> list[Span]:
    """One filesystem's; what has no known end goes on until `last_ns`."""
    row = f"{filesystem.mount} ({filesystem.fstype})"
    enter_ns = _ns(filesystem.freeze_t_ms or 0.0)
    if filesystem.freeze_ms is None:
        return [Span(row, "hanging", enter_ns, max(last_ns, enter_ns))]
    frozen_ns = enter_ns + _ns(filesystem.freeze_ms)
    freezing = Span(row, "freezing", enter_ns, frozen_ns)
    if filesystem.outcome == FilesystemState.FAILED:
        return [freezing]
    if filesystem.frozen_ms is None or filesystem.thaw_ms is None:
        return [freezing, Span(row, "hanging", frozen_ns, max(last_ns, frozen_ns))]
    end_ns = max(enter_ns + _ns(filesystem.frozen_ms), frozen_ns)
    thaw_ns = max(end_ns - _ns(filesystem.thaw_ms), frozen_ns)
    return [
        freezing,
        Span(row, "frozen", frozen_ns, thaw_ns),
        Span(row, "thawing", thaw_ns, end_ns),
    ]


def run_spans(report: Report) -> tuple[Span, ...]:
    """The whole run, on a row for each kind of thing; a script's row names its plugin."""
    spans = []
    for event in report.events:
        if event.what in _ROWS:
            row, phase = _ROWS[event.what]
            named = f"{row} {event.detail}".rstrip() if row.endswith("-script") else row
            spans.append(_span(named, phase, event))
    return tuple(spans)


#: An event's row and phase.
_ROWS = {
    "writeback": ("flush", "flush"),
    "pre-script": ("pre-script", "pre-script"),
    "flush": ("flush", "flush"),
    "freeze": ("freeze and thaw", "freezing"),
    "snapshot": ("snapshot", "snapshot"),
    "thaw": ("freeze and thaw", "thawing"),
    "post-script": ("post-script", "post-script"),
}


def _span(row: str, phase: str, event: EventReport) -> Span:
    begin_ns = _ns(event.t_ms)
    return Span(row, phase, begin_ns, begin_ns + max(_ns(event.duration_ms), 0))


def _ns(milliseconds: float) -> int:
    return round(milliseconds * NS_PER_MS)
