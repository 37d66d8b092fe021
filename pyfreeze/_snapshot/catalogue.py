"""The ways to take a snapshot. A new one: a module with a `Provider`, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pyfreeze._snapshot.callable import CallableProvider
from pyfreeze._snapshot.command import CommandProvider
from pyfreeze._snapshot.peer import Peer, PeerProvider

if TYPE_CHECKING:
    from pyfreeze._snapshot.provider import Provider

Snapshot = Sequence[str] | Callable[[], object] | Peer


def provider_of(
    snapshot: Snapshot, environment: Mapping[str, str], directory: str, timeout_s: float
) -> Provider:
    """The provider for what was given to take the snapshot.

    Args:
        snapshot: a command's words, a callable or a `Peer`.
        environment: of a command.
        directory: a command's working directory.
        timeout_s: what a command, or a peer without a window, may take.

    Raises:
        UsageError: it is none of these, a descriptor is not open, there is no such program, or it
            cannot be executed.
    """
    if isinstance(snapshot, Peer):
        return PeerProvider(snapshot, timeout_s)
    if callable(snapshot):
        return CallableProvider(snapshot)
    return CommandProvider(snapshot, environment, directory, timeout_s)
