"""The parts that the tests are in: each has a name, and what is foreign is marked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import foreign
from tests.support.parts import PARTS, part_of

TESTS = Path(__file__).resolve().parents[1]


def item(path: Path, *marks: str) -> Any:
    return SimpleNamespace(
        path=path, get_closest_marker=lambda name: name if name in marks else None
    )


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_is_in_a_part(path: Path) -> None:
    assert part_of(item(path)) in PARTS
    assert part_of(item(path, "foreign")) == "foreign"


def test_the_quiesce_scripts_are_a_part_of_their_own() -> None:
    assert part_of(item(TESTS / "system/quiesce/test_redis.py")) == "quiesce"
    assert part_of(item(TESTS / "unit/quiesce/test_redis.py")) == "unit"


def test_what_is_not_marked_as_foreign_uses_nothing_foreign() -> None:
    with pytest.raises(AssertionError, match="FOREIGN"):
        foreign.find("kernels")
