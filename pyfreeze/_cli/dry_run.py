"""`pyfreeze run --dry-run`: the whole plan, nothing of it done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import msgspec

from pyfreeze._backup.plan import problems_of
from pyfreeze._backup.report import effective
from pyfreeze._backup.scripts import Script, script_of
from pyfreeze._base.text import counted, device_number
from pyfreeze._view import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyfreeze._backup.plan import Plan
    from pyfreeze._backup.scripts import Phase


def plan_as_data(plan: Plan) -> dict[str, object]:
    """The plan as one JSON-able object: pure."""
    return {
        "version": 1,
        "dry_run": True,
        "takes_snapshot": plan.takes_snapshot,
        "freezes": plan.takes_snapshot and plan.policy.freeze,
        "effective": msgspec.to_builtins(effective(plan)),
        "problems": [
            {"code": int(p.code), "note": p.is_note, "message": p.message}
            for p in (*problems_of(plan.config), plan.config.freeze_problem)
            if p is not None
        ],
        "notices": [*plan.config.notices, *plan.selection.notices],
        "pre_scripts": [_as_data(one) for one in _scripts(plan, "pre")],
        "post_scripts": [_as_data(one) for one in _scripts(plan, "post")],
        "window": plan.window.as_data(),
        "filesystems": [
            {
                "mount": f.mount_point,
                "device": device_number(f.device),
                "fstype": f.fstype,
                "source": f.source,
                "level": f.level,
            }
            for f in plan.selection.filesystems
        ],
        "skipped": [one._asdict() for one in plan.selection.skipped],
        "snapshot": {"argv": plan.provider.argv, "timeout_s": plan.settings.snapshot_timeout_s},
    }


def _scripts(plan: Plan, phase: Phase) -> list[Script]:
    return [script_of(plugin, phase) for plugin in plan.plugins] if plan.runs_scripts else []


def _as_data(script: Script) -> dict[str, object]:
    names = ("plugin", "path", "params", "attempts", "timeout_s")
    return {name: getattr(script, name) for name in names}


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print the plan: numbered steps for people, or one object."""
    if as_json:
        click.echo(json.dumps(plan_as_data(plan), indent=2))
        return
    for problem in problems_of(plan.config):
        kind = "note" if problem.is_note else "problem"
        click.echo(f"{kind} {int(problem.code)}: {problem.message}", err=True)
    if plan.config.freeze_problem is not None:
        click.echo(f"problem: {plan.config.freeze_problem.message}", err=True)
    for notice in (*plan.config.notices, *plan.selection.notices):
        click.echo(f"notice: {notice}", err=True)
    for number, step in enumerate(_steps(plan), start=1):
        click.echo(f"{number}. {step}")
    for line in words.left_out(plan.selection.skipped):
        click.echo(f"   left out, {line}")


def _steps(plan: Plan) -> Iterator[str]:
    """The plan as sentences, in the order of their doing: pure."""
    if not plan.takes_snapshot:
        yield "No snapshot would be taken: the backup would fail for the problems above."
        return
    freezes = plan.policy.freeze
    names = ", ".join(f"{f.mount_point} (level {f.level})" for f in plan.selection.filesystems)
    if freezes:
        yield f"Write dirty data of {names} to disk"
    if plan.runs_scripts:
        yield _say(plan, "pre")
    if freezes:
        yield f"Flush again until it converges, then freeze: {names}"
    limit = f"; everything thaws after {plan.window.max_window_s:g} s" if freezes else ""
    yield f"Take the snapshot: {' '.join(plan.provider.argv)}{limit}"
    if freezes:
        yield "Thaw, in reverse order"
    if plan.runs_scripts:
        yield _say(plan, "post")


def _say(plan: Plan, phase: Phase) -> str:
    parts = [
        f"{script.path} (plugin {script.plugin}, at most {script.timeout_s:g} s, "
        f"{counted(script.attempts, 'attempt')})"
        for script in _scripts(plan, phase)
    ]
    return f"Run the {phase}-scripts side by side: " + ", ".join(parts)
