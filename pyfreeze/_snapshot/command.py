"""A snapshot taken by a command, which the supervisor runs."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyfreeze._base.programs import CLEAN_ENVIRONMENT
from pyfreeze._core import run as core
from pyfreeze._core.run import wait_for
from pyfreeze._core.types import ChildOptions, describe
from pyfreeze._model.errors import UsageError
from pyfreeze._snapshot.provider import OpenWindow, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyfreeze._backup.settings import Settings
    from pyfreeze._core.run import Run
    from pyfreeze._core.types import Event
    from pyfreeze._model.options import WindowOptions


def find_program(name: str, environment: Mapping[str, str], directory: str) -> str:
    """The path to execute for a command's first word, looked up as a shell would.

    Raises:
        UsageError: there is no such program, or it cannot be executed.
    """
    if "/" in name:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
        if not os.path.exists(path):
            raise UsageError(
                errno.ENOENT, "found no such file, expected the snapshot command", name
            )
        text = "found no executable file, expected the snapshot command: is it mode 755?"
        raise UsageError(errno.EACCES, text, name)
    found = shutil.which(name, path=environment.get("PATH", CLEAN_ENVIRONMENT["PATH"]))
    if found is None:
        text = "found no such program in PATH, expected the snapshot command: give its path"
        raise UsageError(errno.ENOENT, text, name)
    return os.path.join(directory, found)


def by_command(
    run: Run, argv: Sequence[str], settings: Settings, options: WindowOptions | None
) -> SnapshotResult:
    child = run.request_child(
        ChildOptions(
            argv=argv,
            path=find_program(argv[0], settings.environment, settings.directory),
            environment={**settings.environment, "PYFREEZE_RUN_ID": run.run_id},
            directory=settings.directory,
            timeout_s=settings.snapshot_timeout_s,
            flags=core.LEAVE | (core.PARKED if options else 0),
        )
    )
    closed: Event | None = None
    if options:
        with OpenWindow(run, options, child) as window:
            closed = window.wait()
    lost = _wait_for_end(run, child)
    end = run.child_end(child)
    if closed and closed.verdict == "freeze-failed" and end.exec_error:
        closed = None  # it was never parked, so nothing was frozen for it
    return SnapshotResult(
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
            if wait_for(run, core.CHILD, core.LOST).kind == core.LOST:
                return True
    except BaseException:
        run.request_end(child)
        raise
    return False
