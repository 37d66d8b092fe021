"""Signals at random moments of real runs under load: nothing stays frozen, nothing is left.

What is tried and what must hold is in tests/soak. A failure prints its seed and number; with
`python tests/soak kills --seed S --first N --count 1 --repeat 100` it is tried again.
"""

from __future__ import annotations

import pytest

from tests.support.sweeps import sweep

_SEED = 20
_CHUNK = 80


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, 4 * _CHUNK, _CHUNK))
def test_random_kills(first: int) -> None:
    """None of many kills leaves anything frozen."""
    words = ("--seed", str(_SEED), "--first", str(first), "--count", str(_CHUNK))
    assert f"{_CHUNK} kills tried, left frozen: 0" in sweep("kills", *words)
