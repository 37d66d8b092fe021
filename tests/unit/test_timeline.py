"""The arithmetic of a window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyfreeze._model.states import FilesystemState
from pyfreeze._model.timeline import FilesystemTimes, window_times

MS = 1_000_000


def times(
    mount: str,
    freeze: tuple[int, int] = (0, 0),
    thaw: tuple[int, int] = (0, 0),
    state: FilesystemState = FilesystemState.THAWED,
) -> FilesystemTimes:
    return FilesystemTimes(mount, (7, 0), 0, state, 0, 1, 5 * MS, *freeze, *thaw)


def test_a_window_spans_from_the_first_freeze_to_the_last_thaw() -> None:
    window = window_times(
        [
            times("/a", (10 * MS, 12 * MS), (40 * MS, 41 * MS)),
            times("/b", (11 * MS, 15 * MS), (38 * MS, 43 * MS)),
        ],
        20 * MS,
        35 * MS,
    )
    assert window.window_ms == 33
    assert window.frozen_together_ms == 23
    assert window.snapshot_ms == 15
    assert window.overhead_ms == 18
    assert [f.freeze_ms for f in window.filesystems] == [2, 4]
    assert [f.frozen_ms for f in window.filesystems] == [31, 32]
    assert [f.thaw_ms for f in window.filesystems] == [1, 5]


def test_a_snapshot_that_outlasts_the_window_counts_only_inside_it() -> None:
    window = window_times([times("/a", (10 * MS, 11 * MS), (30 * MS, 31 * MS))], 12 * MS, 90 * MS)
    assert window.snapshot_ms == 19
    assert window.overhead_ms == 2


def test_what_never_happened_has_no_time() -> None:
    window = window_times([times("/a", state=FilesystemState.FAILED)])
    assert window.window_ms is None
    assert window.overhead_ms is None
    assert window.frozen_together_ms is None
    assert window.filesystems[0].freeze_ms is None


def test_no_filesystems_at_all() -> None:
    """A window over nothing has no length."""
    assert window_times([]).window_ms is None


def test_states_that_may_be_frozen() -> None:
    """These four, whichever other states there are."""
    may = [state for state in FilesystemState if times("/a", state=state).may_be_frozen]
    assert may == ["freezing", "frozen", "thawing", "stuck"]


moments = st.integers(min_value=1, max_value=10**15)


@given(st.lists(st.lists(moments, min_size=4, max_size=4).map(sorted), min_size=1, max_size=8))
def test_the_parts_never_exceed_the_whole(rows: list[list[int]]) -> None:
    window = window_times(
        [times(f"/{i}", (row[0], row[1]), (row[2], row[3])) for i, row in enumerate(rows)],
        min(row[1] for row in rows),
        max(row[2] for row in rows),
    )
    assert window.window_ms is not None
    assert window.overhead_ms is not None
    assert 0 <= window.overhead_ms <= window.window_ms
    for one in window.filesystems:
        assert one.frozen_ms is not None
        assert one.frozen_ms <= window.window_ms
