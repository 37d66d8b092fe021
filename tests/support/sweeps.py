"""The sweeps of tests/soak, as programs of their own: they have children and mounts to mind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).resolve().parents[1] / "soak"
#: A guard against hanging, beyond the sweeps' own.
_HANG_S = 280.0
#: On a busy machine a thaw may come late; `make soak` is strict.
_LATE_S = "15"


def sweep(*words: str) -> str:
    """Run one that must find nothing; returns what it printed."""
    jobs = str(min(os.cpu_count() or 1, 4))
    process = subprocess.Popen(
        [sys.executable, str(_PROGRAM), *words, "--jobs", jobs, "--late", _LATE_S],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        out, _ = process.communicate(timeout=_HANG_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # it thaws and cleans up
        out, _ = process.communicate(timeout=60)
        raise AssertionError(f"hangs:\n{out}") from None
    assert process.returncode == 0, out
    return out
