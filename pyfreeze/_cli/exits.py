"""The exit statuses, and how errors and signals become them."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pyfreeze._base.text import shown
from pyfreeze._model.codes import OutcomeCode
from pyfreeze._model.errors import LockedError, StillFrozenError, SupervisorError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from pyfreeze._model.report import AnyReport, Report

SUCCESS = 0
FAILED = 1
USAGE = 2
BELOW_REQUIRED = 3
LOCKED = 4
MAY_BE_FROZEN = 5
BY_SIGNAL = 128

MEANINGS = {
    f"{SUCCESS}": "success",
    f"{FAILED}": "the backup failed, or its report could not be printed",
    f"{USAGE}": "wrong usage",
    f"{BELOW_REQUIRED}": "below --require",
    f"{LOCKED}": "another run holds the lock",
    f"{MAY_BE_FROZEN}": "something may still be frozen; it is named",
    f"{BY_SIGNAL}+n": "ended by signal n, after thawing",
}
"""In words, for the help and the manual page; a command's own help says what it means there."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(BaseException):
    """A signal asked the command to end; raised once, then everything is thawed and told."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_end_in_order() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an exception; later ones change nothing."""
    ending = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        if not ending:
            ending = True
            raise EndedBySignal(number)

    before = {
        number: signal.signal(number, handle)
        for number in _SIGNALS
        # nohup: what was ignored from the start stays ignored
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def let_signals_pass() -> None:
    """The work is over, and what it came to is about to be told: a first signal has nothing to end.

    One more of its kind ends the process at once: the reader of a pipe may hang.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def status_of_report(report: Report) -> int:
    """The exit status for a finished backup."""
    if report.still_frozen:
        return MAY_BE_FROZEN
    if report.status == "success":
        return SUCCESS
    return BELOW_REQUIRED if report.below_required and report.consistency != "none" else FAILED


def status_of_error(error: BaseException) -> int:
    """The exit status for an error that left no report."""
    if isinstance(error, EndedBySignal):
        return BY_SIGNAL + error.number
    kinds = {
        click.ClickException: USAGE, UsageError: USAGE, LockedError: LOCKED,
        StillFrozenError: MAY_BE_FROZEN,
    }  # fmt: skip
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), FAILED)


def report_of_error(error: BaseException, message: str) -> AnyReport:
    """The report of an error that left none."""
    from pyfreeze._model.report import refused

    missing = isinstance(error, SupervisorError)
    code = OutcomeCode.SUPERVISOR_NOT_FOUND if missing else OutcomeCode.ERROR
    still_frozen = error.mounts if isinstance(error, StillFrozenError) else ()
    return refused(code, shown(message), [shown(mount) for mount in still_frozen])
