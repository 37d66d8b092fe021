"""What the runs of this machine are doing, from their state pages; nothing of theirs is touched."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.processes import find_supervisor, has_mapped, is_supervisor, state_of
from pyfreeze._base.text import device_number
from pyfreeze._core.types import Group, StepKind
from pyfreeze._model.errors import FreezeError, NotPermittedError
from pyfreeze._model.states import Verdict, word_of
from pyfreeze._model.timeline import NS_PER_MS
from pyfreeze._recovery.recover import find_pages

if TYPE_CHECKING:
    from pyfreeze._base.processes import ProcessState
    from pyfreeze._core.pages import Record, RecordedStep
    from pyfreeze._core.types import StepStatus
    from pyfreeze._model.states import FilesystemState
    from pyfreeze._model.timeline import FilesystemTimes
    from pyfreeze._model.transitions import Transition

_NS_PER_S = 1000 * NS_PER_MS
#: How often a page is read that was found half made; making one takes microseconds.
_LOOKS = 100


class ProcessStatus(NamedTuple):
    """A process of a run."""

    pid: int
    """0: never noted."""
    state: ProcessState


class FilesystemStatus(NamedTuple):
    """A filesystem of a run."""

    mount: str
    device: str
    level: int
    state: FilesystemState
    """As in `FilesystemTimes`; of a dead run what it was when the run died."""
    may_be_frozen: bool
    frozen_s: float | None
    """Seconds since its FIFREEZE was entered, if it may be frozen."""


class RunStep(NamedTuple):
    """A step of a run's plan."""

    what: str
    """"open", "flush", "pre-script", "window", "snapshot", "post-script", or "wait"."""
    status: StepStatus
    """Of a dead run as it was then."""
    path: str | None
    """What it executes, if anything."""
    begun_s: float | None
    """Seconds since it was begun, if it was."""
    ended_s: float | None
    """Seconds since it ended, if it has."""
    verdict: Verdict | None
    """Of a window that is over."""


class RunStatus(NamedTuple):
    """A run, as its state page shows it."""

    run_id: str
    alive: bool
    """Whether a process is left that thaws: the supervisor, or else the client."""
    is_this: bool
    """Whether it is the run that PYFREEZE_RUN_ID names, whose script asks."""
    since: float
    """When it began, seconds since the epoch."""
    age_s: float
    client: ProcessStatus
    supervisor: ProcessStatus
    deadline_left_s: float | None
    """Seconds until everything is thawed regardless; negative: overdue; None: no open window."""
    filesystems: tuple[FilesystemStatus, ...]
    transitions: tuple[Transition, ...]
    """What it did last, the oldest first."""
    steps: tuple[RunStep, ...]
    """What it does, in this order; none as long as it has no plan."""

    @property
    def left_frozen(self) -> tuple[str, ...]:
        """The mounts that it left: nobody will thaw them but `pyfreeze thaw` or the next run."""
        return () if self.alive else tuple(f.mount for f in self.filesystems if f.may_be_frozen)


def read_status(state_directory: str, this_run_id: str | None = None) -> tuple[RunStatus, ...]:
    """Every run that has a state page, the oldest first. No lock is taken, nothing written.

    Raises:
        NotPermittedError: the pages are root's.
        FreezeError: a page that cannot be read.
    """
    try:
        os.listdir(state_directory)
    except PermissionError:
        text = "the runs' state pages are root's: run this as root"
        raise NotPermittedError(errno.EACCES, text, state_directory) from None
    except FileNotFoundError:
        return ()  # no run since the boot
    found = [_read(path, this_run_id) for path in find_pages(state_directory)]
    return tuple(sorted((run for run in found if run is not None), key=lambda run: run.since))


def _read(path: str, this_run_id: str | None) -> RunStatus | None:
    """None: it has ended in order meanwhile, or was never quite made, and so froze nothing."""
    from pyfreeze._core.pages import Record

    for _ in range(_LOOKS):
        try:
            # Writing through a mapping of a tmpfs leaves it as it is.
            begin = os.stat(path).st_mtime
            with contextlib.closing(Record(path, look_only=True)) as record:
                return _status_of(record, begin, this_run_id)
        except FileNotFoundError:
            return None
        except FreezeError as error:
            if error.errno == errno.ENOENT:
                return None
            if error.errno != errno.EBADMSG:
                raise
    return None


def _status_of(record: Record, begin: float, this_run_id: str | None) -> RunStatus:
    supervisor = record.supervisor_pid or find_supervisor(record.run_id)
    supervisor_state = state_of(supervisor) if is_supervisor(supervisor, record.run_id) else "gone"
    holds_page = has_mapped(record.client_pid, record.path)
    client_state = state_of(record.client_pid) if holds_page else "gone"
    now_ns = time.monotonic_ns()
    # Read after the processes were looked at: what a dead one left changes no more.
    slots = record.filesystems() if record.same_boot else ()
    deadline_ns = record.deadline_ns if record.same_boot else 0
    return RunStatus(
        run_id=record.run_id,
        alive=record.same_boot and (supervisor_state, client_state) != ("gone", "gone"),
        is_this=record.run_id == this_run_id,
        since=begin,
        age_s=max(time.time() - begin, 0.0),
        client=ProcessStatus(record.client_pid, client_state),
        supervisor=ProcessStatus(supervisor, supervisor_state),
        deadline_left_s=(deadline_ns - now_ns) / _NS_PER_S if deadline_ns else None,
        filesystems=tuple(_filesystem(slot, now_ns) for slot in slots),
        transitions=record.transitions(),
        steps=tuple(_step(one, now_ns) for one in record.steps()) if record.same_boot else (),
    )


def _filesystem(slot: FilesystemTimes, now_ns: int) -> FilesystemStatus:
    return FilesystemStatus(
        mount=slot.mount,
        device=device_number(slot.device),
        level=slot.level,
        state=slot.state,
        may_be_frozen=slot.may_be_frozen,
        frozen_s=_since(slot.freeze_enter_ns, now_ns) if slot.may_be_frozen else None,
    )


def _step(step: RecordedStep, now_ns: int) -> RunStep:
    by_group: dict[int, str] = {Group.PRE_SCRIPTS: "pre-script", Group.POST_SCRIPTS: "post-script"}
    is_snapshot = step.takes_snapshot and step.kind is not StepKind.WINDOW
    return RunStep(
        what=by_group.get(step.group, "snapshot" if is_snapshot else word_of(step.kind)),
        status=step.status,
        path=step.path,
        begun_s=_since(step.begin_ns, now_ns),
        ended_s=_since(step.end_ns, now_ns),
        verdict=None if step.verdict is Verdict.NONE else step.verdict,
    )


def _since(moment_ns: int, now_ns: int) -> float | None:
    return max(now_ns - moment_ns, 0) / _NS_PER_S if moment_ns else None
