"""The words for what the C core tells: the members' names are those of csrc/pyfreeze.h."""

from __future__ import annotations

from enum import Enum, StrEnum, auto


def word_of(member: Enum) -> str:
    """A member as reports and people have it."""
    return member.name.lower().replace("_", "-")


class FilesystemState(StrEnum):
    """What a filesystem is doing; a string, so that reports and callers need no enum."""

    CHOSEN = "chosen"
    OPEN = "open"
    FREEZING = "freezing"
    """FIFREEZE was entered and has not returned: it may become frozen any moment."""
    FROZEN = "frozen"
    THAWING = "thawing"
    THAWED = "thawed"
    FAILED = "failed"
    """It was never frozen by this run."""
    FOREIGN_THAW = "foreign-thaw"
    """FITHAW found it not frozen: somebody else had thawed it."""
    STUCK = "stuck"
    """FITHAW failed for good: it may still be frozen."""


class Verdict(Enum):
    """What became of a window."""

    NONE = auto()
    """None yet."""
    GOOD = auto()
    """Everything was frozen together from before the snapshot until after it."""
    FREEZE_FAILED = auto()
    """FIFREEZE or the flush before it failed."""
    FREEZE_TIMEOUT = auto()
    """Freezing took longer than allowed."""
    EXPIRED = auto()
    """The deadline passed before the snapshot ended."""
    ABORTED = auto()
    """A signal or the client asked to thaw at once."""
    BROKEN = auto()
    """Somebody else thawed inside the window, or thawing failed."""
    RESCUED = auto()
    """The supervisor was lost; the client thawed."""
