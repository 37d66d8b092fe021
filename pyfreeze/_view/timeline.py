"""Stretches of time as lines of characters, all on one scale."""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pyfreeze._model.timeline import NS_PER_MS
from pyfreeze._view.words import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from pyfreeze._view.spans import Span

_NARROWEST_BAR = 16
_INDENT = (0, 0, 0, 2)


class _Brush(NamedTuple):
    """How a phase is drawn: a character, the same for ASCII, a colour, and what it is called."""

    block: str
    ascii: str
    style: str
    legend: str


_BRUSHES = {
    "paused": _Brush("─", "-", "yellow", "paused"),
    "pre-script": _Brush("█", "#", "magenta", ""),
    "flush": _Brush("█", "#", "blue", ""),
    "freezing": _Brush("▒", ":", "cyan", "freezing and thawing"),
    "frozen": _Brush("█", "=", "bright_cyan", "frozen"),
    "thawing": _Brush("▒", ":", "cyan", "freezing and thawing"),
    "hanging": _Brush("▚", "!", "bold red", "hangs, or may still be frozen"),
    "snapshot": _Brush("█", "#", "green", ""),
    "post-script": _Brush("█", "#", "magenta", ""),
}


class Timeline(NamedTuple):
    """One line for each row, on one scale, with a bar and how long it took; a legend below."""

    spans: Sequence[Span]
    """At least one."""
    most_rows: int | None = None
    """The number of rows shown, those that took longest; None: all."""
    words: Mapping[str, str] = MappingProxyType({})
    """What the legend calls a phase, where that is not its usual name."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As wide as there is room, and in ASCII where the console knows no more."""
        width, unicode = options.max_width, not options.ascii_only
        begin_ns = min(span.begin_ns for span in self.spans)
        end_ns = max(span.end_ns for span in self.spans)
        took_ns: dict[str, int] = {}
        for span in self.spans:
            took_ns[span.row] = took_ns.get(span.row, 0) + span.duration_ns
        longest = sorted(took_ns, key=lambda row: -took_ns[row])[: self.most_rows]
        shown = [row for row in took_ns if row in longest]
        label_width = min(max(map(len, shown)), max(width // 3, 12))
        last = milliseconds((end_ns - begin_ns) / NS_PER_MS)
        bar_width = max(width - label_width - max(len(last), 8) - 6, _NARROWEST_BAR)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, width=bar_width)
        table.add_column(no_wrap=True, justify="right", style="bold")
        for row in shown:
            own = [span for span in self.spans if span.row == row]
            line = bar(own, begin_ns, end_ns, bar_width, unicode=unicode)
            label = Text(shorten(row, label_width, unicode=unicode))
            table.add_row(label, line, milliseconds(took_ns[row] / NS_PER_MS))
        table.add_row("", Text(f"0{last:>{bar_width - 1}}", style="dim"), "")
        yield Padding(table, _INDENT)
        if more_rows := len(took_ns) - len(shown):
            more = f"and {more_rows} more that took no longer"
            yield Padding(Text(more, style="dim"), _INDENT)
        seen = {span.phase for span in self.spans if span.row in shown}
        if entries := _legend(seen, self.words, unicode=unicode):
            yield Padding(Text.assemble(*entries), _INDENT)


def bar(spans: Sequence[Span], begin_ns: int, end_ns: int, width: int, *, unicode: bool) -> Text:
    """A row's spans, `width` characters wide. A span takes at least one."""
    cells: list[tuple[str, str]] = [(" ", "")] * width
    total_ns = max(end_ns - begin_ns, 1)
    # Long ones first, so that a short one is not painted over.
    for span in sorted(spans, key=lambda span: -span.duration_ns):
        brush = _BRUSHES[span.phase]
        first = min((span.begin_ns - begin_ns) * width // total_ns, width - 1)
        beyond = max(-(-(span.end_ns - begin_ns) * width // total_ns), first + 1)
        character = brush.block if unicode else brush.ascii
        for column in range(first, min(beyond, width)):
            cells[column] = (character, brush.style)
    runs = itertools.groupby(cells)
    return Text.assemble(*((character * len(list(run)), style) for (character, style), run in runs))


def _legend(seen: set[str], words: Mapping[str, str], *, unicode: bool) -> list[tuple[str, str]]:
    entries: dict[str, tuple[str, str]] = {}
    for phase, brush in _BRUSHES.items():
        text = words.get(phase, brush.legend)
        if phase in seen and text:
            entries.setdefault(text, (brush.block if unicode else brush.ascii, brush.style))
    return [part for text, mark in entries.items() for part in (mark, (f" {text}   ", "dim"))]


def shorten(text: str, width: int, *, unicode: bool) -> str:
    """The text's two ends where it is too long: of a path both tell the most."""
    if len(text) <= width:
        return text
    mark = "…" if unicode else "..."
    tail = (width - len(mark)) * 2 // 3
    return text[: width - len(mark) - tail] + mark + text[len(text) - tail :]
