"""`pyfreeze status`: what runs there are, and what dead ones left."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._base.text import printable
from pyfreeze._cli import exits, streams
from pyfreeze._cli.command import Example, declare, option
from pyfreeze._model.states import word_of
from pyfreeze._model.transitions import describe_transition, transition_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyfreeze._recovery.status import RunStatus, RunStep


@declare(
    "status",
    Example("Every run that is alive, or has left something", "pyfreeze status"),
    Example("And what each of them did last", "pyfreeze status --verbose"),
    Example(
        "For monitoring: thaw only where something was left",
        "pyfreeze status >/dev/null || pyfreeze thaw",
    ),
)
@option("--json as_json", None, "Print one JSON object.")
@option(
    "--verbose", None,
    "Show what each run did last, of the 512 transitions that its state page keeps.",
)  # fmt: skip
def command(as_json: bool, verbose: bool) -> int:
    """Show every run on this machine: alive or dead, since when, its steps, and what it has frozen.

    It only looks at the runs' state pages, and takes no lock: a live run is not disturbed. Within a
    script its own run, the one of PYFREEZE_RUN_ID, is marked.

    Exit status 0: nothing is left frozen; what a live run has frozen, it thaws. 5: a dead run left
    something that may still be frozen, which pyfreeze thaw sees to. 1: the pages can't be read,
    which takes root.
    """
    from pyfreeze._recovery.status import read_status

    runs = read_status(STATE_DIRECTORY, os.environ.get("PYFREEZE_RUN_ID"))
    left = [mount for run in runs for mount in run.left_frozen]
    status = exits.MAY_BE_FROZEN if left else exits.SUCCESS
    with streams.telling(status, f"may be frozen: {', '.join(left)}" if left else ""):
        if as_json:
            click.echo(json.dumps(_as_data(runs, left, verbose=verbose), indent=2))
        else:
            lines = [text for run in runs for text in _lines(run, verbose=verbose)]
            for line in lines or ["no run"]:
                click.echo(line)
    return status


def _as_data(runs: Sequence[RunStatus], left: list[str], *, verbose: bool) -> dict[str, object]:
    return {
        "version": 1,
        "left_frozen": left,
        "runs": [
            {
                **run._asdict(),
                "client": run.client._asdict(),
                "supervisor": run.supervisor._asdict(),
                "filesystems": [one._asdict() for one in run.filesystems],
                "steps": [_step_as_data(step) for step in run.steps],
                "left_frozen": list(run.left_frozen),
                "transitions": _transitions(run) if verbose else [],
            }
            for run in runs
        ],
    }


def _step_as_data(step: RunStep) -> dict[str, object]:
    verdict = step.verdict and word_of(step.verdict)
    return {**step._asdict(), "status": word_of(step.status), "verdict": verdict}


def _transitions(run: RunStatus) -> list[dict[str, object]]:
    mounts = [one.mount for one in run.filesystems]
    return [
        {"t_ns": one.ns, "kind": one.name, "text": describe_transition(one, mounts)}
        for one in run.transitions
    ]


def _lines(run: RunStatus, *, verbose: bool) -> Iterator[str]:
    """A run for people: pure."""
    this = " (this run)" if run.is_this else ""
    begun = f"begun {run.age_s:.1f} s ago"
    client, supervisor = (f"{one.pid or '-'} {one.state}" for one in (run.client, run.supervisor))
    processes = f"client {client}, supervisor {supervisor}"
    yield f"run {run.run_id}{this}: {'alive' if run.alive else 'dead'}, {begun}; {processes}"
    if run.alive and run.deadline_left_s is not None:
        yield f"  thaws everything within {max(run.deadline_left_s, 0.0):.1f} s"
    for one in run.filesystems:
        since = "" if one.frozen_s is None else f" for {one.frozen_s:.1f} s"
        state = one.state if run.alive or not one.may_be_frozen else "may be frozen"
        yield f"  {one.mount} ({one.device}): {state}{since}"
    yield from (f"  {_step(step, run.alive)}" for step in run.steps)
    if run.left_frozen:
        yield "  thaw it: pyfreeze thaw"
    if verbose:
        yield from transition_lines(run.transitions, [one.mount for one in run.filesystems])


def _step(step: RunStep, alive: bool) -> str:
    name = f"{step.what} {printable(step.path)}" if step.path else step.what
    status = word_of(step.status)
    if step.begun_s is None:
        return f"{name}: {status}"
    if step.ended_s is None and not alive:
        return f"{name}: begun {step.begun_s:.1f} s ago, not ended when the run died"
    if step.ended_s is None:
        return f"{name}: {status} for {step.begun_s:.1f} s"
    verdict = f" ({word_of(step.verdict)})" if step.verdict else ""
    return f"{name}: {status}{verdict} after {step.begun_s - step.ended_s:.1f} s"
