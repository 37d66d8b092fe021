"""`frozen()`: a window around a block of Python."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._core.run import Run, new_run_id
from pyfreeze._core.types import EventKind, Fact, Step, StepKind
from pyfreeze._model.errors import (
    FreezeError,
    FreezeFailedError,
    FreezeTimeoutError,
    InconsistentError,
    StillFrozenError,
    SupervisorError,
    UsageError,
)
from pyfreeze._model.options import check_window, resolve, tells_options
from pyfreeze._model.states import FilesystemState, Verdict
from pyfreeze._model.timeline import window_times
from pyfreeze._mounts.choose import choose, targets
from pyfreeze._recovery.recover import recover_or_refuse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Unpack

    from pyfreeze._core.types import Event
    from pyfreeze._model.options import WindowKeywords, WindowOptions
    from pyfreeze._model.timeline import WindowTimes
    from pyfreeze._mounts.selection import Filesystem


def verdict_error(verdict: Verdict, cause: FreezeError | None, times: WindowTimes) -> FreezeError:
    """The exception for a window that is not good."""
    if verdict in (Verdict.FREEZE_FAILED, Verdict.FREEZE_TIMEOUT):
        timed_out = verdict is Verdict.FREEZE_TIMEOUT
        kind = FreezeTimeoutError if timed_out else FreezeFailedError
        return cause or kind(errno.EIO, "freezing failed")
    foreign = [f.mount for f in times.filesystems if f.state is FilesystemState.FOREIGN_THAW]
    stale = f"somebody else thawed {', '.join(foreign)} inside the window"
    broken = (errno.ESTALE, stale) if foreign else (errno.EIO, "thawing failed")
    number, text = {
        Verdict.EXPIRED: (errno.ETIMEDOUT, "the window expired before the snapshot ended"),
        Verdict.ABORTED: (errno.EINTR, "the window was ended early, by a signal"),
        Verdict.RESCUED: (errno.ESRCH, "the supervisor was lost inside the window"),
    }.get(verdict, broken)
    error = InconsistentError(number, f"{text}: the snapshot is inconsistent")
    error.times = times
    return error


class Window:
    """A freeze window, made by `frozen()`; frozen from `__enter__` to `__exit__`.

    It may be entered again when it has closed. An exception of the block passes through; if the
    window was not good either, its text says so in a note (`__notes__`).

    Attributes:
        filesystems: what is frozen, in the order of freezing; empty before the first entry.
        times: the timeline; None until the window has closed, or freezing has failed.
    """

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], options: WindowOptions, state_directory: str
    ) -> None:
        if isinstance(paths, (str, bytes)):
            raise UsageError(errno.EINVAL, f"paths: found {paths!r}, expected a list of paths")
        self._only = tuple(os.fspath(path) for path in paths)
        if not self._only:
            raise UsageError(errno.EINVAL, "paths: found none, expected at least one mount point")
        self._options = options
        self._state_directory = state_directory
        self._run: Run | None = None
        self._begin_ns = 0
        self.filesystems: tuple[Filesystem, ...] = ()
        self.times: WindowTimes | None = None

    def __enter__(self) -> Window:
        if self._run is not None:
            raise SupervisorError(errno.EBUSY, "the window is open already")
        recover_or_refuse(self._state_directory)
        selection = choose(self._state_directory, only=self._only)
        self.filesystems = selection.filesystems
        run = Run(targets(selection), new_run_id(), self._state_directory)
        try:
            opening = Step(StepKind.OPEN, on_failure=Fact.UNFREEZABLE)
            waiting = Step(
                StepKind.WINDOW, window=self._options, skip_if=Fact.UNFREEZABLE | Fact.ABORTED
            )
            run.request_plan((opening, waiting))
            event = run.wait_for(EventKind.WAITING, EventKind.ENDED)
            if event.kind is not EventKind.WAITING:
                raise self._failure(run, event) or SupervisorError(errno.EPROTO, "not frozen")
            self._begin_ns = time.monotonic_ns()
            self._run = run
        except BaseException:
            run.close()  # thaws, whatever has been frozen
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run = self._run
        if run is None:
            return
        try:
            end_ns = time.monotonic_ns()
            self._run = None
            run.request_proceed()
            event = run.wait_for(EventKind.ENDED)
            failure = self._failure(run, event, end_ns)
        finally:
            run.close()
        if failure is not None and error is not None:
            error.add_note(f"pyfreeze: {failure}")
        elif failure is not None:
            raise failure

    def _failure(self, run: Run, event: Event, end_ns: int = 0) -> FreezeError | None:
        self.times = window_times(run.filesystems(), self._begin_ns, end_ns)
        mounts = tuple(f.mount for f in self.times.filesystems if f.may_be_frozen)
        if mounts:
            others = f" (and {', '.join(mounts[1:])})" if mounts[1:] else ""
            error = StillFrozenError(errno.EBUSY, f"may still be frozen{others}", mounts[0])
            error.mounts = mounts
            return error
        if event.error is not None:  # the plan was refused
            return event.error
        opening, window = run.steps()
        if opening.error is not None:
            return opening.error
        verdict = Verdict.RESCUED if event.kind is EventKind.LOST else window.verdict
        return None if verdict is Verdict.GOOD else verdict_error(verdict, window.error, self.times)


@tells_options
def frozen(
    paths: Iterable[str | os.PathLike[str]],
    *,
    state_directory: str = STATE_DIRECTORY,
    **options: Unpack[WindowKeywords],
) -> Window:
    """Freeze filesystems around a `with` block, and thaw them whatever happens in it.

    Nothing happens until the `with` statement: it flushes, freezes, and runs the block while
    everything on these filesystems holds still. Any write to them from inside the block, a log
    line among them, waits for the deadline.

    The supervisor, a process of its own, thaws at the deadline, when this process dies, and on
    SIGTERM, SIGINT or SIGHUP; when the supervisor dies, a thread of this process thaws. No
    configuration and no environment variable is read, and nothing is printed.

    Threads may share this process with a window, but only one window or backup is open on a
    machine at a time. A fork inside the block has no part in it.

    Args:
        paths: mount points of the filesystems, at least one; symlinks are followed.
        state_directory: where the state page lives; a tmpfs.
        **options: see `WindowKeywords`.

    Returns:
        The window: its `filesystems`, and after the block its `times`.

    Raises:
        UsageError: at once: no path, or a time that is none.
        MountError: from the `with`: a path is no mount point, or its filesystem cannot be frozen.
        LockedError: from the `with`: another run is freezing.
        NotPermittedError: from the `with`: not root.
        SupervisorError: the supervisor cannot be started, or was lost before everything was frozen.
        FreezeFailedError: from the `with`: nothing is frozen any more, the block did not run.
        FreezeTimeoutError: the same, because freezing took longer than freeze_timeout.
        InconsistentError: from the block's end: it took too long, or somebody else thawed inside.
        StillFrozenError: something could not be thawed, or hangs; or an earlier run left something
            that cannot be thawed.
    """
    check_window("frozen", options)
    return Window(paths, resolve(options), state_directory)
