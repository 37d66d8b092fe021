"""A report in sentences: what both the terminal and a saved page say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyfreeze._model.report import Report, ScriptReport, SnapshotReport

_NAMED_AT_MOST = 4


def verdict(report: Report) -> str:
    """What came of it, with its code."""
    good = report.status == "success"
    text = f"success: {report.consistency}-consistent" if good else "error"
    return f"{text} (code {report.code} {report.name})"


def verdict_style(report: Report) -> str:
    """Green for a good one, yellow for one with a code, red for a failure."""
    if report.status != "success":
        return "red"
    return "yellow" if report.code else "green"


def script(one: ScriptReport) -> str:
    """A script's end."""
    text = one.message or "succeeded"
    attempts = f" ({one.attempts} attempts)" if one.attempts > 1 else ""
    return f"{one.phase}-script of {one.plugin}: {text}{attempts}, {milliseconds(one.duration_ms)}"


def snapshot(one: SnapshotReport) -> str:
    """What became of the snapshot."""
    return f"snapshot {one.kind}: {one.message or 'succeeded'}, {milliseconds(one.duration_ms)}"


def window(report: Report) -> str:
    """The window's length; empty where there was none."""
    times = report.window
    if times.window_ms is None:
        return ""
    own = milliseconds(times.overhead_ms)
    return f"window {milliseconds(times.window_ms)}, of it pyfreeze's own {own}"


def left_out(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """Mounts that are left out, from (mount point, reason) pairs: a line for each reason.

    A machine has dozens of pseudo filesystems.
    """
    mounts: dict[str, list[str]] = {}
    for mount, reason in skipped:
        # "pseudo filesystem (proc)" and "pseudo filesystem (sysfs)" are one reason here.
        mounts.setdefault(reason.partition(" (")[0], []).append(mount)
    lines = []
    for reason, names in mounts.items():
        more = len(names) - _NAMED_AT_MOST
        shown = ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"{reason}: {shown}")
    return lines


def milliseconds(value: float | None) -> str:
    """As milliseconds, or seconds where there are many; "-": it never came to it."""
    if value is None:
        return "-"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.2f} ms"
