"""What an application's class, `Application` in its module, provides, and what it is given.

The settings of a script are declared once, written into the script, and checked when it runs.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pyfreeze._base.text import did_you_mean, quoted
from pyfreeze._quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PRINTABLE = r"[^\x00-\x1f\x7f]*"

#: How long is waited for what an application in good health answers at once.
PROMPT_S = 10.0


class Kind(NamedTuple):
    """What a setting's value has to be."""

    expected: str
    """In words."""
    takes: Callable[[str], object]
    """Whether a value is of this kind."""


def one_of(*words: str) -> Kind:
    """One word of several."""
    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", words.__contains__)


def _is_seconds(value: str) -> bool:
    try:
        return 0 < float(value) <= 1800
    except ValueError:
        return False


TEXT = Kind("text without control characters", re.compile(_PRINTABLE).fullmatch)
PATH = Kind("an absolute path, or nothing", re.compile(f"(/{_PRINTABLE})?").fullmatch)
INTEGER = Kind("a whole number", re.compile("[0-9]{1,9}").fullmatch)
SECONDS = Kind("a number of seconds above 0 and up to 1800", _is_seconds)
YES_NO = one_of("yes", "no")


class Setting(NamedTuple):
    """One setting; in the script it is a shell variable of this name."""

    name: str
    default: str
    comment: str
    """For the script, which has it above the variable: plain text, on one line."""
    kind: Kind = TEXT


class Quiescer(ABC):
    """One application, as `pyfreeze init --app` knows it, and its quiet time.

    Lives in the holder, a process of root's own. Nothing here may write to a filesystem that may be
    frozen, from `quiesce()`'s return until `release()`. What it holds must end by itself when the
    process is killed.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """As its makers write it."""
    about: ClassVar[str]
    """For the pre-script's head: what is done, what it is worth, how to restore. Plain lines."""
    settings: ClassVar[tuple[Setting, ...]]
    """Its own; those of every application come on top."""
    hold_at_most_s: ClassVar[float]
    """The default of the deadline at which the holder lets go by itself."""
    timeout_s: ClassVar[float]
    """timeoutInSeconds in the configuration."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def _program(self, setting: str, *names: str, otherwise: str) -> str:
        """The path of a program: the one that a setting names, or else the first of these.

        Raises:
            QuiesceError: there is none; `otherwise` is what to do, beside naming one.
        """
        from pyfreeze._base.programs import find_in_path  # slow to import, and not all need it

        given = self._values[setting]
        found = find_in_path(*([given] if given else names))
        if found is None:
            raise QuiesceError(
                f"{given or ' or '.join(names)}: no such program; {otherwise}, or name it in the "
                f"setting {setting}"
            )
        return found

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


def all_settings(application: type[Quiescer]) -> tuple[Setting, ...]:
    """An application's own settings, and those that each has."""
    deadline = Setting(
        "hold_at_most_s",
        f"{application.hold_at_most_s:g}",
        "The deadline: this long after it became quiet the holder lets go, whatever has become of "
        "the backup. Longer than flush, freeze and snapshot take together.",
        SECONDS,
    )
    return (*application.settings, deadline)


def parse(words: Sequence[str], settings: Sequence[Setting]) -> dict[str, str]:
    """Read `name=value` words into the settings' values by name: pure.

    What is not given has its default; texts and paths may be empty.

    Raises:
        QuiesceError: an unknown name, or a value that is not of its kind.
    """
    known = {setting.name: setting for setting in settings}
    values = {setting.name: setting.default for setting in settings}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            hint = did_you_mean(name, known) or f", one of {', '.join(known)}"
            raise QuiesceError(f"found {quoted(word)}, expected a setting as name=value{hint}")
        expected, takes = known[name].kind
        if not takes(value):
            raise QuiesceError(f"setting {name}: found {quoted(value)}, expected {expected}")
        values[name] = value
    return values
