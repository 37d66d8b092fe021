"""The types of options: what they take, how they refuse the rest, how shells complete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from pyfreeze._model.options import DAY_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click import Context, Parameter

    _Choice = click.Choice[str]
else:  # not subscriptable before click 8.2
    _Choice = click.Choice


_TRUE = ("1", "yes", "true", "on")
_FALSE = ("0", "no", "false", "off", "")


class Seconds(click.types.FloatParamType):
    """A number of seconds above zero, up to a day; neither NaN nor infinite."""

    name = "seconds"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> float:
        """A number that can be a time."""
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number <= DAY_S:  # refuses NaN too
            expected = "a number of seconds above 0, at most 86400 (a day)"
            self.fail(f"found {value!r}, expected {expected}", param, ctx)
        return number


class Count(click.types.IntParamType):
    """A whole number from 0 to a bound."""

    name = "number"

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> int:
        """A number in range."""
        try:
            number = int(value)
        except ValueError:
            number = -1
        if not 0 <= number <= self.most:
            self.fail(f"found {value!r}, expected a whole number, 0 to {self.most}", param, ctx)
        return number


class OneOf(_Choice):
    """One of a few words."""

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> str:
        """One of them, as it stands."""
        if value not in self.choices:
            self.fail(f"found {value!r}, expected one of {', '.join(self.choices)}", param, ctx)
        return str(value)


def truth_of(text: str) -> bool | None:
    """What a variable for a flag says; None: nothing that is known."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


class YesOrNo(click.types.BoolParamType):
    """What a variable says that stands for a flag."""

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> bool:
        """Truth, or a refusal in the form of all others."""
        known = value if isinstance(value, bool) else truth_of(value)
        if known is None:
            expected = "1, yes, true or on, or 0, no, false or off"
            self.fail(f"found {value!r}, expected {expected}", param, ctx)
        return known


class File(click.types.StringParamType):
    """The path of a file; whether it is there and may be trusted is for its reader to say."""

    name = "file"

    def shell_complete(
        self, ctx: Context, param: Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Files."""
        return [CompletionItem(incomplete, type="file")]


class MountPoint(File):
    """A mount point; what is to be said against it, the choice of filesystems says."""

    name = "mount point"

    def shell_complete(
        self, ctx: Context, param: Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The mount points of what can be frozen."""
        from pyfreeze._mounts.mountinfo import read_mounts, visible

        paths = {m.mount_point for m in visible(read_mounts()) if m.facts.obstacle is None}
        return [CompletionItem(path) for path in sorted(paths) if path.startswith(incomplete)]

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Several as in PATH, for one may hold blanks; without the empty ones of doubled colons."""
        return [path for path in rv.split(":") if path]
