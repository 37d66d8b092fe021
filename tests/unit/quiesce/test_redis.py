"""What tells that nobody has written to a Redis server."""

from __future__ import annotations

import pytest

from pyfreeze._quiesce.apps.redis import Mark, is_unchanged, mark_of

_BEFORE = Mark("life", "17", "1", "4096")


@pytest.mark.parametrize(
    ("now", "unchanged"),
    [
        (_BEFORE, True),
        (Mark("life", "0", "2", "4096"), True),  # a snapshot of its own ended
        (Mark("life", "17", "1", "128"), True),  # a rewrite of the append-only file ended
        (Mark("life", "18", "1", "4097"), False),
        (Mark("life", "0", "2", "4097"), False),
        (Mark("life", "17", "2", "4097"), False),
        (Mark("another", "17", "1", "4096"), False),
    ],
)
def test_either_of_two_says_that_nothing_changed(now: Mark, unchanged: bool) -> None:
    assert is_unchanged(_BEFORE, now) is unchanged


def test_without_an_append_only_file_the_count_alone_does() -> None:
    before = Mark("life", "0", "1", "")
    assert is_unchanged(before, before)
    assert not is_unchanged(before, Mark("life", "1", "1", ""))
    # Somebody has written, and a snapshot of its own has ended since.
    assert not is_unchanged(before, Mark("life", "0", "2", ""))


def test_what_is_about_to_be_appended_counts() -> None:
    persistence = {
        "aof_enabled": "1",
        "aof_current_size": "100",
        "aof_buffer_length": "7",
        "rdb_changes_since_last_save": "3",
        "rdb_last_save_time": "1000",
        "rdb_saves": "2",
    }
    assert mark_of({"run_id": "life"}, persistence) == Mark("life", "3", "1000/2", "107")
    assert mark_of({"run_id": "life"}, persistence | {"aof_enabled": "0"}).appended == ""
