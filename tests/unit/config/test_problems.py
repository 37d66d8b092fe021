"""The wording that the readers share."""

from __future__ import annotations

import pickle

import pytest

from pyfreeze._base.text import counted, nearest, quoted, shown
from pyfreeze._config.problems import ConfigError, decode_utf8


def test_shown_keeps_what_can_be_printed() -> None:
    assert shown("/etc/größe 1.json") == "/etc/größe 1.json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb", "a\\nb"), ("\x1b[0m", "\\x1b[0m"), ("\ud800", "\\ud800"), ("a\u2028b", "a\\u2028b")],
)
def test_shown_escapes_what_cannot(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_quoted_cuts_short() -> None:
    assert quoted("x" * 80) == '"' + "x" * 80 + '"'
    assert quoted("x" * 1000) == '"' + "x" * 80 + '..."'


def test_one_is_no_plural() -> None:
    assert [counted(n, "filesystem") for n in (0, 1, 2)] == [
        "0 filesystems", "1 filesystem", "2 filesystems",
    ]  # fmt: skip


def test_nearest() -> None:
    """The nearest name in any case; none where nothing is near."""
    assert nearest("TIMEOUTINSECOND", ("timeoutInSeconds", "appName")) == "timeoutInSeconds"
    assert nearest("zzz", ("timeoutInSeconds",)) is None
    assert nearest("", ()) is None


def test_decode_drops_a_mark_and_names_the_bad_line() -> None:
    assert decode_utf8(b"\xef\xbb\xbfa", "f") == "a"
    for mark in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(ConfigError) as caught:
            decode_utf8(mark + b"a\nb\nc\xff", "f")
        assert str(caught.value) == "f: line 3: found the byte 0xff, expected text in UTF-8"


def test_config_error_reads_well_and_survives_pickling() -> None:
    error = ConfigError("/etc/x\n", "", "this", "that")
    assert str(error) == "/etc/x\\n: found this, expected that"
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
