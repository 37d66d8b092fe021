"""Stretches of time as lines of characters."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from pyfreeze._view.spans import Span
from pyfreeze._view.timeline import Timeline, bar, shorten
from pyfreeze._view.words import milliseconds

MS = 1_000_000
SPANS = (
    Span("shop", "paused", 1 * MS, 50 * MS),
    Span("pre-script", "pre-script", 0, 5 * MS),
    Span("orders (ext4)", "freezing", 6 * MS, 6 * MS + 1000),
    Span("orders (ext4)", "frozen", 6 * MS + 1000, 40 * MS),
    Span("orders (ext4)", "thawing", 40 * MS, 40 * MS + 1),
)


def text_of(what: RenderableType, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding)
    Console(file=stream, width=width, highlight=False).print(what)
    stream.flush()
    return raw.getvalue().decode()


@pytest.mark.parametrize("width", [60, 80, 110, 200])
@pytest.mark.parametrize("unicode", [False, True])
def test_a_timeline_fits(width: int, unicode: bool) -> None:
    text = text_of(Timeline(SPANS), width, "utf-8" if unicode else "ascii")
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines[:3]] == ["shop", "pre-script", "orders"]
    assert lines[0].rstrip().endswith("49.00 ms")
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


def test_only_the_longest_rows_where_there_are_many() -> None:
    """The others are counted on a line of their own."""
    spans = [Span(f"row {n}", "frozen", 0, n * MS) for n in range(1, 41)]
    lines = text_of(Timeline(spans, most_rows=3), 80).splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["38", "39", "40"]
    assert "37 more" in lines[4]


def test_what_a_row_took_is_the_sum_of_its_spans() -> None:
    spans = [Span("flush", "flush", 0, 2 * MS), Span("flush", "flush", 90 * MS, 93 * MS)]
    first = text_of(Timeline(spans), 80).splitlines()[0]
    assert first.rstrip().endswith("5.00 ms")


@given(text=st.text(max_size=60), width=st.integers(8, 40), unicode=st.booleans())
def test_a_name_is_shortened_in_its_middle(text: str, width: int, unicode: bool) -> None:
    short = shorten(text, width, unicode=unicode)
    assert len(short) <= width
    assert short == text or (len(text) > width and short[0] == text[0] and short[-1] == text[-1])


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0.00 ms"), (9.994, "9.99 ms"), (123.45, "123.45 ms"), (61_000, "61.00 s")],
)
def test_durations(value: float | None, text: str) -> None:
    """Milliseconds with two digits, from 1000 on seconds; a dash where there is none."""
    assert milliseconds(value) == text
