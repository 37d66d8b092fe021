"""A run whose client is dead and whose supervisor is stopped: nobody is left to let it go on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from pyfreeze._base.processes import find_supervisor, is_supervisor, state_of
from pyfreeze._model.errors import FreezeError

if TYPE_CHECKING:
    from pyfreeze._core.pages import Record

#: How long one that was woken may take: it thaws at once, and runs the pending post-scripts.
PATIENCE_S = 5.0


def wake(path: str) -> bool:
    """Let a stopped supervisor go on, or end it when it cannot.

    Woken, it sees that its client is dead, thaws, and runs the post-scripts that are due. It is
    killed only if it leaves something frozen beyond the deadline.

    Returns:
        Whether it is gone, so that its lock is free.
    """
    from pyfreeze._core.pages import Record

    try:
        record = Record(path)
    except FreezeError:  # it has ended in order meanwhile, or is only being made
        return False
    with contextlib.closing(record):
        return _wake(record)


def _wake(record: Record) -> bool:
    supervisor = record.supervisor_pid or find_supervisor(record.run_id)
    if not record.same_boot or not is_supervisor(supervisor, record.run_id):
        return False
    if state_of(record.client_pid) != "gone" or state_of(supervisor) != "stopped":
        return False
    try:
        pidfd = os.pidfd_open(supervisor)
    except ProcessLookupError:
        return True
    try:
        if not is_supervisor(supervisor, record.run_id):  # the pidfd is somebody else's
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        if _has_ended(pidfd, PATIENCE_S):
            return True
        overdue = 0 < record.deadline_ns < time.monotonic_ns()
        if not overdue or not any(slot.may_be_frozen for slot in record.filesystems()):
            return False
        # Awake it thaws, which may take its time; what cannot be woken is not waited for.
        if state_of(supervisor) != "stopped" and _has_ended(pidfd, record.thawed_limit_ns * 1e-9):
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return _has_ended(pidfd, PATIENCE_S)
    finally:
        os.close(pidfd)


def _has_ended(pidfd: int, timeout_s: float) -> bool:
    return bool(select.select([pidfd], [], [], timeout_s)[0])
