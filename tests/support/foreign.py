"""Programs that are not this system's, as tests/foreign/fetch has unpacked them."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.disks import tool
from tests.support.namespace import ROOT

_FETCHED = Path(sys.prefix, "foreign")


def find(what: str) -> Path | None:
    """Where they are, for every user: the environment itself may be root's alone."""
    fetched = _FETCHED / what
    if not (fetched / "fetched").exists():
        return None
    place = Path(ROOT, f"foreign-{what}")
    if not place.exists():
        place.mkdir()
        tool("mount", "--bind", str(fetched), str(place))
    return place
