"""`pyfreeze init`: a configuration to start from."""

from __future__ import annotations

import click


@click.command("init", epilog="Example: pyfreeze init --directory /etc/azure")
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
