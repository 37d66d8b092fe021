"""A backup's report for people, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pyfreeze._model.states import FilesystemState
from pyfreeze._view import words

if TYPE_CHECKING:
    from pyfreeze._model.report import Report

#: Columns: a timeline gets no wider, however wide the terminal.
_WIDEST = 140
_MOST_ROWS = 16


def summarise(report: Report) -> None:
    """Print the outcome and the timeline to stdout, warnings and failures to stderr."""
    from pyfreeze._view.spans import window_spans

    click.secho(words.verdict(report), fg=words.verdict_style(report), bold=True)
    click.echo(f"  {report.message}")
    if report.code:
        click.echo(f"  What to do: {report.action}")
    for script in report.scripts:
        click.echo(f"  {words.script(script)}")
    if window := words.window(report):
        click.echo(f"  {window}")
    if spans := window_spans(report):
        from rich.console import Console
        from rich.padding import Padding

        from pyfreeze._view.timeline import Timeline

        console = Console(highlight=False)
        drawn = Padding(Timeline(spans, _MOST_ROWS), (0, 0, 0, 2))
        console.print(drawn, width=min(console.width, _WIDEST))
    for one in report.window.filesystems:
        if one.outcome != FilesystemState.THAWED:
            click.echo(f"    {one.mount} ({one.fstype}): {one.outcome}")
    if report.snapshot is not None:
        click.echo(f"  {words.snapshot(report.snapshot)}")
        if report.snapshot.output:
            click.echo(report.snapshot.output, nl=not report.snapshot.output.endswith("\n"))
    for note in report.notes:
        click.echo(f"pyfreeze: {note.message}", err=True)
