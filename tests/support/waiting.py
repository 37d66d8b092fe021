"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A guard against hanging, not a measure of speed.
PATIENCE_S = 20.0


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Return as soon as the condition holds; fail, saying what was waited for, if it never does."""
    assert holds_within(condition, timeout_s), f"not within {timeout_s:g} s: {what}"


def holds_within(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Whether the condition becomes true in time."""
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.004)
    return True
