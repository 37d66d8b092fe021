"""`pyfreeze thaw`: see to what dead runs left frozen, or to what is named by force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._cli import exits, streams
from pyfreeze._cli.command import Example, declare, mount_option, option
from pyfreeze._model.errors import FreezeError, NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Sequence


@declare(
    "thaw",
    Example("What dead runs left, and nothing else", "pyfreeze thaw"),
    Example("Of that, only one filesystem", "pyfreeze thaw --mount /srv"),
    Example(
        "One filesystem that fsfreeze, a hypervisor's agent or a live run has frozen",
        "pyfreeze thaw --force --mount /srv",
    ),
)
@mount_option("Thaw this mount point only; may be repeated.")
@option(
    "--force", None,
    "Thaw what --mount names, even if another program froze it. It spoils the snapshot of a "
    "live run.",
)  # fmt: skip
@option("--verbose", None, "Show what each run that was seen to did last, too: its black box.")
def command(mounts: tuple[str, ...], force: bool, verbose: bool) -> int:
    """Thaw what a dead run left frozen, and only that.

    A run that is alive thaws for itself: then this does nothing and exits with status 4; --force
    goes ahead all the same, asks nothing, and says whose it was.

    Exit status 0: thawed, or nothing was frozen. 1: it could not be tried, which takes root. 2:
    wrong usage. 4: a run is alive. 5: something may still be frozen; it is named.
    """
    if not force:
        return _thaw_left(mounts, verbose=verbose)
    if not mounts:
        raise click.UsageError(
            "--force: found no --mount, expected the mount points to thaw by force: "
            "--force --mount PATH"
        )
    return _thaw_named(mounts)


def _thaw_left(mounts: Sequence[str], *, verbose: bool) -> int:
    from pyfreeze._recovery.force import named_mounts
    from pyfreeze._recovery.recover import recover

    only = [mount.mount_point for mount in named_mounts(mounts)] if mounts else None
    found = recover(STATE_DIRECTORY, only)
    still = [f"still frozen: {text} (run {run.run_id})" for run in found for text in run.failed]
    still += [
        f"left as it may be, frozen: {mount} (run {run.run_id}); pyfreeze thaw sees to it"
        for run in found
        for mount in run.others
    ]
    for text in still:
        click.echo(f"pyfreeze: {text}", err=True)
    status = exits.MAY_BE_FROZEN if still else exits.SUCCESS
    thawed = [f"thawed {mount} (run {run.run_id})" for run in found for mount in run.thawed]
    history = [line for run in found for line in (f"run {run.run_id}:", *run.history)]
    with streams.telling(status, "; ".join(thawed)):
        for line in [*thawed, *(history if verbose else ())]:
            click.echo(line)
        if not thawed and not any(run.failed for run in found):
            click.echo("nothing to thaw" + "".join(f" on {mount}" for mount in only or ()))
    return status


def _thaw_named(paths: Sequence[str]) -> int:
    from pyfreeze._recovery.force import named_mounts, thaw_by_force

    lines: list[str] = []
    status = exits.SUCCESS
    for mount in named_mounts(paths):
        try:
            was_frozen, live_run = thaw_by_force(mount, STATE_DIRECTORY)
        except FreezeError as error:
            click.echo(f"pyfreeze: {error}", err=True)
            refused = isinstance(error, NotPermittedError)
            status = max(status, exits.FAILED if refused else exits.MAY_BE_FROZEN)
            continue
        lines.append(f"{'thawed' if was_frozen else 'not frozen:'} {mount.mount_point}")
        if live_run is not None:
            click.echo(
                f"pyfreeze: {mount.mount_point}: run {live_run.run_id}, which is alive, had it "
                "frozen: its snapshot is inconsistent",
                err=True,
            )
    with streams.telling(status, "; ".join(lines)):
        for line in lines:
            click.echo(line)
    return status
