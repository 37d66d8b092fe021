"""What a wheel and the source distribution that it is built of have to hold."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

#: Of no use without git.
_ONLY_IN_GIT = {".ci/bare-system", ".ci/run", ".gitignore"}


def main(wheel_path: str, source: Path, unpacked: Path) -> None:
    if "-cp311-abi3-" not in wheel_path:
        sys.exit(f"{wheel_path}: not tagged cp311-abi3")
    committed = _files(source)
    if missing := committed - _files(unpacked) - _ONLY_IN_GIT:
        sys.exit(f"the source distribution lacks {', '.join(sorted(missing))}")
    wheel = zipfile.ZipFile(wheel_path)
    names = set(wheel.namelist())
    if missing := {name for name in committed if name.startswith("pyfreeze/")} - names:
        sys.exit(f"{wheel_path}: lacks {', '.join(sorted(missing))}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        sys.exit(f"{wheel_path}: lacks the licence")
    mode = wheel.getinfo("pyfreeze/pyfreeze-supervisor").external_attr >> 16 & 0o7777
    if mode != 0o755:
        sys.exit(f"{wheel_path}: pyfreeze-supervisor has mode {mode:o}")


def _files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
