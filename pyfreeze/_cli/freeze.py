"""`pyfreeze freeze`: what fsfreeze does, with a promise to thaw."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from typing import TYPE_CHECKING

import click

from pyfreeze._base.text import printable
from pyfreeze._cli import exits, streams
from pyfreeze._cli.command import Example, declare, mount_option, window_options
from pyfreeze._model.errors import InconsistentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._model.options import WindowKeywords

_STDIN = 0
_STDOUT = 1

_EXAMPLES = (
    Example("By hand: press Enter to thaw", "pyfreeze freeze --max-window 60 --mount /srv"),
    Example(
        "In a script (bash): freeze, take a snapshot, thaw, and know whether it held",
        "coproc FREEZE { pyfreeze freeze --max-window 30 --mount /srv; }\n"
        "guard=$FREEZE_PID\n"
        'if read -r line <&"${FREEZE[0]}"; then   # "frozen ..." once it is\n'
        "    take-the-snapshot\n"
        '    echo done >&"${FREEZE[1]}"           # thaws\n'
        "fi\n"
        'wait "$guard"                            # 0: it was frozen all the while',
    ),
    Example(
        "Two filesystems, which are thawed when another process ends",
        "tail --pid 4711 -f /dev/null |\n"
        "    pyfreeze freeze --max-window 30 --mount /srv --mount /var/lib/app",
    ),
)


@declare("freeze", *_EXAMPLES, variables=True)
@mount_option("Freeze this mount point; may be repeated.", required=True)
@window_options(required=["max_window"])
def command(mounts: tuple[str, ...], window: WindowKeywords) -> int:
    """Freeze filesystems, and stay until they are thawed again: nothing is left frozen.

    As soon as everything is frozen, a line that begins with "frozen" is printed. Everything is
    thawed at the next line or the end of standard input (if it is a terminal in whose foreground
    this runs, a pipe or a socket), at the deadline, at SIGTERM, SIGINT or SIGHUP, and when this
    process is killed. No pre-scripts and post-scripts are run; see run.

    Exit status 0: frozen from that line until standard input told to thaw. 1: the window expired
    or was broken, or freezing failed. 2: wrong usage. 4: another run holds the lock. 5: something
    may still be frozen. 128+n: ended by signal n, after thawing.
    """
    from pyfreeze._api.window import frozen
    from pyfreeze._model.options import resolve

    guarded = frozen(mounts, **window)
    max_window = resolve(window).max_window_s
    _check_output(mounts)
    answers = _answers(_STDIN)
    try:
        with guarded:
            until = time.monotonic() + max_window
            names = ", ".join(printable(one.mount_point) for one in guarded.filesystems)
            told = "a line or the end of standard input, " if answers else ""
            click.echo(f"frozen {names} (thawed by {told}a signal, or after {max_window:g} s)")
            answered = _wait(until, answers=answers)
        if not answered:  # the supervisor was asked to thaw before it saw its own deadline
            raise InconsistentError(errno.ETIMEDOUT, "expired")
    except InconsistentError as error:
        if error.errno != errno.ETIMEDOUT:
            raise
        text = f"--max-window: expired after {max_window:g} s without a word to thaw; all is thawed"
        raise InconsistentError(errno.ETIMEDOUT, text) from None
    assert guarded.times is not None
    with streams.telling(exits.SUCCESS, "thawed"):
        click.echo(f"thawed after {(guarded.times.window_ms or 0.0) / 1000:.3f} s")
    return exits.SUCCESS


def _check_output(mounts: Sequence[str]) -> None:
    """Refuse to print "frozen" into a file on what is: that write would wait for the thaw."""
    try:
        output = os.fstat(_STDOUT)
    except OSError:
        return
    for mount in mounts:
        try:
            device = os.stat(mount).st_dev
        except OSError:  # told by the one that freezes
            continue
        if stat.S_ISREG(output.st_mode) and output.st_dev == device:
            text = (
                "found standard output in a file there, expected it on what is not frozen: "
                "send it elsewhere, or it could not be written before the thaw"
            )
            raise UsageError(errno.EDEADLK, text, mount)


def _answers(fd: int) -> bool:
    """Whether the end of a stream, or a line in it, can be meant as a word to thaw.

    Not of /dev/null and plain files, which are at their end from the beginning; nor of a terminal
    in whose background this runs: what is typed there is meant for somebody else.
    """
    try:
        mode = os.fstat(fd).st_mode
        if os.isatty(fd):
            return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _wait(until: float, *, answers: bool) -> bool:
    """Wait for an answer or the deadline; returns whether there was one in time."""
    poll = select.poll()
    if answers:
        poll.register(_STDIN, select.POLLIN)
    while (left_s := until - time.monotonic()) > 0:
        # Rounded up: the supervisor's own deadline comes first.
        if poll.poll(left_s * 1000 + 1):
            return True
    return False
