"""The window and the interpreter: busy Python threads in the embedding process do not lengthen it.

A command window and a descriptor window need no Python at all while they are open. A callable does:
whoever runs it has to get the GIL first, which takes up to sys.getswitchinterval() for each busy
thread. That is its own cost, and reported apart; freezing and thawing around it go on without.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

import pyfreeze
from bench.support.comparison import Compare, Contender, Target
from bench.support.filesystems import Filesystems, thaw_all
from bench.support.grace import wait_for_grace_periods

_BUSY_THREADS = 4
_MAX_WINDOW_S = 20.0


@contextlib.contextmanager
def _busy_threads(count: int) -> Iterator[None]:
    stop = threading.Event()

    def spin() -> None:
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


def _window_ms(report: pyfreeze.Report) -> float:
    assert report.status == "success", report.message
    assert report.window is not None
    assert report.window.window_ms is not None
    return report.window.window_ms


def test_busy_threads(compare: Compare, filesystems: Filesystems, echo: _Echo) -> None:
    disks = filesystems.idle(1, "ext4")
    mounts = [disk.mount_point for disk in disks]
    callables_ms: dict[str, list[float]] = {}

    def command() -> float:
        return _window_ms(pyfreeze.backup(["true"], mounts=mounts, scripts=False))

    def descriptors() -> float:
        window_ms = _window_ms(pyfreeze.backup(echo.peer, mounts=mounts, scripts=False))
        echo.forget()
        return window_ms

    def block(label: str) -> Callable[[], float]:
        def run() -> float:
            with pyfreeze.frozen(mounts, max_window=_MAX_WINDOW_S) as window:
                pass
            times = window.times
            assert times is not None
            assert times.window_ms is not None
            assert times.frozen_together_ms is not None
            callables_ms.setdefault(label, []).append(times.frozen_together_ms)
            return times.window_ms - times.frozen_together_ms

        return run

    def beside(threads: int, run: Contender) -> Contender:
        def contender() -> float:
            wait_for_grace_periods()
            try:
                with _busy_threads(threads):
                    return run()
            except BaseException:
                thaw_all(disks)
                raise

        return contender

    contenders: dict[str, Contender] = {}
    for threads, label in ((0, "quiet"), (_BUSY_THREADS, f"{_BUSY_THREADS} busy threads")):
        contenders[f"command, {label}"] = beside(threads, command)
        contenders[f"descriptors, {label}"] = beside(threads, descriptors)
        contenders[f"callable, without it, {label}"] = beside(threads, block(label))
    busy = f"{_BUSY_THREADS} busy threads"
    compare(
        "window beside busy Python threads, 1 ext4, idle",
        contenders,
        unit="ms",
        least_rounds=10,
        targets=[
            Target(f"{kind}, {busy}", f"{kind}, quiet", at_most=2.0)
            for kind in ("command", "descriptors", "callable, without it")
        ],
    )
    compare.add("a callable's own share of its window", callables_ms, unit="ms", baseline="quiet")
