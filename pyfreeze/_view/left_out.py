"""Mounts that are left out, told in a few lines: a machine has dozens of pseudo filesystems."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMED_AT_MOST = 4


def left_out_lines(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each reason, from (mount point, reason) pairs: pure."""
    mounts: dict[str, list[str]] = {}
    for mount, reason in skipped:
        # "pseudo filesystem (proc)" and "pseudo filesystem (sysfs)" are one reason here.
        mounts.setdefault(reason.partition(" (")[0], []).append(mount)
    lines = []
    for reason, names in mounts.items():
        more = len(names) - _NAMED_AT_MOST
        shown = ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"{reason}: {shown}")
    return lines
