"""The report as a trace of Chrome's format, for Perfetto and chrome://tracing.

Source: the "Trace Event Format" document: complete events ("X") and metadata ("M"), times in
microseconds. The whole run is one process of the trace, with a thread for each row; the window's
filesystems are another one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyfreeze._view.spans import run_spans, window_spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._model.report import Report
    from pyfreeze._view.spans import Span

_NS_PER_US = 1000
_RUN, _WINDOW = 1, 2


def as_trace(report: Report) -> str:
    """The trace file's content."""
    return json.dumps(
        {
            "displayTimeUnit": "ms",
            "otherData": {
                "run_id": report.run_id,
                "status": report.status,
                "consistency": report.consistency,
                "code": report.code,
                "name": report.name,
            },
            "traceEvents": trace_events(report),
        },
        indent=1,
    )


def trace_events(report: Report) -> list[dict[str, object]]:
    """Metadata first, then the stretches by their beginnings: pure."""
    run, window = run_spans(report), window_spans(report)
    stretches = [(span, _RUN, _tracks(run)) for span in run]
    stretches += [(span, _WINDOW, _tracks(window)) for span in window]
    stretches.sort(key=lambda one: (one[0].begin_ns, -one[0].duration_ns))
    names = _names(run, _RUN, f"pyfreeze run {report.run_id}")
    return [
        *names,
        *_names(window, _WINDOW, "freeze window"),
        *(_stretch(span, process, tracks[span.row]) for span, process, tracks in stretches),
    ]


def _tracks(spans: Sequence[Span]) -> dict[str, int]:
    return {row: number for number, row in enumerate(dict.fromkeys(s.row for s in spans), start=1)}


def _stretch(span: Span, process: int, track: int) -> dict[str, object]:
    return {
        "name": span.phase,
        "cat": "pyfreeze",
        "ph": "X",
        "ts": span.begin_ns / _NS_PER_US,
        "dur": span.duration_ns / _NS_PER_US,
        "pid": process,
        "tid": track,
        "args": {"what": span.row},
    }


def _names(spans: Sequence[Span], process: int, name: str) -> list[dict[str, object]]:
    if not spans:
        return []
    named: list[tuple[str, int, dict[str, object]]] = [("process_name", 0, {"name": name})]
    for row, track in _tracks(spans).items():
        named.append(("thread_name", track, {"name": row}))
        named.append(("thread_sort_index", track, {"sort_index": track}))
    return [
        {"name": kind, "ph": "M", "pid": process, "tid": track, "args": arguments}
        for kind, track, arguments in named
    ]
