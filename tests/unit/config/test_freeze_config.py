"""The freeze configuration, in a file that other programs use as well."""

from __future__ import annotations

import pytest

from pyfreeze._config.freeze_config import FreezeConfig, parse_freeze_config
from pyfreeze._config.problems import ConfigError, Parsed
from tests.support.facts import assert_facts


def parse(text: str) -> Parsed[FreezeConfig]:
    return parse_freeze_config(text.encode(), "/etc/v.conf")


def test_defaults() -> None:
    """Without keys, or without the section, each value is the documented default."""
    default = FreezeConfig(timeout_s=10.0, mounts_to_skip=(), safe_freeze_wait_s=10.0)
    assert_facts(parse(""), value=default, notices=())
    assert_facts(parse("[SnapshotThread]\n"), value=default, notices=())


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse("").value.timeout_s = 1.0  # type: ignore[misc]


def test_every_key() -> None:
    """Each key is read, in any case and with either separator."""
    config, notices = parse(
        "[SnapshotThread]\ntimeout: 60\nmountstoskip = /data , /,/srv/x/\n"
        "SafeFreezeWaitInSeconds=2.5"
    )
    mounts = ("/data", "/", "/srv/x")
    assert config == FreezeConfig(timeout_s=60.0, mounts_to_skip=mounts, safe_freeze_wait_s=2.5)
    assert notices == ()


@pytest.mark.parametrize(
    ("value", "mounts"),
    [
        ("", ()),
        (",, ,", ()),
        ("/", ("/",)),
        ("//", ("/",)),
        ("/a,/a/,/a", ("/a",)),
        ("/a,\n  /b\n  /c", ("/a", "/b", "/c")),
        ("/with blank/x", ("/with blank/x",)),
    ],
)
def test_mounts_to_skip(value: str, mounts: tuple[str, ...]) -> None:
    """A list over commas and lines, without empty entries and repetitions."""
    config, notices = parse(f"[SnapshotThread]\nMountsToSkip = {value}")
    assert config.mounts_to_skip == mounts
    assert notices == ()


def test_a_mount_that_is_no_path_is_noticed() -> None:
    _, notices = parse("[SnapshotThread]\nMountsToSkip = data,/srv")
    assert len(notices) == 1
    assert '"data"' in notices[0]


@pytest.mark.parametrize("key", ["timeout", "SafeFreezeWaitInSeconds"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "1e9", "ten", "", "60 # s"])
def test_bad_times(key: str, value: str) -> None:
    """A time out of its bounds is refused with its key."""
    with pytest.raises(ConfigError) as caught:
        parse(f"[SnapshotThread]\n{key} = {value}")
    assert caught.value.where == f"[SnapshotThread] {key}"


def test_others_sections_and_keys_are_none_of_our_business() -> None:
    _, notices = parse(
        "[Monitor]\nstrings = a%b\n[SnapshotThread]\nonlyLocalFilesystems = yes\ndoseq = 1\n"
    )
    assert notices == ()


def test_near_misses_are_noticed() -> None:
    _, notices = parse("[snapshotthread]\n[SnapshotThread]\ntime_out = 3\nMountToSkip = /\n")
    assert len(notices) == 3
    assert "[SnapshotThread]?" in notices[0]
    assert "timeout?" in notices[1]
    assert "MountsToSkip?" in notices[2]


def test_what_is_not_ini() -> None:
    """A file that is no INI is refused with the line."""
    with pytest.raises(ConfigError) as caught:
        parse("timeout = 3")
    assert_facts(caught.value, where="line 1")
