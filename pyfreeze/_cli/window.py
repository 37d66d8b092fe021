"""The options of a window at the command line: each command that opens one has all of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from pyfreeze._cli.command import all_of
from pyfreeze._cli.types import Count, Seconds
from pyfreeze._model import options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyfreeze._cli.command import Decorator


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
