"""`pyfreeze init`: a configuration to start from."""

from __future__ import annotations

import click

from pyfreeze._cli.command import Command, Example


@click.command(
    "init",
    cls=Command,
    examples=(
        Example("Where Azure's framework looks for it", "pyfreeze init"),
        Example("Somewhere else", "pyfreeze init --directory /etc/pyfreeze-shop"),
    ),
)
@click.option(
    "--directory",
    default="/etc/azure",
    show_default=True,
    metavar="D",
    help="Where to write; made if it is not there.",
)
def command(directory: str) -> None:
    """Write a script configuration and two commented scripts, with owner and modes as they must be.

    Never overwrites anything.
    """
    from pyfreeze._template import CONFIG_NAME, write_template

    paths = write_template(directory)
    for path in paths:
        click.echo(f"wrote {path}")
    config = next(path for path in paths if path.endswith(CONFIG_NAME))
    click.echo(f"Now fill in the scripts, then: pyfreeze check --config {config}")
