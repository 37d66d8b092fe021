"""Many kills, and the table of them."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from typing import NamedTuple

from tests.soak.jobs import Again, Share, run_jobs
from tests.soak.schedule import draw
from tests.soak.table import markdown
from tests.soak.trial import Result, Trial, ViolationError


class Options(NamedTuple):
    """What is to be tried, and how strictly it is judged."""

    seed: int
    first: int
    kills: int
    jobs: int
    repeat: int
    """How often each number is tried."""
    patience_s: float
    """A guard against hanging."""
    late_s: float
    """How much longer than its window allows a write may take."""


class Tally:
    """What has been tried, and what became of it."""

    def __init__(self) -> None:
        self.kills = 0
        self.strikes: Counter[tuple[str, str]] = Counter()
        self.phases: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.recovered = 0
        self.read_only = 0
        self.late_ms = 0.0

    def add(self, result: Result) -> None:
        self.kills += 1
        self.strikes[result.name, result.phase] += 1
        self.phases[result.phase] += 1
        self.outcomes[result.outcome] += 1
        self.recovered += result.recovered
        self.read_only += result.read_only
        self.late_ms = max(self.late_ms, result.late_ms)

    def table(self) -> str:
        """Who was struck in which phase, and what came of it."""
        phases = [phase for phase in _PHASES if self.phases[phase]]
        names = sorted({name for name, _ in self.strikes}, key=lambda name: (name.count("+"), name))
        rows = [["", *phases, "all"]]
        for name in names:
            counts = [self.strikes[name, phase] for phase in phases]
            rows.append([name, *(str(count or "") for count in counts), str(sum(counts))])
        rows.append(["all", *(str(self.phases[phase]) for phase in phases), str(self.kills)])
        lines = [markdown(rows), ""]
        lines += [f"{count:7} {outcome}" for outcome, count in self.outcomes.most_common()]
        lines += [
            "",
            f"{self.recovered} times the next run or `pyfreeze thaw` had something to see to",
            f"the latest thaw came {self.late_ms:.0f} ms after the time that its window allowed",
            f"{self.read_only} times the kernel made the btrfs read-only: SIGKILL met its FITHAW",
            f"{self.kills} kills tried, left frozen: 0",
        ]
        return "\n".join(lines)


#: Between two lines of progress.
_SHOW_EVERY_S = 5.0
_PHASES = (
    "start",
    "open",
    "pre-script",
    "flush",
    "freezing",
    "frozen",
    "thawing",
    "thawed",
    "post-script",
    "after post-script",
    "over",
)


def _drive(options: Options, share: Share) -> None:
    numbers = [
        number
        for number in range(options.first + share.job, options.first + options.kills, options.jobs)
        for _ in range(options.repeat)
    ]
    trial = Trial(share.arena, share.load, options.patience_s, options.late_s)
    number = numbers[share.done]
    try:
        for _ in range(3):
            trial.run_whole()
        for number in numbers[share.done :]:
            result = trial.kill(draw(options.seed, number))
            if result.read_only:
                share.put(Again(result))
                return
            share.put(result)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told, and nothing stays
        text = str(error) if isinstance(error, ViolationError) else traceback.format_exc()
        share.put(f"{draw(options.seed, number)}\n{text}")
        trial.abandon()


def sweep_kills(options: Options) -> int:
    """Try them all; returns the exit status."""
    tally = Tally()
    begin_s = shown_s = time.monotonic()
    expected = options.kills * options.repeat
    print(f"{expected} kills, seed {options.seed}", flush=True)
    for thing in run_jobs(options.jobs, lambda share: _drive(options, share)):
        if not isinstance(thing, Result):
            print(f"VIOLATION after {tally.kills} kills\n{thing}", flush=True)
            return 1
        tally.add(thing)
        if time.monotonic() - shown_s > _SHOW_EVERY_S:
            shown_s = time.monotonic()
            print(f"{tally.kills} of {expected} kills, {shown_s - begin_s:.0f} s", flush=True)
    if tally.kills != expected:
        print(f"only {tally.kills} of {expected} kills were tried")
        return 1
    print(tally.table())
    return 0
