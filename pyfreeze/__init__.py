"""Application-consistent snapshots of Linux machines, with the shortest freeze window there is.

    with pyfreeze.frozen(["/srv/data"], max_window=2.0) as window:
        take_snapshot()

    report = pyfreeze.backup(take_snapshot, config="/etc/azure/....json", mounts=["/srv/data"])

Names are imported when they are first used: `import pyfreeze` alone costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; `typing` itself takes longer than all the rest
if TYPE_CHECKING:
    from pyfreeze._api import backup
    from pyfreeze._errors import (
        FreezeError,
        FreezeFailedError,
        FreezeTimeoutError,
        InconsistentError,
        LockedError,
        NotPermittedError,
        StillFrozenError,
        SupervisorError,
        UsageError,
    )
    from pyfreeze._mounts.mountinfo import MountError
    from pyfreeze._report import Report
    from pyfreeze._settings import Peer
    from pyfreeze._timeline import FilesystemTimes, WindowTimes
    from pyfreeze._window import Window, frozen

__version__ = "0.1.0"

_HOMES = {
    "FilesystemTimes": "_timeline",
    "FreezeError": "_errors",
    "FreezeFailedError": "_errors",
    "FreezeTimeoutError": "_errors",
    "InconsistentError": "_errors",
    "LockedError": "_errors",
    "MountError": "_mounts.mountinfo",
    "NotPermittedError": "_errors",
    "Peer": "_settings",
    "Report": "_report",
    "StillFrozenError": "_errors",
    "SupervisorError": "_errors",
    "UsageError": "_errors",
    "Window": "_window",
    "WindowTimes": "_timeline",
    "backup": "_api",
    "frozen": "_window",
}

__all__ = [
    "FilesystemTimes",
    "FreezeError",
    "FreezeFailedError",
    "FreezeTimeoutError",
    "InconsistentError",
    "LockedError",
    "MountError",
    "NotPermittedError",
    "Peer",
    "Report",
    "StillFrozenError",
    "SupervisorError",
    "UsageError",
    "Window",
    "WindowTimes",
    "__version__",
    "backup",
    "frozen",
]


if not TYPE_CHECKING:  # else every misspelt name would have a type

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'pyfreeze' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"pyfreeze.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
