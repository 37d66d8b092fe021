"""Any report can be drawn, traced and measured."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any, get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from pyfreeze._model.report import (
    EventReport,
    FilesystemReport,
    Report,
    ScriptReport,
    SnapshotReport,
    WindowReport,
)
from pyfreeze._view.metrics import as_metrics
from pyfreeze._view.page import as_html, as_svg, document
from pyfreeze._view.spans import run_spans, window_spans
from pyfreeze._view.timeline import Timeline
from pyfreeze._view.trace import as_trace

#: Paths and output are bytes: some of them are no UTF-8, and some would move a cursor.
TEXTS = st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs"]), max_size=30)
MS = st.floats(0, 1e7)
MAYBE_MS = st.none() | MS


def structs(kind: type, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    plain = {"str": TEXTS, "bool": st.booleans(), "int": st.integers(0, 400), "float": MS}
    wanted = {
        name: fields[name] if name in fields else plain[hint.__name__]
        for name, hint in hints.items()
        if name in fields or getattr(hint, "__name__", "") in plain
    }
    return st.builds(kind, **wanted)


FILESYSTEMS = structs(
    FilesystemReport,
    freeze_t_ms=MAYBE_MS,
    freeze_ms=MAYBE_MS,
    frozen_ms=MAYBE_MS,
    thaw_ms=MAYBE_MS,
    outcome=st.sampled_from(["thawed", "pending", "failed", "stuck", "foreign-thaw", "open"]),
)
EVENTS = structs(
    EventReport,
    what=st.sampled_from(
        ["writeback", "pre-script", "flush", "freeze", "snapshot", "thaw", "post-script", "other"]
    ),
)
SCRIPTS = structs(
    ScriptReport,
    phase=st.sampled_from(["pre", "post"]),
    exit_status=st.none(),
    signal=st.none(),
    app_name=st.none(),
)
WINDOWS = structs(
    WindowReport,
    window_ms=MAYBE_MS,
    overhead_ms=MAYBE_MS,
    frozen_together_ms=MAYBE_MS,
    filesystems=st.lists(FILESYSTEMS, max_size=4),
    skipped=st.just([]),
)
SNAPSHOTS = structs(
    SnapshotReport,
    argv=st.lists(TEXTS, max_size=3),
    exit_status=st.none(),
    signal=st.none(),
    duration_ms=MAYBE_MS,
)
REPORTS = structs(
    Report,
    status=st.sampled_from(["success", "error"]),
    consistency=st.sampled_from(["application", "filesystem", "crash", "none"]),
    notes=st.just([]),
    scripts=st.lists(SCRIPTS, max_size=3),
    window=WINDOWS,
    snapshot=st.none() | SNAPSHOTS,
    events=st.lists(EVENTS, max_size=6),
    effective=st.none(),
    still_frozen=st.lists(TEXTS, max_size=2),
)
FEW = settings(max_examples=25, deadline=None)


@FEW
@given(report=REPORTS, width=st.integers(20, 300), unicode=st.booleans())
def test_drawn(report: Report, width: int, unicode: bool) -> None:
    """Any report can be drawn, at any width, and no span ends before it begins."""
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8" if unicode else "ascii", "backslashreplace")
    out = Console(file=stream, width=width)
    out.print(document(report))
    for spans in (run_spans(report), window_spans(report)):
        assert all(span.begin_ns <= span.end_ns for span in spans)
        if spans:
            out.print(Timeline(spans, most_rows=2))


@FEW
@given(report=REPORTS)
def test_pictures_are_well_formed_and_fetch_nothing(report: Report) -> None:
    page, picture = as_html(report), as_svg(report)
    HTMLParser().feed(page)
    ET.fromstring(picture.encode("utf-8", errors="backslashreplace"))
    for text in (page, picture.replace("http://www.w3.org/2000/svg", "")):
        assert "url(http" not in text
        assert "src=" not in text.partition("<pre>")[0]
        assert "@import" not in text.partition("<pre>")[0]


@FEW
@given(report=REPORTS)
def test_a_trace_is_in_order(report: Report) -> None:
    events = json.loads(as_trace(report))["traceEvents"]
    stretches = [event for event in events if event["ph"] == "X"]
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {event["ph"] for event in events} <= {"X", "M"}
    assert [e["ts"] for e in stretches] == sorted(e["ts"] for e in stretches)
    assert all(event["dur"] >= 0 for event in stretches)
    assert all(named[e["pid"], e["tid"]] == e["args"]["what"] for e in stretches)
    assert len(stretches) == len(run_spans(report)) + len(window_spans(report))


@FEW
@given(report=REPORTS, now_s=st.floats(1e9, 2e9), before_s=st.floats(1e9, 2e9))
def test_metrics_can_be_read_back(report: Report, now_s: float, before_s: float) -> None:
    success = "pyfreeze_last_success_timestamp_seconds"
    first = as_metrics(report, now_s=before_s)
    text = as_metrics(report, now_s=now_s, before=f"{success} {before_s}\n")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    good = report.status == "success"
    assert found[success,] == (now_s if good else before_s)
    assert (f"\n{success} " in first) == good
    assert found["pyfreeze_run_success",] == good
    assert found["pyfreeze_run_code",] == report.code
    levels = {key[1]: value for key, value in found.items() if key[0].endswith("_consistency")}
    assert {level for level, value in levels.items() if value} == {report.consistency}


@FEW
@given(report=REPORTS, before=st.text(max_size=80))
def test_whatever_the_metrics_file_held(report: Report, before: str) -> None:
    """What the metrics file held before never stops the new one."""
    as_metrics(report, now_s=1.0, before=before)
