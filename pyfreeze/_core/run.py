"""The C core, typed: one `Run` is one supervisor, which carries out a plan.

It decides nothing; every wait releases the GIL.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._core.faults import from_fault
from pyfreeze._core.structs import (
    EVENT_KINDS,
    KINDS,
    STATUSES,
    VERDICTS,
    as_ns,
    child_end,
    filesystem_times,
    fill_step,
    read_transitions,
)
from pyfreeze._core.types import ChildEnd, Event, EventKind, Fact, StepRecord
from pyfreeze._model.errors import FreezeError, SupervisorError
from pyfreeze._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from pyfreeze._core.types import Step
    from pyfreeze._model.options import Target
    from pyfreeze._model.timeline import FilesystemTimes
    from pyfreeze._model.transitions import Transition

PROGRAM = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "pyfreeze-supervisor"
)


class Run:
    """One supervisor. Not for use by several threads at once.

    Raises:
        LockedError: another run holds the lock.
        NotPermittedError: the state directory cannot be made, or is not safely ours.
        SupervisorError: the supervisor program is missing or did not come up.
        FreezeError: anything else the system refused.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        run_id: str,
        state_directory: str = STATE_DIRECTORY,
        program: str = PROGRAM,
        *,
        unlocked: bool = False,
    ) -> None:
        self.targets = tuple(targets)
        self.run_id = run_id
        self.state_directory = state_directory
        self._program = program
        self._fault = ffi.new("pf_fault *")
        self._event = ffi.new("pf_event *")
        self._pid = os.getpid()
        mounts = [ffi.new("char[]", os.fsencode(t.mount_point)) for t in targets]
        table = ffi.new("pf_target[]", len(mounts))
        for row, target, mount in zip(table, targets, mounts, strict=True):
            row.mount = mount
            row.mount_id = target.mount_id
            row.device_major, row.device_minor = target.device
            row.level = target.level
        texts = [ffi.new("char[]", os.fsencode(t)) for t in (program, state_directory, run_id)]
        options = ffi.new("pf_start_options *")
        options.program, options.directory, options.run_id = texts
        options.targets = table
        options.target_count = len(mounts)
        options.unlocked = unlocked
        self._steps: tuple[Step, ...] = ()
        # A signal's handler may raise wherever Python code runs: the C core alone sets and clears
        # what this points at, so that no run is lost between two lines, and ends it in any case.
        self._run = ffi.gc(ffi.new("pf_run **"), lib.pf_run_close)
        self.close: Callable[[], int] = partial(lib.pf_run_close, self._run)
        """End the run, after what is pending. Returns how many filesystems may be frozen.

        Nothing in Python, so that no handler can raise between the call and the end.
        """
        try:
            self._check(lib.pf_run_start(self._run, options, self._fault))
        except BaseException:
            self.close()
            raise

    # ---- faults ------------------------------------------------------------------------------

    def _error(self, fault: Any) -> FreezeError | None:
        if fault.error == 0:
            return None
        filename: str | None = None
        if lib.PF_OP_OPEN <= fault.op <= lib.PF_OP_THAW:
            if 0 <= fault.index < len(self.targets):
                filename = self.targets[fault.index].mount_point
        elif fault.op in (lib.PF_OP_DIRECTORY, lib.PF_OP_LOCK, lib.PF_OP_PAGE):
            filename = self.state_directory
        elif fault.op in (lib.PF_OP_SPAWN, lib.PF_OP_READY, lib.PF_OP_SETUP):
            filename = self._program
        text = ffi.string(lib.pf_op_text(fault.op)).decode()
        return from_fault(fault.op, text, fault.error, filename)

    def _check(self, result: int) -> int:
        if result < 0:
            error = self._error(self._fault)
            raise error or SupervisorError(-result, os.strerror(-result))
        return result

    def _handle(self) -> Any:
        if not self._run[0]:
            raise SupervisorError("the run is closed")
        if os.getpid() != self._pid:
            raise SupervisorError("the run belongs to the process that started it, not to its fork")
        return self._run[0]

    # ---- requests ----------------------------------------------------------------------------

    def request_plan(
        self,
        steps: Sequence[Step],
        *,
        peer: tuple[int, int] | None = None,
        tells_steps: bool = False,
    ) -> None:
        """Hand over a whole plan; ENDED tells that it is over.

        Args:
            steps: what is to be done, in this order.
            peer: the descriptors of steps that have a peer: to write on, and to proceed by.
            tells_steps: whether STEP is to tell of beginnings and ends.
        """
        run = self._handle()
        table = ffi.new("pf_step_options[]", len(steps))
        kept = [fill_step(row, step) for row, step in zip(table, steps, strict=True)]
        options = ffi.new("pf_plan_options *")
        options.steps, options.count = table, len(steps)
        options.notify_fd, options.done_fd = peer or (-1, -1)
        options.tells_steps = tells_steps
        before, self._steps = self._steps, tuple(steps)
        try:
            self._check(lib.pf_run_request_plan(run, options, self._fault))
        except FreezeError:
            self._steps = before
            raise
        del kept  # the plan's file has it all

    def request_proceed(self, *, failed: bool = False) -> None:
        """Let the step that waits go on: an open window is thawed, a held child is let go."""
        self._check(lib.pf_run_request_proceed(self._handle(), failed, self._fault))

    def request_abort(self) -> None:
        """Thaw at once, end what runs and may be ended; the plan still runs to its end."""
        self._check(lib.pf_run_request_abort(self._handle(), self._fault))

    # ---- events ------------------------------------------------------------------------------

    def next_event(self, timeout_s: float | None = None) -> Event:
        """Wait for the next event. Python's signal handlers run while it waits, and may raise."""
        timeout_ns = -1 if timeout_s is None else as_ns(timeout_s)
        while True:
            run = self._handle()
            try:
                lib.pf_run_hold_signals(run)
                # A handler due until here has run; from here on a signal ends the wait.
                kind = lib.pf_run_next(run, timeout_ns, self._event, self._fault)
            finally:
                lib.pf_run_release_signals(run)
            self._check(kind)
            if kind != lib.PF_EVENT_INTERRUPTED:
                break
        event = self._event
        return Event(EVENT_KINDS[kind], event.index, self._error(event.fault))

    def wait_for(self, *kinds: EventKind, timeout_s: float | None = None) -> Event:
        """Wait for one of the kinds of event, or LOST, or TIMEOUT, if one is given."""
        while True:
            event = self.next_event(timeout_s)
            if event.kind in (EventKind.LOST, EventKind.TIMEOUT, *kinds):
                return event

    # ---- the journal -------------------------------------------------------------------------

    @property
    def has_plan(self) -> bool:
        """Whether a plan was handed over; one that was refused may count."""
        out = ffi.new("pf_step_report *")
        return int(lib.pf_run_step(self._handle(), 0, out, self._fault)) >= 0

    def step(self, index: int) -> StepRecord:
        """What became of a step so far."""
        out = ffi.new("pf_step_report *")
        self._check(lib.pf_run_step(self._handle(), index, out, self._fault))
        has_child = self._steps[index].child is not None
        return StepRecord(
            kind=KINDS[out.kind],
            status=STATUSES[out.status],
            verdict=VERDICTS[out.verdict],
            error=self._error(out.fault),
            begin_ns=out.begin_ns,
            snapshot_ns=out.snapshot_ns,
            end_ns=out.end_ns,
            child=self.child_end(index) if has_child else None,
            output=self.child_output(index) if has_child else b"",
        )

    def steps(self) -> tuple[StepRecord, ...]:
        """What became of all steps so far."""
        return tuple(self.step(index) for index in range(len(self._steps) if self.has_plan else 0))

    @property
    def facts(self) -> Fact:
        """What holds of the plan."""
        return Fact(lib.pf_run_facts(self._handle()))

    def child_end(self, step: int) -> ChildEnd:
        """What became of a step's child so far."""
        out = ffi.new("pf_child_report *")
        self._check(lib.pf_run_child(self._handle(), step, out, self._fault))
        return child_end(out)

    def child_output(self, step: int, limit: int = 65536) -> bytes:
        """The last `limit` bytes of a child's output."""
        buffer = ffi.new("char[]", limit)
        count = self._check(
            lib.pf_run_child_output(self._handle(), step, buffer, limit, self._fault)
        )
        return bytes(ffi.buffer(buffer, count))

    def filesystems(self) -> tuple[FilesystemTimes, ...]:
        """The state page's slots, as they are now."""
        out = ffi.new("pf_filesystem *")
        rows = []
        for index in range(len(self.targets)):
            self._check(lib.pf_run_filesystem(self._handle(), index, out, self._fault))
            rows.append(filesystem_times(out))
        return tuple(rows)

    def transitions(self) -> tuple[Transition, ...]:
        """The last transitions of the black box, the oldest first."""
        return read_transitions(
            lambda after, out: lib.pf_run_transition(self._handle(), after, out)
        )

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def new_run_id() -> str:
    """An id that no other run on this machine has: time and randomness, 23 characters."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + os.urandom(4).hex()
