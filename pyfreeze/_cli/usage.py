"""Wrong usage in a line: what it is about, what was found, what was expected, what to do."""

from __future__ import annotations

import re

import click
from click.core import ParameterSource


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
