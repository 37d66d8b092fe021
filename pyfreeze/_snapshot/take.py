"""Taking the snapshot, in a freeze window or without one, in each of its three ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfreeze._snapshot.callable import by_callable
from pyfreeze._snapshot.command import by_command
from pyfreeze._snapshot.peer import Peer, by_peer

if TYPE_CHECKING:
    from pyfreeze._backup.settings import Settings
    from pyfreeze._core.run import Run
    from pyfreeze._model.options import WindowOptions
    from pyfreeze._snapshot.provider import SnapshotResult


def take(run: Run, settings: Settings, options: WindowOptions | None) -> SnapshotResult:
    """Take the snapshot, frozen if there are window options.

    Whatever is raised from here (a signal handler's exception above all) has thawed everything; an
    ordinary exception of a callable is a failed snapshot.
    """
    snapshot = settings.snapshot
    if isinstance(snapshot, Peer):
        return by_peer(run, snapshot, settings, options)
    if callable(snapshot):
        return by_callable(run, snapshot, options)
    return by_command(run, snapshot, settings, options)
