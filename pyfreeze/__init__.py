"""Application-consistent snapshots of Linux machines, with the shortest freeze window there is.

    with pyfreeze.frozen(["/srv/data"], max_window=2.0) as window:
        take_snapshot()

    report = pyfreeze.backup(take_snapshot, config="/etc/azure/....json", mounts=["/srv/data"])

Names are imported when they are first used: `import pyfreeze` alone costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; `typing` itself takes longer than all the rest
if TYPE_CHECKING:
    from pyfreeze._api.backup import backup
    from pyfreeze._api.window import Window, frozen
    from pyfreeze._model.errors import (
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
    from pyfreeze._model.options import WindowKeywords
    from pyfreeze._model.report import Report
    from pyfreeze._model.timeline import FilesystemTimes, WindowTimes
    from pyfreeze._mounts.mountinfo import MountError
    from pyfreeze._snapshot.peer import Peer

__version__ = "0.1.0"

#: Where each public name is; those that are not here are errors.
_HOMES = {
    "FilesystemTimes": "_model.timeline",
    "MountError": "_mounts.mountinfo",
    "Peer": "_snapshot.peer",
    "Report": "_model.report",
    "Window": "_api.window",
    "WindowKeywords": "_model.options",
    "WindowTimes": "_model.timeline",
    "backup": "_api.backup",
    "frozen": "_api.window",
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
    "WindowKeywords",
    "WindowTimes",
    "__version__",
    "backup",
    "frozen",
]


if not TYPE_CHECKING:  # else every misspelt name would have a type

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'pyfreeze' has no attribute {name!r}")
        from importlib import import_module

        home = _HOMES.get(name, "_model.errors")
        value = getattr(import_module(f"pyfreeze.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
