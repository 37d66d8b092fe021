"""The distributions as a picture: one panel for each comparison, every sample a dot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.support.comparison import Result
from bench.support.summary import figure

_COLUMNS = 2
_OURS = "#0b6e4f"
_OTHERS = "#8a8f98"
_ROW_INCHES = 0.34
_WIDTH_INCHES = 15
#: A logarithm needs more than nothing.
_LEAST = 1e-4


def draw(results: Sequence[Result], path: Path) -> None:
    """Write the picture; its format follows from the path's suffix."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lines = [results[i : i + _COLUMNS] for i in range(0, len(results), _COLUMNS)]
    heights = [max(len(result.samples) for result in line) + 2.5 for line in lines]
    made, panels = plt.subplots(
        len(lines),
        _COLUMNS,
        figsize=(_WIDTH_INCHES, _ROW_INCHES * sum(heights) + 0.5),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    for panel in panels.flat[len(results) :]:
        panel.set_visible(False)
    for panel, result in zip(panels.flat, results, strict=False):
        _draw_one(panel, result)
    made.savefig(path, dpi=110)
    plt.close(made)


def _draw_one(panel: Any, result: Result) -> None:
    names = list(result.samples)
    for row, name in enumerate(names):
        samples = sorted(max(sample, _LEAST) for sample in result.samples[name])
        color = _OURS if name == result.baseline else _OTHERS
        # Spread a little, in a fixed pattern, so that equal samples are seen as several.
        heights = [row + (i % 5 - 2) * 0.09 for i in range(len(samples))]
        panel.scatter(samples, heights, s=12, color=color, alpha=0.45, linewidths=0)
        median = result.median(name)
        panel.plot([median, median], [row - 0.36, row + 0.36], color=color, linewidth=2.5)
        label = f"{figure(median)} {result.unit}"
        panel.text(1.01, row, label, transform=panel.get_yaxis_transform(), va="center", fontsize=9)
    panel.set_xscale("log")
    _label_axis(panel)
    panel.set_yticks(range(len(names)), names, fontsize=9)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlabel(result.unit, fontsize=8, loc="right", labelpad=1)
    panel.tick_params(axis="x", labelsize=8)
    panel.grid(axis="x", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.set_title(f"{result.title} (n = {result.rounds})", fontsize=10, loc="left")


def _label_axis(panel: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = panel.get_xlim()
    subs = (1,) if high / low > 100 else (1, 2, 5)
    panel.xaxis.set_major_locator(LogLocator(subs=subs))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
