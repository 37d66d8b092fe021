"""INI files: the dialect both of them share, and their values by type.

It is configparser's, without interpolation: keys in any case, sections in one, `=` or `:`,
comments on lines of their own, indented lines continuing a value, `[DEFAULT]` for all sections.
"""

from __future__ import annotations

import configparser
import math
import re
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from pyfreeze._base.text import quoted
from pyfreeze._config.problems import MIN_TIMEOUT_S, ConfigError, decode_utf8

if TYPE_CHECKING:
    from collections.abc import Mapping

# float() and int() take more than an operator may have meant: "nan", "1_000", digits of any script.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


class Section(NamedTuple):
    """One section of a file; every failed reading raises `ConfigError`."""

    origin: str
    name: str
    values: Mapping[str, str]
    """The values by key in lower case."""

    def text(self, key: str) -> str | None:
        """Return a value of one line; None where the key is absent or says nothing."""
        value = self.values.get(key.lower(), "")
        if "\n" in value:
            # Most likely a key that was indented by mistake and so became part of this value.
            self.fail(key, value, "a value of one line (an indented line continues the one above)")
        return value or None

    def seconds(self, key: str, *, default_s: float, most_s: float = math.inf) -> float:
        """Return a number of seconds from what a timer can count to `most_s`."""
        value = self.values.get(key.lower())
        if value is None:
            return default_s
        number_s = float(value) if _NUMBER.fullmatch(value) else math.nan
        if not math.isfinite(number_s) or not MIN_TIMEOUT_S <= number_s <= most_s:
            bound = f" and at most {most_s:g}" if most_s < math.inf else ""
            self.fail(key, value, f"a number of seconds, at least {MIN_TIMEOUT_S:g}{bound}")
        return number_s

    def whole(self, key: str, *, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`; the key must be there."""
        value = self.values.get(key.lower())
        if value is None or not _WHOLE.fullmatch(value) or not least <= int(value) <= most:
            self.fail(key, value, f"a whole number from {least} to {most}")
        return int(value)

    def fail(self, key: str, found: str | None, expected: str) -> NoReturn:
        """Raise the error about one key."""
        what = quoted(found) if found else "nothing"
        raise ConfigError(self.origin, f"[{self.name}] {key}", what, expected)


def parse_ini(content: bytes, origin: str) -> dict[str, Section]:
    """Return the sections of an INI file by name.

    Raises `ConfigError`, with the line, for anything that is not UTF-8 or not INI, and for a
    section or key that is there twice.
    """
    text = decode_utf8(content, origin)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError(origin, f"line {line}", "a NUL character", "text")
    parser = configparser.RawConfigParser(strict=True)
    try:
        parser.read_string(text, source=origin)
    except configparser.Error as error:
        line_number, found, expected = _explain(error)
        where = f"line {line_number}" if line_number else ""
        raise ConfigError(origin, where, found, expected) from None
    return {name: Section(origin, name, dict(parser.items(name))) for name in parser.sections()}


def _explain(error: configparser.Error) -> tuple[int | None, str, str]:
    """Return the line, what was found there and what was expected."""
    if isinstance(error, configparser.DuplicateSectionError):
        return error.lineno, f"the section {quoted(error.section)} again", "every section once"
    if isinstance(error, configparser.DuplicateOptionError):
        return error.lineno, f"the key {quoted(error.option)} again", "every key once"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return error.lineno, quoted(str(error.line).strip()), "a [section] first"
    # Its list holds a number and the repr() of each line that it could not read.
    line_number, line = (getattr(error, "errors", None) or [(None, "")])[0]
    return line_number, f"the line {quoted(str(line))}", "[section], key = value, or a comment"
