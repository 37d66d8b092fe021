"""`pyfreeze run`: one backup."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import click

from pyfreeze._cli import exits, streams
from pyfreeze._cli.command import Command, Example
from pyfreeze._cli.outputs import Outputs
from pyfreeze._cli.progress import progress
from pyfreeze._cli.summary import outcome_line, summarise
from pyfreeze._cli.types import File, MountPoint, OneOf, Seconds
from pyfreeze._cli.window import window_options
from pyfreeze._model.codes import LEVEL_NAMES, OutcomeCode
from pyfreeze._model.errors import UsageError

if TYPE_CHECKING:
    from pyfreeze._backup.backup import Backup
    from pyfreeze._model.options import WindowKeywords
    from pyfreeze._model.report import Report


_EXAMPLES = (
    Example(
        "The image that /srv lies in, with the scripts of /etc/azure, frozen for 2 seconds at most",
        "pyfreeze run --mount /srv --max-window 2 -- cp --reflink /vm/srv.img /vm/copy.img",
    ),
    Example(
        "What would be frozen, in which order, and what would be left out",
        "pyfreeze run --dry-run -- true",
    ),
    Example(
        "The same with a page to look at, and metrics for Prometheus' node_exporter",
        "pyfreeze run --report last.html \\\n"
        "    --metrics /var/lib/node_exporter/pyfreeze.prom \\\n"
        "    --mount /srv -- cp --reflink /vm/srv.img /vm/copy.img",
    ),
    Example(
        "A btrfs snapshot (or one of LVM) needs the scripts, and no freezing; the report as JSON",
        "pyfreeze run --no-freeze --json -- \\\n"
        "    btrfs subvolume snapshot -r /data /data/.snapshots/now",
    ),
)


@click.command(
    "run",
    cls=Command,
    variables=True,
    examples=_EXAMPLES,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("--config", type=File(), metavar="FILE", help="Script configuration (JSON).")
@click.option("--host-config", type=File(), metavar="FILE", help="Plugin host configuration (INI).")
@click.option("--freeze-config", type=File(), metavar="FILE", help="Freeze configuration (INI).")
@click.option(
    "--mount", "mounts", type=MountPoint(), metavar="PATH", multiple=True,
    help="Freeze this mount point only; may be repeated. Default: all that can be frozen.",
)  # fmt: skip
@click.option(
    "--skip", type=MountPoint(), metavar="PATH", multiple=True,
    help="Leave this mount point out; may be repeated.",
)  # fmt: skip
@window_options()
@click.option(
    "--flush-timeout", type=Seconds(),
    help="Seconds for writing dirty data at the beginning. Default: as --freeze-timeout.",
)  # fmt: skip
@click.option(
    "--snapshot-timeout", type=Seconds(), default=3600.0, show_default=True,
    help="Seconds that COMMAND may take.",
)  # fmt: skip
@click.option("--no-scripts", is_flag=True, help="Run no pre-scripts and post-scripts.")
@click.option("--no-freeze", is_flag=True, help="Freeze nothing.")
@click.option(
    "--require", type=OneOf(LEVEL_NAMES[:0:-1]),
    help="Count a lower consistency level as a failure (exit status 3).",
)  # fmt: skip
@click.option(
    "--single-disk/--several-disks", default=None,
    help="Whether the machine counts as one with a single disk. Default: look.",
)  # fmt: skip
@click.option(
    "--crash-fallback", is_flag=True,
    help="When freezing fails, take a crash-consistent snapshot all the same.",
)  # fmt: skip
@click.option(
    "--report", type=File(), metavar="FILE",
    help="Draw the whole report into this file, as its name ends: .html or .svg.",
)  # fmt: skip
@click.option(
    "--trace", type=File(), metavar="FILE",
    help="Write a trace of it all, in Chrome's format, for Perfetto.",
)  # fmt: skip
@click.option(
    "--metrics", type=File(), metavar="FILE",
    help="Write metrics for node_exporter's textfile collector.",
)  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, and nothing of a success.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--dry-run", is_flag=True, help="Show the whole plan; run nothing, freeze nothing.")
@click.argument("command", nargs=-1, required=True, type=File(), metavar="-- COMMAND [ARG]...")
def command(  # noqa: PLR0913 - one parameter for each option
    config: str | None,
    host_config: str | None,
    freeze_config: str | None,
    mounts: tuple[str, ...],
    skip: tuple[str, ...],
    window: WindowKeywords,
    flush_timeout: float | None,
    snapshot_timeout: float,
    no_scripts: bool,
    no_freeze: bool,
    require: str | None,
    single_disk: bool | None,
    crash_fallback: bool,
    report: str | None,
    trace: str | None,
    metrics: str | None,
    quiet: bool,
    as_json: bool,
    dry_run: bool,
    command: tuple[str, ...],
) -> int:
    """Back up: pre-scripts, flush, freeze, COMMAND, thaw, post-scripts.

    COMMAND takes the snapshot while everything is frozen. It must not write to what is frozen, and
    runs with this command's environment and working directory.
    """
    from pyfreeze._backup.backup import Backup
    from pyfreeze._backup.plan import make_plan
    from pyfreeze._backup.settings import Settings, parse_level

    outputs = Outputs(report, trace, metrics)
    try:
        plan = make_plan(
            Settings(
                snapshot=command,
                config=config,
                host_config=host_config,
                freeze_config=freeze_config,
                mounts=mounts,
                skip=skip,
                window=window,
                flush_timeout_s=flush_timeout,
                snapshot_timeout_s=snapshot_timeout,
                scripts=not no_scripts,
                freeze=not no_freeze,
                require=parse_level(require or "none"),
                single_disk=single_disk,
                crash_fallback=crash_fallback,
                environment=dict(os.environ),
                directory=_working_directory(),
            )
        )
        if dry_run:
            from pyfreeze._cli.dry_run import show_plan

            show_plan(plan, as_json=as_json)
            return exits.SUCCESS
        outputs.check()
        with progress(wanted=not quiet) as observer:
            backup = Backup(plan, observer)
            status = _perform(backup)
    except (OSError, exits.EndedBySignal) as error:
        if not dry_run:
            outputs.write_refusal(exits.report_of_error(error, str(error)))
        raise
    assert backup.report is not None
    failures = outputs.write(backup.report)
    for failure in failures:
        click.echo(f"pyfreeze: {failure}", err=True)
    status = status or (exits.FAILED if failures else exits.SUCCESS)
    with streams.telling(status, f"the backup itself: {outcome_line(backup.report)}"):
        if as_json or not quiet or status:
            _show(backup.report, as_json=as_json)
    return status


def _working_directory() -> str:
    """The snapshot command's, too."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        text = "found the working directory removed, expected one that is there: cd to another"
        raise UsageError(errno.ENOENT, text) from None


def _perform(backup: Backup) -> int:
    """Perform it; the exit status, also when a signal ended it."""
    try:
        status = exits.status_of_report(backup.perform())
    except exits.EndedBySignal as error:
        if backup.report is None:
            raise
        status = exits.status_of_error(error)
        if backup.report.still_frozen:
            status = exits.MAY_BE_FROZEN
    return status


def _show(report: Report, *, as_json: bool) -> None:
    if not as_json:
        summarise(report)
        return
    click.echo(report.to_json())
    if report.status != "success" or report.code > OutcomeCode.SUCCESS:
        click.echo(f"pyfreeze: {report.message}", err=True)
