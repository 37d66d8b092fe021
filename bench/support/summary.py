"""The comparisons as text: for the terminal, and as Markdown for a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.support.comparison import Result, Verdict

_HEAD = ("contender", "n", "median", "p99", "ratio")
_TARGET_HEAD = ("target", "comparison", "wanted", "found", "")


def text(machine: Mapping[str, str], results: Sequence[Result]) -> list[str]:
    """Lines for the terminal."""
    lines = [f"{key}: {value}" for key, value in machine.items()]
    for result in results:
        lines += ["", f"{result.title} [{result.unit}], ratio to {result.baseline}"]
        lines += _aligned([_HEAD, *_rows(result)])
    verdicts = list(_verdicts(results))
    if verdicts:
        lines += ["", "targets"]
        lines += _aligned([_TARGET_HEAD, *(_verdict_row(*both) for both in verdicts)])
    return lines


def markdown(machine: Mapping[str, str], results: Sequence[Result]) -> str:
    """The same to be pasted into a document."""
    parts = [_table(("machine", ""), machine.items())]
    for result in results:
        head = (_HEAD[0], "n", f"median, {result.unit}", f"p99, {result.unit}", "ratio")
        parts.append(f"**{result.title}** (ratio to {result.baseline})\n")
        parts.append(_table(head, _rows(result)))
    verdicts = list(_verdicts(results))
    if verdicts:
        parts.append("**Targets**\n")
        parts.append(_table(_TARGET_HEAD, (_verdict_row(*both) for both in verdicts)))
    return "\n".join(parts)


def _rows(result: Result) -> list[tuple[str, ...]]:
    return [
        (
            name,
            str(result.rounds),
            figure(result.median(name)),
            figure(result.p99(name)),
            f"{figure(result.ratio(name))}x",
        )
        for name in result.samples
    ]


def _verdicts(results: Iterable[Result]) -> Iterable[tuple[Result, Verdict]]:
    return ((result, verdict) for result in results for verdict in result.verdicts())


def _verdict_row(result: Result, verdict: Verdict) -> tuple[str, ...]:
    met = "met" if verdict.met else "MISSED"
    return (verdict.text, result.title, verdict.wanted, verdict.found, met)


def figure(value: float) -> str:
    """Three digits that count, without exponents."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join([first, *rest]).rstrip())
    return lines


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:" if len(head) > 2 else "---"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
