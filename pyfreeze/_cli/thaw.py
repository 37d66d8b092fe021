"""`pyfreeze thaw`: see to what dead runs left frozen."""

from __future__ import annotations

import click

from pyfreeze._cli import exits, streams


@click.command("thaw")
def command() -> int:
    """Thaw what a dead run left frozen, and only that.

    A run that is alive thaws for itself: then this does nothing and exits with status 4.
    """
    from pyfreeze._client import STATE_DIRECTORY
    from pyfreeze._recovery import recover

    found = recover(STATE_DIRECTORY)
    still = [f"still frozen: {text} (run {run.run_id})" for run in found for text in run.failed]
    for text in still:
        click.echo(f"pyfreeze: {text}", err=True)
    status = exits.MAY_BE_FROZEN if still else exits.SUCCESS
    thawed = [f"thawed {mount} (run {run.run_id})" for run in found for mount in run.thawed]
    with streams.telling(status, "; ".join(thawed)):
        for line in thawed:
            click.echo(line)
        if not thawed and not still:
            click.echo("nothing to thaw")
    return status
