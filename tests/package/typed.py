"""The types as others see them: mypy --strict over programs that use an installed wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

#: Whoever writes this gets these types, and no complaint.
USE = """\
from __future__ import annotations

from typing import Literal, Unpack, assert_type

import pyfreeze


def snapshot() -> None: ...


def window(paths: list[str]) -> float | None:
    with pyfreeze.frozen(paths, max_window=2.0, flush_rounds=3) as window:
        assert_type(window, pyfreeze.Window)
        assert_type([one.mount_point for one in window.filesystems], list[str])
    times = window.times
    assert_type(times, pyfreeze.WindowTimes | None)
    if times is None:
        return None
    assert_type(times.filesystems, tuple[pyfreeze.FilesystemTimes, ...])
    assert_type(times.overhead_ms, float | None)
    return times.window_ms


def handed_on(**options: Unpack[pyfreeze.WindowKeywords]) -> pyfreeze.Window:
    return pyfreeze.frozen(["/srv"], **options)


def backups() -> None:
    handed_on(max_window=None, expedite=False, flush_rounds=0)
    report = pyfreeze.backup(["lvcreate", "-s"], mounts=["/srv"], require="application")
    assert_type(report, pyfreeze.Report)
    assert_type(report.status, Literal["success", "error"])
    assert_type(report.consistency, Literal["none", "crash", "filesystem", "application"])
    assert_type(report.code, int)
    assert_type(report.window.overhead_ms, float | None)
    pyfreeze.backup(snapshot, single_disk=None)
    pyfreeze.backup(pyfreeze.Peer(notify_fd=3, done_fd=4))


def errors() -> str:
    try:
        backups()
    except pyfreeze.StillFrozenError as error:
        assert_type(error.mounts, tuple[str, ...])
    except pyfreeze.InconsistentError as error:
        assert_type(error.times, pyfreeze.WindowTimes | None)
    except pyfreeze.FreezeError as error:
        caught: OSError = error
        return str(caught)
    return pyfreeze.__version__
"""

#: Each line but the imports is wrong, and mypy says so in these words of its own.
MISUSE = """\
import pyfreeze
from pyfreeze._core.types import EventKind, StepKind, StepRecord, StepStatus
from pyfreeze._model.states import FilesystemState, Verdict

pyfreeze.frozen()  # call-arg
pyfreeze.frozen(["/srv"], 2.0)  # call-arg, arg-type
pyfreeze.frozen(["/srv"], max_window="2")  # arg-type
pyfreeze.frozen(["/srv"], expedit=False)  # call-arg
pyfreeze.backup(["true"], parallel="no")  # arg-type
pyfreeze.backup(7)  # arg-type
pyfreeze.backup(["true"], scripts=1.5)  # arg-type
pyfreeze.backup(["true"], max_windows=2)  # call-arg
pyfreeze.backup(["true"]).consistent  # attr-defined
pyfreeze.frozen(["/srv"]).times.window_ms  # union-attr
pyfreeze.freeze(["/srv"])  # attr-defined
pyfreeze.backup(["true"], require="aplication")  # arg-type
pyfreeze.backup(["true"]).status == "sucess"  # comparison-overlap
pyfreeze.backup(["true"]).consistency == "crashed"  # comparison-overlap
Verdict.EXPIERD  # attr-defined
Verdict.EXPIRED == "expired"  # comparison-overlap
StepRecord(StepKind.WINDOW, StepStatus.DONE, "good")  # arg-type
EventKind.ENDD  # attr-defined
EventKind.ENDED == 4  # comparison-overlap
FilesystemState.THAWD  # attr-defined
"""


def check(mypy: str, python: str, program: str) -> str:
    """What mypy prints of a program, which finds pyfreeze where that interpreter has it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "program.py")
        path.write_text(program, encoding="utf-8")
        words = [mypy, "--strict", "--config-file=", f"--python-executable={python}", path.name]
        return subprocess.run(
            words, cwd=directory, capture_output=True, text=True, timeout=300, check=False
        ).stdout


def main(mypy: str, python: str) -> None:
    said = check(mypy, python, USE)
    if not said.startswith("Success"):
        sys.exit(f"mypy on a program that is right:\n{said}")
    said = check(mypy, python, MISUSE)
    found: dict[int, set[str]] = {}
    for number, code in re.findall(
        r"^program.py:(\d+): error: .*\[([\w-]+)\]$", said, re.MULTILINE
    ):
        found.setdefault(int(number), set()).add(code)
    for number, line in enumerate(MISUSE.splitlines(), start=1):
        expected = set(re.findall(r"[\w-]+", line.partition("# ")[2]))
        if found.get(number, set()) != expected:
            sys.exit(f"mypy does not find what is wrong in {line!r}:\n{said}")
    print("mypy --strict: the types are those of the documentation, and misuse is found")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
