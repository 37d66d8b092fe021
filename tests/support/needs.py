"""What a machine may lack: its tests are skipped, or fail where everything has to work (CI)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import NoReturn

import pytest

MUST_WORK = os.environ.get("PYFREEZE_MUST_WORK") == "1"


def give_up(reason: str) -> NoReturn:
    """Skip the test, or fail it."""
    if MUST_WORK:
        pytest.fail(reason)
    pytest.skip(reason)


def need(missing: Iterable[str]) -> None:
    """Go on only if nothing is missing."""
    if names := list(missing):
        give_up(f"missing: {', '.join(names)}")


def need_program(name: str) -> str:
    """Where a program is."""
    found = shutil.which(name)
    return found or give_up(f"missing: {name}")
