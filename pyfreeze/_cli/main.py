"""The group of commands, and the one place where errors become lines and exit statuses."""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pyfreeze import __version__
from pyfreeze._cli import exits, streams
from pyfreeze._cli.command import COMPLETION, variable_of
from pyfreeze._cli.types import truth_of
from pyfreeze._model.codes import CODES, OutcomeCode
from pyfreeze._model.errors import FreezeError, SupervisorError, UsageError
from pyfreeze._mounts.mountinfo import MountError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Each is `command` of the module of its name.
_COMMANDS = (
    "check", "completion", "demo", "explain", "freeze", "init", "install", "manual", "run",
    "status", "thaw",
)  # fmt: skip


class LazyGroup(click.Group):
    """Imports a command's module only when it is the one asked for, or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, by name."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"pyfreeze._cli.{cmd_name}").command
        return command


_HELP = f"""Application-consistent snapshots with the shortest freeze window there is.

pre-script, flush, freeze, snapshot, thaw, post-script: run does it all, check says whether it would
work, status and thaw are for what a killed run left. Whatever dies, hangs or is killed on the way,
what was frozen is thawed, at the deadline at the latest.

Exit status: {"; ".join(f"{status} {meaning}" for status, meaning in exits.MEANINGS.items())}.
"""


@click.group(cls=LazyGroup, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pyfreeze")
def pyfreeze() -> None:
    """See _HELP."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    streams.take_over()
    try:
        return _run(arguments)
    except streams.OutputError as error:
        # A reader that has closed the pipe (`| head`) is no error, except for a backup's outcome.
        if error.outcome or not error.is_broken_pipe:
            click.echo(f"pyfreeze: {error}{error.outcome and '; '}{error.outcome}", err=True)
        return error.status


def _run(arguments: Sequence[str]) -> int:
    if not arguments and COMPLETION not in os.environ:
        click.echo(pyfreeze.get_help(click.Context(pyfreeze, info_name="pyfreeze")), err=True)
        return exits.USAGE
    try:
        with exits.signals_end_in_order():
            result = pyfreeze.main(list(arguments), prog_name="pyfreeze", standalone_mode=False)
        return result if isinstance(result, int) else exits.SUCCESS
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _fail(arguments, error, message_of(error, _command_in(arguments)))
    except exits.EndedBySignal as error:
        return _fail(arguments, error, f"ended by {error}")
    except MemoryError as error:
        return _fail(arguments, error, "out of memory")
    except (OSError, ValueError) as error:
        return _fail(arguments, error, _words(error, arguments))


def _words(error: OSError | ValueError, arguments: Sequence[str]) -> str:
    """What is wrong, and what to do."""
    if isinstance(error, MountError):
        return f"{error} ('pyfreeze check' shows what can be frozen)"
    if isinstance(error, UsageError):
        return f"{error} (see 'pyfreeze {_command_in(arguments)} --help')"
    if isinstance(error, SupervisorError) and error.filename:  # it could not be started
        return f"{error}: {CODES[OutcomeCode.SUPERVISOR_NOT_FOUND].action}"
    if isinstance(error, PermissionError) and not isinstance(error, FreezeError):
        return f"{error.filename}: found no permission, expected root's: run this as root"
    if isinstance(error, OSError) and not isinstance(error, FreezeError) and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def _fail(arguments: Sequence[str], error: BaseException, text: str) -> int:
    """Tell an error that left no report: a line, and with --json its report all the same."""
    line = " ".join(text.split())
    click.echo(f"pyfreeze: {line}", err=True)
    status = exits.status_of_error(error)
    if _wants_json(arguments):
        with streams.telling(status, ""):
            click.echo(exits.report_of_error(error, line).to_json())
    return status


def _wants_json(arguments: Sequence[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in options:
        return True
    variable = os.environ.get(variable_of("--json"), "")
    if not truth_of(variable):
        return False
    command = pyfreeze.get_command(click.Context(pyfreeze), _command_in(arguments))
    return command is not None and any("--json" in param.opts for param in command.params)


def _command_in(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if word in _COMMANDS), "")


def message_of(error: click.ClickException, command: str = "") -> str:
    """An error of click's as all messages of pyfreeze are; `command` is what it was asked for."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else f"pyfreeze {command}".rstrip()
    text = error.format_message()
    if isinstance(error, click.MissingParameter) and error.param is not None:
        kind = error.param.type
        words = f"one of {', '.join(kind.choices)}" if isinstance(kind, click.Choice) else ""
        text = f"{_name(error)}: missing, expected {words or _metavar(error.param)}"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        text = f"{_name(error)}: {error.message}"
    elif isinstance(error, click.NoSuchOption):
        names = " or ".join(sorted(error.possibilities or ()))
        nearest = f", perhaps {names}" if names else ""
        text = f"{error.option_name}: no such option{nearest}"
    elif isinstance(error, click.BadOptionUsage):
        needs_none = "not take" in error.message
        found = "found a value, expected none" if needs_none else "found no value, expected one"
        text = f"{error.option_name}: {found}"
    elif match := re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", text):
        text = f"{match[1]}: found after the last argument, expected nothing there"
    elif match := re.fullmatch(r"No such command '(.*?)'\..*", text):
        group = context.command if context is not None else None
        known = group.list_commands(context) if isinstance(group, click.Group) and context else ()
        text = f"{match[1]}: no such command, expected one of {', '.join(known)}"
    return f"{text.removesuffix('.')} (see '{path} --help')"


def _name(error: click.BadParameter) -> str:
    """The option, or the variable that stood for it."""
    param, context = error.param, error.ctx
    assert param is not None
    if context is not None and param.name is not None:
        source = context.get_parameter_source(param.name)
        if source == ParameterSource.ENVIRONMENT:
            return f"variable {param.envvar}"
    if isinstance(param, click.Option):
        return " or ".join(name for name in param.opts if name.startswith("--"))
    return _metavar(param)


def _metavar(param: click.Parameter) -> str:
    if param.metavar is not None:
        return param.metavar.removeprefix("-- ").partition(" ")[0].strip("[]")
    return param.human_readable_name
