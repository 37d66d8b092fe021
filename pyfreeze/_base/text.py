"""Text for people: on one line, printable, quoted, and what a misspelt word was meant to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_QUOTED_CHARACTERS = 80
_LONGEST_MISSPELT = 79


def shown(text: str) -> str:
    """Return text with everything unprintable escaped, so that it stays on one line.

    Lone surrogates are escaped too: the result can always be encoded as UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def quoted(text: str) -> str:
    """Return text in quotes on one line, cut short when it is long."""
    if len(text) > _QUOTED_CHARACTERS:
        text = text[:_QUOTED_CHARACTERS] + "..."
    return f'"{shown(text)}"'


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known word that is most like `word`, upper and lower case alike, or None."""
    import difflib  # here, for it is slow to import and only a mistake needs it

    if len(word) > _LONGEST_MISSPELT:
        return None
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What to put behind a message about an unknown word; empty where none is like it."""
    like = nearest(word, known)
    return f"; did you mean {like}?" if like else ""


def device_number(device: tuple[int, int]) -> str:
    """A device's number as the kernel writes it: 8:1."""
    return f"{device[0]}:{device[1]}"


def counted(number: int, noun: str) -> str:
    """A number of things in words: 1 filesystem, 2 filesystems."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def numbers_in(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare: ("MariaDB 10.11.9") has 10, 11 and 9."""
    return tuple(map(int, re.findall(r"[0-9]+", version)))


def printable(name: str) -> str:
    """A file name for a message: quoted when empty, or with control or undecodable bytes in it."""
    return name if name and name.isprintable() else ascii(name)


def last_line(text: str) -> str:
    """The last line that says something, without what would move a cursor: pure."""
    for line in reversed(text.splitlines()):
        said = "".join(c if c.isprintable() else " " for c in line).strip()
        if said:
            return said
    return ""
