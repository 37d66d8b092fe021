"""The parts of the tests, in the order in which they run, and how long each of them takes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support import foreign

#: The quick ones first; last what runs other kernels and other distributions' servers.
PARTS = ("unit", "property", "c", "fuzz", "system", "quiesce", "foreign")

_TESTS = Path(__file__).resolve().parents[1]


def part_of(item: pytest.Item) -> str:
    if item.get_closest_marker("foreign"):
        return "foreign"
    first, *others = item.path.relative_to(_TESTS).parts
    return "quiesce" if "quiesce" in others and first == "system" else first


class Parts:
    """A plugin: one part after another, and at the end a line about each."""

    def __init__(self, chosen: Iterable[str]) -> None:
        self._chosen = frozenset(chosen)
        self._of: dict[str, str] = {}
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._counts = dict.fromkeys(PARTS, 0)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        self._of = {item.nodeid: part_of(item) for item in items}
        items.sort(key=lambda item: PARTS.index(self._of[item.nodeid]))
        if self._chosen:
            others = [item for item in items if self._of[item.nodeid] not in self._chosen]
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if self._of[item.nodeid] in self._chosen]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        foreign.allow(self._of[item.nodeid] == "foreign")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        part = self._of[report.nodeid]
        self._seconds[part] += report.duration
        self._counts[part] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not any(self._counts.values()):
            return
        terminalreporter.section("parts")
        for part, seconds in self._seconds.items():
            if count := self._counts[part]:
                terminalreporter.line(f"{part:10}{seconds:8.1f} s {count:6} tests")
