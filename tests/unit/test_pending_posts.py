"""Which post-scripts a lost supervisor left pending: any status of both scripts, of two plugins."""

from __future__ import annotations

import itertools

import pytest

from pyfreeze._backup.journal import Journal, pending_posts
from pyfreeze._backup.scripts import Script
from pyfreeze._backup.steps import Route, ScriptStep
from pyfreeze._core.types import StepKind, StepRecord, StepStatus
from pyfreeze._model.states import Verdict

_PRE = Script("pre", "db", "/s/pre.sh", (), 1, 30.0, 30.0, None)
_POST = _PRE._replace(phase="post", path="/s/post.sh")
_ROUTE = Route(
    (),
    None,
    None,
    (ScriptStep(_PRE, 0), ScriptStep(_PRE, 1)),
    None,
    None,
    (ScriptStep(_POST, 2), ScriptStep(_POST, 3)),
)
#: Of a pre-script, whether it may have quiesced its application.
_BEGUN = {
    StepStatus.PENDING: False,
    StepStatus.SKIPPED: False,
    StepStatus.RUNNING: True,
    StepStatus.FAILED: True,
    StepStatus.DONE: True,
}
#: Of a post-script, whether it has let go what it could.
_OVER = {
    StepStatus.PENDING: False,
    StepStatus.SKIPPED: False,
    StepStatus.RUNNING: False,
    StepStatus.FAILED: True,
    StepStatus.DONE: True,
}


@pytest.mark.parametrize("pres", list(itertools.product(StepStatus, repeat=2)))
def test_post_scripts_that_are_pending(pres: tuple[StepStatus, StepStatus]) -> None:
    """A pre-script that failed or was interrupted may have quiesced, too."""
    for posts in itertools.product(StepStatus, repeat=2):
        records = (StepRecord(StepKind.CHILD, one, Verdict.NONE) for one in (*pres, *posts))
        journal = Journal("run", 1, steps=tuple(records), is_lost=True)
        pending = [n for n in (0, 1) if _BEGUN[pres[n]] and not _OVER[posts[n]]]
        assert list(pending_posts(_ROUTE, journal)) == pending, posts


def test_without_a_plan_nothing_is_pending() -> None:
    assert pending_posts(_ROUTE, Journal("run", 1)) == ()
