"""`pyfreeze run`: one backup."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import click

from pyfreeze._cli import exits, streams
from pyfreeze._cli.command import Example, declare, option, settings_options, window_options
from pyfreeze._cli.outputs import Outputs
from pyfreeze._cli.progress import progress
from pyfreeze._cli.types import File, OneOf, Seconds
from pyfreeze._model.codes import LEVEL_NAMES, OutcomeCode
from pyfreeze._model.errors import UsageError
from pyfreeze._model.states import FilesystemState
from pyfreeze._view import words
from pyfreeze._view.spans import window_spans

if TYPE_CHECKING:
    from pyfreeze._backup.backup import Backup
    from pyfreeze._model.report import Report

#: Columns: a timeline gets no wider, however wide the terminal.
_WIDEST = 140
_MOST_ROWS = 16

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


@declare(
    "run", *_EXAMPLES, variables=True,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)  # fmt: skip
@settings_options(
    mount="Freeze this mount point only; may be repeated. Default: all that can be frozen.",
    skip="Leave this mount point out; may be repeated.",
)
@window_options()
@option(
    "--flush-timeout flush_timeout_s", Seconds(),
    "Seconds for writing dirty data at the beginning. Default: as --freeze-timeout.",
)  # fmt: skip
@option(
    "--snapshot-timeout snapshot_timeout_s", Seconds(), "Seconds that COMMAND may take.",
    default=3600.0, show_default=True,
)  # fmt: skip
@option("--no-scripts", None, "Run no pre-scripts and post-scripts.")
@option("--no-freeze", None, "Freeze nothing.")
@option(
    "--require",
    OneOf(LEVEL_NAMES[:0:-1]),
    "Count a lower consistency level as a failure (exit status 3).",
)
@option(
    "--single-disk/--several-disks", None,
    "Whether the machine counts as one with a single disk. Default: look.", default=None,
)  # fmt: skip
@option(
    "--crash-fallback", None, "When freezing fails, take a crash-consistent snapshot all the same."
)
@option(
    "--report", File(), "Draw the whole report into this file, as its name ends: .html or .svg."
)
@option("--trace", File(), "Write a trace of it all, in Chrome's format, for Perfetto.")
@option("--metrics", File(), "Write metrics for node_exporter's textfile collector.")
@option("--quiet -q", None, "Show no progress, and nothing of a success.")
@option("--json as_json", None, "Print the report as one JSON object.")
@option("--dry-run", None, "Show the whole plan; run nothing, freeze nothing.")
@click.argument("command", nargs=-1, required=True, type=File(), metavar="-- COMMAND [ARG]...")
def command(  # noqa: PLR0913 - a parameter for each option that is no setting as it stands
    command: tuple[str, ...],
    no_scripts: bool,
    no_freeze: bool,
    require: str | None,
    report: str | None,
    trace: str | None,
    metrics: str | None,
    quiet: bool,
    as_json: bool,
    dry_run: bool,
    **settings: Any,
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
                scripts=not no_scripts,
                freeze=not no_freeze,
                require=parse_level(require or "none"),
                environment=dict(os.environ),
                directory=_working_directory(),
                **settings,
            )
        )
        if dry_run:
            from pyfreeze._cli.dry_run import show_plan

            show_plan(plan, as_json=as_json)
            return exits.SUCCESS
        outputs.check()
        with progress(wanted=not quiet) as observer:
            status = _perform(backup := Backup(plan, observer))
    except (OSError, exits.EndedBySignal) as error:
        if not dry_run:
            outputs.write_refusal(exits.report_of_error(error, str(error)))
        raise
    exits.let_signals_pass()
    assert backup.report is not None
    for failure in outputs.write(backup.report):
        click.echo(f"pyfreeze: {failure}", err=True)
        status = status or exits.FAILED
    outcome = f"{words.verdict(backup.report)}. {backup.report.message}"
    with streams.telling(status, f"the backup itself: {outcome}"):
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
        return exits.status_of_report(backup.perform())
    except exits.EndedBySignal as error:
        if backup.report is None:
            raise
        frozen = backup.report.still_frozen
        return exits.MAY_BE_FROZEN if frozen else exits.status_of_error(error)


def _show(report: Report, *, as_json: bool) -> None:
    if not as_json:
        _summarise(report)
        return
    click.echo(report.to_json())
    if report.status != "success" or report.code > OutcomeCode.SUCCESS:
        click.echo(f"pyfreeze: {report.message}", err=True)


def _summarise(report: Report) -> None:
    """Print the outcome and the timeline to stdout, warnings and failures to stderr."""
    click.secho(words.verdict(report), fg=words.verdict_style(report), bold=True)
    click.echo(f"  {report.message}")
    if report.code:
        click.echo(f"  What to do: {report.action}")
    for script in report.scripts:
        click.echo(f"  {words.script(script)}")
    if window := words.window(report):
        click.echo(f"  {window}")
    if spans := window_spans(report):
        from rich.console import Console
        from rich.padding import Padding

        from pyfreeze._view.timeline import Timeline

        console = Console(highlight=False)
        drawn = Padding(Timeline(spans, _MOST_ROWS), (0, 0, 0, 2))
        console.print(drawn, width=min(console.width, _WIDEST))
    for one in report.window.filesystems:
        if one.outcome != FilesystemState.THAWED:
            click.echo(f"    {one.mount} ({one.fstype}): {one.outcome}")
    if report.snapshot is not None:
        click.echo(f"  {words.snapshot(report.snapshot)}")
        if report.snapshot.output:
            click.echo(report.snapshot.output, nl=not report.snapshot.output.endswith("\n"))
    for note in report.notes:
        click.echo(f"pyfreeze: {note.message}", err=True)
