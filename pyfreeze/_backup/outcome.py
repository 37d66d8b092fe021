"""What becomes of a backup: three decisions, each a pure function over plain data.

`decide_snapshot` and `may_fall_back` decide on the way, `decide_outcome` at the end. The order of
its checks is the order of severity: what ruins the snapshot comes before what only weakens
it.
"""

from __future__ import annotations

from typing import NamedTuple

from pyfreeze._model.codes import AFTERWARDS, UNTRUSTED, Level, OutcomeCode


class ScriptFailure(NamedTuple):
    """A reason why the scripts did not all run and succeed, with its plugin's wish."""

    code: OutcomeCode
    continue_on_failure: bool
    """The plugin's continueBackupOnFailure; True where its file could not be read."""


class Policy(NamedTuple):
    """What was asked for."""

    freeze: bool
    """Whether filesystems are to be frozen."""
    single_disk: bool
    """The machine has a single disk: a failing script then means a crash-consistent snapshot."""
    continue_on_failure: bool = True
    """False where any plugin's continueBackupOnFailure is."""
    crash_fallback: bool = False
    """Whether a failing freeze means a crash-consistent snapshot."""
    require: Level = Level.NONE


class SnapshotDecision(NamedTuple):
    """How the snapshot is to be taken."""

    snapshot: bool
    freeze: bool


class Facts(NamedTuple):
    """What happened."""

    scripts_configured: bool
    """Whether there was any script configuration to run scripts from."""
    script_failures: tuple[ScriptFailure, ...] = ()
    """Of configuration, pre-scripts and post-scripts, in the order in which they occurred."""
    freeze_code: OutcomeCode | None = None
    """Why freezing failed: FREEZE_FAILED, FREEZE_TIMED_OUT, MOUNT_NOT_OPENED, ..."""
    window_broken: bool = False
    """The window expired before the snapshot ended, or was thawed by others, or thaw failed."""
    snapshot_failed: bool = False
    snapshot_taken: bool = True
    interrupted: bool = False
    """A signal or the caller ended the run before the snapshot had ended."""
    error: OutcomeCode | None = None
    """Something beside all that: the supervisor is missing or was lost, a file is wrong, ..."""


class Outcome(NamedTuple):
    """The verdict on a backup."""

    success: bool
    level: Level
    code: OutcomeCode
    below_required: bool = False


def _is_fatal(failure: ScriptFailure) -> bool:
    return not failure.continue_on_failure and failure.code not in UNTRUSTED


def decide_snapshot(failures: tuple[ScriptFailure, ...], policy: Policy) -> SnapshotDecision:
    """Decide, after the pre-scripts, whether and how the snapshot is taken.

    Args:
        failures: of the configuration and the pre-scripts.
        policy: what was asked for.
    """
    if not any(_is_fatal(failure) for failure in failures):
        return SnapshotDecision(snapshot=True, freeze=policy.freeze)
    # The documentation's exception: on a single disk a crash-consistent snapshot is better than
    # none, whatever continueBackupOnFailure says.
    return SnapshotDecision(snapshot=policy.single_disk, freeze=False)


def may_fall_back(policy: Policy) -> bool:
    """Whether a snapshot is taken all the same when freezing has failed."""
    return policy.crash_fallback and policy.continue_on_failure


def _level(facts: Facts, policy: Policy, failures: tuple[ScriptFailure, ...]) -> Level:
    if facts.freeze_code is not None:
        return Level.CRASH
    if facts.scripts_configured and not failures:
        return Level.APPLICATION
    before = tuple(f for f in failures if f.code not in AFTERWARDS)
    return Level.FILESYSTEM if decide_snapshot(before, policy).freeze else Level.CRASH


def decide_outcome(facts: Facts, policy: Policy) -> Outcome:
    """Decide what the backup is worth."""
    failures = facts.script_failures
    surfaced = [] if facts.freeze_code is None else [facts.freeze_code]
    surfaced += [failure.code for failure in failures]

    def outcome(success: bool, level: Level, code: OutcomeCode) -> Outcome:
        below = level < policy.require
        if success and below and code in (OutcomeCode.APPLICATION_CONSISTENT, OutcomeCode.SUCCESS):
            code = OutcomeCode.ERROR
        return Outcome(success and not below, level, code, below)

    if facts.error is not None:
        return outcome(False, Level.NONE, facts.error)
    if facts.interrupted or facts.window_broken or facts.snapshot_failed:
        return outcome(False, Level.NONE, OutcomeCode.ERROR)
    fatal = [f.code for f in failures if _is_fatal(f)]
    fatal_before = [code for code in fatal if code not in AFTERWARDS]
    fatal_after = [code for code in fatal if code in AFTERWARDS]
    if fatal_before and not policy.single_disk:
        return outcome(False, Level.NONE, fatal_before[0])
    if facts.freeze_code is not None and not may_fall_back(policy):
        return outcome(False, Level.NONE, facts.freeze_code)
    if not facts.snapshot_taken:
        return outcome(False, Level.NONE, OutcomeCode.ERROR)
    level = _level(facts, policy, failures)
    if fatal_after:
        return outcome(False, level, fatal_after[0])
    if surfaced:
        return outcome(True, level, surfaced[0])
    clean = (
        OutcomeCode.APPLICATION_CONSISTENT if level is Level.APPLICATION else OutcomeCode.SUCCESS
    )
    return outcome(True, level, clean)
