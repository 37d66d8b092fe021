"""What the configuration readers share: the parse result, the error, and their wording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pyfreeze._base.text import did_you_mean, quoted, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

MAX_TIMEOUT_S = 1800.0
"""No script, and no phase of scripts, may take longer than this many seconds."""

MIN_TIMEOUT_S = 0.001
"""Timers count milliseconds; a shorter timeout would round to zero, which reads as none."""


class Parsed(NamedTuple, Generic[T]):
    """What a configuration says, and what its author should know about it."""

    value: T
    notices: tuple[str, ...]
    """One line each; none of them is an error."""


class ConfigError(Exception):
    """A configuration file does not say what it must; its text is one line.

    `origin` is the file, `where` the place in it (a line and column, or the path of a key; may be
    empty).
    """

    def __init__(self, origin: str, where: str, found: str, expected: str) -> None:
        super().__init__(origin, where, found, expected)
        self.origin = origin
        self.where = where
        self.found = found
        self.expected = expected

    def __str__(self) -> str:
        place = f"{self.origin}: {self.where}" if self.where else self.origin
        return shown(f"{place}: found {self.found}, expected {self.expected}")


def notice_of_long_timeout(found: str) -> str:
    """What to say of a timeout that is lowered."""
    return f"timeoutInSeconds is {found}, more than is allowed; {MAX_TIMEOUT_S:g} is used"


def notice_of_unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key that nothing takes."""
    return f"the unknown key {quoted(key)} is ignored{did_you_mean(key, known)}"


def decode_utf8(content: bytes, origin: str) -> str:
    """Return the text of a configuration file; a byte order mark is dropped.

    Raises `ConfigError` naming the line and the byte when it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec drops the mark before it counts, so the object it complains about is counted.
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{error.object[error.start]:02x}"
        raise ConfigError(origin, f"line {line}", found, "text in UTF-8") from None
