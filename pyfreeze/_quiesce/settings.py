"""The settings of a script: declared once, written into the script, checked when it runs."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyfreeze._base.text import nearest, quoted
from pyfreeze._quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["text", "path", "integer", "seconds", "yes-no"]

_EXPECTED: dict[Kind, str] = {
    "text": "text without control characters",
    "path": "an absolute path, or nothing",
    "integer": "a whole number",
    "seconds": "a number of seconds above 0 and up to 1800",
    "yes-no": "yes or no",
}
_MAX_SECONDS = 1800.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Setting(NamedTuple):
    """One setting; in the script it is a shell variable of this name."""

    name: str
    default: str
    comment: str
    """For the script, which has it above the variable: plain text, on one line."""
    kind: Kind = "text"


class Values:
    """The settings' values, each of its kind."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A text or a path; may be empty."""
        return self._values[name]

    def integer(self, name: str) -> int:
        """A whole number."""
        return int(self._values[name])

    def seconds(self, name: str) -> float:
        """A time."""
        return float(self._values[name])

    def is_yes(self, name: str) -> bool:
        """Whether a yes-no setting is yes."""
        return self._values[name] == "yes"


def parse(words: Sequence[str], settings: Sequence[Setting]) -> Values:
    """Read `name=value` words; what is not given has its default: pure.

    Raises:
        QuiesceError: an unknown name, or a value that is not of its kind.
    """
    known = {setting.name: setting for setting in settings}
    values = {setting.name: setting.default for setting in settings}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            like = nearest(name, known)
            hint = f"; did you mean {like}?" if like else f", one of {', '.join(known)}"
            raise QuiesceError(f"found {quoted(word)}, expected a setting as name=value{hint}")
        if not _is_of_kind(value, known[name].kind):
            expected = _EXPECTED[known[name].kind]
            raise QuiesceError(f"setting {name}: found {quoted(value)}, expected {expected}")
        values[name] = value
    return Values(values)


def _is_of_kind(value: str, kind: Kind) -> bool:
    if kind == "path":
        return not _CONTROL.search(value) and (not value or value.startswith("/"))
    if kind == "integer":
        return re.fullmatch(r"[0-9]{1,9}", value) is not None
    if kind == "seconds":
        return _is_seconds(value)
    if kind == "yes-no":
        return value in ("yes", "no")
    return not _CONTROL.search(value)


def _is_seconds(value: str) -> bool:
    try:
        seconds = float(value)
    except ValueError:
        return False
    return math.isfinite(seconds) and 0 < seconds <= _MAX_SECONDS
