"""The outcome: the specification's table row by row, and what must hold over the whole space."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyfreeze._backup.outcome import (
    Facts,
    Policy,
    ScriptFailure,
    decide_outcome,
    decide_snapshot,
)
from pyfreeze._model.codes import AFTERWARDS, UNTRUSTED, Level, OutcomeCode
from tests.support.facts import assert_facts

BEFORE_RUN = [
    OutcomeCode.PRE_SCRIPT_NOT_FOUND,
    OutcomeCode.POST_SCRIPT_NOT_FOUND,
    OutcomeCode.PRE_SCRIPT_INSECURE,
    OutcomeCode.POST_SCRIPT_INSECURE,
]
PRE = [
    OutcomeCode.PRE_SCRIPT_FAILED,
    OutcomeCode.PRE_SCRIPT_TIMED_OUT,
    OutcomeCode.HOST_PRE_TIMED_OUT,
]
POST = sorted(AFTERWARDS)
FREEZE = [OutcomeCode.FREEZE_FAILED, OutcomeCode.FREEZE_TIMED_OUT, OutcomeCode.MOUNT_NOT_OPENED]
SCRIPT_CODES = [*sorted(UNTRUSTED), *BEFORE_RUN, *PRE, *POST]


class Row(NamedTuple):
    """One cell of the table: (success, level, code), where level "fs" depends on freezing."""

    what: str
    codes: list[OutcomeCode]
    continues: bool
    success: bool
    level: str


# (what happened, the codes it may have, continueBackupOnFailure) -> status and level
TABLE = [
    Row("untrusted file", sorted(UNTRUSTED), True, True, "fs"),
    Row("script missing or insecure", BEFORE_RUN, True, True, "fs"),
    Row("script missing or insecure", BEFORE_RUN, False, False, "none"),
    Row("pre-script failed", PRE, True, True, "fs"),
    Row("pre-script failed", PRE, False, False, "none"),
    Row("post-script failed", POST, True, True, "fs"),
    Row("post-script failed", POST, False, False, "fs"),
]
CELLS = [
    pytest.param(row, code, freeze, id=f"{row.what}-{code}-{row.continues}-freeze={freeze}")
    for row in TABLE
    for code in row.codes
    for freeze in (True, False)
]


def fs(freeze: bool) -> Level:
    return Level.FILESYSTEM if freeze else Level.CRASH


@pytest.mark.parametrize(("row", "code", "freeze"), CELLS)
def test_each_script_row_of_the_table(row: Row, code: OutcomeCode, freeze: bool) -> None:
    """One failed script gives the level, success and code of its row."""
    failures = (ScriptFailure(code, row.continues),)
    policy = Policy(freeze=freeze, single_disk=False, continue_on_failure=row.continues)
    before = tuple(f for f in failures if f.code not in AFTERWARDS)
    plan = decide_snapshot(before, policy)
    assert plan.snapshot == (row.level != "none")
    outcome = decide_outcome(Facts(True, failures, snapshot_taken=plan.snapshot), policy)
    assert outcome.success == row.success
    assert outcome.level == (fs(freeze) if row.level == "fs" else Level.NONE)
    assert outcome.code == code


@pytest.mark.parametrize("code", [*BEFORE_RUN, *PRE])
@pytest.mark.parametrize("freeze", [True, False])
def test_single_disk_falls_back_to_crash_consistent(code: OutcomeCode, freeze: bool) -> None:
    failures = (ScriptFailure(code, False),)
    policy = Policy(freeze=freeze, single_disk=True, continue_on_failure=False)
    assert_facts(decide_snapshot(failures, policy), snapshot=True, freeze=False)
    outcome = decide_outcome(Facts(True, failures), policy)
    assert_facts(outcome, success=True, level=Level.CRASH, code=code, below_required=False)


@pytest.mark.parametrize("code", POST)
def test_single_disk_does_not_excuse_a_post_script(code: OutcomeCode) -> None:
    policy = Policy(freeze=True, single_disk=True, continue_on_failure=False)
    outcome = decide_outcome(Facts(True, (ScriptFailure(code, False),)), policy)
    assert_facts(outcome, success=False, level=Level.FILESYSTEM, code=code)


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("continues", [True, False])
def test_everything_worked(freeze: bool, continues: bool) -> None:
    """Without any failure a run is application-consistent, whatever the policy."""
    policy = Policy(freeze=freeze, single_disk=False, continue_on_failure=continues)
    outcome = decide_outcome(Facts(True), policy)
    assert_facts(outcome, success=True, level=Level.APPLICATION, below_required=False)
    assert outcome.code == OutcomeCode.APPLICATION_CONSISTENT


@pytest.mark.parametrize("freeze", [True, False])
def test_no_script_configuration(freeze: bool) -> None:
    """Without scripts the level is the freeze's."""
    outcome = decide_outcome(Facts(False), Policy(freeze=freeze, single_disk=False))
    assert_facts(outcome, success=True, level=fs(freeze), code=OutcomeCode.SUCCESS)
    assert_facts(outcome, below_required=False)


@pytest.mark.parametrize("code", FREEZE)
@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize("continues", [True, False])
def test_freeze_failed(code: OutcomeCode, fallback: bool, continues: bool) -> None:
    """After a failed freeze only a crash fallback that may go on is a success."""
    policy = Policy(
        freeze=True, single_disk=False, continue_on_failure=continues, crash_fallback=fallback
    )
    falls_back = fallback and continues
    outcome = decide_outcome(Facts(True, freeze_code=code, snapshot_taken=falls_back), policy)
    assert outcome.success == falls_back
    assert outcome.level == (Level.CRASH if falls_back else Level.NONE)
    assert outcome.code == code


@pytest.mark.parametrize(
    "facts", [Facts(True, window_broken=True), Facts(True, snapshot_failed=True)]
)
@pytest.mark.parametrize("continues", [True, False])
def test_a_ruined_snapshot(facts: Facts, continues: bool) -> None:
    """A broken window or a failed snapshot command is an error that no policy excuses."""
    policy = Policy(freeze=True, single_disk=False, continue_on_failure=continues)
    outcome = decide_outcome(facts, policy)
    assert_facts(outcome, success=False, level=Level.NONE, code=OutcomeCode.ERROR)
    assert_facts(outcome, below_required=False)


# ---- the whole space ---------------------------------------------------------------------------

failures_of_any_kind = st.lists(
    st.builds(ScriptFailure, st.sampled_from(SCRIPT_CODES), st.booleans()), max_size=4
).map(tuple)
policies = st.builds(
    Policy,
    freeze=st.booleans(),
    single_disk=st.booleans(),
    continue_on_failure=st.booleans(),
    crash_fallback=st.booleans(),
    require=st.sampled_from(Level),
)
facts_of_any_kind = st.builds(
    Facts,
    scripts_configured=st.booleans(),
    script_failures=failures_of_any_kind,
    freeze_code=st.none() | st.sampled_from(FREEZE),
    window_broken=st.booleans(),
    snapshot_failed=st.booleans(),
    snapshot_taken=st.booleans(),
    interrupted=st.booleans(),
    error=st.none() | st.sampled_from([OutcomeCode.ERROR, OutcomeCode.SUPERVISOR_NOT_FOUND]),
)
STRENGTH = settings(max_examples=500)


@STRENGTH
@given(facts_of_any_kind, policies)
def test_status_level_and_code_agree(facts: Facts, policy: Policy) -> None:
    outcome = decide_outcome(facts, policy)
    if outcome.success:
        assert outcome.level > Level.NONE
        assert outcome.level >= policy.require
        assert outcome.code is not OutcomeCode.ERROR
    if outcome.level is Level.APPLICATION:
        assert facts.scripts_configured
        assert not facts.script_failures
        assert facts.freeze_code is None
    assert (outcome.code is OutcomeCode.APPLICATION_CONSISTENT) == (
        outcome.success and outcome.level is Level.APPLICATION
    )
    assert outcome.below_required == (outcome.level < policy.require)


@STRENGTH
@given(facts_of_any_kind, policies)
def test_what_ruins_the_snapshot_is_never_success(facts: Facts, policy: Policy) -> None:
    ruined = (
        facts.window_broken
        or facts.snapshot_failed
        or facts.interrupted
        or facts.error is not None
        or not facts.snapshot_taken
    )
    if ruined:
        assert not decide_outcome(facts, policy).success
        assert decide_outcome(facts, policy).level is Level.NONE


@STRENGTH
@given(facts_of_any_kind, policies, st.sampled_from(SCRIPT_CODES), st.booleans())
def test_a_further_failure_never_helps(
    facts: Facts, policy: Policy, code: OutcomeCode, continues: bool
) -> None:
    # With everything else equal; a single disk's crash-consistent snapshot is weaker, not better.
    worse = facts._replace(script_failures=(*facts.script_failures, ScriptFailure(code, continues)))
    before, after = decide_outcome(facts, policy), decide_outcome(worse, policy)
    assert after.level <= before.level
    assert after.success <= before.success


@STRENGTH
@given(facts_of_any_kind, policies)
def test_require_changes_only_the_verdict(facts: Facts, policy: Policy) -> None:
    free = policy._replace(require=Level.NONE)
    asked, unasked = decide_outcome(facts, policy), decide_outcome(facts, free)
    assert asked.level == unasked.level
    assert decide_snapshot(facts.script_failures, policy) == decide_snapshot(
        facts.script_failures, free
    )
    assert asked.success == (unasked.success and unasked.level >= policy.require)


@STRENGTH
@given(failures_of_any_kind, policies)
def test_a_snapshot_is_refused_only_for_a_fatal_script(
    failures: tuple[ScriptFailure, ...], policy: Policy
) -> None:
    plan = decide_snapshot(failures, policy)
    fatal = [f for f in failures if not f.continue_on_failure and f.code not in UNTRUSTED]
    assert plan.snapshot == (not fatal or policy.single_disk)
    assert plan.freeze == (not fatal and policy.freeze)
