"""What goes wrong with an application."""

from __future__ import annotations


class QuiesceError(Exception):
    """The application cannot be quiesced, or has not been until now; its text is one line.

    It names the thing, says what was found, and what to do.
    """
