"""What crosses the border to C, both ways: enums by their numbers, structs filled and read."""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from pyfreeze._core.types import ChildEnd, EventKind, StepKind, StepStatus
from pyfreeze._model.options import WINDOW, Duration, Flush, Switch
from pyfreeze._model.states import FilesystemState, Verdict
from pyfreeze._model.timeline import FilesystemTimes
from pyfreeze._model.transitions import Transition, TransitionKind
from pyfreeze._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyfreeze._core.types import ChildOptions, Step
    from pyfreeze._model.options import WindowOptions

_AnyEnum = TypeVar("_AnyEnum", bound=Enum)


def _members(kind: type[_AnyEnum], name: str, prefix: str) -> dict[int, _AnyEnum]:
    """One of the library's enums, number by number: its names are those of our own."""
    names: dict[int, str] = ffi.typeof(f"enum {name}").elements
    return {number: kind[long.removeprefix(prefix)] for number, long in names.items()}


STATES = _members(FilesystemState, "pf_state", "PF_STATE_")
VERDICTS = _members(Verdict, "pf_verdict", "PF_VERDICT_")
EVENT_KINDS = _members(EventKind, "pf_event_kind", "PF_EVENT_")
_TRANSITION_KINDS = {getattr(lib, f"PF_TRANSITION_{kind.name}"): kind for kind in TransitionKind}
STATUSES = _members(StepStatus, "pf_step_status", "PF_STATUS_")
KINDS = _members(StepKind, "pf_step_kind", "PF_STEP_")
FIGURES = tuple(name for name, _ in ffi.typeof("pf_figures").fields)
_KIND_NUMBERS = {kind: number for number, kind in KINDS.items()}
_CHILD_FLAGS = (
    ("is_numbered", lib.PF_CHILD_NUMBERED),
    ("is_told_outcome", lib.PF_CHILD_OUTCOME),
    ("may_leave", lib.PF_CHILD_LEAVE),
    ("has_umask_077", lib.PF_CHILD_UMASK_077),
    ("outlives", lib.PF_CHILD_OUTLIVE),
)
_STEP_FLAGS = (
    ("takes_snapshot", lib.PF_STEP_SNAPSHOT),
    ("holds", lib.PF_STEP_HOLD),
    ("has_peer", lib.PF_STEP_PEER),
)


def _flags(options: object, table: tuple[tuple[str, int], ...]) -> int:
    """The flags whose attributes are true."""
    return sum(flag for name, flag in table if getattr(options, name))


def as_ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _fill_flush(out: Any, flush: Flush) -> None:
    out.rounds = flush.rounds
    out.spend_ns = as_ns(flush.spend_s)
    out.limit_ns = as_ns(flush.limit_s)


def fill_options(out: Any, window: WindowOptions) -> None:
    """Each option by its name: a switch is a flag, anything else a field."""
    _fill_flush(out.flush, Flush(rounds=0, limit_s=window.freeze_timeout_s))
    for name, value in window.values.items():
        option = WINDOW[name]
        if isinstance(option, Switch):
            out.flags |= getattr(lib, f"PF_WINDOW_{name.upper()}") if value else 0
        elif isinstance(option, Duration):
            setattr(out, f"{name}_ns", as_ns(value))
        else:
            struct, _, field = option.field.rpartition(".")
            setattr(getattr(out, struct) if struct else out, field, value)


def _fields(out: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(out, name) for name in names}


def filesystem_times(out: Any) -> FilesystemTimes:
    return FilesystemTimes(
        mount=os.fsdecode(ffi.string(out.mount)),
        device=(out.device_major, out.device_minor),
        state=STATES[out.state],
        level=out.level,
        error=out.error,
        **_fields(out.figures, FIGURES),
    )


def child_end(out: Any) -> ChildEnd:
    status = out.wait_status
    ended = out.state == lib.PF_CHILD_ENDED
    ran = ended and out.exec_error == 0 and out.start_ns != 0
    return ChildEnd(
        ended=ended,
        exit_status=os.WEXITSTATUS(status) if ran and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if ran and os.WIFSIGNALED(status) else None,
        timed_out=bool(out.timed_out),
        ended_early=bool(out.ended_early),
        unkillable=bool(out.unkillable),
        **_fields(out, ("attempts", "exec_error", "start_ns", "end_ns", "output_total")),
    )


def fill_step(row: Any, step: Step) -> list[Any]:
    """Write a step as the core takes it; returns what must be kept alive with it."""
    row.kind = _KIND_NUMBERS[step.kind]
    row.flags = _flags(step, _STEP_FLAGS)
    row.group = step.group
    row.skip_if, row.only_if, row.on_failure = step.skip_if, step.only_if, step.on_failure
    row.after = step.after
    _fill_window(row.window, step)
    kept: list[Any] = []
    if step.child is not None:
        row.child = _child_options(step.child, kept)
    return kept


def _fill_window(row: Any, step: Step) -> None:
    if step.flush is not None:
        _fill_flush(row.flush, step.flush)
    row.max_window_ns = as_ns(step.limit_s)
    if step.window is not None:
        fill_options(row, step.window)


def _child_options(child: ChildOptions, kept: list[Any]) -> Any:
    argv, kept_argv = _strings(child.argv)
    envp, kept_envp = _strings([f"{name}={value}" for name, value in child.environment.items()])
    path = ffi.new("char[]", os.fsencode(child.path or child.argv[0]))
    directory = ffi.new("char[]", os.fsencode(child.directory))
    out = ffi.new("pf_child_options *")
    out.path, out.argv, out.envp, out.directory = path, argv, envp, directory
    out.flags = _flags(child, _CHILD_FLAGS)
    out.attempts = child.attempts
    out.timeout_ns = as_ns(child.timeout_s)
    out.grace_ns = as_ns(child.grace_s)
    out.output_bytes = child.output_bytes
    kept += [argv, kept_argv, envp, kept_envp, path, directory, out]
    return out


def _strings(texts: Sequence[str]) -> tuple[Any, list[Any]]:
    """A NULL-terminated char*[] and what must be kept alive with it."""
    kept = [ffi.new("char[]", os.fsencode(text)) for text in texts]
    return ffi.new("char *[]", [*kept, ffi.NULL]), kept


def read_transitions(read_next: Callable[[int, Any], int]) -> tuple[Transition, ...]:
    """All transitions that are kept, read one after the other; `read_next` is a function of C."""
    out = ffi.new("pf_transition *")
    rows = []
    while read_next(out.number, out):
        rows.append(Transition(out.ns, _TRANSITION_KINDS[out.kind], out.index, out.value))
    return tuple(rows)
