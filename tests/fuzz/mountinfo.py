"""A mount table of any bytes, as libFuzzer's harness in Python: read, looked up in and chosen from.

A program, not a test: its arguments are libFuzzer's.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pyfreeze._mounts"]):
    from pyfreeze._mounts.blockstack import BlockStack
    from pyfreeze._mounts.mountinfo import (
        MountError,
        by_mount_point,
        normalise,
        parse_mountinfo,
        visible,
    )
    from pyfreeze._mounts.selection import select

NO_DEVICES = BlockStack({}, {})
accepted = 0


def try_input(data: bytes) -> None:
    """Whatever the parser accepts can be worked with; what it does not, it names."""
    global accepted  # noqa: PLW0603 - libFuzzer never returns
    try:
        mounts = parse_mountinfo(data)
    except ValueError as error:
        text = str(error)
        if not text.startswith("mountinfo line ") or ", expected " not in text:
            raise AssertionError(text) from error
        return
    accepted += 1
    if accepted & (accepted - 1) == 0:  # there is no last word: libFuzzer ends by _exit()
        sys.stderr.write(f"accepted {accepted} inputs\n")
    seen = visible(mounts)
    whole = select(mounts, NO_DEVICES)
    assert len({mount.mount_point for mount in seen}) == len(seen)
    assert len(whole.filesystems) + len(whole.skipped) == len(mounts)
    for point in by_mount_point(mounts):
        try:
            (chosen,) = select(mounts, NO_DEVICES, only=[point]).filesystems
        except MountError as error:
            assert error.path == point or not is_a_path(point)
        else:
            assert chosen.mount_point == normalise(point)


def is_a_path(name: str) -> bool:
    """Whether the kernel could show it so."""
    return name.startswith("/") and "\0" not in name and normalise(name) == name


def main() -> None:
    atheris.Setup(sys.argv, try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
