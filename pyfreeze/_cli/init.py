"""`pyfreeze init`: a configuration to start from."""

from __future__ import annotations

import click

from pyfreeze._cli.command import Example, declare, option
from pyfreeze._quiesce.catalogue import SUMMARIES


@declare(
    "init",
    Example("Where Azure's framework looks for it", "pyfreeze init"),
    Example("Which applications have scripts that are ready to use", "pyfreeze init --list"),
    Example(
        "Those of PostgreSQL, somewhere else",
        "pyfreeze init --app postgresql --directory /etc/pyfreeze-postgresql",
    ),
)
@option(
    "--directory", str, "Where to write; made if it is not there.",
    metavar="D", default="/etc/azure", show_default=True,
)  # fmt: skip
@option(
    "--app application", str,
    f"Write the scripts that make this application quiet, ready to use: {', '.join(SUMMARIES)}.",
    metavar="NAME",
)  # fmt: skip
@option("--list only_lists", None, "List the applications, write nothing.")
def command(directory: str, application: str | None, only_lists: bool) -> None:
    """Write a script configuration and two commented scripts, with owner and modes as they must be.

    Never overwrites anything.
    """
    if only_lists:
        width = max(map(len, SUMMARIES))
        for name, summary in SUMMARIES.items():
            click.echo(f"{name:{width}}  {summary}")
        return
    from pyfreeze._setup.files import CONFIG_NAME, doubts_about_program, write

    paths = write(directory, application)
    for path in paths:
        click.echo(f"wrote {path}")
    for doubt in doubts_about_program() if application is not None else ():
        text = f"warning: not root's alone, and the scripts run it: {doubt}"
        click.echo(f"pyfreeze: {text}", err=True)
    config = next(path for path in paths if path.endswith(CONFIG_NAME))
    what = "fill in the scripts" if application is None else f"look at the settings in {paths[0]}"
    click.echo(f"Now {what}, then: pyfreeze check --config {config}")
