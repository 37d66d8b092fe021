"""The report as Prometheus' text format, for node_exporter's textfile collector.

A writer's own stall is known to nobody but the writer; what the freeze can have cost it at most is
pyfreeze_filesystem_frozen_seconds.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pyfreeze._model.codes import LEVEL_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyfreeze._model.report import AnyReport, WindowReport

    _Figures = Sequence[tuple[str, str, Callable[[Any], float | None]]]

_LAST_SUCCESS = "pyfreeze_last_success_timestamp_seconds"
_OF_A_FILESYSTEM: _Figures = (
    ("filesystem_flush_seconds", "In syncfs, all rounds right before the freeze.",
     lambda f: _s(f.flush_ms)),
    ("filesystem_freeze_seconds", "In FIFREEZE.", lambda f: _s(f.freeze_ms)),
    ("filesystem_frozen_seconds",
     "From FIFREEZE's entry to FITHAW's return: how long a writer can have been held up.",
     lambda f: _s(f.frozen_ms)),
    ("filesystem_thaw_seconds", "In FITHAW.", lambda f: _s(f.thaw_ms)),
)  # fmt: skip
_OF_A_SCRIPT: _Figures = (
    ("script_duration_seconds", "A script, over all its attempts.", lambda s: _s(s.duration_ms)),
    ("script_timeout_seconds", "What it may have taken at most.", lambda s: s.timeout_s),
    ("script_attempts", "How often it was started.", lambda s: s.attempts),
    ("script_code", "0, or the outcome code of its failure.", lambda s: s.code),
)


def as_metrics(report: AnyReport, *, now_s: float, before: str = "") -> str:
    """The metrics file's content.

    Args:
        report: what came of the run, also of one that was refused.
        now_s: the time of its end, in seconds since the epoch.
        before: what the file held so far: it knows of the last success. Anything else is ignored.
    """
    registry = CollectorRegistry()
    add = functools.partial(_add, registry)
    is_good = report.status == "success"
    add("last_run_timestamp_seconds", "When the last run ended.", now_s)
    add("last_success_timestamp_seconds", "When the last successful run ended.",
        now_s if is_good else _last_success(before))  # fmt: skip
    add("run_success", "Whether the last run was a success.", is_good)
    add("run_code", "The last run's outcome code, 0: application-consistent.", report.code)
    level = Gauge("pyfreeze_run_consistency",
                  "1 for the consistency level that the last run reached.",
                  ["level"], registry=registry)  # fmt: skip
    for name in reversed(LEVEL_NAMES):
        level.labels(name).set(name == report.consistency)
    add("possibly_frozen_filesystems", "How many filesystems may still be frozen.",
        len(report.still_frozen))  # fmt: skip
    if report.run_id is not None:
        end_ms = max((e.t_ms + e.duration_ms for e in report.events), default=0.0)
        add("run_duration_seconds", "From the run's begin to the end of its last step.", _s(end_ms))
    if report.snapshot is not None:
        add("snapshot_duration_seconds", "What took the snapshot, by itself.",
            _s(report.snapshot.duration_ms))  # fmt: skip
    if report.window is not None:
        _add_window(registry, report.window)
    _add_each(registry, ("phase", "plugin", "path"), report.scripts, _OF_A_SCRIPT)
    return generate_latest(registry).decode()


def _add(registry: CollectorRegistry, name: str, text: str, value: float | None) -> None:
    if value is not None:
        Gauge(f"pyfreeze_{name}", text, registry=registry).set(value)


def _add_each(
    registry: CollectorRegistry, labels: Sequence[str], items: Sequence[Any], figures: _Figures
) -> None:
    """Each figure of the items that have it; the labels are attributes of theirs."""
    for name, text, figure in figures:
        known = [(one, value) for one in items if (value := figure(one)) is not None]
        if known:
            gauge = Gauge(f"pyfreeze_{name}", text, labels, registry=registry)
        for one, value in known:
            # A path need not be UTF-8; a label has to be.
            own = (getattr(one, label).encode("utf-8", "backslashreplace") for label in labels)
            gauge.labels(*(text.decode() for text in own)).set(value)


def _s(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _add_window(registry: CollectorRegistry, window: WindowReport) -> None:
    for name, text, value in (
        ("seconds", "From the first FIFREEZE's entry to the last FITHAW's return.",
         _s(window.window_ms)),
        ("overhead_seconds", "The window less the snapshot's own time.", _s(window.overhead_ms)),
        ("frozen_together_seconds", "From the last FIFREEZE's return to the first FITHAW's entry.",
         _s(window.frozen_together_ms)),
        ("limit_seconds", "How long the window may have lasted at most.", window.max_window_s),
        ("expired", "Whether it lasted longer, and was thawed.", window.expired),
    ):  # fmt: skip
        _add(registry, f"window_{name}", text, value)
    _add_each(registry, ("mount", "device", "fstype"), window.filesystems, _OF_A_FILESYSTEM)


def _last_success(before: str) -> float | None:
    families = text_string_to_metric_families(before)  # lazily: what follows may be anything
    values = (s.value for f in families for s in f.samples if s.name == _LAST_SUCCESS)
    try:
        return next(values, None)
    except (ValueError, KeyError, IndexError):
        return None
