"""The C core, typed: one `Run` is one supervisor, its window and its children.

Only this module knows cffi. It decides nothing; every wait releases the GIL.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._core.faults import from_fault
from pyfreeze._core.types import ChildEnd, Event
from pyfreeze._model.errors import FreezeError, SupervisorError
from pyfreeze._model.timeline import FilesystemTimes
from pyfreeze._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from pyfreeze._core.types import ChildOptions
    from pyfreeze._model.options import Flush, Target, WindowOptions

PROGRAM = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "pyfreeze-supervisor"
)

TIMEOUT = lib.PF_EVENT_TIMEOUT
INTERRUPTED = lib.PF_EVENT_INTERRUPTED
OPENED = lib.PF_EVENT_OPENED
FLUSHED = lib.PF_EVENT_FLUSHED
FROZEN = lib.PF_EVENT_FROZEN
CLOSED = lib.PF_EVENT_CLOSED
CHILD = lib.PF_EVENT_CHILD
LOST = lib.PF_EVENT_LOST

_STATES = {
    lib.PF_STATE_CHOSEN: "chosen",
    lib.PF_STATE_OPEN: "open",
    lib.PF_STATE_FREEZING: "freezing",
    lib.PF_STATE_FROZEN: "frozen",
    lib.PF_STATE_THAWING: "thawing",
    lib.PF_STATE_THAWED: "thawed",
    lib.PF_STATE_FAILED: "failed",
    lib.PF_STATE_FOREIGN_THAW: "foreign-thaw",
    lib.PF_STATE_STUCK: "stuck",
}
_VERDICTS = {
    lib.PF_VERDICT_NONE: "none",
    lib.PF_VERDICT_GOOD: "good",
    lib.PF_VERDICT_FREEZE_FAILED: "freeze-failed",
    lib.PF_VERDICT_FREEZE_TIMEOUT: "freeze-timeout",
    lib.PF_VERDICT_EXPIRED: "expired",
    lib.PF_VERDICT_ABORTED: "aborted",
    lib.PF_VERDICT_BROKEN: "broken",
    lib.PF_VERDICT_RESCUED: "rescued",
}

PARKED = lib.PF_CHILD_PARKED
DEFERRED = lib.PF_CHILD_DEFERRED
NUMBERED = lib.PF_CHILD_NUMBERED
LEAVE = lib.PF_CHILD_LEAVE
UMASK_077 = lib.PF_CHILD_UMASK_077
OUTLIVE = lib.PF_CHILD_OUTLIVE


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def filesystem_times(out: Any) -> FilesystemTimes:
    return FilesystemTimes(
        mount=os.fsdecode(ffi.string(out.mount)),
        device=(out.device_major, out.device_minor),
        level=out.level,
        state=_STATES[out.state],
        error=out.error,
        flush_rounds=out.flush_rounds,
        flush_ns=out.flush_ns,
        freeze_enter_ns=out.freeze_enter_ns,
        freeze_return_ns=out.freeze_return_ns,
        thaw_enter_ns=out.thaw_enter_ns,
        thaw_return_ns=out.thaw_return_ns,
    )


def _strings(texts: Sequence[str]) -> tuple[Any, list[Any]]:
    """A NULL-terminated char*[] and what must be kept alive with it."""
    kept = [ffi.new("char[]", os.fsencode(text)) for text in texts]
    return ffi.new("char *[]", [*kept, ffi.NULL]), kept


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
        out = ffi.new("pf_run **")
        self._run: Any = None
        self._check(lib.pf_run_start(out, options, self._fault))
        self._run = out[0]

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
        if self._run is None:
            raise SupervisorError("the run is closed")
        if os.getpid() != self._pid:
            raise SupervisorError("the run belongs to the process that started it, not to its fork")
        return self._run

    # ---- asking ------------------------------------------------------------------------------

    def request_open(self) -> None:
        """Open and verify all filesystems; OPENED tells."""
        self._check(lib.pf_run_request_open(self._handle(), self._fault))

    def request_flush(self, flush: Flush) -> None:
        """Flush all filesystems; FLUSHED tells."""
        options = ffi.new("pf_flush_options *")
        self._set_flush(options, flush)
        self._check(lib.pf_run_request_flush(self._handle(), options, self._fault))

    @staticmethod
    def _set_flush(options: Any, flush: Flush) -> None:
        options.rounds = flush.rounds
        options.spend_ns = _ns(flush.spend_s)
        options.limit_ns = _ns(flush.limit_s)

    def request_window(
        self, window: WindowOptions, *, child: int = -1, peer: tuple[int, int] | None = None
    ) -> None:
        """Open the window: FROZEN tells (without a child), CLOSED tells at its end.

        Args:
            window: its options.
            child: the parked child to let go while frozen.
            peer: descriptors to write "frozen" on, and to thaw on when readable.
        """
        options = ffi.new("pf_window_options *")
        self._set_flush(options.flush, window.flush)
        options.max_window_ns = _ns(window.max_window_s)
        options.freeze_timeout_ns = _ns(window.freeze_timeout_s)
        options.flags = (
            (lib.PF_WINDOW_EXPEDITE if window.expedite else 0)
            | (lib.PF_WINDOW_REALTIME if window.realtime else 0)
            | (lib.PF_WINDOW_CPU_LATENCY if window.cpu_latency else 0)
            | (lib.PF_WINDOW_PARALLEL if window.parallel else 0)
        )
        options.child = child
        options.notify_fd, options.done_fd = peer or (-1, -1)
        self._event.kind = TIMEOUT
        self._check(lib.pf_run_request_window(self._handle(), options, self._fault))

    def request_thaw(self) -> None:
        """Thaw an open window; CLOSED tells."""
        self._check(lib.pf_run_request_thaw(self._handle(), self._fault))

    def request_abort(self) -> None:
        """Thaw at once, end the snapshot command; CLOSED tells."""
        self._check(lib.pf_run_request_abort(self._handle(), self._fault))

    def request_child(self, options: ChildOptions) -> int:
        """Start, park or defer a child; CHILD tells of its end. Returns its number."""
        argv, _argv = _strings(options.argv)
        envp, _envp = _strings([f"{name}={value}" for name, value in options.environment.items()])
        path = ffi.new("char[]", os.fsencode(options.path or options.argv[0]))
        directory = ffi.new("char[]", os.fsencode(options.directory))
        out = ffi.new("pf_child_options *")
        out.path, out.argv, out.envp, out.directory = path, argv, envp, directory
        out.flags = options.flags
        out.attempts = options.attempts
        out.timeout_ns = _ns(options.timeout_s)
        out.grace_ns = _ns(options.grace_s)
        out.output_bytes = options.output_bytes
        out.cancels = options.cancels
        return self._check(lib.pf_run_request_child(self._handle(), out, self._fault))

    def request_end(self, child: int) -> None:
        """End a child's whole tree: SIGTERM, its grace, SIGKILL."""
        self._check(lib.pf_run_request_end(self._handle(), child, self._fault))

    # ---- hearing -----------------------------------------------------------------------------

    def next_event(self, timeout_s: float | None = None) -> Event:
        """Wait for the next event. Python's signal handlers run while it waits, and may raise."""
        timeout_ns = -1 if timeout_s is None else _ns(timeout_s)
        while True:
            run = self._handle()
            lib.pf_run_hold_signals(run)
            try:
                # A handler due until here has run; from here on a signal ends the wait.
                kind = lib.pf_run_next(run, timeout_ns, self._event, self._fault)
            finally:
                lib.pf_run_release_signals(run)
            self._check(kind)
            if kind != INTERRUPTED:
                break
        event = self._event
        return Event(kind, event.index, _VERDICTS[event.verdict], self._error(event.fault))

    @property
    def window_is_over(self) -> bool:
        """Whether the last event was the window's end.

        Also if nobody was told: a signal handler that raises as soon as next_event() lets signals
        in again takes the event with it.
        """
        return self._event.kind in (CLOSED, LOST)

    def child_end(self, child: int) -> ChildEnd:
        """What became of a child so far."""
        out = ffi.new("pf_child_report *")
        self._check(lib.pf_run_child(self._handle(), child, out, self._fault))
        status = out.wait_status
        ended = out.state == lib.PF_CHILD_ENDED
        ran = ended and out.exec_error == 0 and out.start_ns != 0
        return ChildEnd(
            ended=ended,
            attempts=out.attempts,
            exit_status=os.WEXITSTATUS(status) if ran and os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if ran and os.WIFSIGNALED(status) else None,
            exec_error=out.exec_error,
            timed_out=bool(out.timed_out),
            ended_early=bool(out.ended_early),
            unkillable=bool(out.unkillable),
            start_ns=out.start_ns,
            end_ns=out.end_ns,
            output_total=out.output_total,
        )

    def child_output(self, child: int, limit: int = 65536) -> bytes:
        """The last `limit` bytes of a child's output."""
        buffer = ffi.new("char[]", limit)
        count = self._check(
            lib.pf_run_child_output(self._handle(), child, buffer, limit, self._fault)
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

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's process id."""
        return int(lib.pf_run_supervisor_pid(self._handle()))

    # ---- ending ------------------------------------------------------------------------------

    def close(self) -> int:
        """End the run; deferred children run first. Returns how many filesystems may be frozen."""
        run, self._run = self._run, None
        if run is None:
            return 0
        if os.getpid() != self._pid:
            lib.pf_run_forget(run)
            return 0
        return int(lib.pf_run_close(run, self._fault))

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


def wait_for(run: Run, *kinds: int, timeout_s: float | None = None) -> Event:
    """Wait for one of the kinds of event, passing over others; or for TIMEOUT, if one is given.

    Raises:
        SupervisorError: the supervisor was lost; what it had frozen is thawed.
    """
    while True:
        event = run.next_event(timeout_s)
        if event.kind == TIMEOUT:
            return event
        if event.kind == LOST and LOST not in kinds:
            raise SupervisorError(
                errno.ESRCH, "the supervisor was lost; everything it had frozen was thawed"
            )
        if event.kind in kinds:
            return event


def open_all(run: Run) -> None:
    """Open and verify every filesystem.

    Raises:
        FreezeFailedError: one cannot be opened, or is not what was chosen any more.
    """
    run.request_open()
    event = wait_for(run, OPENED)
    if event.error is not None:
        raise event.error
