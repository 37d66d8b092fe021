"""The standard streams, which may be closed, full, or a pipe that nobody reads any more."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyfreeze._cli import exits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from _typeshed import ReadableBuffer


class OutputError(Exception):
    """What was to be told on standard output could not be; no OSError, since nothing else failed.

    Attributes:
        status: the exit status.
        outcome: what it was about, in a sentence, so that it can be told on stderr.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.is_broken_pipe = isinstance(error, BrokenPipeError)
        self.status = exits.FAILED
        self.outcome = ""


def _refuse() -> int:
    """For a stream that does not block: it took nothing, and never will in time."""
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class _Output(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or _refuse()
        except OSError as error:
            # What is still buffered goes nowhere, else Python would complain of it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise OutputError(error) from None


class _Messages(io.FileIO):
    """Standard error: nobody is left to tell that it fails, and nothing else may depend on it."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or _refuse()
        except OSError:
            return memoryview(data).nbytes


def take_over() -> None:
    """Let no file of ours have a standard stream's number, and no failing one go unnoticed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is this one. Standard output stays unfit for writing.
            os.open(os.devnull, os.O_RDONLY if fd == 1 else os.O_RDWR)
    sys.stdout = _stream(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _stream(_Messages(2, "w", closefd=False), sys.stderr)


def _stream(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    encoding, errors = ("utf-8", "backslashreplace")
    if before is not None:
        encoding, errors = before.encoding, before.errors or errors
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=raw.isatty())


@contextmanager
def telling(status: int, outcome: str) -> Iterator[None]:
    """Whatever cannot be printed in this block, the status stands, and the outcome is told."""
    try:
        yield
    except OutputError as error:
        error.status = status or exits.FAILED
        error.outcome = outcome
        raise
