"""Supervision: how promptly scripts are started, ended and missed, and what it costs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.support.comparison import Compare, Contender, Target
from bench.support.filesystems import Filesystems
from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._core import run as core
from pyfreeze._core.run import new_run_id
from pyfreeze._core.types import ChildEnd, ChildOptions, EventKind, Step, StepKind
from pyfreeze._mounts.choose import choose, targets
from tests.support.processes import supervisors_of

_TIMEOUT_S = 0.15
_HANG_S = 60.0
_NS_PER_MS = 1e6
_ROUNDS = 50
_GIB = 1 << 30


class _Scripts:
    """A run without filesystems, whose scripts are bench/witness.c."""

    def __init__(self, run: core.Run, program: str, note: Path) -> None:
        self.run = run
        self.words = [program, str(note)]
        self._note = note

    def run_to_its_end(self, mode: str, timeout_s: float = _HANG_S) -> ChildEnd:
        """Returns when the client has heard of its end."""
        # It ends at SIGTERM: the grace is for a machine that lets it wait for a processor.
        child = ChildOptions([*self.words, mode], {}, "/", timeout_s, grace_s=_HANG_S)
        self.run.request_plan([Step(StepKind.CHILD, child=child)])
        assert self.run.wait_for(EventKind.ENDED).kind is EventKind.ENDED
        return self.run.child_end(0)

    def witnessed_ns(self) -> int:
        return int(self._note.read_text(encoding="ascii"))


@pytest.fixture
def scripts(program: Callable[[str], str], tmp_path: Path) -> Iterator[_Scripts]:
    with core.Run((), new_run_id()) as run:
        yield _Scripts(run, program("witness"), tmp_path / "note")


def test_kill_at_the_deadline(compare: Compare, scripts: _Scripts) -> None:
    """How long after a script's deadline its SIGTERM arrives."""

    def late_ms() -> float:
        end = scripts.run_to_its_end("term", _TIMEOUT_S)
        assert end.timed_out
        return (scripts.witnessed_ns() - end.start_ns) / _NS_PER_MS - _TIMEOUT_S * 1e3

    compare(
        "SIGTERM's arrival after a script's deadline",
        {"pyfreeze": late_ms},
        unit="ms",
        rounds=_ROUNDS,
        targets=[
            Target("pyfreeze", below=1.0, text="a timed-out script is ended, median"),
            Target("pyfreeze", below=5.0, statistic="p99", text="a timed-out script is ended, p99"),
        ],
    )


def test_notice_of_the_end(compare: Compare, scripts: _Scripts) -> None:
    """How long after a script's end the supervisor knows of it, and then the caller."""
    heard: dict[str, list[float]] = {"the caller hears": []}

    def noticed_ms() -> float:
        end = scripts.run_to_its_end("exit")
        heard_ns = time.monotonic_ns()
        assert end.exit_status == 0
        heard["the caller hears"].append((heard_ns - scripts.witnessed_ns()) / _NS_PER_MS)
        return (end.end_ns - scripts.witnessed_ns()) / _NS_PER_MS

    compare(
        "notice of a script's end",
        {"pyfreeze": noticed_ms},
        unit="ms",
        rounds=_ROUNDS,
        targets=[Target("pyfreeze", below=1.0, text="a script's end is noticed")],
    )
    compare.add("word of a script's end", heard, unit="ms")


def test_start_of_a_script(compare: Compare, scripts: _Scripts) -> None:
    """From the request to the script's own first instruction."""

    def supervised() -> float:
        begin_ns = time.monotonic_ns()
        scripts.run_to_its_end("start")
        return (scripts.witnessed_ns() - begin_ns) / _NS_PER_MS

    def popen() -> float:
        begin_ns = time.monotonic_ns()
        subprocess.run([*scripts.words, "start"], check=True, timeout=_HANG_S)
        return (scripts.witnessed_ns() - begin_ns) / _NS_PER_MS

    compare(
        "start of a script",
        {"pyfreeze": supervised, "subprocess": popen},
        unit="ms",
        rounds=_ROUNDS,
        baseline="subprocess",
    )


# ---- the supervisor ------------------------------------------------------------------------------

_EMBEDDER = """
import os, sys, time
from pyfreeze._core import run as core
from pyfreeze._core.run import new_run_id
ballast = bytearray(int(sys.argv[1]))
for page in range(0, len(ballast), 4096):
    ballast[page] = 1

def supervisor():
    begin_ns = time.monotonic_ns()
    run = core.Run((), new_run_id())
    took_ns = time.monotonic_ns() - begin_ns
    run.close()
    return took_ns

def fork():
    begin_ns = time.monotonic_ns()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    took_ns = time.monotonic_ns() - begin_ns
    os.waitpid(pid, 0)
    return took_ns

print("ready", flush=True)
for line in sys.stdin:
    print({"supervisor": supervisor, "fork": fork}[line.strip()](), flush=True)
"""


class _Embedder:
    """A Python process of some size, which starts supervisors when it is told to."""

    def __init__(self, size_bytes: int) -> None:
        words = [sys.executable, "-c", _EMBEDDER, str(size_bytes)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def contender(self, what: str) -> Contender:
        def run() -> float:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{what}\n")
            return int(self._read()) / _NS_PER_MS

        return run

    def close(self) -> None:
        self._process.communicate(timeout=_HANG_S)


def test_start_of_the_supervisor(compare: Compare) -> None:
    """The same from a small process and from one of 4 GiB: it copies no page table."""
    with (
        contextlib.closing(_Embedder(0)) as small,
        contextlib.closing(_Embedder(4 * _GIB)) as large,
    ):
        compare(
            "start of the supervisor, until it is ready",
            {
                "from a small process": small.contender("supervisor"),
                "from one of 4 GiB": large.contender("supervisor"),
                "os.fork() alone, of 4 GiB": large.contender("fork"),
            },
            unit="ms",
            rounds=40,
            targets=[
                Target("from a small process", below=3.0, text="supervisor's start, small process"),
                Target("from one of 4 GiB", below=3.0, text="supervisor's start, 4 GiB process"),
            ],
        )


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(f"{pid} has no VmRSS")


def test_resident_memory(compare: Compare, filesystems: Filesystems) -> None:
    """Of a supervisor that has opened 1, 7 and 32 filesystems."""

    def with_filesystems(count: int) -> Contender:
        mounts = [disk.mount_point for disk in filesystems.idle(count)]
        chosen = targets(choose(STATE_DIRECTORY, only=mounts))

        def run() -> float:
            with core.Run(chosen, new_run_id()) as supervised:
                supervised.request_plan([Step(StepKind.OPEN)])
                assert supervised.wait_for(EventKind.ENDED).kind is EventKind.ENDED
                (supervisor,) = supervisors_of(os.getpid())
                return _resident_mb(supervisor)

        return run

    names = {count: f"{count} filesystem{'s' * (count > 1)}" for count in (1, 7, 32)}
    compare(
        "resident memory of the supervisor",
        {name: with_filesystems(count) for count, name in names.items()},
        unit="MB",
        rounds=5,
        targets=[
            Target(name, below=4.0, text=f"resident memory, {name}") for name in names.values()
        ],
    )


_IMPORTER = """
import time
begin_ns = time.monotonic_ns()
{}
print(time.monotonic_ns() - begin_ns)
"""


def test_import(compare: Compare) -> None:
    """Of the package alone, and on the way to `frozen()`, beside a module of Python's own."""

    def interpreter(code: str) -> Contender:
        # Its own start, which takes ten times as long, is not in it.
        words = [sys.executable, "-I", "-c", _IMPORTER.format(code)]

        def run() -> float:
            done = subprocess.run(words, check=True, capture_output=True, timeout=_HANG_S)
            return int(done.stdout) / _NS_PER_MS

        return run

    compare(
        "imports in a fresh interpreter",
        {
            "import pyfreeze": interpreter("import pyfreeze"),
            "import and frozen": interpreter("import pyfreeze; pyfreeze.frozen"),
            "import json, to compare": interpreter("import json"),
        },
        unit="ms",
        rounds=40,
        targets=[
            Target("import pyfreeze", below=15.0, text="import pyfreeze"),
            Target("import and frozen", below=15.0, text="import on the way to frozen()"),
        ],
    )
