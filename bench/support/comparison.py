"""Contenders run in turn, round by round, in one run on one machine: the only fair comparison.

What disturbs the machine for a while disturbs all contenders of a round alike; so ratios are taken
within each round, and the median of these ratios is what counts.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

#: One run of a contender; returns the figure that it has measured itself.
Contender = Callable[[], float]

_SHORT_BUDGET_S = 2.0
_SHORT_LEAST_ROUNDS = 5
_SHORT_MOST_ROUNDS = 30
#: Whatever a document quotes comes from at least so many.
_TABLE_ROUNDS = 20
_FULL_ROUNDS = 40
#: A figure of nothing, where a ratio needs a divisor.
_TINY = 1e-9


class Target(NamedTuple):
    """What a figure is to reach. Missed, it is told, and nothing fails.

    Exactly one of the limits is given.
    """

    contender: str
    baseline: str | None = None
    at_least: float | None = None
    """So many times shorter than the baseline: baseline / contender, the median over the rounds."""
    at_most: float | None = None
    """At most so many times as long as the baseline: contender / baseline, the same."""
    below: float | None = None
    """Less than so much, in the comparison's unit; with a baseline, so much more than that."""
    statistic: Literal["median", "p99"] = "median"
    """Which figure `below` is about."""
    text: str = ""


class Verdict(NamedTuple):
    """What became of a target."""

    target: Target
    text: str
    wanted: str
    found: str
    met: bool


class Result:
    """The samples of a comparison, one of each contender in each round."""

    def __init__(
        self,
        title: str,
        unit: str,
        baseline: str,
        samples: Mapping[str, Sequence[float]],
        targets: Sequence[Target] = (),
    ) -> None:
        self.title = title
        self.unit = unit
        self.baseline = baseline
        self.samples = {name: list(figures) for name, figures in samples.items()}
        self.targets = tuple(targets)

    @property
    def rounds(self) -> int:
        return len(self.samples[self.baseline])

    def median(self, name: str) -> float:
        return statistics.median(self.samples[name])

    def p99(self, name: str) -> float:
        """The 99th percentile by nearest rank: of fewer than 100 samples the largest."""
        figures = sorted(self.samples[name])
        return figures[math.ceil(0.99 * len(figures)) - 1]

    def ratios(self, name: str, baseline: str | None = None) -> list[float]:
        """How many times as long as the baseline, round by round."""
        others = self.samples[baseline or self.baseline]
        return [a / max(b, _TINY) for a, b in zip(self.samples[name], others, strict=True)]

    def ratio(self, name: str, baseline: str | None = None) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios(name, baseline))

    def verdicts(self) -> list[Verdict]:
        return [self._verdict(target) for target in self.targets]

    def _verdict(self, target: Target) -> Verdict:
        name, baseline = target.contender, target.baseline
        if target.below is not None:
            figure = self.median(name) if target.statistic == "median" else self.p99(name)
            if baseline is not None:
                figures = zip(self.samples[name], self.samples[baseline], strict=True)
                figure = statistics.median(a - b for a, b in figures)
            over = f" over {baseline}" if baseline else ""
            text = target.text or f"{target.statistic} of {name}{over}"
            wanted = f"< {target.below:g} {self.unit}"
            return Verdict(target, text, wanted, f"{figure:.3g} {self.unit}", figure < target.below)
        assert baseline is not None, "a ratio needs a baseline"
        if target.at_least is not None:
            found = self.ratio(baseline, name)
            text = target.text or f"{name} shorter than {baseline}"
            wanted = f">= {target.at_least:g}x"
            return Verdict(target, text, wanted, f"{found:.3g}x", found >= target.at_least)
        assert target.at_most is not None, "a target needs a limit"
        found = self.ratio(name, baseline)
        text = target.text or f"{name} to {baseline}"
        return Verdict(
            target, text, f"<= {target.at_most:g}x", f"{found:.3g}x", found <= target.at_most
        )

    def as_json(self) -> dict[str, object]:
        """Plain data, with every sample."""
        return {
            "title": self.title,
            "unit": self.unit,
            "baseline": self.baseline,
            "rounds": self.rounds,
            "contenders": {
                name: {
                    "median": self.median(name),
                    "p99": self.p99(name),
                    "ratio": self.ratio(name),
                    "samples": samples,
                }
                for name, samples in self.samples.items()
            },
            "targets": [
                {"text": v.text, "wanted": v.wanted, "found": v.found, "met": v.met}
                for v in self.verdicts()
            ],
        }


class Compare:
    """Runs the contenders of one test; made by the fixture `compare`."""

    def __init__(self, benchmark: Any, form: str, done: list[Result]) -> None:
        self._benchmark = benchmark
        self._done = done
        self.form = form

    def __call__(
        self,
        title: str,
        contenders: Mapping[str, Contender],
        *,
        unit: str,
        baseline: str | None = None,
        rounds: int | None = None,
        least_rounds: int = _SHORT_LEAST_ROUNDS,
        targets: Sequence[Target] = (),
    ) -> Result:
        """Run all contenders in turn, round by round, each round in another order.

        Args:
            title: says what is measured, under which conditions.
            contenders: by name; each returns its own figure. One that raises fails the test.
            unit: of all figures.
            baseline: what the ratios are to; none: the first contender.
            rounds: how many; None: 40 in the full form, 20 for the table, and in the short form
                what its time allows.
            least_rounds: of the short form, however long they take.
            targets: what is to be reached.
        """
        names = list(contenders)
        samples: dict[str, list[float]] = {name: [] for name in names}

        def one_round() -> None:
            for name in order(names, len(samples[names[0]])):
                samples[name].append(contenders[name]())

        # A first round warms up everything, and tells how many rounds there is time for.
        begin_s = time.monotonic()
        one_round()
        took_s = time.monotonic() - begin_s
        for figures in samples.values():
            figures.clear()

        count = rounds or self._rounds(took_s, least_rounds)
        self._benchmark.pedantic(one_round, rounds=count, iterations=1)
        result = Result(title, unit, baseline or names[0], samples, targets)
        self._benchmark.name = title
        self._benchmark.extra_info.update(result.as_json())
        self._done.append(result)
        return result

    def add(
        self,
        title: str,
        samples: Mapping[str, Sequence[float]],
        *,
        unit: str,
        baseline: str | None = None,
        targets: Sequence[Target] = (),
    ) -> Result:
        """Keep a second figure that the contenders measured in the same rounds.

        Args:
            title: as all others, as when called.
            samples: by contender, in the order of the rounds; the warm-up's at their beginning are
                left out.
            unit: of the samples.
            baseline: what the ratios are to.
            targets: what is to be reached.
        """
        rounds = self._done[-1].rounds
        kept = {name: figures[-rounds:] for name, figures in samples.items()}
        result = Result(title, unit, baseline or next(iter(kept)), kept, targets)
        self._benchmark.extra_info.setdefault("also", []).append(result.as_json())
        self._done.append(result)
        return result

    def _rounds(self, took_s: float, least_rounds: int) -> int:
        if self.form != "short":
            return _FULL_ROUNDS if self.form == "full" else _TABLE_ROUNDS
        affordable = int(_SHORT_BUDGET_S / max(took_s, _TINY))
        return max(least_rounds, min(affordable, _SHORT_MOST_ROUNDS))


def order(names: Sequence[str], number: int) -> list[str]:
    """A round's order: rotated, and every other time the other way round."""
    shift = number // 2 % len(names)
    turned = [*names[shift:], *names[:shift]]
    return turned[::-1] if number % 2 else turned
