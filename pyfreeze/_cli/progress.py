"""What a backup is doing, on a terminal, while it does it.

A terminal may block its writer for ever (Ctrl-S). So a thread of its own writes. No other thread
waits for it, and it writes nothing while a window is open.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._backup.observer import Observer
from pyfreeze._base.text import last_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

_INTERVAL_S = 0.1
#: How long the window waits for a line that is just being drawn, and the end for the last one.
_PATIENCE_S = 0.05
_FAREWELL_S = 0.5
_SPINNER = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}
_DONE = {True: "✔", False: "*"}
_TITLES = {
    "flush": "write dirty data",
    "pre-scripts": "pre-scripts",
    "window": "freeze, snapshot, thaw",
    "snapshot": "snapshot",
    "post-scripts": "post-scripts",
}


class _Phase(NamedTuple):
    title: str
    detail: str
    begin_s: float


@contextmanager
def progress(*, wanted: bool) -> Iterator[Observer]:
    """An observer that draws, where standard error is a terminal that can be drawn on."""
    dumb = os.environ.get("TERM", "") in ("", "dumb")
    if not wanted or dumb or not sys.stderr.isatty():
        yield Observer()
        return
    unicode = (sys.stderr.encoding or "").lower().startswith("utf")
    drawn = Progress(sys.stderr.fileno(), unicode=unicode)
    drawn.start()
    try:
        yield drawn
    finally:
        drawn.stop()


class Progress(Observer):
    """A line for each phase that is over, and one that lives for the one that goes on."""

    poll_s = 2 * _INTERVAL_S

    def __init__(self, fd: int, *, unicode: bool) -> None:
        self._fd = fd
        self._unicode = unicode
        self._changed = threading.Condition()
        self._over: list[tuple[_Phase, float]] = []
        self._phase: _Phase | None = None
        self._said = ""
        self._quiet = False
        self._is_silent = False
        self._stopping = False
        self._thread = threading.Thread(target=self._draw_on, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to draw."""
        import rich.console
        import rich.text  # noqa: F401

        # A signal has to interrupt the thread that waits for the supervisor, and no other.
        before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """Draw what is left, unless the terminal blocks."""
        with self._changed:
            self._end_phase()
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(_FAREWELL_S)

    # ---- the backup's thread -----------------------------------------------------------------

    def begins(self, phase: str, detail: str = "") -> None:
        """Show a phase; a window only once, before it opens."""
        with self._changed:
            self._end_phase()
            self._phase = _Phase(_TITLES[phase], detail, time.monotonic())
            self._quiet = phase == "window"
            self._is_silent = False
            self._changed.notify_all()
            if self._quiet:
                self._changed.wait_for(lambda: self._is_silent, _PATIENCE_S)

    def says(self, text: str) -> None:
        """Show the last line of it."""
        with self._changed:
            self._said = last_line(text)

    def ends(self) -> None:
        """Show that a phase is over."""
        with self._changed:
            self._end_phase()
            self._quiet = False
            self._changed.notify_all()

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._over.append((self._phase, time.monotonic()))
        self._phase, self._said = None, ""

    # ---- the drawing thread ------------------------------------------------------------------

    def _draw_on(self) -> None:
        turn = 0
        while True:
            with self._changed:
                over, self._over = self._over, []
                phase, said, quiet, stopping = self._phase, self._said, self._quiet, self._stopping
            # Without the lock: this may block, and nobody else is to.
            if not self._write(self._text(over, phase, said, turn, quiet=quiet)) or stopping:
                return
            with self._changed:
                if self._quiet == quiet and not self._over:
                    self._is_silent = quiet
                    self._changed.notify_all()
                    self._changed.wait(None if quiet or phase is None else _INTERVAL_S)
            turn += 1

    def _text(
        self,
        over: list[tuple[_Phase, float]],
        phase: _Phase | None,
        said: str,
        turn: int,
        *,
        quiet: bool,
    ) -> str:
        from rich.console import Console

        console = Console(
            file=io.StringIO(), width=_width(self._fd), force_terminal=True, highlight=False,
            legacy_windows=False,
        )  # fmt: skip
        lines = [
            self._line(_DONE[self._unicode], "green", one, end_s - one.begin_s, "")
            for one, end_s in over
        ]
        if phase is not None:
            spinner = _SPINNER[self._unicode]
            mark = spinner[turn % len(spinner)]
            elapsed_s = None if quiet else time.monotonic() - phase.begin_s
            lines.append(self._line(mark, "cyan", phase, elapsed_s, said))
        if not lines:
            return ""
        with console.capture() as captured:
            for number, line in enumerate(lines):
                line.truncate(console.width - 1, overflow="ellipsis" if self._unicode else "crop")
                is_last = number == len(lines) - 1
                console.print(line, end="" if is_last and phase is not None else "\n")
        return _START_OF_LINE + captured.get().replace("\n", f"\n{_START_OF_LINE}")

    def _line(
        self, mark: str, style: str, phase: _Phase, elapsed_s: float | None, said: str
    ) -> Text:
        from rich.text import Text

        took = "" if elapsed_s is None else f"  {elapsed_s:.1f} s"
        return Text.assemble(
            (f"{mark} ", style),
            phase.title,
            (f"  {phase.detail}" if phase.detail else "", "dim"),
            (took, "bold"),
            (f"  {said}" if said else "", "dim"),
        )

    def _write(self, text: str) -> bool:
        data = text.encode("utf-8" if self._unicode else "ascii", errors="replace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return False
        return True


#: Carriage return, erase in line (ECMA-48).
_START_OF_LINE = "\r\x1b[2K"


def _width(fd: int) -> int:
    try:
        return max(os.get_terminal_size(fd).columns, 20)
    except OSError:
        return 80
