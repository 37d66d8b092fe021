"""`pyfreeze explain`: the table of outcome codes."""

from __future__ import annotations

import json

import click
from click.shell_completion import CompletionItem

from pyfreeze._cli.command import Example, declare, option
from pyfreeze._model.codes import CODES, find


class _CodeName(click.types.StringParamType):
    name = "code"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Numbers and both names, whatever the case."""
        return [
            CompletionItem(word, help=row.message)
            for row in CODES.values()
            for word in (str(row.number), *row.names)
            if word.casefold().startswith(incomplete.casefold())
        ]


@declare(
    "explain",
    Example("By its number", "pyfreeze explain 308"),
    Example("By either name", "pyfreeze explain Pre-ScriptTimeout"),
    Example("The whole table, for a program", "pyfreeze explain --json"),
)
@click.argument("code", required=False, type=_CodeName(), metavar="[CODE|NAME]")
@option("--json as_json", None, "Print a JSON list.")
def command(code: str | None, as_json: bool) -> None:
    """Explain an outcome code by its number or either of its names; without one, all."""
    rows = tuple(CODES.values()) if code is None else find(code)
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for row in rows:
        documented = f" ({row.documented_name})" if row.documented_name else ""
        click.secho(f"{row.number} {row.name}{documented}", bold=True)
        click.echo(f"    {row.message}")
        click.echo(f"    What to do: {row.action}")
