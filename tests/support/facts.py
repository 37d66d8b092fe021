"""Several facts about one thing, compared at once: whoever reads the failure sees which differ."""

from __future__ import annotations

from collections.abc import Mapping
from pprint import pformat
from typing import Any

from tests.support.command import Done

MISSING = "(missing)"


def _fact(thing: Any, name: str) -> Any:
    if isinstance(thing, Done):
        of_itself = {"exit_status": thing.status, "out": thing.out, "err": thing.err}
        return of_itself[name] if name in of_itself else _report(thing).get(name, MISSING)
    if isinstance(thing, Mapping):
        return thing.get(name, MISSING)
    return getattr(thing, name)


def _report(done: Done) -> dict[str, Any]:
    """A command that has failed badly may have printed none: all its other facts count then."""
    try:
        return done.report
    except (ValueError, AssertionError):
        return {}


def assert_facts(thing: Any, /, **expected: Any) -> None:
    """Compare an object's attributes, or a mapping's entries, with what they should be.

    Of a command that has ended: ``exit_status``, ``out``, ``err``, and the entries of its report.
    """
    __tracebackhide__ = True
    found = {name: _fact(thing, name) for name in expected}
    if found == expected:
        return
    wrong = [
        f"{name}: found {found[name]!r}, expected {expected[name]!r}"
        for name in expected
        if found[name] != expected[name]
    ]
    about = thing.err if isinstance(thing, Done) else pformat(thing, width=100)
    raise AssertionError("\n".join([*wrong, "", about]))
