"""A backup's report for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pyfreeze._report import Report, ScriptReport


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.2f} ms"


def outcome_line(report: Report) -> str:
    """The outcome in one line."""
    return f"{_verdict(report)}. {report.message}"


def _verdict(report: Report) -> str:
    good = report.status == "success"
    verdict = f"success: {report.consistency}-consistent" if good else "error"
    return f"{verdict} (code {report.code} {report.name})"


def summarise(report: Report) -> None:
    """Print the outcome and the timeline to stdout, warnings and failures to stderr."""
    good = report.status == "success"
    colour = "green" if good and not report.code else "yellow" if good else "red"
    click.secho(_verdict(report), fg=colour, bold=True)
    click.echo(f"  {report.message}")
    if report.code:
        click.echo(f"  What to do: {report.action}")
    for script in report.scripts:
        click.echo(f"  {script.phase}-script of {script.plugin}: {_script(script)}")
    window = report.window
    if window.window_ms is not None:
        click.echo(
            f"  window {_ms(window.window_ms)}, of it pyfreeze's own {_ms(window.overhead_ms)}"
        )
    for one in window.filesystems:
        click.echo(
            f"    {one.mount} ({one.fstype}): flushed {one.flush_rounds} times, "
            f"freeze {_ms(one.freeze_ms)}, frozen {_ms(one.frozen_ms)}, {one.outcome}"
        )
    if report.snapshot is not None:
        text = report.snapshot.message or "succeeded"
        click.echo(f"  snapshot {report.snapshot.kind}: {text}, {_ms(report.snapshot.duration_ms)}")
        if report.snapshot.output:
            click.echo(report.snapshot.output, nl=not report.snapshot.output.endswith("\n"))
    for note in report.notes:
        click.echo(f"pyfreeze: {note.message}", err=True)


def _script(script: ScriptReport) -> str:
    text = script.message or "succeeded"
    attempts = f" ({script.attempts} attempts)" if script.attempts > 1 else ""
    return f"{text}{attempts}, {_ms(script.duration_ms)}"
