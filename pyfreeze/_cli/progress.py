"""What a backup is doing, on a terminal, while it does it.

A terminal may block its writer for ever (Ctrl-S). So a thread of its own writes, and no other
thread waits for it. Of a window that is open it writes one line, and then nothing until its end.
"""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyfreeze._backup.observer import Observer
from pyfreeze._base.text import last_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

_INTERVAL_S = 0.1
#: How long the end waits for the last line.
_FAREWELL_S = 0.5
_SPINNER = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}
_DONE = {True: "✔", False: "*"}
#: What a phase is called, where that is not its name.
_TITLES = {"flush": "write dirty data", "window": "freeze, snapshot, thaw"}


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
        self._over: list[Text] = []
        self._phase: tuple[str, str, float] | None = None
        self._said = ""
        self._quiet = False
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
        self._thread.join(_FAREWELL_S)

    # ---- the backup's thread -----------------------------------------------------------------

    def begins(self, phase: str, detail: str = "") -> None:
        """Show a phase; a window only once."""
        with self._changed:
            self._end_phase()
            self._phase = (_TITLES.get(phase, phase), detail, time.monotonic())
            self._quiet = phase == "window"

    def says(self, text: str) -> None:
        """Show the last line of it."""
        with self._changed:
            self._said = last_line(text)

    def ends(self) -> None:
        """Show that a phase is over."""
        with self._changed:
            self._end_phase()

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._over.append(self._line((_DONE[self._unicode], "green")))
        self._phase, self._said, self._quiet = None, "", False
        self._changed.notify_all()  # who waits sees what is set as long as the lock is held

    # ---- the drawing thread ------------------------------------------------------------------

    def _draw_on(self) -> None:
        spinner = _SPINNER[self._unicode]
        for turn in itertools.count():
            with self._changed:
                lines, self._over = self._over, []
                phase, quiet, stopping = self._phase, self._quiet, self._stopping
                if phase:
                    mark = (spinner[turn % len(spinner)], "cyan")
                    lines.append(self._line(mark, self._said, timed=not quiet))
            # Without the lock: this may block, and nobody else is to.
            if not self._write(self._text(lines, goes_on=phase is not None)) or stopping:
                return
            with self._changed:
                if self._phase is phase and not (self._over or self._stopping):
                    self._changed.wait(_INTERVAL_S if phase and not quiet else None)

    def _text(self, lines: list[Text], *, goes_on: bool) -> str:
        from rich.console import Console

        if not lines:
            return ""
        console = Console(
            file=io.StringIO(), width=_width(self._fd), force_terminal=True, highlight=False,
            legacy_windows=False,
        )  # fmt: skip
        with console.capture() as captured:
            for line in lines:
                line.truncate(console.width - 1, overflow="ellipsis" if self._unicode else "crop")
                console.print(line, end="" if goes_on and line is lines[-1] else "\n")
        return _START_OF_LINE + captured.get().replace("\n", f"\n{_START_OF_LINE}")

    def _line(self, mark: tuple[str, str], said: str = "", *, timed: bool = True) -> Text:
        """What there is to show of the phase that goes on."""
        from rich.text import Text

        title, detail, begin_s = self._phase or ("", "", 0.0)
        return Text.assemble(
            mark,
            f" {title}",
            (f"  {detail}" if detail else "", "dim"),
            (f"  {time.monotonic() - begin_s:.1f} s" if timed else "", "bold"),
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
