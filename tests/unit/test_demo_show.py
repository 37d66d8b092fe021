"""How the demo's result is shown: pure, from data."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from pyfreeze._demo.play import Span
from pyfreeze._demo.proof import Proof
from pyfreeze._demo.show import bar, proof_table, timeline

MS = 1_000_000
SPANS = (
    Span("shop", "paused", 1 * MS, 50 * MS),
    Span("pre-script", "pre-script", 0, 5 * MS),
    Span("orders (ext4)", "freezing", 6 * MS, 6 * MS + 1000),
    Span("orders (ext4)", "frozen", 6 * MS + 1000, 40 * MS),
    Span("orders (ext4)", "thawing", 40 * MS, 40 * MS + 1),
)


def text_of(what: RenderableType, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(what)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 110])
@pytest.mark.parametrize("unicode", [False, True])
def test_a_timeline_fits(width: int, unicode: bool) -> None:
    text = text_of(timeline(SPANS, width, unicode=unicode), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines[:3]] == ["shop", "pre-script", "orders"]
    assert lines[0].rstrip().endswith("49.0 ms")
    assert text.isascii() or unicode


def test_a_phase_of_a_nanosecond_is_seen() -> None:
    drawn = bar(SPANS[2:], 0, 50 * MS, 50, unicode=False).plain
    assert drawn == " " * 6 + ":" + "=" * 33 + ":" + " " * 9


@given(begin_ns=st.integers(0, 10**9), took_ns=st.integers(0, 10**9), width=st.integers(20, 100))
def test_a_bar_is_as_wide_as_it_may_be_and_never_empty(
    begin_ns: int, took_ns: int, width: int
) -> None:
    span = Span("a", "frozen", begin_ns, begin_ns + took_ns)
    drawn = bar([span], 0, 2 * 10**9, width, unicode=True).plain
    assert len(drawn) == width
    assert drawn.strip()


def test_what_a_tool_said_is_shown_as_it_is() -> None:
    proofs = [Proof("a", "clean", "[red]bad[/red] block", False), Proof("b", "1", "1", True)]
    text = text_of(proof_table(proofs, unicode=False), 80)
    assert "[red]bad[/red] block" in text
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["NO", "ok"]
