"""The INI dialect and the typed reading of its values."""

from __future__ import annotations

import pytest

from pyfreeze._config.ini import Section, parse_ini
from pyfreeze._config.problems import ConfigError


def parse(text: str) -> dict[str, Section]:
    return parse_ini(text.encode(), "/etc/x.conf")


def refused(content: bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_ini(content, "/etc/x.conf")
    assert str(caught.value).startswith("/etc/x.conf: ")
    assert str(caught.value).isprintable()
    return caught.value


def section(text: str) -> Section:
    return parse("[s]\n" + text)["s"]


def test_the_dialect() -> None:
    """Comments, both separators, [DEFAULT], any case, and no interpolation."""
    sections = parse(
        "\ufeff# comment\n; comment\n[DEFAULT]\nshared = 1\n[A]\nKey = 50%% of %(x)s\r\n"
        "other: b = c\n[a]\nkey=\n"
    )
    assert {name: dict(found.values) for name, found in sections.items()} == {
        "A": {"shared": "1", "key": "50%% of %(x)s", "other": "b = c"},
        "a": {"shared": "1", "key": ""},
    }


def test_nothing_at_all() -> None:
    """An empty file has no sections."""
    assert parse("") == {}
    assert parse("\n\n# only a comment\n") == {}


@pytest.mark.parametrize(
    ("content", "where", "found"),
    [
        (b"[s]\nx = 1\n[t]\n[s]\n", "line 4", 'the section "s" again'),
        (b"[s]\nx = 1\nX: 2\n", "line 3", 'the key "x" again'),
        (b"\nx = 1\n", "line 2", '"x = 1"'),
        (b"[s]\nfine = 1\nno value here\n", "line 3", "no value here"),
        (b"[s\n", "line 1", "[s"),
        (b"[s]\n= 3\n", "line 2", "= 3"),
        (b"[s]\nx = a\0b\n", "line 2", "a NUL character"),
        (b"\0", "line 1", "a NUL character"),
        (b"[s]\nx = \xe4\n", "line 2", "the byte 0xe4"),
        (b"\xff\xfe[\0s\0]\0", "line 1", "the byte 0xff"),
    ],
)
def test_what_is_not_ini(content: bytes, where: str, found: str) -> None:
    """The line and what is wrong in it are named."""
    error = refused(content)
    assert error.where == where
    assert found in error.found


def test_text() -> None:
    """The value as it stands; an empty one is none; an indented line is refused."""
    values = section("Some = /a b \nempty =\nlines = /a\n  other = 1\n")
    assert values.text("SOME") == "/a b"
    assert values.text("empty") is None
    assert values.text("absent") is None
    with pytest.raises(ConfigError, match="indented") as caught:
        values.text("lines")
    assert caught.value.where == "[s] lines"


@pytest.mark.parametrize(
    ("text", "number"), [("10", 10.0), ("+1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e2", 100.0)]
)
def test_seconds(text: str, number: float) -> None:
    """Decimal numbers in the usual forms are seconds."""
    assert section(f"x = {text}").seconds("X", default_s=7.0, most_s=100.0) == number


def test_seconds_default() -> None:
    """A missing key gives the default."""
    assert section("").seconds("x", default_s=7.0) == 7.0


def test_seconds_without_a_bound() -> None:
    """Without an upper bound only what is not finite is refused."""
    assert section("x = 1e300").seconds("x", default_s=7.0) == 1e300
    with pytest.raises(ConfigError) as caught:
        section("x = 1e999").seconds("x", default_s=7.0)
    assert caught.value.expected == "a number of seconds, at least 0.001"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "10s",
        "10 # s",
        "nan",
        "inf",
        "1e999",
        "1_0",
        "٣",
        "0x10",
        "-1",
        "0.0009",
        "101",
        "1\n 2",
    ],
)
def test_bad_seconds(text: str) -> None:
    """What is no number within the bounds is refused with them."""
    with pytest.raises(ConfigError) as caught:
        section(f"x = {text}").seconds("x", default_s=7.0, most_s=100.0)
    assert caught.value.where == "[s] x"
    assert "at least 0.001 and at most 100" in caught.value.expected
    assert str(caught.value).isprintable()


def test_whole() -> None:
    """Whole numbers within the bounds are accepted."""
    assert section("x = 0").whole("x", least=0, most=3) == 0
    assert section("x = 03").whole("x", least=0, most=3) == 3


@pytest.mark.parametrize("text", ["", "-1", "4", "1.0", "1e0", "one", "1_0", "٣", "9" * 5000])
def test_bad_whole(text: str) -> None:
    """What is no whole number within the bounds is refused with them."""
    with pytest.raises(ConfigError, match="a whole number from 0 to 3"):
        section(f"x = {text}").whole("x", least=0, most=3)


def test_a_missing_whole_number() -> None:
    """It has no default, and is refused."""
    with pytest.raises(ConfigError) as caught:
        section("").whole("x", least=0, most=3)
    assert caught.value.found == "nothing"
