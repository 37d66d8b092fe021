"""Every system call fails once, and the table of what came of it."""

from __future__ import annotations

import time
import traceback
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from tests.soak.faults import ROLES, FaultTrial, Outcome
from tests.soak.jobs import Share, run_jobs
from tests.soak.strace import Fault
from tests.soak.table import markdown
from tests.soak.trial import ViolationError

_SHOW_EVERY_S = 5.0
_SLOW_S = 3.0
VIOLATION = "VIOLATION"
_NOT_REACHED = "not reached"


class Options(NamedTuple):
    """What is to be tried."""

    jobs: int
    brief: bool
    """Of each call only the first and the last, and one error."""
    role: str
    """Only this one; empty: all."""
    only: str
    """Only this one fault, as "CALL:ERROR:WHEN"; empty: all."""
    patience_s: float
    late_s: float
    table: str
    """A file for the table; empty: none."""


def _drive(options: Options, share: Share) -> None:
    trial = FaultTrial(share.arena, share.load, options.patience_s, options.late_s)
    trial.run_whole()
    for role in ROLES:
        if options.role in ("", role):
            faults = _chosen(options, trial.record(role, brief=options.brief))
            for fault in faults:
                # Not by its script_dir: no two recordings are quite the same.
                if zlib.crc32(str(fault).encode()) % options.jobs == share.job:
                    share.put(_try(trial, fault))


def _chosen(options: Options, faults: list[Fault]) -> list[Fault]:
    if not options.only:
        return faults
    call, error, when = options.only.split(":")
    return [Fault(faults[0].role, call, int(when), error)]


def _try(trial: FaultTrial, fault: Fault) -> Outcome:
    try:
        return trial.fail(fault)
    except BaseException as error:  # noqa: BLE001 - told in the end, and the next is tried
        trial.abandon()
        text = str(error) if isinstance(error, ViolationError) else traceback.format_exc()
        return Outcome(fault, VIOLATION, 0.0, text)


def sweep_faults(options: Options) -> int:
    """Try them all; returns the exit status."""
    begin_s = shown_s = time.monotonic()
    outcomes: list[Outcome] = []
    for thing in run_jobs(options.jobs, lambda share: _drive(options, share), ("ext4",)):
        if not isinstance(thing, Outcome):
            print(thing, flush=True)
            return 1
        outcomes.append(thing)
        if thing.text == VIOLATION:
            print(f"VIOLATION {thing.fault}\n{thing.detail}", flush=True)
        elif thing.took_s > _SLOW_S:
            print(f"slow, {thing.took_s:.1f} s: {thing.fault}: {thing.text}", flush=True)
        if time.monotonic() - shown_s > _SHOW_EVERY_S:
            shown_s = time.monotonic()
            print(f"{len(outcomes)} faults, {shown_s - begin_s:.0f} s", flush=True)
    table = table_of(outcomes)
    if options.table:
        Path(options.table).parent.mkdir(parents=True, exist_ok=True)
        Path(options.table).write_text(f"{table}\n", encoding="utf-8")
    print(table if not options.brief else table.rpartition("\n\n")[2])
    return int(not outcomes or any(outcome.text == VIOLATION for outcome in outcomes))


def table_of(outcomes: list[Outcome]) -> str:
    """One line for each call of each role, and the sum."""
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    errors: dict[tuple[str, str], set[str]] = defaultdict(set)
    for outcome in outcomes:
        key = outcome.fault.role, outcome.fault.call
        rows[key][outcome.text] += 1
        errors[key].add(outcome.fault.error)
    lines = [["who", "call", "errors", "tried", "outcomes"]]
    for key in sorted(rows):
        counts = ", ".join(f"{count} {text}" for text, count in rows[key].most_common())
        lines.append([*key, " ".join(sorted(errors[key])), str(rows[key].total()), counts])
    total = Counter(outcome.text for outcome in outcomes)
    reached = len(outcomes) - total[_NOT_REACHED]
    summary = [f"{count:7} {text}" for text, count in total.most_common()]
    violations = total[VIOLATION]
    summary.append(f"{reached} faults injected, violations: {violations}")
    return f"{markdown(lines)}\n\n" + "\n".join(summary)
