"""The report as Prometheus' text format, for node_exporter's textfile collector.

A writer's own stall is known to nobody but the writer; what the freeze can have cost it at most is
pyfreeze_filesystem_frozen_seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pyfreeze._model.codes import LEVEL_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyfreeze._model.report import AnyReport, FilesystemReport, ScriptReport, WindowReport

_LAST_SUCCESS = "pyfreeze_last_success_timestamp_seconds"
_MS_PER_S = 1000.0


def as_metrics(report: AnyReport, *, now_s: float, before: str = "") -> str:
    """The metrics file's content.

    Args:
        report: what came of the run, also of one that was refused.
        now_s: the time of its end, in seconds since the epoch.
        before: what the file held so far: it knows of the last success. Anything else is ignored.
    """
    metrics = _Metrics()
    is_good = report.status == "success"
    _add_times(metrics, now_s, now_s if is_good else _last_success(before))
    _add_outcome(metrics, report.code, report.consistency, is_good=is_good)
    metrics.one("pyfreeze_possibly_frozen_filesystems",
                "How many filesystems may still be frozen.", len(report.still_frozen))  # fmt: skip
    if report.run_id is not None:
        metrics.one(
            "pyfreeze_run_duration_seconds",
            "From the run's begin to the end of its last step.",
            max((e.t_ms + e.duration_ms for e in report.events), default=0.0) / _MS_PER_S,
        )
    if report.snapshot is not None:
        metrics.seconds("pyfreeze_snapshot_duration_seconds", "What took the snapshot, by itself.",
                        report.snapshot.duration_ms)  # fmt: skip
    if report.window is not None:
        _add_window(metrics, report.window)
        _add_filesystems(metrics, report.window.filesystems)
    _add_scripts(metrics, report.scripts)
    return generate_latest(metrics.registry).decode()


class _Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def one(self, name: str, text: str, value: float) -> None:
        Gauge(name, text, registry=self.registry).set(value)

    def seconds(self, name: str, text: str, milliseconds: float | None) -> None:
        if milliseconds is not None:
            self.one(name, text, milliseconds / _MS_PER_S)

    def many(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...],
        values: Sequence[tuple[tuple[str, ...], float | None]],
    ) -> None:
        known = [(own, value) for own, value in values if value is not None]
        if not known:
            return
        gauge = Gauge(name, text, labels, registry=self.registry)
        for own, value in known:
            gauge.labels(*map(_encodable, own)).set(value)


def _add_times(metrics: _Metrics, now_s: float, last_success_s: float | None) -> None:
    metrics.one("pyfreeze_last_run_timestamp_seconds", "When the last run ended.", now_s)
    if last_success_s is not None:
        metrics.one(_LAST_SUCCESS, "When the last successful run ended.", last_success_s)


def _add_outcome(metrics: _Metrics, code: int, consistency: str, *, is_good: bool) -> None:
    metrics.one("pyfreeze_run_success", "Whether the last run was a success.", is_good)
    metrics.one("pyfreeze_run_code", "The last run's outcome code, 0: application-consistent.",
                code)  # fmt: skip
    metrics.many(
        "pyfreeze_run_consistency",
        "1 for the consistency level that the last run reached.",
        ("level",),
        [((level,), level == consistency) for level in reversed(LEVEL_NAMES)],
    )


def _add_window(metrics: _Metrics, window: WindowReport) -> None:
    metrics.seconds("pyfreeze_window_seconds",
                    "From the first FIFREEZE's entry to the last FITHAW's return.",
                    window.window_ms)  # fmt: skip
    metrics.seconds("pyfreeze_window_overhead_seconds",
                    "The window less the snapshot's own time.", window.overhead_ms)  # fmt: skip
    metrics.seconds("pyfreeze_window_frozen_together_seconds",
                    "From the last FIFREEZE's return to the first FITHAW's entry.",
                    window.frozen_together_ms)  # fmt: skip
    metrics.one("pyfreeze_window_limit_seconds", "How long the window may have lasted at most.",
                window.max_window_s)  # fmt: skip
    metrics.one("pyfreeze_window_expired", "Whether it lasted longer, and was thawed.",
                window.expired)  # fmt: skip


def _add_filesystems(metrics: _Metrics, filesystems: Sequence[FilesystemReport]) -> None:
    labels = ("mount", "device", "fstype")
    figures: tuple[tuple[str, str, Callable[[FilesystemReport], float | None]], ...] = (
        ("flush", "In syncfs, all rounds right before the freeze.", lambda f: f.flush_ms),
        ("freeze", "In FIFREEZE.", lambda f: f.freeze_ms),
        (
            "frozen",
            "From FIFREEZE's entry to FITHAW's return: how long a writer can have been held up.",
            lambda f: f.frozen_ms,
        ),
        ("thaw", "In FITHAW.", lambda f: f.thaw_ms),
    )
    for name, text, milliseconds in figures:
        values = [((f.mount, f.device, f.fstype), milliseconds(f)) for f in filesystems]
        metrics.many(
            f"pyfreeze_filesystem_{name}_seconds",
            text,
            labels,
            [(own, None if value is None else value / _MS_PER_S) for own, value in values],
        )


def _add_scripts(metrics: _Metrics, scripts: Sequence[ScriptReport]) -> None:
    labels = ("phase", "plugin", "path")
    figures: tuple[tuple[str, str, Callable[[ScriptReport], float]], ...] = (
        ("duration_seconds", "A script, over all its attempts.", lambda s: s.duration_ms / 1000),
        ("timeout_seconds", "What it may have taken at most.", lambda s: s.timeout_s),
        ("attempts", "How often it was started.", lambda s: s.attempts),
        ("code", "0, or the outcome code of its failure.", lambda s: s.code),
    )
    for name, text, figure in figures:
        values = [((s.phase, s.plugin, s.path), float(figure(s))) for s in scripts]
        metrics.many(f"pyfreeze_script_{name}", text, labels, values)


def _encodable(text: str) -> str:
    """A path need not be UTF-8; a label has to be."""
    return text.encode("utf-8", errors="backslashreplace").decode()


def _last_success(before: str) -> float | None:
    try:
        for family in text_string_to_metric_families(before):
            for sample in family.samples:
                if sample.name == _LAST_SUCCESS:
                    return float(sample.value)
    except (ValueError, KeyError, IndexError):
        return None
    return None
