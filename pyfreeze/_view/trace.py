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
    from pyfreeze._model.report import Report
    from pyfreeze._view.spans import Span

_NS_PER_US = 1000


def as_trace(report: Report) -> str:
    """The trace file's content: metadata first, then the stretches by their beginnings."""
    metadata: list[dict[str, object]] = []
    stretches: list[tuple[Span, int, int]] = []
    for process, name, spans in (
        (1, f"pyfreeze run {report.run_id}", run_spans(report)),
        (2, "freeze window", window_spans(report)),
    ):
        tracks = {row: n for n, row in enumerate(dict.fromkeys(s.row for s in spans), start=1)}
        if spans:
            metadata.append(_metadata("process_name", process, 0, name=name))
        for row, track in tracks.items():
            metadata.append(_metadata("thread_name", process, track, name=row))
            metadata.append(_metadata("thread_sort_index", process, track, sort_index=track))
        stretches += [(span, process, tracks[span.row]) for span in spans]
    stretches.sort(key=lambda one: (one[0].begin_ns, -one[0].duration_ns))
    events = metadata + [
        {
            "name": span.phase,
            "cat": "pyfreeze",
            "ph": "X",
            "ts": span.begin_ns / _NS_PER_US,
            "dur": span.duration_ns / _NS_PER_US,
            "pid": process,
            "tid": track,
            "args": {"what": span.row},
        }
        for span, process, track in stretches
    ]
    names = ("run_id", "status", "consistency", "code", "name")
    trace = {
        "displayTimeUnit": "ms",
        "otherData": {name: getattr(report, name) for name in names},
        "traceEvents": events,
    }
    return json.dumps(trace, indent=1)


def _metadata(kind: str, process: int, track: int, **arguments: object) -> dict[str, object]:
    return {"name": kind, "ph": "M", "pid": process, "tid": track, "args": arguments}
