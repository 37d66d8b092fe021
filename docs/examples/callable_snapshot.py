"""A snapshot taken by a callable: the scripts run, everything holds still, the callable is called.

    python callable_snapshot.py CONFIG MOUNT SOURCE TARGET

SOURCE is the image that the filesystem on MOUNT lies in, or its block device; TARGET lies on
another filesystem.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pyfreeze


def back_up(config: str, mount: str, source: str, target: str) -> pyfreeze.Report:
    """Copy an image at a moment at which application and filesystem are consistent."""

    def take_snapshot() -> None:
        # Nothing here may write to what is frozen, and everything here is time that writers wait:
        # connections to a storage system are best made before, and only used here.
        shutil.copyfile(source, target)

    return pyfreeze.backup(take_snapshot, config=config, mounts=[mount], max_window=20.0)


def main(config: str, mount: str, source: str, target: str) -> int:
    """Back up, and say what came of it."""
    report = back_up(config, mount, source, target)
    print(f"{report.status}: consistency {report.consistency}, code {report.code} {report.name}")
    if report.status != "success":
        Path(target).unlink(missing_ok=True)  # whatever it holds, it is no backup
        print(report.message, report.action, file=sys.stderr)
        return 1
    if report.window.window_ms is not None:  # fsFreezeEnabled may be false
        print(f"writers waited for {report.window.window_ms:.1f} ms at most")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
