"""`pyfreeze explain`: the table of outcome codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pyfreeze._codes import CODES, CodeLookupError, find
from pyfreeze._errors import UsageError

if TYPE_CHECKING:
    from pyfreeze._codes import Code


@click.command(
    "explain", epilog="Examples: pyfreeze explain 308; pyfreeze explain Pre-ScriptTimeout"
)
@click.argument("code", required=False, metavar="[CODE|NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(code: str | None, as_json: bool) -> None:
    """Explain an outcome code by its number or either of its names; without one, all."""
    rows: tuple[Code, ...]
    try:
        rows = tuple(CODES.values()) if code is None else find(code)
    except CodeLookupError as error:
        raise UsageError(2, f"explain: {error}") from error
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for row in rows:
        documented = f" ({row.documented_name})" if row.documented_name else ""
        click.secho(f"{row.number} {row.name}{documented}", bold=True)
        click.echo(f"    {row.message}")
        click.echo(f"    What to do: {row.action}")
