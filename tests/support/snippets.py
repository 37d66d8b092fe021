"""Python programs of a few lines, as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.support.disks import Disk
from tests.support.namespace import assert_ours


def start_python(code: str, *disks: Disk, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start a program; its arguments are the disks' mount points."""
    for disk in disks:
        assert_ours(disk.mount_point)
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", code, *(disk.mount_point for disk in disks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )


def run_python(code: str, *disks: Disk, prefix: Sequence[str] = ()) -> str:
    """Run a program that must succeed; returns what it printed."""
    process = start_python(code, *disks, prefix=prefix)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=60)
        raise
    assert process.returncode == 0, err
    return out
