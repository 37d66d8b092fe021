"""The window, the backup and the interpreter: busy Python threads do not lengthen them.

A command window and a descriptor window need no Python at all while they are open. A callable does:
whoever runs it has to get the GIL first, which takes up to sys.getswitchinterval() for each busy
thread. That is the snapshot taker's own time, and told apart; freezing and thawing go on without.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import pyfreeze
from bench.support.comparison import Compare, Contender, Target
from bench.support.filesystems import Filesystems, thaw_all
from bench.support.grace import wait_for_grace_periods
from tests.support import namespace

_BUSY_THREADS = 4
_BUSY_IN_BACKUP = 3
_QUIESCED_RATIO = 1.5
_MAX_WINDOW_S = 20.0


@contextlib.contextmanager
def _busy_threads(count: int, processor: int | None = None) -> Iterator[None]:
    """Python threads without a pause, which have the GIL in turn; all on one processor, if given.

    Else the scheduler moves them about with each hand-over, onto what others are about to run on.
    """
    stop = threading.Event()

    def spin() -> None:
        if processor is not None:
            os.sched_setaffinity(threading.get_native_id(), {processor})
        while not stop.is_set():
            pass

    threads = [threading.Thread(target=spin) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class _Echo:
    """A snapshot taker in a process of its own: what it reads is what it answers."""

    def __init__(self) -> None:
        theirs_in, self._notify = os.pipe()
        self._done, theirs_out = os.pipe()
        self._process = subprocess.Popen(["cat"], stdin=theirs_in, stdout=theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        self.peer = pyfreeze.Peer(self._notify, self._done)

    def forget(self) -> None:
        os.read(self._done, 64)

    def close(self) -> None:
        os.close(self._notify)
        os.close(self._done)
        self._process.wait(timeout=60)


@pytest.fixture
def echo() -> Iterator[_Echo]:
    started = _Echo()
    yield started
    started.close()


def test_busy_threads(compare: Compare, filesystems: Filesystems, echo: _Echo) -> None:
    """What busy threads add to the overhead, for each way to take the snapshot."""
    disks = filesystems.idle(1, "ext4")
    mounts = [disk.mount_point for disk in disks]
    own_ms: dict[str, list[float]] = {}

    def backup(snapshot: Sequence[str] | pyfreeze.Peer) -> tuple[float, float]:
        report = pyfreeze.backup(snapshot, mounts=mounts, scripts=False, max_window=_MAX_WINDOW_S)
        assert report.status == "success", report.message
        assert report.window is not None
        assert report.window.window_ms is not None
        assert report.window.overhead_ms is not None
        return report.window.overhead_ms, report.window.window_ms

    def descriptors() -> tuple[float, float]:
        times = backup(echo.peer)
        echo.forget()
        return times

    def block() -> tuple[float, float]:
        with pyfreeze.frozen(mounts, max_window=_MAX_WINDOW_S) as window:
            pass
        times = window.times
        assert times is not None
        assert times.window_ms is not None
        assert times.frozen_together_ms is not None
        return times.window_ms - times.frozen_together_ms, times.window_ms

    def beside(threads: int, name: str, run: Callable[[], tuple[float, float]]) -> Contender:
        def contender() -> float:
            wait_for_grace_periods()
            try:
                with _busy_threads(threads):
                    overhead_ms, window_ms = run()
            except BaseException:
                thaw_all(disks)
                raise
            own_ms.setdefault(name, []).append(window_ms - overhead_ms)
            return overhead_ms

        return contender

    kinds = {"command": lambda: backup(["true"]), "descriptors": descriptors, "callable": block}
    contenders: dict[str, Contender] = {}
    for kind, run in kinds.items():
        for threads, label in ((0, "quiet"), (_BUSY_THREADS, "busy")):
            name = f"{kind}, {label}"
            contenders[name] = beside(threads, name, run)
    compare(
        f"overhead beside {_BUSY_THREADS} busy Python threads, 1 ext4, idle",
        contenders,
        unit="ms",
        least_rounds=8,
    )
    compare.add("the same windows: the snapshot taker's own time", own_ms, unit="ms")


_SCRIPT = """#!/bin/sh
exit 0
"""


@pytest.fixture
def scripts(able_machine: None) -> Iterator[str]:
    """A configuration whose scripts do nothing; its path."""
    directory = Path(namespace.ROOT, "gil")
    directory.mkdir(mode=0o700)
    for phase in ("pre", "post"):
        script = directory / phase
        script.write_text(_SCRIPT, encoding="ascii")
        script.chmod(0o700)
    config = directory / "config.json"
    content = {
        "pluginName": "ScriptRunner",
        "preScriptLocation": str(directory / "pre"),
        "postScriptLocation": str(directory / "post"),
    }
    config.write_text(json.dumps(content), encoding="ascii")
    config.chmod(0o600)
    yield str(config)
    shutil.rmtree(directory)


def test_quiesced(compare: Compare, filesystems: Filesystems, scripts: str) -> None:
    """From the pre-script's end to the post-script's start: so long the application waits.

    The target is about busy threads on a processor of their own, which the GIL confines them to
    anyway: what they then add is what waits for Python.
    """
    disks = filesystems.idle(1, "ext4")
    mounts = [disk.mount_point for disk in disks]
    whole_ms: dict[str, list[float]] = {}

    def beside(threads: int, name: str, processor: int | None = None) -> Contender:
        def contender() -> float:
            wait_for_grace_periods()
            try:
                with _busy_threads(threads, processor):
                    begin_ns = time.monotonic_ns()
                    report = pyfreeze.backup(
                        ["true"], mounts=mounts, config=scripts, max_window=_MAX_WINDOW_S
                    )
                    end_ns = time.monotonic_ns()
            except BaseException:
                thaw_all(disks)
                raise
            assert report.consistency == "application", report.message
            whole_ms.setdefault(name, []).append((end_ns - begin_ns) / 1e6)
            return _quiesced_ms(report)

        return contender

    busy, quiet = f"{_BUSY_IN_BACKUP} busy threads", "quiet"
    moving = f"{busy}, moved about"
    processor = min(os.sched_getaffinity(0))
    contenders = {
        quiet: beside(0, quiet),
        busy: beside(_BUSY_IN_BACKUP, busy, processor),
        moving: beside(_BUSY_IN_BACKUP, moving),
    }
    compare(
        "quiesced, backup of 1 ext4 with scripts, from a Python process",
        contenders,
        unit="ms",
        least_rounds=20,
        targets=[Target(busy, quiet, at_most=_QUIESCED_RATIO, text="quiesced with busy threads")],
    )
    compare.add("the same backups as a whole", whole_ms, unit="ms")


def _quiesced_ms(report: pyfreeze.Report) -> float:
    """By the report's timeline: neither script's own time is in it."""
    events = {event.what: event for event in report.events}
    pre, post = events["pre-script"], events["post-script"]
    return post.t_ms - (pre.t_ms + pre.duration_ms)
