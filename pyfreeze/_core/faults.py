"""The one place where a fault of the C core becomes an exception."""

from __future__ import annotations

import errno as _errno
import os

from pyfreeze._model.errors import (
    FreezeError,
    FreezeFailedError,
    FreezeTimeoutError,
    LockedError,
    NotPermittedError,
    SupervisorError,
)

_GONE = (_errno.EPIPE, _errno.ECONNRESET, _errno.ENOTCONN)


def os_error(
    kind: type[FreezeError], number: int, what: str, filename: str | None = None
) -> FreezeError:
    """Build an error whose text is "filename: what: the system's words"."""
    text = f"{what}: {os.strerror(number)}"
    return kind(number, text) if filename is None else kind(number, text, filename)


def from_fault(step: int, step_text: str, number: int, filename: str | None) -> FreezeError:
    """Turn a C core's fault into the exception for it.

    Args:
        step: an enum pf_op.
        step_text: pf_op_text(step).
        number: errno.
        filename: the mount or directory it concerns, if any.
    """
    from pyfreeze._native import lib

    if step == lib.PF_OP_LOCK and number == _errno.EWOULDBLOCK:
        text = "another run holds the lock: wait for its end ('pyfreeze status' shows it)"
        return LockedError(number, text, filename)
    if step in (lib.PF_OP_DIRECTORY, lib.PF_OP_LOCK, lib.PF_OP_PAGE):
        if number in (_errno.EACCES, _errno.EPERM):
            what = f"{step_text} (it must belong to root, who must be running this)"
            return os_error(NotPermittedError, number, what, filename)
        return os_error(FreezeError, number, step_text, filename)
    if step in (lib.PF_OP_SEND, lib.PF_OP_RECEIVE) and number in _GONE:
        # Not EPIPE: programs take an OSError with that number for a reader of theirs that went.
        return SupervisorError(_errno.ESRCH, "the supervisor is gone")
    if step in (lib.PF_OP_SPAWN, lib.PF_OP_READY, lib.PF_OP_SETUP):
        return os_error(SupervisorError, number, step_text, filename)
    known = {
        (lib.PF_OP_VERIFY, _errno.ESTALE): (
            FreezeFailedError, "it was unmounted, or something else is mounted there now",
        ),
        (lib.PF_OP_FREEZE, _errno.EBUSY): (
            FreezeFailedError, "somebody else has frozen it already",
        ),
        (lib.PF_OP_PAGE_READ, _errno.EPROTONOSUPPORT): (
            FreezeError, "another version of pyfreeze made it, whose 'pyfreeze thaw' reads it",
        ),
    }.get((step, number))  # fmt: skip
    if known is not None:
        kind, reason = known
        return kind(number, f"{step_text}: {reason}", filename)
    if step == lib.PF_OP_THAW and number == _errno.EPERM:
        return NotPermittedError(number, f"{step_text} needs CAP_SYS_ADMIN (root)", filename)
    if step in (lib.PF_OP_FREEZE, lib.PF_OP_FLUSH, lib.PF_OP_OPEN, lib.PF_OP_VERIFY):
        if number == _errno.ETIMEDOUT:
            return FreezeTimeoutError(number, f"{step_text} did not end in time", filename)
        if number == _errno.EPERM:
            return NotPermittedError(number, f"{step_text} needs CAP_SYS_ADMIN (root)", filename)
        return os_error(FreezeFailedError, number, step_text, filename)
    return os_error(FreezeError, number, step_text, filename)
