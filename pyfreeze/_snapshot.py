"""Taking the snapshot, in a freeze window or without one, in each of its three ways."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze import _client
from pyfreeze._exchange import ChildOptions
from pyfreeze._scripts import describe
from pyfreeze._settings import Peer, find_program
from pyfreeze._timeline import window_times
from pyfreeze._window import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyfreeze._client import Run
    from pyfreeze._errors import FreezeError
    from pyfreeze._exchange import ChildEnd, Event, WindowOptions
    from pyfreeze._settings import Settings


class Taken(NamedTuple):
    """What became of the snapshot. Times are CLOCK_MONOTONIC ns, 0 where it never got there."""

    kind: str
    verdict: str
    """The window's; "unfrozen" where there was none."""
    window_error: FreezeError | None
    failure: str
    """Empty, or how the snapshot itself failed, in a sentence."""
    begin_ns: int
    end_ns: int
    end: ChildEnd | None = None
    """Of a command."""
    output: bytes = b""
    argv: tuple[str, ...] = ()


class _Window:
    """A window that was asked for: left by an exception, it is thawed at once."""

    def __init__(
        self,
        run: Run,
        options: WindowOptions,
        child: int = -1,
        peer: tuple[int, int] | None = None,
    ) -> None:
        self._run = run
        self.end: Event | None = None
        run.ask_window(options, child=child, peer=peer)

    def wait(self, *kinds: int) -> Event:
        """Wait for a kind of event, or the window's end, whichever comes first."""
        event = wait_for(self._run, *kinds, _client.CLOSED, _client.LOST)
        if event.kind not in kinds:
            self.end = event
        return event

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self.end is None and not self._run.window_is_over:
            self._run.ask_abort()
            self.wait()


def take(run: Run, settings: Settings, options: WindowOptions | None) -> Taken:
    """Take the snapshot, frozen if there are window options.

    Whatever is raised from here (a signal handler's exception above all) has thawed everything; an
    ordinary exception of a callable is a failed snapshot.
    """
    snapshot = settings.snapshot
    if isinstance(snapshot, Peer):
        return _by_peer(run, snapshot, settings, options)
    if callable(snapshot):
        return _by_callable(run, snapshot, options)
    return _by_command(run, snapshot, settings, options)


def _by_command(
    run: Run, argv: Sequence[str], settings: Settings, options: WindowOptions | None
) -> Taken:
    child = run.ask_child(
        ChildOptions(
            argv=argv,
            path=find_program(argv[0], settings.environment, settings.directory),
            environment={**settings.environment, "PYFREEZE_RUN_ID": run.run_id},
            directory=settings.directory,
            timeout_s=settings.snapshot_timeout_s,
            flags=_client.LEAVE | (_client.PARKED if options else 0),
        )
    )
    closed: Event | None = None
    if options:
        with _Window(run, options, child) as window:
            closed = window.wait()
    lost = _wait_for_end(run, child)
    end = run.child_end(child)
    if closed and closed.verdict == "freeze-failed" and end.exec_error:
        closed = None  # it was never parked, so nothing was frozen for it
    return Taken(
        kind="command",
        verdict="rescued" if lost else closed.verdict if closed else "unfrozen",
        window_error=closed.error if closed else None,
        failure=describe(end, settings.snapshot_timeout_s),
        begin_ns=end.start_ns,
        end_ns=end.end_ns,
        end=end,
        output=run.child_output(child),
        argv=tuple(argv),
    )


def _wait_for_end(run: Run, child: int) -> bool:
    """Wait until nothing of the command is left. Returns whether the supervisor was lost."""
    try:
        while not run.child_end(child).ended:
            if wait_for(run, _client.CHILD, _client.LOST).kind == _client.LOST:
                return True
    except BaseException:
        run.ask_end(child)
        raise
    return False


def _by_callable(run: Run, snapshot: Callable[[], object], options: WindowOptions | None) -> Taken:
    if options is None:
        begin_ns, end_ns, failure = _call(snapshot)
        return Taken("callable", "unfrozen", None, failure, begin_ns, end_ns)
    begin_ns, end_ns, failure = 0, 0, ""
    with _Window(run, options) as window:
        event = window.wait(_client.FROZEN)
        if event.kind == _client.FROZEN:
            begin_ns, end_ns, failure = _call(snapshot)
            run.ask_thaw()
            event = window.wait()
    return Taken("callable", event.verdict, event.error, failure, begin_ns, end_ns)


def _call(snapshot: Callable[[], object]) -> tuple[int, int, str]:
    failure = ""
    begin_ns = time.monotonic_ns()
    try:
        snapshot()
    except Exception as error:  # noqa: BLE001 - the caller's code: whatever it raises is reported
        failure = f"raised {type(error).__name__}: {error}"
    return begin_ns, time.monotonic_ns(), failure


def _by_peer(run: Run, peer: Peer, settings: Settings, options: WindowOptions | None) -> Taken:
    if options is None:
        begin_ns = time.monotonic_ns()
        os.write(peer.notify_fd, b"unfrozen\n")
        ready, _, _ = select.select([peer.done_fd], [], [], settings.snapshot_timeout_s)
        failure = "" if ready else f"did not answer within {settings.snapshot_timeout_s:g} s"
        return Taken("peer", "unfrozen", None, failure, begin_ns, time.monotonic_ns())
    with _Window(run, options, peer=peer) as window:
        closed = window.wait()
    # The peer's own time is all of it that everything was frozen together.
    times = window_times(run.filesystems())
    return Taken("peer", closed.verdict, closed.error, "", times.frozen_ns, times.thaw_ns)
