"""The process that a pre-script leaves behind: it keeps the application quiet, and lets go.

It lets go when the post-script says so, when its deadline passes, when it is told to end (SIGTERM)
and, because what it holds is a session of its own, when it is killed. If it is stopped, and so can
do nothing at its deadline, the kernel kills it soon after.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING, NoReturn

from pyfreeze._quiesce.errors import QuiesceError
from pyfreeze._quiesce.kill_timer import KillTimer
from pyfreeze._quiesce.rendezvous import Record, is_release_of

if TYPE_CHECKING:
    from types import FrameType

    from pyfreeze._quiesce.application import Quiescer
    from pyfreeze._quiesce.rendezvous import Phase, Rendezvous

#: How long after its deadline the kernel ends a holder that is stopped.
_GRACE_S = 1.0

HELD = "held"
FAILED = "failed"


class _ToldToEndError(BaseException):
    """No error, so what handles errors does not see it."""


class Holder:
    """Runs in the process left behind, and nowhere else."""

    def __init__(
        self, rendezvous: Rendezvous, run_id: str, quiescer: Quiescer, hold_at_most_s: float
    ) -> None:
        self._rendezvous = rendezvous
        self._run_id = run_id
        self._quiescer = quiescer
        self._hold_at_most_s = hold_at_most_s
        self._held_from_s = 0.0
        self._record("acquiring")

    def run(self, answer_fd: int) -> NoReturn:
        """Take hold, say so (HELD or FAILED and a text), hold, let go; then end the process."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _told_to_end)
        try:
            self._run(answer_fd)
        except _ToldToEndError as error:
            self._quiescer.abandon()
            self._record("lost", f"the holder was told to end, by {error}")
        except BaseException as error:
            self._quiescer.abandon()
            self._record("lost", f"the holder failed: {type(error).__name__}: {error}")
            raise
        finally:
            os._exit(0)

    def _run(self, answer_fd: int) -> None:
        kill_timer = KillTimer()
        try:
            text = self._quiescer.quiesce()
            kill_timer.arm(self._hold_at_most_s + _GRACE_S)
            fifo = self._rendezvous.open_fifo()
        except Exception as error:  # noqa: BLE001 - whatever it is, the pre-script has to say it
            known = isinstance(error, (QuiesceError, OSError))
            text = str(error) if known else f"unexpected {type(error).__name__}: {error}"
            self._quiescer.abandon()
            try:
                self._record("failed", text)
            finally:
                _answer(answer_fd, FAILED, text)
            return
        self._held_from_s = time.monotonic()
        self._record("holding")
        if not _answer(answer_fd, HELD, text):
            self._quiescer.abandon()
            self._record("failed", "the pre-script was gone before it could be told")
            return
        self._wait(fifo, kill_timer)

    def _wait(self, fifo: int, kill_timer: KillTimer) -> None:
        until_s = self._held_from_s + self._hold_at_most_s
        poller = select.poll()
        watched = self._quiescer.watched_fds()
        for fd in (fifo, *watched):
            poller.register(fd, select.POLLIN)
        while (left_s := until_s - time.monotonic()) > 0:
            ready = {fd for fd, _ in poller.poll(left_s * 1000 + 1)}
            words = os.read(fifo, 4096).decode("utf-8", "replace").split() if fifo in ready else []
            if any(is_release_of(word, self._run_id) for word in words):
                kill_timer.arm(0)
                self._release()
                return
            if ready.intersection(watched):
                self._lose("what held it ended by itself")
                return
        deadline = f"{self._hold_at_most_s:g} s (hold_at_most_s)"
        self._lose(f"the holder let go at its deadline of {deadline}")

    def _release(self) -> None:
        asked_s = time.monotonic()
        try:
            text = self._quiescer.release()
        except QuiesceError as error:
            self._lose(str(error))
        else:
            held_ms = (asked_s - self._held_from_s) * 1e3
            self._rendezvous.remove_fifo()
            self._record("released", f"quiet for {held_ms:.1f} ms\n{text}")

    def _lose(self, why: str) -> None:
        self._quiescer.abandon()
        self._rendezvous.remove_fifo()
        after_s = time.monotonic() - self._held_from_s
        self._record("lost", f"{why}; that was {after_s:.1f} s after it was quiet")

    def _record(self, phase: Phase, text: str = "") -> None:
        self._rendezvous.write(Record(self._run_id, phase, os.getpid(), text))


def _told_to_end(number: int, _frame: FrameType | None) -> NoReturn:
    raise _ToldToEndError(signal.Signals(number).name)


def _answer(fd: int, kind: str, text: str) -> bool:
    """Tell the pre-script; False if it is gone."""
    try:
        os.write(fd, f"{kind}\n{text}".encode())
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
    return True
