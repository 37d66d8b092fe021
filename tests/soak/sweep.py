"""Many kills, side by side, under a guard that thaws whatever becomes of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import select
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.soak.arena import Arena
from tests.soak.load import Load
from tests.soak.schedule import draw
from tests.soak.trial import Result, Trial, ViolationError
from tests.soak.watch import kill_below

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_TIMERSLACK = 29
_SIZE = struct.Struct("I")
#: A driver that says nothing for so long hangs.
_SILENCE_S = 120.0


class Options(NamedTuple):
    """What is to be tried, and how strictly it is judged."""

    seed: int
    first: int
    count: int
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
        lines = [_markdown(rows), ""]
        lines += [f"{count:7} {outcome}" for outcome, count in self.outcomes.most_common()]
        lines += [
            "",
            f"{self.recovered} times the next run or `pyfreeze thaw` had something to see to; "
            f"the latest thaw was {self.late_ms:.0f} ms after its window's end",
            f"{self.read_only} times the kernel made the btrfs read-only: SIGKILL met its FITHAW",
            f"{self.kills} kills tried, left frozen: 0",
        ]
        return "\n".join(lines)


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


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


# ---- one job: a guard, and below it a driver -----------------------------------------------------


class _Pipe:
    """Pickled objects, one way, from one process to another."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()

    def fileno(self) -> int:
        return self.read_fd

    def put(self, thing: object) -> None:
        data = pickle.dumps(thing)
        data = _SIZE.pack(len(data)) + data
        while data:
            data = data[os.write(self.write_fd, data) :]

    def get(self) -> object:
        """The next; None after the last."""
        head = self._read(_SIZE.size)
        return pickle.loads(self._read(_SIZE.unpack(head)[0])) if head else None

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := os.read(self.read_fd, size - len(data))):
            data += more
        return data if len(data) == size else b""


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _drive(arena: Arena, load: Load, options: Options, numbers: Sequence[int], pipe: _Pipe) -> None:
    number = -1
    trial = Trial(arena, load, options.patience_s, options.late_s)
    try:
        for _ in range(3):
            trial.run_whole()
        for number in numbers:
            result = trial.kill(draw(options.seed, number))
            pipe.put(result)
            if result.read_only:
                return  # what follows needs disks that can be written to
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told, and nothing stays
        text = str(error) if isinstance(error, ViolationError) else traceback.format_exc()
        pipe.put(f"{draw(options.seed, number)}\n{text}")
        trial.abandon()


def _guard(options: Options, job: int, pipe: _Pipe) -> None:
    """Make the arena, start drivers in it, and see that nothing stays whatever becomes of them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    arena = Arena()
    load = arena.start_load()
    numbers = [
        number
        for number in range(options.first + job, options.first + options.count, options.jobs)
        for _ in range(options.repeat)
    ]
    try:
        while numbers:
            ours = _start_driver(arena, load, options, numbers)
            results = _pass_on(ours, pipe)
            if results == 0:
                return
            numbers = numbers[results:]
            arena.make_anew(load)
    finally:
        arena.thaw()
        load.stop()
        kill_below(os.getpid())
        arena.close()


def _start_driver(arena: Arena, load: Load, options: Options, numbers: Sequence[int]) -> _Pipe:
    pipe = _Pipe()
    if os.fork() == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            _prctl(_PR_SET_TIMERSLACK, 1)  # its sleeps are short
            os.close(pipe.read_fd)
            _drive(arena, load, options, numbers, pipe)
        finally:
            os._exit(0)
    os.close(pipe.write_fd)
    return pipe


def _pass_on(ours: _Pipe, pipe: _Pipe) -> int:
    """Returns how many results there were, 0 if there was anything else."""
    results = 0
    while True:
        ready, _, _ = select.select([ours], [], [], _SILENCE_S)
        thing = ours.get() if ready else f"the harness itself hangs: silent for {_SILENCE_S:g} s"
        if thing is None:
            os.close(ours.read_fd)
            return results
        pipe.put(thing)
        if not isinstance(thing, Result):
            return 0
        results += 1


def sweep_kills(options: Options) -> int:
    """Try them all; returns the exit status."""
    pipes, guards = [], []
    for job in range(options.jobs):
        pipe = _Pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(pipe.read_fd)
                _guard(options, job, pipe)
            except SystemExit:
                pass
            except BaseException:  # noqa: BLE001 - told, and counted as a failure
                pipe.put(traceback.format_exc()[:12000])
            finally:
                os._exit(0)
        os.close(pipe.write_fd)
        pipes.append(pipe)
        guards.append(pid)
    try:
        return _collect(options, pipes)
    finally:
        for pid in guards:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in guards:
            os.waitpid(pid, 0)


def _things(pipes: list[_Pipe]) -> Iterator[object]:
    """Whatever comes from any of them, until all have ended."""
    while pipes:
        ready, _, _ = select.select(pipes, [], [])
        for pipe in ready:
            thing = pipe.get()
            if thing is None:
                pipes.remove(pipe)
            else:
                yield thing


def _collect(options: Options, pipes: list[_Pipe]) -> int:
    tally = Tally()
    begin_s = shown_s = time.monotonic()
    expected = options.count * options.repeat
    for thing in _things(pipes):
        if not isinstance(thing, Result):
            print(f"\nVIOLATION after {tally.kills} kills\n{thing}", flush=True)
            return 1
        tally.add(thing)
        if time.monotonic() - shown_s > 5:
            shown_s = time.monotonic()
            print(f"{tally.kills} of {expected} kills, {shown_s - begin_s:.0f} s", flush=True)
    if tally.kills != expected:
        print(f"only {tally.kills} of {expected} kills were tried")
        return 1
    print(tally.table())
    return 0
