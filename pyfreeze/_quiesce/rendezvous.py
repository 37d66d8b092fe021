"""The holder's directory under /run: its lock, its FIFO, and the record of what became of it.

The lock (flock) is held as long as the holder lives, so the kernel says whether it does, and nobody
needs to guess from process numbers. The FIFO is how the post-script says "release": a shell writes
to it within a millisecond of its start. The record says the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyfreeze._base import trust
from pyfreeze._base.files import opened, replace
from pyfreeze._quiesce.errors import QuiesceError, files_of

if TYPE_CHECKING:
    from types import FrameType

#: Everything lies below; pyfreeze's own state directory, which is never on a frozen filesystem.
ROOT = "/run/pyfreeze/quiesce"
FIFO = "release"
_LOCK = "lock"
_RECORD = "record.json"

#: A run whose supervisor was lost has its post-scripts run by another one, under this name.
_SECOND_TRY = "-post"

Phase = Literal["acquiring", "failed", "holding", "released", "lost"]


class Record(NamedTuple):
    """What became of the last holder."""

    run_id: str
    phase: Phase
    """failed: never held; released: held until the post-script; lost: not."""
    pid: int
    text: str = ""


def own_run_id() -> str:
    """The run that a script belongs to; scripts run by hand belong together, too."""
    return os.environ.get("PYFREEZE_RUN_ID", "by-hand").removesuffix(_SECOND_TRY)


def is_release_of(word: str, run_id: str) -> bool:
    """Whether a line in the FIFO means this run."""
    return word.removesuffix(_SECOND_TRY) == run_id


class Rendezvous:
    """One holder's directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the directory, or check the one that is there: root's alone.

        Raises:
            QuiesceError: somebody else may write to it, or to a directory above it.
        """
        if os.geteuid() != 0:
            raise QuiesceError("this must be run as root, as pyfreeze does")
        parts = self.path.split("/")
        with files_of("the holder's directory"):
            for count in range(2, len(parts) + 1):
                directory = "/".join(parts[:count])
                with contextlib.suppress(FileExistsError):
                    os.mkdir(directory, 0o700)
            trust.check_directory(self.path)
            mode = os.stat(self.path, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode) or mode & 0o077:
            found = f"mode {stat.S_IMODE(mode):04o}"
            raise QuiesceError(f"the holder's directory {self.path}: {found}, needed 0700")

    def lock(self) -> int:
        """Take the lock for a holder to be; returns its descriptor.

        Raises:
            QuiesceError: there is a holder already.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._name(_LOCK), flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            record = self.read()
            who = f"process {record.pid} of run {record.run_id}" if record else "somebody"
            raise QuiesceError(
                f"{who} still holds the application quiet: run that one's post-script, or wait "
                "until it lets go at its deadline"
            ) from None
        return fd

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until there is no holder; False if it outlives the timeout.

        Uses SIGALRM: for the main thread of a program of its own.
        """

        def give_up(_number: int, _frame: FrameType | None) -> None:
            raise TimeoutError

        signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            with opened(self._name(_LOCK), os.O_RDWR | os.O_NOFOLLOW) as fd:
                fcntl.flock(fd, fcntl.LOCK_SH)
        except FileNotFoundError:
            return True
        except TimeoutError:
            return False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return True

    def open_fifo(self) -> int:
        """A new FIFO, for the holder to read from; open for writing too, so that it never ends."""
        self.remove_fifo()
        path = self._name(FIFO)
        os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def remove_fifo(self) -> None:
        """A post-script that comes now finds none."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name(FIFO))

    def ask_release(self, run_id: str) -> None:
        """Tell the holder, if there is one, that the post-script has begun."""
        # None there, or nobody reads it (ENXIO, EPIPE): the record says why.
        flags = os.O_WRONLY | os.O_NONBLOCK
        with contextlib.suppress(OSError), opened(self._name(FIFO), flags) as fd:
            os.write(fd, f"{run_id}\n".encode())

    def write(self, record: Record) -> None:
        """Replace the record."""
        replace(self._name(_RECORD), json.dumps(record._asdict()), mode=0o600)

    def read(self) -> Record | None:
        """The record, if there is one that can be understood."""
        try:
            with open(self._name(_RECORD), encoding="utf-8") as stream:
                return Record(**json.load(stream))
        except (OSError, ValueError, TypeError):
            return None

    def _name(self, name: str) -> str:
        return f"{self.path}/{name}"
