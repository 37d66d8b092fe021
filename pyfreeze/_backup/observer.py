"""What a backup tells, on its way, to a progress display."""

from __future__ import annotations


class Observer:
    """Hears what a backup is doing. Its methods are called between the steps: they return at once.

    Attributes:
        poll_s: how often it wants to hear what running scripts say, in seconds; None: never.
    """

    poll_s: float | None = None

    def begins(self, phase: str, detail: str = "") -> None:
        """A phase begins: "flush", "pre-scripts", "window", "snapshot" or "post-scripts".

        A window is the flush right before the freeze, the freeze, the snapshot in it and the thaw;
        "snapshot" one that is taken without freezing.
        """

    def says(self, text: str) -> None:
        """The end of what the running scripts have written so far."""

    def ends(self) -> None:
        """The phase that began last is over."""
