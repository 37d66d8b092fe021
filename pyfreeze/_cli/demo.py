"""`pyfreeze demo`: a backup of a made-up shop, and the proof that it is good."""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import TYPE_CHECKING

import click

from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._cli import exits
from pyfreeze._cli.command import Example, declare, option
from pyfreeze._model.codes import OutcomeCode
from pyfreeze._model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._demo.needs import Missing


#: Columns: lines of text get no longer, however wide the terminal.
_WIDEST = 110


@declare(
    "demo",
    Example("Make, back up, restore and prove; nothing stays", "pyfreeze demo"),
    Example("Keep the snapshot's images to look at", "pyfreeze demo --keep /var/tmp/snapshot"),
)
@option(
    "--keep", click.Path(file_okay=False, resolve_path=True),
    "Copy the snapshot's two images there; made if it is not there.", metavar="DIR",
)  # fmt: skip
@option("--json as_json", None, "Print report and proofs as one JSON object.")
def command(keep: str | None, as_json: bool) -> int:
    """Back up a made-up shop on two filesystems made for it, and prove that the snapshot is good.

    Everything is made in memory, in a mount namespace of its own, and gone afterwards; nothing else
    is frozen. Exit status 0 only if the backup is application-consistent and every proof holds.
    """
    from pyfreeze._demo.needs import missing
    from pyfreeze._demo.play import play

    lacking = tuple(missing())
    if lacking:
        _tell_missing(lacking, as_json=as_json)
        return exits.FAILED
    if keep is not None:
        _check_keep(keep)
    is_told = sys.stderr.isatty() and not as_json
    performance = play(_tell if is_told else lambda _: None, keep)
    if as_json:
        from pyfreeze._demo.show import as_data

        click.echo(json.dumps(as_data(performance), indent=2))
    else:
        from rich.console import Console

        from pyfreeze._demo.show import render

        console = Console(highlight=False)
        shown = render(performance, unicode=not console.options.ascii_only)
        console.print(shown, width=min(console.width, _WIDEST))
    if performance.holds:
        return exits.SUCCESS
    return exits.MAY_BE_FROZEN if performance.report.still_frozen else exits.FAILED


def _check_keep(directory: str) -> None:
    """Fail before the work, not after it."""
    if os.path.commonpath([directory, STATE_DIRECTORY]) == STATE_DIRECTORY:
        text = f"found {directory!r}, expected a place that the demo does not hide while it runs"
        raise UsageError(errno.EINVAL, text, "--keep")
    os.makedirs(directory, exist_ok=True)


def _tell(text: str) -> None:
    click.secho(f"... {text}", dim=True, err=True)


def _tell_missing(lacking: Sequence[Missing], *, as_json: bool) -> None:
    names = ", ".join(one.name for one in lacking)
    click.echo(f"pyfreeze: the demo cannot run here; missing: {names}", err=True)
    width = max(len(one.name) for one in lacking)
    for one in lacking:
        package = f" (Debian package: {one.package})" if one.package else ""
        click.echo(f"  {one.name:<{width}}  {one.found}{package}", err=True)
    if as_json:
        from pyfreeze._model.report import refused

        failure = {
            **refused(OutcomeCode.ERROR, f"missing: {names}").to_builtins(),
            "holds": False,
            "proofs": [],
            "writer": None,
            "timeline": [],
            "kept": [],
            "missing": [one._asdict() for one in lacking],
        }
        click.echo(json.dumps(failure, indent=2))
