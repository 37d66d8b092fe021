"""Moves the test session into a mount namespace of its own, and tells its parts apart."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

# At the end, so that an installed pyfreeze is found before the tree's.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.support import namespace
from tests.support.parts import PARTS, Parts


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", action="append", choices=PARTS, help="only this part of the tests")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Parts(config.getoption("--part") or ()))
    _let_signals_reach_children()
    namespace.enter()


def _let_signals_reach_children() -> None:
    """What is ignored is inherited: under nohup or in a background job, by all that is tested here.

    A handler is not, and does nothing in this process either.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
