"""A play on a screen, or on paper: text out of data, nothing else."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pyfreeze._timeline import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from pyfreeze._demo.play import Play, Span
    from pyfreeze._demo.proof import Proof

_NARROWEST_BAR = 20


class _Brush(NamedTuple):
    """How a phase is drawn: a character, the same for ASCII, a colour."""

    block: str
    ascii: str
    style: str


_BRUSHES = {
    "paused": _Brush("─", "-", "yellow"),
    "pre-script": _Brush("█", "#", "magenta"),
    "flush": _Brush("█", "#", "blue"),
    "freezing": _Brush("▒", ":", "cyan"),
    "frozen": _Brush("█", "=", "bright_cyan"),
    "thawing": _Brush("▒", ":", "cyan"),
    "snapshot": _Brush("█", "#", "green"),
    "post-script": _Brush("█", "#", "magenta"),
}

_STORY = (
    "A shop takes orders without a rest, and a process of its own writes each of them into two "
    "SQLite databases: orders.db on an ext4 filesystem, audit.db on an xfs one. Both were "
    "copied while that went on. Is the copy good?"
)


def render(play: Play, width: int, *, unicode: bool) -> RenderableType:
    """The whole result.

    Args:
        play: what came of it.
        width: columns.
        unicode: whether more than ASCII can be shown.
    """
    parts: list[RenderableType] = [Text(_STORY), Text()]
    if play.spans:
        parts += [_heading("What happened"), timeline(play.spans, width, unicode=unicode), Text()]
    parts += [_heading("What was proved"), proof_table(play.proofs, unicode=unicode), Text()]
    parts += [_heading("What the shop felt"), Text(meaning(play)), Text()]
    for path in play.kept:
        parts.append(Text(f"kept {path}"))
    parts.append(verdict(play))
    return Group(*parts)


def _heading(text: str) -> Text:
    return Text(text, style="bold")


# ---- the timeline --------------------------------------------------------------------------------


def timeline(spans: Sequence[Span], width: int, *, unicode: bool) -> RenderableType:
    """One line for each row, on one scale, with a bar and its milliseconds."""
    rows = list(dict.fromkeys(span.row for span in spans))
    begin_ns = min(span.begin_ns for span in spans)
    end_ns = max(span.end_ns for span in spans)
    label_width = max(map(len, rows))
    figure_width = max(len(_ms(end_ns - begin_ns)), 8)
    bar_width = max(width - label_width - figure_width - 6, _NARROWEST_BAR)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=bar_width)
    table.add_column(no_wrap=True, justify="right", style="bold")
    for row in rows:
        own = [span for span in spans if span.row == row]
        took_ns = max(span.end_ns for span in own) - min(span.begin_ns for span in own)
        line = bar(own, begin_ns, end_ns, bar_width, unicode=unicode)
        table.add_row(row, line, _ms(took_ns))
    last = _ms(end_ns - begin_ns)
    table.add_row("", Text(f"0{last:>{bar_width - 1}}", style="dim"), "")
    return Group(Padding(table, (0, 0, 0, 2)), Padding(_legend(unicode=unicode), (0, 0, 0, 2)))


def bar(spans: Sequence[Span], begin_ns: int, end_ns: int, width: int, *, unicode: bool) -> Text:
    """A row's spans as so many characters; what is there is never shorter than one."""
    cells: list[tuple[str, str]] = [(" ", "")] * width
    total_ns = max(end_ns - begin_ns, 1)
    # Long ones first, so that a short one is not painted over.
    for span in sorted(spans, key=lambda span: span.begin_ns - span.end_ns):
        brush = _BRUSHES[span.phase]
        first = min((span.begin_ns - begin_ns) * width // total_ns, width - 1)
        beyond = max(-(-(span.end_ns - begin_ns) * width // total_ns), first + 1)
        character = brush.block if unicode else brush.ascii
        for column in range(first, min(beyond, width)):
            cells[column] = (character, brush.style)
    runs = itertools.groupby(cells)
    return Text.assemble(*((character * len(list(run)), style) for (character, style), run in runs))


def _legend(*, unicode: bool) -> Text:
    words = []
    for phase, text in (
        ("paused", "from one order to the next"),
        ("freezing", "freezing and thawing"),
        ("frozen", "frozen"),
    ):
        brush = _BRUSHES[phase]
        words.append((brush.block if unicode else brush.ascii, brush.style))
        words.append((f" {text}   ", "dim"))
    return Text.assemble(*words)


def _ms(nanoseconds: int) -> str:
    ms = nanoseconds / NS_PER_MS
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms"


# ---- the proofs ----------------------------------------------------------------------------------


def proof_table(proofs: Sequence[Proof], *, unicode: bool) -> RenderableType:
    """What was looked at, what was expected, what was found."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("looked at", overflow="fold")
    table.add_column("expected", overflow="fold")
    table.add_column("found", overflow="fold")
    yes, no = ("✔", "✘") if unicode else ("ok", "NO")
    for one in proofs:
        mark = Text(yes, style="green") if one.holds else Text(no, style="bold red")
        style = "" if one.holds else "bold red"
        # Text, not markup: what a tool said may hold square brackets.
        table.add_row(mark, Text(one.name), Text(one.expected), Text(one.found, style=style))
    return Padding(table, (0, 0, 0, 2))


# ---- in words ------------------------------------------------------------------------------------


def meaning(play: Play) -> str:
    """The figures in sentences, for somebody who has never heard of freezing."""
    pauses, window = play.pauses, play.report.window
    text = (
        f"The shop took {pauses.orders:,} orders, one every {pauses.usual_ms:.2f} ms. "
        f"The longest that it went without one was {pauses.longest_ms:.1f} ms"
    )
    if pauses.snapshot_ms is None:
        return f"{text}."
    if pauses.snapshot_ms < pauses.longest_ms:
        text += f" (the machine's doing); for the snapshot it was {pauses.snapshot_ms:.1f} ms"
    text += f": {_compared(pauses.snapshot_ms)}."
    if window.window_ms is not None and window.overhead_ms is not None:
        text += (
            f" Its filesystems were frozen for {window.window_ms:.2f} ms of it: "
            f"{window.window_ms - window.overhead_ms:.2f} ms for cp to copy them, "
            f"{window.overhead_ms:.2f} ms pyfreeze's own. With a volume manager, a storage array "
            "or a cloud disk taking the snapshot, its time stands in cp's place."
        )
    return text


def _compared(pause_ms: float) -> str:
    """A pause beside something that everybody knows."""
    for limit_ms, text in (
        (100, "less than the blink of an eye, so no customer noticed"),
        (1000, "less than a second, so a customer may have noticed a hesitation"),
    ):
        if pause_ms < limit_ms:
            return text
    return "long enough for a customer to notice"


def verdict(play: Play) -> RenderableType:
    """The last lines."""
    if play.holds:
        return Text(
            "The copy is application-consistent: it has every order up to the pause and none "
            "after it, and it can be used at once, with nothing to repair.",
            style="bold green",
        )
    failed = sum(not one.holds for one in play.proofs)
    text = Text(f"The copy is not good: {failed} of {len(play.proofs)} proofs failed", "bold red")
    report = play.report
    text.append(f"\nThe backup: {report.status}, code {report.code} {report.name}", "")
    text.append(f"\n{report.message}", "")
    return text


def as_data(play: Play) -> dict[str, object]:
    """The backup's report with the proofs beside it, as one JSON-able object."""
    begin_ns = min((span.begin_ns for span in play.spans), default=0)
    return {
        **play.report.to_builtins(),
        "holds": play.holds,
        "proofs": [one._asdict() for one in play.proofs],
        "writer": play.pauses._asdict(),
        "timeline": [
            {
                "row": span.row,
                "phase": span.phase,
                "t_ms": (span.begin_ns - begin_ns) / NS_PER_MS,
                "duration_ms": (span.end_ns - span.begin_ns) / NS_PER_MS,
            }
            for span in play.spans
        ],
        "kept": list(play.kept),
        "missing": [],
    }
