"""`pyfreeze thaw`: see to what dead runs left frozen."""

from __future__ import annotations

import click

from pyfreeze._cli import exits


@click.command("thaw")
def command() -> int:
    """Thaw what a dead run left frozen, and only that.

    A run that is alive thaws for itself: then this does nothing and exits with status 4.
    """
    from pyfreeze._client import STATE_DIRECTORY
    from pyfreeze._recovery import recover

    found = recover(STATE_DIRECTORY)
    for run in found:
        for mount in run.thawed:
            click.echo(f"thawed {mount} (run {run.run_id})")
        for text in run.failed:
            click.echo(f"pyfreeze: still frozen: {text} (run {run.run_id})", err=True)
    if any(run.failed for run in found):
        return exits.MAY_BE_FROZEN
    if not any(run.thawed for run in found):
        click.echo("nothing to thaw")
    return exits.SUCCESS
