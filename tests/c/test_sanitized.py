"""The C core, compiled with sanitizers and driven by small C programs.

Each program beside this file is one topic, and each of its cases is a test of its own here: a
process, in a directory of its own, so that a crash or a hang hides no other case. A program is
linked with everything of csrc but the supervisor's ``main``; those that start a supervisor get one
that is instrumented like themselves. What a case's exit status means is in ``check.h``.

``pytest tests/c -k "childpage and mutations"`` runs one case.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import give_up
from tests.support.sanitized import MEMORY, PROGRAMS, THREADS, Build

FAILED, UNKNOWN, SKIPPED = 1, 2, 77
#: Longer than the alarm of check.h.
TIMEOUT_S = 70

GUARDED = ["-Wl,--wrap=mmap,--wrap=munmap"]

ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0:atexit_sleep_ms=50",
}

SHORT = {MEMORY: "memory", THREADS: "threads"}

#: With which sanitizers a program is built; all others only with the one for memory.
WITH_THREADS = {"blackbox", "children", "windows", "filesystems"}
#: What the linker is told besides, for a program.
LINKED = {"page": GUARDED, "plan": GUARDED}

#: TEST(name), or a header's variant of it, at the beginning of a line.
CASE = re.compile(r"^TEST\w*\((\w+)\)$", re.MULTILINE)


def cases(program: Path) -> list[str]:
    """Read a program's cases from its source, so that listing the tests compiles nothing."""
    return CASE.findall(program.read_text(encoding="utf-8"))


def all_cases() -> Iterator[tuple[str, str, str]]:
    for program in sorted(PROGRAMS.glob("*.c")):
        name = program.stem
        for sanitizer in (MEMORY, THREADS) if name in WITH_THREADS else (MEMORY,):
            for case in cases(program):
                yield name, case, sanitizer


CASES = list(all_cases())
NAMES = sorted({name for name, _, _ in CASES})


class Builds:
    """One build for each sanitizer, made when it is first wanted, and tried only once."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._made: dict[str, Build] = {}
        self._failed: dict[str, str] = {}

    def __getitem__(self, sanitizer: str) -> Build:
        if sanitizer in self._failed:
            pytest.fail(self._failed[sanitizer], pytrace=False)
        if sanitizer not in self._made:
            build = Build(sanitizer, self._factory.mktemp(f"csrc-{SHORT[sanitizer]}"))
            try:
                build.make()
            except AssertionError as error:
                self._failed[sanitizer] = str(error)
                raise
            self._made[sanitizer] = build
        return self._made[sanitizer]


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    if shutil.which("gcc") is None or shutil.which("ar") is None:
        give_up("gcc and ar are needed to compile the C tests")
    return Builds(tmp_path_factory)


def _run(build: Build, program: Path, directory: Path, case: str) -> tuple[int, str, str]:
    """Return the exit status, its stderr, and the findings about other processes."""
    # ThreadSanitizer's shadow wants an address space that is not randomised too widely.
    steady = ["setarch", "--addr-no-randomize"] if shutil.which("setarch") else []
    # A file, because a pipe would not end before everything that a broken run leaves behind.
    with (directory / "stderr").open("w+", encoding="utf-8", errors="replace") as stderr:
        status = subprocess.run(
            [*steady, program, directory, build.actor, build.supervisor, case],
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
    ("program", "case", "sanitizer"),
    [pytest.param(*one, id=f"{one[0]}-{one[1]}-{SHORT[one[2]]}") for one in CASES],
)
def test_case(builds: Builds, tmp_path: Path, program: str, case: str, sanitizer: str) -> None:
    """The case ends well, and no sanitizer has anything to say of it or of its supervisors."""
    build = builds[sanitizer]
    path = build.program(program, LINKED.get(program, []))
    status, stderr, findings = _run(build, path, tmp_path, case)
    if status == SKIPPED and not findings:
        give_up(stderr.strip())
    assert findings == "", stderr
    assert status == 0, stderr


@pytest.mark.parametrize("program", NAMES)
def test_no_case_is_overlooked(builds: Builds, program: str) -> None:
    """A program has the cases that its source was read to have."""
    path = builds[MEMORY].program(program, LINKED.get(program, []))
    listed = subprocess.run([path, "--list"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == cases(PROGRAMS / f"{program}.c")


PROBE = """
#include "check.h"
TEST(good) { CHECK_EQ(check_count_fds(getpid()), 3); }
TEST(number) { CHECK_EQ(40 + 3, 42); CHECK(1); }
TEST(text) { CHECK_STR("abc" + 1, "b"); }
TEST(required) { REQUIRE(0); abort(); }
TEST(descriptor) { dup(0); }
TEST(skipped) { SKIP("not today"); }
TEST(crash) { abort(); }
TEST(leak) { volatile char *lost = malloc(9); *lost = 1; lost = NULL; }
int main(int count, char **words) { check_begin(count, words); return check_run(); }
"""


@pytest.mark.parametrize(
    ("case", "status", "told"),
    [
        ("good", 0, ""),
        ("number", FAILED, "40 + 3 == 42) failed, errno is 0\n    found 43, expected 42"),
        ("text", FAILED, '    found "bc", expected "b"'),
        ("required", FAILED, "CHECK(0) failed"),
        ("descriptor", FAILED, "found 4, expected 3"),
        ("skipped", SKIPPED, "skipped: not today"),
        ("crash", -6, ""),
        ("leak", -6, "detected memory leaks"),
        ("another", UNKNOWN, ""),
    ],
)
def test_checks_can_fail(builds: Builds, tmp_path: Path, case: str, status: int, told: str) -> None:
    """What check.h is for: each way in which a case can end is told from the others."""
    build = builds[MEMORY]
    program = build.program_of(PROBE)
    found, stderr, _findings = _run(build, program, tmp_path, case)
    assert found == status, stderr
    assert told in stderr
