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


def from_fault(op: int, op_text: str, number: int, filename: str | None) -> FreezeError:
    """Turn a C core's fault into the exception for it.

    Args:
        op: an enum pf_op.
        op_text: pf_op_text(op).
        number: errno.
        filename: the mount or directory it concerns, if any.
    """
    from pyfreeze._native import lib

    gone = (_errno.EPIPE, _errno.ECONNRESET, _errno.ENOTCONN)
    if op in (lib.PF_OP_SEND, lib.PF_OP_RECEIVE) and number in gone:
        # Not EPIPE: programs take an OSError with that number for a reader of theirs that went.
        return SupervisorError(_errno.ESRCH, "the supervisor is gone")
    words = os.strerror(number)
    freezing = (lib.PF_OP_OPEN, lib.PF_OP_VERIFY, lib.PF_OP_FLUSH, lib.PF_OP_FREEZE)
    # The first that holds: of these ops, with these numbers or, where there are none, with any.
    table: tuple[tuple[tuple[int, ...], tuple[int, ...], type[FreezeError], str], ...] = (
        ((lib.PF_OP_LOCK,), (_errno.EWOULDBLOCK,), LockedError,
         "another run holds the lock: wait for its end ('pyfreeze status' shows it)"),
        ((lib.PF_OP_DIRECTORY, lib.PF_OP_LOCK, lib.PF_OP_PAGE), (_errno.EACCES, _errno.EPERM),
         NotPermittedError,
         f"{op_text} (it must belong to root, who must be running this): {words}"),
        ((lib.PF_OP_SPAWN, lib.PF_OP_READY, lib.PF_OP_SETUP), (), SupervisorError,
         f"{op_text}: {words}"),
        ((lib.PF_OP_VERIFY,), (_errno.ESTALE,), FreezeFailedError,
         f"{op_text}: it was unmounted, or something else is mounted there now"),
        ((lib.PF_OP_FREEZE,), (_errno.EBUSY,), FreezeFailedError,
         f"{op_text}: somebody else has frozen it already"),
        ((lib.PF_OP_PAGE_READ,), (_errno.EPROTONOSUPPORT,), FreezeError,
         f"{op_text}: another version of pyfreeze made it, whose 'pyfreeze thaw' reads it"),
        ((*freezing, lib.PF_OP_THAW), (_errno.EPERM,), NotPermittedError,
         f"{op_text} needs CAP_SYS_ADMIN (root)"),
        (freezing, (_errno.ETIMEDOUT,), FreezeTimeoutError, f"{op_text} did not end in time"),
        (freezing, (), FreezeFailedError, f"{op_text}: {words}"),
    )  # fmt: skip
    for ops, numbers, kind, text in table:
        if op in ops and (not numbers or number in numbers):
            return kind(number, text, filename)
    return FreezeError(number, f"{op_text}: {words}", filename)
