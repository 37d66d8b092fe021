"""Every system call of the Python process, the supervisor and all below it fails once.

Here the first and the last of each, with one error; `python tests/soak faults` tries all of them.
"""

from __future__ import annotations

import pytest

from tests.support.sweeps import sweep


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["client", "supervisor", "below"])
def test_system_calls_that_fail(role: str) -> None:
    """Each one failing once leaves nothing frozen and nothing called good."""
    assert "violations: 0" in sweep("faults", "--brief", "--role", role)
