"""Moves the test session into a mount namespace of its own, before anything else happens."""

from __future__ import annotations

import sys
from pathlib import Path

# At the end, so that an installed pyfreeze is found before the tree's.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.support import namespace


def pytest_configure() -> None:
    namespace.enter()
