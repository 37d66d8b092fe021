"""The files that `pyfreeze init --app` writes for an application, as plain data."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import textwrap
from typing import TYPE_CHECKING

from pyfreeze._quiesce import rendezvous
from pyfreeze._quiesce.application import all_settings

if TYPE_CHECKING:
    from pyfreeze._quiesce.application import Quiescer

_PRE = """\
#!/bin/sh
# pre-script for {title}: makes it quiet before the freeze.
# Written by `pyfreeze init --app {name}`.
#
{about}
#
# How it works: this leaves a process behind, the holder, which keeps the application quiet until
# the post-script tells it to let go. The holder lets go by itself when hold_at_most_s has passed;
# the post-script then fails, and the backup is not application-consistent. Stopped (SIGSTOP), it is
# killed a second later; what is still held then is let go of by the kernel or the server.
set -eu

# ---- settings ------------------------------------------------------------------------------------

{settings}

# ---- the rest stays as it is ---------------------------------------------------------------------

# Where the holder can be reached; the same in the post-script. One holder at a time: a further
# server needs scripts of its own, from `pyfreeze init --app {name}` with another directory.
hold={hold}

exec {program} {name} pre "$hold" \\
    {words}
"""

_POST = """\
#!/bin/sh
# post-script for {title}: lets it go on after the thaw.
# Written by `pyfreeze init --app {name}`.
#
# Exit status 0 only if it was held quiet from the end of the pre-script until now (or if the
# pre-script had failed, and there is nothing to let go of). Settings are in the pre-script.
set -eu

hold={hold}

# First of all, and within a millisecond: the program below takes some 30 to start. Opened for
# reading too, a FIFO that nobody reads does not make this wait.
[ ! -p "$hold/{fifo}" ] || echo "${{PYFREEZE_RUN_ID:-by-hand}}" 1<>"$hold/{fifo}"

exec {program} {name} post "$hold"
"""


def program() -> tuple[str, ...]:
    """The files that the scripts run with root's power: the interpreter, and what it is given."""
    return (
        sys.executable,
        os.path.join(
            os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_quiesce", "__main__.py"
        ),
    )


def hold_path(application: type[Quiescer], directory: str) -> str:
    """The holder's directory of the scripts in a directory: each pair has its own."""
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]
    return f"{rendezvous.ROOT}/{application.name}-{digest}"


def scripts(application: type[Quiescer], directory: str) -> tuple[str, str]:
    """The texts of pre-script and post-script: pure, but for where this package is."""
    settings = all_settings(application)
    interpreter, main = program()
    common = {
        "name": application.name,
        "title": application.title,
        "hold": shlex.quote(hold_path(application, directory)),
        "fifo": rendezvous.FIFO,
        "program": shlex.join([interpreter, "-I", "-S", main]),
    }
    assignments = []
    for one in settings:
        comment = textwrap.fill(one.comment, 100 - len("# "), break_on_hyphens=False)
        assignments.append(f"{_comment(comment)}\n{one.name}={shlex.quote(one.default)}")
    pre = _PRE.format(
        **common,
        about=_comment(application.about),
        settings="\n\n".join(assignments),
        words=" \\\n    ".join(f'"{one.name}=${one.name}"' for one in settings),
    )
    return pre, _POST.format(**common)


def _comment(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines())
