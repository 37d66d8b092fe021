"""The errors that pyfreeze raises: one family, and one place where C codes become exceptions."""

from __future__ import annotations

import errno as _errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyfreeze._timeline import WindowTimes


_GONE = (_errno.EPIPE, _errno.ECONNRESET, _errno.ENOTCONN)


class FreezeError(OSError):
    """The base of all errors here: `errno`, `strerror` and `filename` as with any OSError.

    Its text is one line, "filename: what is wrong". Whichever of them is raised, it leaves nothing
    frozen, but for `StillFrozenError`.
    """

    def __str__(self) -> str:
        text = self.strerror or super().__str__()
        return text if self.filename is None else f"{self.filename}: {text}"


class UsageError(FreezeError, ValueError):
    """An argument is wrong; nothing was touched. The text names it, what was found and expected."""


class LockedError(FreezeError):
    """Another run holds the lock: only one freezes at a time on a machine. Try again later."""


class NotPermittedError(FreezeError, PermissionError):
    """Freezing needs CAP_SYS_ADMIN, and the state directory an owner: in practice root."""


class SupervisorError(FreezeError):
    """The supervisor program is missing, cannot run, or was lost (killed from outside).

    Also for a `Window` that is entered while it is open.
    """


class FreezeFailedError(FreezeError):
    """A filesystem could not be opened, flushed or frozen; all that was frozen is thawed."""


class FreezeTimeoutError(FreezeFailedError, TimeoutError):
    """Freezing took longer than allowed; what hangs is thawed when it returns."""


class InconsistentError(FreezeError):
    """The window did not hold: whatever was taken inside it is worth nothing; take it again.

    Its `errno` says why: ETIMEDOUT, the window expired; ESTALE, somebody else thawed inside it;
    EINTR, a signal to the supervisor ended it; ESRCH, the supervisor was lost; EIO, thawing failed.
    """

    times: WindowTimes | None = None
    """The window's timeline, as far as it got."""


class StillFrozenError(FreezeError):
    """Something may still be frozen: FIFREEZE or FITHAW hangs in the kernel, or FITHAW failed.

    `filename` is the first mount. What hangs in FIFREEZE is thawed when that returns, by the
    supervisor or, if it was killed, by its heir; `pyfreeze thaw` tries the rest again.
    """

    mounts: tuple[str, ...] = ()
    """All mount points that it concerns."""


def os_error(
    kind: type[FreezeError], number: int, what: str, filename: str | None = None
) -> FreezeError:
    """Build an error whose text is "filename: what: the system's words"."""
    text = f"{what}: {os.strerror(number)}"
    return kind(number, text) if filename is None else kind(number, text, filename)


def from_fault(step: int, step_text: str, number: int, filename: str | None) -> FreezeError:
    """Turn a C core's fault into the exception for it.

    Args:
        step: an enum pf_step.
        step_text: pf_step_text(step).
        number: errno.
        filename: the mount or directory it concerns, if any.
    """
    from pyfreeze._native import lib

    if step == lib.PF_STEP_LOCK and number == _errno.EWOULDBLOCK:
        text = "another run holds the lock: wait for its end ('pyfreeze status' shows it)"
        return LockedError(number, text, filename)
    if step in (lib.PF_STEP_DIRECTORY, lib.PF_STEP_LOCK, lib.PF_STEP_PAGE):
        if number in (_errno.EACCES, _errno.EPERM):
            what = f"{step_text} (it must belong to root, who must be running this)"
            return os_error(NotPermittedError, number, what, filename)
        return os_error(FreezeError, number, step_text, filename)
    if step in (lib.PF_STEP_SEND, lib.PF_STEP_RECEIVE) and number in _GONE:
        # Not EPIPE: programs take an OSError with that number for a reader of theirs that went.
        return SupervisorError(_errno.ESRCH, "the supervisor is gone")
    if step in (lib.PF_STEP_SPAWN, lib.PF_STEP_READY, lib.PF_STEP_SETUP):
        return os_error(SupervisorError, number, step_text, filename)
    if step == lib.PF_STEP_VERIFY and number == _errno.ESTALE:
        what = f"{step_text}: it was unmounted, or something else is mounted there now"
        return FreezeFailedError(number, what, filename)
    if step == lib.PF_STEP_FREEZE and number == _errno.EBUSY:
        what = f"{step_text}: somebody else has frozen it already"
        return FreezeFailedError(number, what, filename)
    if step == lib.PF_STEP_THAW and number == _errno.EPERM:
        return NotPermittedError(number, f"{step_text} needs CAP_SYS_ADMIN (root)", filename)
    if step in (lib.PF_STEP_FREEZE, lib.PF_STEP_FLUSH, lib.PF_STEP_OPEN, lib.PF_STEP_VERIFY):
        if number == _errno.ETIMEDOUT:
            return FreezeTimeoutError(number, f"{step_text} did not end in time", filename)
        if number == _errno.EPERM:
            return NotPermittedError(number, f"{step_text} needs CAP_SYS_ADMIN (root)", filename)
        return os_error(FreezeFailedError, number, step_text, filename)
    return os_error(FreezeError, number, step_text, filename)


DAY_S = 86400.0


def check_seconds(name: str, seconds: float | None) -> None:
    """Refuse what is no number of seconds above 0 and within a day; None is none."""
    if seconds is not None and not 0 < seconds <= DAY_S:  # refuses NaN too
        raise UsageError(
            _errno.EINVAL, f"{name}: found {seconds!r}, expected seconds above 0, at most a day"
        )
