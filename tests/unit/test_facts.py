"""The tests' own comparison of facts: it says which of them differ."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.command import Done
from tests.support.facts import assert_facts

DONE = Done(1, '{"status": "error", "code": 2}', "pyfreeze: no such thing\n")


def failure(thing: object, **expected: object) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        assert_facts(thing, **expected)
    return str(caught.value).splitlines()


def test_facts_that_hold() -> None:
    """Of a command, a mapping and an object: nothing is raised."""
    assert_facts(DONE, exit_status=1, status="error", code=2, err="pyfreeze: no such thing\n")
    assert_facts({"a": 1, "b": 2}, b=2)
    assert_facts(SimpleNamespace(a=1, b=2), a=1, b=2)


def test_only_what_differs_is_named() -> None:
    assert failure(DONE, exit_status=0, code=2, status="success") == [
        "exit_status: found 1, expected 0",
        "status: found 'error', expected 'success'",
        "",
        "pyfreeze: no such thing",
    ]


@pytest.mark.parametrize("out", ["", "not JSON", "[]", '{"other": 1}'])
def test_a_missing_report_hides_no_other_fact(out: str) -> None:
    assert failure(Done(-11, out, ""), exit_status=0, code=0)[:2] == [
        "exit_status: found -11, expected 0",
        "code: found '(missing)', expected 0",
    ]


def test_an_entry_that_is_missing() -> None:
    """It differs from whatever was expected."""
    assert failure({"a": 1}, b=2)[0] == "b: found '(missing)', expected 2"
