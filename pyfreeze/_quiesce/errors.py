"""What goes wrong with an application."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pyfreeze._base.trust import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator


class QuiesceError(Exception):
    """The application cannot be quiesced, or has not been until now; its text is one line.

    It names the thing, says what was found, and what to do.
    """


@contextlib.contextmanager
def files_of(what: str) -> Iterator[None]:
    """Say of what a file is that is not there, or may not be trusted."""
    try:
        yield
    except (OSError, TrustError) as error:
        raise QuiesceError(f"{what}: {error}") from None
