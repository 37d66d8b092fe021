"""What comes from outside the C core, as any bytes: libFuzzer's harnesses, with ASan and UBSan.

Each is tried with the committed corpus and then for a while with what libFuzzer makes of it, from
a fixed seed; `make fuzz` tries far longer, and each time from another one. A finding's input is in
the message, base64, as libFuzzer prints it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
HARNESSES = ("request", "record")
SOURCES = ("fault.c", "wire.c", "childpage.c", "page.c", "record.c", "thaw.c", "rcu.c")
FLAGS = (
    "-std=gnu11",
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
    "-Wall",
    "-Wextra",
    "-Werror",
    f"-I{CSRC}",
    f"-I{HERE}",
)
#: Of one input: a guard against hanging.
INPUT_S = 20
LONG_S = int(os.environ.get("PYFREEZE_FUZZ_SECONDS", "0"))
SECONDS = LONG_S or 8


def find_clang() -> str | None:
    """The compiler with libFuzzer; Debian also has it without the name that tells no version."""
    names = ("clang", *(f"clang-{version}" for version in range(30, 13, -1)))
    return next((found for name in names if (found := shutil.which(name))), None)


def compile_harness(name: str, directory: Path) -> Path:
    clang = find_clang()
    if clang is None and os.environ.get("PYFREEZE_MUST_WORK") == "1":
        pytest.fail("missing: clang")
    if clang is None:
        pytest.skip("missing: clang")
    program = directory / name
    sources = [str(HERE / f"{name}.c"), *(str(CSRC / source) for source in SOURCES)]
    done = subprocess.run(
        [clang, *FLAGS, *sources, "-o", str(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module", params=HARNESSES)
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp(f"fuzz-{request.param}")
    return compile_harness(request.param, directory)


def run(harness: Path, directory: Path, *words: str) -> str:
    """Run one to its end, which must be a good one; returns what it told."""
    done = subprocess.run(
        [str(harness), f"-timeout={INPUT_S}", f"-artifact_prefix={directory}/", *words],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SECONDS + 100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def accepted_by(told: str) -> int:
    counts = re.findall(r"^accepted (\d+) inputs$", told, flags=re.MULTILINE)
    return int(counts[-1])


def test_corpus(harness: Path, tmp_path: Path) -> None:
    """It is of today's layout, or it would lead nowhere: see `make fuzz-seeds`."""
    seeds = sorted((HERE / "corpus" / harness.name).iterdir())
    assert len(seeds) >= 3
    assert accepted_by(run(harness, tmp_path, *map(str, seeds))) >= 2


@pytest.mark.timeout(SECONDS + 120)
def test_inputs_made_of_it(harness: Path, tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.mkdir()
    seed = f"-seed={0 if LONG_S else 1}"  # 0: another one each time
    limits = (seed, f"-max_total_time={SECONDS}", "-max_len=4096", "-print_final_stats=1")
    told = run(harness, tmp_path, *limits, str(found), str(HERE / "corpus" / harness.name))
    assert accepted_by(told) >= 1000, told
