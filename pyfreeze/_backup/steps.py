"""A backup as the steps that the supervisor carries out: pure.

Everything is decided here, before anything is run: what is done in which order, and what a failure
means for the steps after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._backup.outcome import decide_snapshot, may_fall_back
from pyfreeze._backup.plan import continues
from pyfreeze._backup.scripts import child_options, script_of
from pyfreeze._core.types import Fact, Group, Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._backup.plan import Plan
    from pyfreeze._backup.scripts import Script


class ScriptStep(NamedTuple):
    """A script, and its step."""

    script: Script
    step: int


class Route(NamedTuple):
    """The steps of a backup, and which is which; None: there is no such step."""

    steps: tuple[Step, ...]
    opening: int | None
    writeback: int | None
    """The flush at the beginning."""
    pre: tuple[ScriptStep, ...]
    """By plugin, in their order."""
    window: int | None
    unfrozen: int | None
    """The snapshot without freezing: where nothing is to be frozen, or cannot be."""
    post: tuple[ScriptStep, ...]

    def phase_of(self, step: int) -> str:
        """What an observer is told that a step belongs to; empty: nothing."""
        phases = {self.writeback: "flush", self.window: "window", self.unfrozen: "snapshot"}
        phases |= {one.step: "pre-scripts" for one in self.pre}
        phases |= {one.step: "post-scripts" for one in self.post}
        return phases.get(step, "")


def route_of(plan: Plan, run_id: str) -> Route:
    """The way of a backup that takes a snapshot."""
    policy, provider = plan.policy, plan.provider
    steps: list[Step] = []

    def add(step: Step) -> int:
        steps.append(step)
        return len(steps) - 1

    falls_back = may_fall_back(policy)
    not_frozen = Fact.UNFREEZABLE if falls_back else Fact.UNFREEZABLE | Fact.NO_SNAPSHOT
    over = Fact.ABORTED | Fact.NO_SNAPSHOT
    opening = writeback = window = unfrozen = None
    if policy.freeze:
        opening = add(Step(StepKind.OPEN, skip_if=over, on_failure=not_frozen))
        # The bulk of what is dirty, before an application waits.
        flush = Step(StepKind.FLUSH, flush=plan.writeback, on_failure=not_frozen)
        writeback = add(flush._replace(skip_if=over | Fact.UNFREEZABLE))
    plugins = plan.plugins if plan.runs_scripts else ()
    pre = []
    for plugin in plugins:
        script = script_of(plugin, "pre")
        # A fatal failure: on a single disk a crash-consistent snapshot is taken all the same.
        fatal = Fact.UNFREEZABLE if policy.single_disk else Fact.UNFREEZABLE | Fact.NO_SNAPSHOT
        step = Step(
            StepKind.CHILD,
            child=child_options(script, run_id),
            group=Group.PRE_SCRIPTS,
            skip_if=over,
            on_failure=Fact.NONE if continues(plugin) else fatal,
        )
        pre.append(ScriptStep(script, add(step)))
    if decide_snapshot(plan.failures, policy).freeze:
        frozen = provider.frozen_step(plan.window, run_id)
        window = add(frozen._replace(skip_if=over | Fact.UNFREEZABLE, on_failure=not_frozen))
    if window is None or falls_back or policy.single_disk:
        only_if = Fact.NONE if window is None else Fact.UNFREEZABLE
        step = provider.unfrozen_step(run_id)
        unfrozen = add(step._replace(skip_if=over, only_if=only_if))
    post = []
    for plugin, before in zip(plugins, pre, strict=True):
        script = script_of(plugin, "post")
        post.append(ScriptStep(script, add(_post_step(script, run_id, after=before.step))))
    return Route(tuple(steps), opening, writeback, tuple(pre), window, unfrozen, tuple(post))


def _post_step(script: Script, run_id: str, *, after: int = -1, outcome: str | None = None) -> Step:
    child = child_options(script, run_id, outcome)
    return Step(StepKind.CHILD, child=child, group=Group.POST_SCRIPTS, after=after)


def late_steps(scripts: Sequence[Script], run_id: str, outcome: str) -> tuple[Step, ...]:
    """The steps of the run that runs the post-scripts of a lost one.

    Args:
        scripts: the post-scripts that have not ended.
        run_id: of the new run.
        outcome: what became of the lost one's snapshot, as PYFREEZE_OUTCOME.
    """
    return tuple(_post_step(script, run_id, outcome=outcome) for script in scripts)
