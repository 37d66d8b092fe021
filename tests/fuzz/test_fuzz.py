"""What comes from outside, as any bytes: libFuzzer's harnesses, those in C with ASan and UBSan.

request   a message to the supervisor, and a plan's file behind it
handle    requests in any order, to the supervisor's own loop on simulated filesystems and reapers
receive   messages to the client, from a supervisor that then dies
record    a state page and a journal that a dead run has left
mountinfo the mount table, and choosing from it; in Python, with Atheris

Each is tried with the committed corpus and then with a number of inputs that libFuzzer makes of it,
from a fixed seed; `make fuzz` tries for far longer, and each time from another one. A finding's
input is in the message, base64, as libFuzzer prints it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.needs import give_up

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
SUPERVISOR_MAIN = CSRC / "supervisor" / "loop.c"
#: Those in C, with the functions for which the harness has its own.
WRAPPED = {
    "request": (),
    "handle": ("ioctl", "syncfs", "pf_open_mount", "fork", "socketpair", "pf_load_is_high"),
    "receive": (),
    "record": (),
}
PYTHON_HARNESS = "mountinfo"
#: How many inputs each is tried with: some seconds' worth.
RUNS = {"request": 20_000, "handle": 6_000, "receive": 2_000, "record": 2_000, "mountinfo": 10_000}
#: A state page with its black box, and a little more.
MAX_LEN = 20_000
#: Of all inputs, at least this share has to be accepted: others are refused early, and try little.
ACCEPTED = 1 / 200
FLAGS = (
    "-std=gnu11",
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fno-sanitize-recover=all",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Werror",
    f"-I{CSRC}",
    f"-I{HERE}",
)
#: Of one input: a guard against hanging.
INPUT_S = 60
LONG_S = int(os.environ.get("PYFREEZE_FUZZ_SECONDS", "0"))
#: Of one harness: likewise.
HANG_S = LONG_S + 300


class Harness(NamedTuple):
    name: str
    command: Sequence[str]


def find_clang() -> str | None:
    """The compiler with libFuzzer; Debian also has it without the name that tells no version."""
    names = ("clang", *(f"clang-{version}" for version in range(30, 13, -1)))
    return next((found for name in names if (found := shutil.which(name))), None)


def compile_c(*words: str) -> None:
    clang = find_clang()
    if clang is None:
        give_up("missing: clang")
    done = subprocess.run(
        [clang, *FLAGS, *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of csrc but the program's `main`, which handle.c has as a part of itself."""
    directory: Path = tmp_path_factory.mktemp("fuzz-csrc")
    sources = sorted(path for path in CSRC.glob("*/*.c") if path != SUPERVISOR_MAIN)
    objects = [str(directory / f"{path.parent.name}-{path.stem}.o") for path in sources]

    def make(source: Path, output: str) -> None:
        sanitizers = "-fsanitize=fuzzer-no-link,address,undefined"
        compile_c(sanitizers, "-c", str(source), "-o", output)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(make, sources, objects):
            pass
    path = directory / "libpyfreeze.a"
    subprocess.run(["ar", "rcs", str(path), *objects], check=True, timeout=60)
    return path


@pytest.fixture(scope="module", params=[*WRAPPED, PYTHON_HARNESS])
def harness(request: pytest.FixtureRequest) -> Harness:
    name = request.param
    if name != PYTHON_HARNESS:
        library = request.getfixturevalue("library")
        program = library.with_name(name)
        wrapped = [f"-Wl,--wrap={function}" for function in WRAPPED[name]]
        source = str(HERE / f"{name}.c")
        sanitizers = "-fsanitize=fuzzer,address,undefined"
        compile_c(sanitizers, source, str(library), *wrapped, "-o", str(program))
        return Harness(name, [str(program)])
    if importlib.util.find_spec("atheris") is None:
        give_up("missing: atheris")
    return Harness(name, [sys.executable, str(HERE / f"{name}.py")])


def run(harness: Harness, directory: Path, *words: str) -> str:
    """Run one to its end, which must be a good one; returns what it told."""
    done = subprocess.run(
        [*harness.command, f"-timeout={INPUT_S}", f"-artifact_prefix={directory}/", *words],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def accepted_by(told: str) -> int:
    counts = re.findall(r"^accepted (\d+) inputs$", told, flags=re.MULTILINE)
    return int(counts[-1])


def executed_by(told: str) -> int:
    (count,) = re.findall(r"^stat::number_of_executed_units: *(\d+)$", told, flags=re.MULTILINE)
    return int(count)


def test_corpus(harness: Harness, tmp_path: Path) -> None:
    """It is of today's layout, or it would lead nowhere: see `make fuzz-seeds`."""
    seeds = sorted((HERE / "corpus" / harness.name).iterdir())
    assert len(seeds) >= 3
    assert accepted_by(run(harness, tmp_path, *map(str, seeds))) >= 2


@pytest.mark.timeout(HANG_S + 20)
def test_inputs_made_of_it(harness: Harness, tmp_path: Path) -> None:
    """Inputs made from the corpus find nothing, and enough of them are well-formed."""
    found = tmp_path / "found"
    found.mkdir()
    # Seed 0: another one each time.
    short = ("-seed=1", f"-runs={RUNS[harness.name]}")
    limits = ("-seed=0", f"-max_total_time={LONG_S}") if LONG_S else short
    words = (
        f"-max_len={MAX_LEN}",
        "-print_final_stats=1",
        str(found),
        str(HERE / "corpus" / harness.name),
    )
    told = run(harness, tmp_path, *limits, *words)
    assert accepted_by(told) >= executed_by(told) * ACCEPTED, told
