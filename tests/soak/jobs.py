"""Work side by side, each job in an arena of its own, under a guard that thaws whatever happens.

The guard of a job makes the arena and keeps its descriptors. Its driver, one process below it, does
the work; should that hang or die, the guard thaws and cleans up.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pickle
import select
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.soak.arena import Arena
from tests.soak.load import Load
from tests.soak.watch import describe_below, kill_below
from tests.support.disks import FSTYPES

_PR_SET_TIMERSLACK = 29
_PR_SET_CHILD_SUBREAPER = 36
_SIZE = struct.Struct("I")
#: A driver that says nothing for so long hangs.
_SILENCE_S = 180.0


class Share(NamedTuple):
    """What one driver is to do."""

    arena: Arena
    load: Load
    job: int
    """Which of the jobs."""
    done: int
    """How many results drivers before it have had."""
    put: Callable[[object], None]
    """Hand over a result."""


class Again(NamedTuple):
    """The result of a driver that wants disks made anew before the next takes over."""

    result: object


def run_jobs(
    jobs: int, drive: Callable[[Share], None], fstypes: tuple[str, ...] = FSTYPES
) -> Iterator[object]:
    """The drivers' results, as they come. A text is the account of a failure."""
    pipes: list[_Pipe] = []
    guards: list[int] = []
    try:
        for job in range(jobs):
            pipe = _Pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(pipe.read_fd)
                    _guard(job, drive, fstypes, pipe)
                except SystemExit:
                    pass
                except BaseException:  # noqa: BLE001 - told, and counted as a failure
                    pipe.put(traceback.format_exc())
                finally:
                    os._exit(0)
            os.close(pipe.write_fd)
            pipes.append(pipe)
            guards.append(pid)
        while pipes:
            ready, _, _ = select.select(pipes, [], [])
            for pipe in ready:
                thing = pipe.get()
                if thing is None:
                    pipes.remove(pipe)
                else:
                    yield thing
    finally:
        for pid in guards:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in guards:
            os.waitpid(pid, 0)


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


def _guard(job: int, drive: Callable[[Share], None], fstypes: tuple[str, ...], pipe: _Pipe) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    arena = Arena(fstypes)
    load = arena.start_load()
    try:
        done = 0
        while True:
            ours = _Pipe()
            if os.fork() == 0:
                os.close(ours.read_fd)
                _be_driver(Share(arena, load, job, done, ours.put), drive)
            os.close(ours.write_fd)
            results, again = _pass_on(ours, pipe)
            os.close(ours.read_fd)
            if not again:
                return
            done += results
            arena.make_anew(load)
    finally:
        arena.thaw()
        load.stop()
        kill_below(os.getpid())
        arena.close()


def _be_driver(share: Share, drive: Callable[[Share], None]) -> None:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        _prctl(_PR_SET_TIMERSLACK, 1)  # its sleeps are short
        drive(share)
    except BaseException:  # noqa: BLE001 - told, and counted as a failure
        share.put(traceback.format_exc())
    finally:
        os._exit(0)


def _pass_on(ours: _Pipe, pipe: _Pipe) -> tuple[int, bool]:
    """Returns how many results there were, and whether a further driver is wanted."""
    for results in itertools.count():
        ready, _, _ = select.select([ours], [], [], _SILENCE_S)
        if not ready:
            below = describe_below(os.getpid())
            pipe.put(f"the harness itself hangs: silent for {_SILENCE_S:g} s\n{below}")
            return results, False
        thing = ours.get()
        if isinstance(thing, Again):
            pipe.put(thing.result)
            return results + 1, True
        if thing is None:
            return results, False
        pipe.put(thing)
    raise AssertionError
