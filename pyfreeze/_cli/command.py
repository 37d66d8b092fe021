"""What every command has: examples in its help, and options that variables can give, too."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pyfreeze._cli.types import Count, File, MountPoint, Seconds, YesOrNo
from pyfreeze._model import options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: With it a shell asks for completion; click derives its name from the program's.
COMPLETION = "_PYFREEZE_COMPLETE"


class Example(NamedTuple):
    """A command line to copy."""

    purpose: str
    """A sentence without its full stop."""
    lines: str
    """What is typed: at least one call of pyfreeze."""


class Command(click.Command):
    """A command with examples, whose options have variables: --max-window is PYFREEZE_MAX_WINDOW.

    The order is option, variable, configuration file, default. A variable that is empty counts as
    not set.

    Args:
        examples: shown at the end of its help and in the manual page.
        variables: whether all options have one; else only --json. What an option of an act names,
            such as what is to be thawed by force, is typed and never lies about in an environment.
        keywords: click's.
    """

    def __init__(
        self, *, examples: Sequence[Example], variables: bool = False, **keywords: Any
    ) -> None:
        super().__init__(**keywords)
        self.examples = examples
        for one in self.params:
            if isinstance(one, click.Option):
                long_name = next(name for name in one.opts if name.startswith("--"))
                if variables or long_name == "--json":
                    one.envvar, one.show_envvar = variable_of(long_name), True
                if one.is_flag:
                    one.type = YesOrNo()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, line by line as they are typed."""
        with formatter.section("Examples"):
            for number, example in enumerate(self.examples):
                if number:
                    formatter.write_paragraph()
                formatter.write_text(f"{example.purpose}:")
                indent = " " * (formatter.current_indent + 2)
                for line in example.lines.splitlines():
                    formatter.write(f"{indent}{line}\n")


def declare(name: str, *examples: Example, **keywords: Any) -> Callable[[Any], Command]:
    """A command, with examples of its use; `keywords` are `Command`'s."""
    return click.command(name, cls=Command, examples=examples, **keywords)


def option(names: str, kind: Any, text: str, **keywords: Any) -> Decorator:
    """An option: its names, what it takes (None: it's a flag), its help; `keywords` are click's."""
    is_flag = True if kind is None else None  # False would mean more to click
    return click.option(*names.split(), type=kind, is_flag=is_flag, help=text, **keywords)


def mount_option(text: str, names: str = "--mount mounts", **keywords: Any) -> Decorator:
    """Mount points, one each time."""
    return option(names, MountPoint(), text, metavar="PATH", multiple=True, **keywords)


def settings_options(*, mount: str, skip: str) -> Decorator:
    """Configuration files and mount points, named as `Settings` has them, with these help texts."""
    return all_of(
        option("--config", File(), "Script configuration (JSON)."),
        option("--host-config", File(), "Plugin host configuration (INI)."),
        option("--freeze-config", File(), "Freeze configuration (INI)."),
        mount_option(mount),
        mount_option(skip, "--skip"),
    )


def all_of(*decorators: Decorator) -> Decorator:
    """Several options, in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return functools.reduce(lambda inner, one: one(inner), reversed(decorators), command)

    return decorate


def variable_of(option: str) -> str:
    """The variable for an option: --max-window is PYFREEZE_MAX_WINDOW."""
    return "PYFREEZE_" + option.removeprefix("--").replace("-", "_").upper()


def window_options(*, required: Sequence[str] = ()) -> Decorator:
    """Add every option of a window to a command, which gets one argument: `window`.

    That has what was given, by option or variable, and nothing else. Those that are `required`
    have to be given.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def collecting(**parameters: Any) -> int:
            window = {}
            for name, option in options.WINDOW.items():
                value = parameters.pop(_parameter(name, option))
                if isinstance(option, options.Switch):
                    value = (not option.default) if value else None
                if value is not None:
                    window[name] = value
            return command(window=window, **parameters)

        every = (_option(name, o, required=name in required) for name, o in options.WINDOW.items())
        return all_of(*every)(collecting)

    return decorate


def _parameter(name: str, option: options.Option) -> str:
    return f"no_{name}" if option.default is True else name


def _option(name: str, option: options.Option, *, required: bool) -> Decorator:
    long_name = "--" + _parameter(name, option).replace("_", "-")
    if isinstance(option, options.Switch):
        return click.option(
            long_name, cls=_Switch, old_name=option.old_name, is_flag=True, help=option.help
        )
    kind = Count(option.most) if isinstance(option, options.Count) else Seconds()
    default = "" if required else f" Default: {option.default:g}."
    return click.option(long_name, type=kind, required=required, help=option.doc + default)


class _Switch(click.Option):
    """A flag that has an old name, too, which neither help nor completion show."""

    def __init__(self, *arguments: Any, old_name: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._old_names = [old_name] if old_name else []

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Under both names."""
        super().add_to_parser(parser, ctx)
        shown, self.opts = self.opts, self._old_names
        if self.opts:
            super().add_to_parser(parser, ctx)
        self.opts = shown
