"""Programs that are not this system's, as tests/foreign/fetch has unpacked them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.disks import tool
from tests.support.namespace import ROOT

#: For a test, or a parameter of one, that needs them.
FOREIGN = pytest.mark.foreign

_FETCHED = Path(sys.prefix, "foreign")


class _Test:
    """The test that runs."""

    may_use_them = True


def allow(is_marked: bool) -> None:
    _Test.may_use_them = is_marked


def find(what: str) -> Path | None:
    """Where they are, for every user: the environment itself may be root's alone."""
    assert _Test.may_use_them, f"what needs {what} is to be marked as FOREIGN"
    fetched = _FETCHED / what
    if not (fetched / "fetched").exists():
        return None
    place = Path(ROOT, f"foreign-{what}")
    if not place.exists():
        place.mkdir()
        tool("mount", "--bind", str(fetched), str(place))
    return place
