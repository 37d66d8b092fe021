"""What an application's module provides, and what it is given.

The settings of a script are declared once, written into the script, and checked when it runs.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyfreeze._base.text import did_you_mean, quoted
from pyfreeze._quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["text", "path", "integer", "seconds", "yes-no"]

_PRINTABLE = r"[^\x00-\x1f\x7f]*"
#: What is expected of each kind, in words and as a pattern.
_KINDS: dict[Kind, tuple[str, str]] = {
    "text": ("text without control characters", _PRINTABLE),
    "path": ("an absolute path, or nothing", f"(/{_PRINTABLE})?"),
    "integer": ("a whole number", "[0-9]{1,9}"),
    "seconds": ("a number of seconds above 0 and up to 1800", ".*"),
    "yes-no": ("yes or no", "yes|no"),
}
_MAX_SECONDS = 1800.0


class Setting(NamedTuple):
    """One setting; in the script it is a shell variable of this name."""

    name: str
    default: str
    comment: str
    """For the script, which has it above the variable: plain text, on one line."""
    kind: Kind = "text"


class Values(dict[str, str]):
    """The settings' values by name, each as its kind has it: texts and paths may be empty."""

    def seconds(self, name: str) -> float:
        """A time."""
        return float(self[name])


class Quiescer(ABC):
    """One application's quiet time. Lives in the holder, a process of root's own.

    Nothing here may write to a filesystem that may be frozen, from `quiesce()`'s return until
    `release()`. What it holds must end by itself when the process is killed.
    """

    def __init__(self, values: Values) -> None:
        self._values = values

    @abstractmethod
    def quiesce(self) -> str:
        """Make the application quiet and write its memory to disk; what to say in the report.

        Raises:
            QuiesceError: it is not quiet; whatever was taken on the way is let go of again.
        """

    @abstractmethod
    def release(self) -> str:
        """Let the application go on, and prove that it was quiet until now; what to report.

        Raises:
            QuiesceError: it was not, or that cannot be known. It goes on in any case.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Let the application go on at once, by force: the deadline has passed. Raises nothing."""

    def watched_fds(self) -> tuple[int, ...]:
        """Descriptors that become readable, or hang up, when what is held is lost early."""
        return ()


class Application(NamedTuple):
    """One application, as `pyfreeze init --app` knows it."""

    name: str
    title: str
    """As its makers write it."""
    about: str
    """For the pre-script's head: what is done, what it is worth, how to restore. Plain lines."""
    settings: tuple[Setting, ...]
    """Its own; those of every application come on top."""
    hold_at_most_s: float
    """The default of the deadline at which the holder lets go by itself."""
    timeout_s: float
    """timeoutInSeconds in the configuration."""
    quiescer: Callable[[Values], Quiescer]


def all_settings(application: Application) -> tuple[Setting, ...]:
    """An application's own settings, and those that each has."""
    deadline = Setting(
        "hold_at_most_s",
        f"{application.hold_at_most_s:g}",
        "The deadline: this long after it became quiet the holder lets go, whatever has become of "
        "the backup. Longer than flush, freeze and snapshot take together.",
        "seconds",
    )
    return (*application.settings, deadline)


def parse(words: Sequence[str], settings: Sequence[Setting]) -> Values:
    """Read `name=value` words; what is not given has its default: pure.

    Raises:
        QuiesceError: an unknown name, or a value that is not of its kind.
    """
    known = {setting.name: setting for setting in settings}
    values = Values({setting.name: setting.default for setting in settings})
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            hint = did_you_mean(name, known) or f", one of {', '.join(known)}"
            raise QuiesceError(f"found {quoted(word)}, expected a setting as name=value{hint}")
        expected, pattern = _KINDS[known[name].kind]
        if not re.fullmatch(pattern, value) or (
            known[name].kind == "seconds" and not _is_seconds(value)
        ):
            raise QuiesceError(f"setting {name}: found {quoted(value)}, expected {expected}")
        values[name] = value
    return values


def _is_seconds(value: str) -> bool:
    try:
        return 0 < float(value) <= _MAX_SECONDS
    except ValueError:
        return False
