"""The two phases, as the scripts call them: `APPLICATION pre|post HOLD [SETTING=VALUE]...`."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from typing import TYPE_CHECKING

from pyfreeze._base.text import shown
from pyfreeze._quiesce.errors import QuiesceError
from pyfreeze._quiesce.rendezvous import Rendezvous, own_run_id

if TYPE_CHECKING:
    from collections.abc import Sequence

_POST_TIMEOUT_S = 30.0
#: Before pyfreeze's own timeout, so that there is time to say what was waited for.
_MARGIN_S = 1.0


def run(words: Sequence[str]) -> int:
    """Run one phase; returns the script's exit status. Errors are one line on stderr."""
    try:
        name, phase, path, *settings = words
    except ValueError:
        _complain(words[:1], "expected APPLICATION pre|post DIRECTORY [SETTING=VALUE]...")
        return 2
    try:
        if phase == "pre":
            text = _pre(name, path, settings)
        elif phase == "post":
            text = _post(path)
        else:
            raise QuiesceError(f"found the phase {phase!r}, expected pre or post")
    except QuiesceError as error:
        _complain([name], str(error))
        return 1
    if text:
        sys.stdout.write(text.rstrip("\n") + "\n")
    return 0


def _complain(name: Sequence[str], text: str) -> None:
    sys.stderr.write(": ".join([*name, shown(" ".join(text.split()))]) + "\n")


def _pre(name: str, path: str, words: Sequence[str]) -> str:
    from pyfreeze._quiesce.application import all_settings, parse
    from pyfreeze._quiesce.catalogue import load
    from pyfreeze._quiesce.holder import HELD, Holder

    application = load(name)
    values = parse(words, all_settings(application))
    hold = Rendezvous(path)
    hold.prepare()
    lock = hold.lock()
    run_id = own_run_id()
    answer, answer_end = os.pipe()
    if os.fork() == 0:
        os.close(answer)
        _leave_the_script()
        deadline_s = float(values["hold_at_most_s"])
        Holder(hold, run_id, application(values), deadline_s).run(answer_end)
    os.close(lock)
    os.close(answer_end)
    with open(answer, encoding="utf-8") as stream:
        kind, _, text = stream.read().partition("\n")
    if kind != HELD:
        raise QuiesceError(text or "the holder ended without a word")
    return text


def _leave_the_script() -> None:
    """Nothing of the script's own is kept, or it would not be seen to have ended."""
    os.setsid()
    # A descriptor or more for each database, where there are many.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _post(path: str) -> str:
    hold = Rendezvous(path)
    run_id = own_run_id()
    # The script has done so before it came here, unless it was changed.
    hold.ask_release(run_id)
    record = hold.read()
    if record is None or record.run_id != run_id:
        whose = f" (the last one was run {record.run_id}'s)" if record else ""
        raise QuiesceError(
            f"no pre-script of this run has held the application quiet{whose}: the snapshot is not "
            "application-consistent"
        )
    timeout_s = _POST_TIMEOUT_S
    with contextlib.suppress(KeyError, ValueError):
        timeout_s = max(float(os.environ["PYFREEZE_TIMEOUT"]) - _MARGIN_S, 0.1)
    if not hold.wait_for_end(timeout_s):
        raise QuiesceError(
            f"the holder, process {record.pid}, was told to let go and has not: it ends with this "
            "script, or at its deadline; whether it held until now is not known"
        )
    record = hold.read() or record
    if record.phase == "released":
        return record.text
    if record.phase in ("acquiring", "failed"):
        # That the pre-script failed is known already, and there is nothing to undo.
        return f"nothing was held: the pre-script has failed {record.text and ': ' + record.text}"
    why = record.text or f"the holder, process {record.pid}, was killed"
    raise QuiesceError(
        f"the application was not held quiet until now: {why}. The snapshot is not "
        "application-consistent"
    )
