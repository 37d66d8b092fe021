"""The C core, compiled with sanitizers and driven by small C programs.

Each program beside this file is one topic. It is linked with everything of csrc but the
supervisor's ``main``; those that start a supervisor get one that is instrumented like themselves.
A program exits with 0, with 1 after a failed check, or with 77 when it could not do all of its
work here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.needs import give_up
from tests.support.sanitized import MEMORY, THREADS, Build

SKIPPED = 77
#: Longer than any program's own alarm.
TIMEOUT_S = 70

GUARDED = ["-Wl,--wrap=mmap,--wrap=munmap"]


ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0:atexit_sleep_ms=50",
}

#: Program, sanitizer, and what the linker is told besides.
PROGRAMS = [
    ("childpage", MEMORY, GUARDED),
    ("ring", MEMORY, GUARDED),
    ("page", MEMORY, GUARDED),
    ("wire", MEMORY, []),
    ("deadline", MEMORY, []),
    ("watchdog", MEMORY, []),
    ("fds", MEMORY, []),
    ("statedir", MEMORY, []),
    ("reaper", MEMORY, []),
    ("children", MEMORY, []),
    ("children", THREADS, []),
    ("windows", MEMORY, []),
    ("windows", THREADS, []),
    ("filesystems", MEMORY, []),
    ("filesystems", THREADS, []),
]

#: The cases of regressions.c: each was a bug once.
REGRESSIONS = [
    "second_window",
    "peer_twice",
    "stale_peer",
    "failed_fork",
    "unanswered_child",
    "refused_replacement",
    "late_attempt",
    "start_without_descriptors",
    "endless_timeout",
    "left_child",
]


class Builds:
    """One build for each sanitizer, made when it is first wanted."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._made: dict[str, Build] = {}

    def __getitem__(self, sanitizer: str) -> Build:
        if sanitizer not in self._made:
            name = sanitizer.replace(",", "-")
            build = Build(sanitizer, self._factory.mktemp(f"csrc-{name}"))
            build.make()
            self._made[sanitizer] = build
        return self._made[sanitizer]


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    if shutil.which("gcc") is None or shutil.which("ar") is None:
        give_up("gcc and ar are needed to compile the C tests")
    return Builds(tmp_path_factory)


def _run(build: Build, program: Path, directory: Path, *words: str) -> tuple[int, str, str]:
    """Return the exit status, its stderr, and the findings about other processes."""
    # ThreadSanitizer's shadow wants an address space that is not randomised too widely.
    steady = ["setarch", "--addr-no-randomize"] if shutil.which("setarch") else []
    # A file, because a pipe would not end before everything that a broken run leaves behind.
    with (directory / "stderr").open("w+", encoding="utf-8", errors="replace") as stderr:
        status = subprocess.run(
            [*steady, program, directory, build.actor, build.supervisor, *words],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT},
            timeout=TIMEOUT_S,
            check=False,
        ).returncode
        stderr.seek(0)
        return status, stderr.read(), build.take_findings()


@pytest.mark.parametrize(
    ("name", "sanitizer", "options"), PROGRAMS, ids=[f"{name}-{s}" for name, s, _ in PROGRAMS]
)
def test_program(
    builds: Builds, tmp_path: Path, name: str, sanitizer: str, options: list[str]
) -> None:
    build = builds[sanitizer]
    status, stderr, findings = _run(build, build.program(name, options), tmp_path)
    if status == SKIPPED and not findings:
        give_up(stderr.strip())
    assert (status, findings) == (0, ""), stderr


@pytest.mark.parametrize("case", REGRESSIONS)
def test_regression(builds: Builds, tmp_path: Path, case: str) -> None:
    build = builds[MEMORY]
    status, stderr, findings = _run(build, build.program("regressions", []), tmp_path, case)
    assert (status, findings) == (0, ""), stderr
