"""The errors that pyfreeze raises: one family."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyfreeze._model.timeline import WindowTimes


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
    supervisor or, if it was killed, by the program that recovers. `pyfreeze thaw` tries the rest
    again.
    """

    mounts: tuple[str, ...] = ()
    """All mount points that it concerns."""
