"""`pyfreeze check`: whether a backup would work, before one is needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pyfreeze._backup.preflight import LEFT_OUT, preflight
from pyfreeze._backup.settings import Settings
from pyfreeze._base.text import counted
from pyfreeze._cli import exits
from pyfreeze._cli.command import Example, declare, option, settings_options
from pyfreeze._view import words

if TYPE_CHECKING:
    from pyfreeze._backup.preflight import Row

_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "problem": "bold red"}


@declare(
    "check",
    Example("The configuration in /etc/azure, and every filesystem", "pyfreeze check"),
    Example(
        "A configuration of your own, for one filesystem",
        "pyfreeze check --config /etc/azure/my.json --mount /srv",
    ),
    variables=True,
)
@settings_options(
    mount="What run would freeze; may be repeated.",
    skip="What run would leave out; may be repeated.",
)
@option("--json as_json", None, "Print one JSON object.")
def command(as_json: bool, **settings: Any) -> int:
    """Check files, permissions, scripts, mounts, supervisor and kernel; run and freeze nothing.

    Exit status 0 if nothing stands in the way of a backup, else 1. Warnings don't count.
    """
    rows = preflight(Settings(snapshot=lambda: None, **settings))  # a check takes none
    problems = sum(row.grade == "problem" for row in rows)
    if as_json:
        result = {"version": 1, "ok": not problems, "rows": [row._asdict() for row in rows]}
        click.echo(json.dumps(result, indent=2))
    else:
        _print_table(rows, problems)
    return exits.FAILED if problems else exits.SUCCESS


def _print_table(rows: tuple[Row, ...], problems: int) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        Column(no_wrap=True), Column("topic", no_wrap=True), Column("subject", overflow="fold"),
        Column("what was found", overflow="fold"), box=None, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for row in rows:
        if row.topic == LEFT_OUT:
            continue
        # Text, not markup: a path may hold square brackets.
        code = f" (code {row.code})" if row.code is not None else ""
        grade = Text(row.grade, style=_STYLES[row.grade])
        table.add_row(grade, row.topic, Text(row.subject), Text(f"{row.text}{code}"))
    console = Console()
    console.print(table)
    for line in words.left_out((row.subject, row.text) for row in rows if row.topic == LEFT_OUT):
        console.print(Text(f"left out, {line}", style="dim"))
    warnings = sum(row.grade == "warning" for row in rows)
    verdict = f"not ready: {counted(problems, 'problem')}" if problems else "ready"
    console.print(f"{verdict}, {counted(warnings, 'warning')}", style="bold")
