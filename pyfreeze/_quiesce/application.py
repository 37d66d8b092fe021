"""What an application's module provides, and what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pyfreeze._quiesce.settings import Setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyfreeze._quiesce.settings import Values


class Quiescer(Protocol):
    """One application's quiet time. Lives in the holder, a process of root's own.

    Nothing here may write to a filesystem that may be frozen, from `quiesce()`'s return until
    `release()`. What it holds must end by itself when the process is killed.
    """

    def quiesce(self) -> str:
        """Make the application quiet and write its memory to disk; what to say in the report.

        Raises:
            QuiesceError: it is not quiet; whatever was taken on the way is let go of again.
        """

    def release(self) -> str:
        """Let the application go on, and prove that it was quiet until now; what to report.

        Raises:
            QuiesceError: it was not, or that cannot be known. It goes on in any case.
        """

    def abandon(self) -> None:
        """Let the application go on at once, by force: the deadline has passed. Raises nothing."""

    def watched_fds(self) -> tuple[int, ...]:
        """Descriptors that become readable, or hang up, when what is held is lost early."""


class Context(NamedTuple):
    """What a quiescer is made from."""

    values: Values
    run_id: str


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
    quiescer: Callable[[Context], Quiescer]


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
