"""The scripts' settings: what is accepted, and what a wrong one is told."""

from __future__ import annotations

import pytest

from pyfreeze._quiesce.application import INTEGER, PATH, SECONDS, TEXT, YES_NO, Kind, Setting, parse
from pyfreeze._quiesce.errors import QuiesceError
from tests.support.facts import assert_facts

SETTINGS = (
    Setting("port", "5432", "", INTEGER),
    Setting("wait_s", "10", "", SECONDS),
    Setting("backup_mode", "yes", "", YES_NO),
    Setting("socket", "", "", PATH),
    Setting("user", "root", ""),
)


def test_defaults_and_values() -> None:
    """A value given wins over the default, also an empty one."""
    values = parse(["port=1", "wait_s=0.5", "socket=/run/s=1", "user="], SETTINGS)
    assert_facts(values, port="1", backup_mode="yes", socket="/run/s=1", user="")
    assert float(values["wait_s"]) == 0.5


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (INTEGER, "-1"),
        (INTEGER, "1; id"),
        (INTEGER, "٣"),
        (SECONDS, "0"),
        (SECONDS, "nan"),
        (SECONDS, "1801"),
        (SECONDS, ""),
        (YES_NO, "YES"),
        (PATH, "relative"),
        (PATH, "/with\nnewline"),
        (TEXT, "bell\a"),
    ],
)
def test_what_is_not_of_its_kind(kind: Kind, value: str) -> None:
    """The setting is named with the value found."""
    with pytest.raises(QuiesceError, match="setting it: found "):
        parse([f"it={value}"], [Setting("it", "", "", kind)])


@pytest.mark.parametrize("word", ["prot=5432", "port", "=1"])
def test_what_is_no_setting(word: str) -> None:
    """A word that is not name=value, with a known name, is refused."""
    with pytest.raises(QuiesceError, match="expected a setting as name=value"):
        parse([word], SETTINGS)


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(QuiesceError, match="did you mean port"):
        parse(["prot=5432"], SETTINGS)
