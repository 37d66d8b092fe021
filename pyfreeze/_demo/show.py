"""A play on a screen, or on paper: text out of data, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from pyfreeze._model.timeline import NS_PER_MS
from pyfreeze._view.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from pyfreeze._demo.play import Play
    from pyfreeze._demo.proof import Proof

_LEGEND = {"paused": "from one order to the next"}
_STORY = (
    "A shop takes orders without a rest, and a process of its own writes each of them into two "
    "SQLite databases: orders.db on an ext4 filesystem, audit.db on an xfs one. Both were "
    "copied while that went on. Is the copy good?"
)


def render(play: Play, *, unicode: bool) -> RenderableType:
    """The whole result, with more than ASCII where that can be shown."""
    parts: list[RenderableType] = [Text(_STORY), Text()]
    if play.spans:
        parts += [Text("What happened", "bold"), Timeline(play.spans, words=_LEGEND), Text()]
    parts += [Text("What was proved", "bold"), proof_table(play.proofs, unicode=unicode), Text()]
    parts += [Text("What the shop felt", "bold"), Text(meaning(play)), Text()]
    return Group(*parts, *(Text(f"kept {path}") for path in play.kept), verdict(play))


def proof_table(proofs: Sequence[Proof], *, unicode: bool) -> RenderableType:
    """What was looked at, what was expected, what was found."""
    columns = (Column(name, overflow="fold") for name in ("looked at", "expected", "found"))
    table = Table(
        Column(no_wrap=True), *columns,
        box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0),
    )  # fmt: skip
    yes, no = ("✔", "✘") if unicode else ("ok", "NO")
    for one in proofs:
        mark = Text(yes, style="green") if one.holds else Text(no, style="bold red")
        style = "" if one.holds else "bold red"
        # Text, not markup: what a tool said may hold square brackets.
        table.add_row(mark, Text(one.name), Text(one.expected), Text(one.found, style=style))
    return Padding(table, (0, 0, 0, 2))


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
    if pause_ms < 100:
        return "less than the blink of an eye, so no customer noticed"
    if pause_ms < 1000:
        return "less than a second, so a customer may have noticed a hesitation"
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
    report = play.report
    return Text.assemble(
        (f"The copy is not good: {failed} of {len(play.proofs)} proofs failed", "bold red"),
        f"\nThe backup: {report.status}, code {report.code} {report.name}\n{report.message}",
    )


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
