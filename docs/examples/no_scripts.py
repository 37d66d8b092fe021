"""Freezing alone, without scripts and without files: `frozen()` around a block.

    python no_scripts.py MOUNT SOURCE TARGET

SOURCE is the image that the filesystem on MOUNT lies in, or its block device; TARGET lies on
another filesystem.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pyfreeze


def main(mount: str, source: str, target: str) -> int:
    """Copy an image while its filesystem holds still."""
    try:
        with pyfreeze.frozen([mount], max_window=20.0) as window:
            shutil.copyfile(source, target)
    except pyfreeze.InconsistentError as error:
        # The block ran, but not all of it while everything was frozen.
        Path(target).unlink(missing_ok=True)
        print(error, file=sys.stderr)
        return 1
    except pyfreeze.FreezeError as error:
        # The block did not run: no such mount, not root, another run, ...
        print(error, file=sys.stderr)
        return 1
    assert window.times is not None
    print(
        f"frozen for {window.times.window_ms:.1f} ms, {window.times.overhead_ms:.2f} ms of it ours"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
