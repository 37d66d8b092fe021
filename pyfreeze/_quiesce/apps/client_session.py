"""A database session that stays open: the server's own client, fed through a pipe.

So the operator's way of getting in works as he knows it (peer authentication, option files), and no
password passes through here. The client ends at the first error; what it then says is the error.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from pyfreeze._base.programs import CLEAN_ENVIRONMENT
from pyfreeze._quiesce.application import PROMPT_S, Quiescer
from pyfreeze._quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What a client prints when an answer is complete.
END = "-- pyfreeze: end of the answer --"
#: The server ends a session that a stopped holder cannot end any more.
GRACE_S = 5
_PR_SET_PDEATHSIG = 1
#: How long a client whose output has ended may take to end.
_END_S = 5.0


class SessionError(QuiesceError):
    """The server or its client said no; the text is theirs, on one line."""


class SessionTimeoutError(QuiesceError):
    """The server did not answer in time."""


def account_of(name: str) -> pwd.struct_passwd:
    """Look up the system user that a client is to be run as.

    Raises:
        QuiesceError: there is none.
    """
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise QuiesceError(f"there is no system user {name!r}: see the setting os_user") from None


class Session:
    """One client process with one connection. Its user and environment are the account's own."""

    def __init__(
        self,
        words: Sequence[str],
        account: pwd.struct_passwd,
        environment: Mapping[str, str],
        echo: str,
        *,
        has_headings: bool = False,
    ) -> None:
        """Start the client.

        Args:
            words: its command line; never a secret.
            account: the system user to run it as.
            environment: what it gets beside PATH, HOME and LANG; never a secret either.
            echo: the input that has the client print the line END to its output.
            has_headings: the line is printed twice, for it is its own column's heading.

        Raises:
            QuiesceError: it cannot be started.
        """
        self._echo = echo
        self._end = f"{END}\n".encode() * (2 if has_headings else 1)
        prctl = ctypes.CDLL(None).prctl

        def die_with_the_holder() -> None:
            # After the change of user, which would clear it.
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                bufsize=0,
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=os.getgrouplist(account.pw_name, account.pw_gid),
                env={**CLEAN_ENVIRONMENT, "HOME": account.pw_dir, **environment},
                preexec_fn=die_with_the_holder,  # noqa: PLW1509 - there are no threads here
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise QuiesceError(f"{words[0]} cannot be run: {error}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin = self._process.stdin
        self.out_fd = self._process.stdout.fileno()
        self._err_fd = self._process.stderr.fileno()
        os.set_blocking(self._err_fd, False)

    def ask(
        self, statements: str, timeout_s: float = PROMPT_S, late: str = "no answer in time"
    ) -> list[str]:
        """Have statements executed; returns the lines of their results.

        Raises:
            SessionError: one of them failed, or the session is over.
            SessionTimeoutError: no answer in time: `late` says so. The client has been killed.
        """
        until_s = time.monotonic() + timeout_s
        try:
            self._stdin.write(f"{statements}\n{self._echo}\n".encode())
        except BrokenPipeError:
            raise self._ended() from None
        answer = b""
        while not answer.endswith(self._end):
            left_s = max(until_s - time.monotonic(), 0)
            if not select.select([self.out_fd], [], [], left_s)[0]:
                self.kill()
                raise SessionTimeoutError(late)
            piece = os.read(self.out_fd, 65536)
            if not piece:
                raise self._ended()
            answer += piece
        return answer.removesuffix(self._end).decode("utf-8", "replace").split("\n")[:-1]

    def _ended(self) -> SessionError:
        """The error of a client whose output has ended: it ends at the first one."""
        self._wait()
        text = ""
        with contextlib.suppress(BlockingIOError):
            text = " ".join(os.read(self._err_fd, 65536).decode("utf-8", "replace").split())
        return SessionError(text or f"the client ended with status {self._process.returncode}")

    def close(self) -> None:
        """End the session in order, by the end of the client's input."""
        self._stdin.close()
        self._wait()

    def _wait(self) -> None:
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the client at once; the server notices, and ends the session."""
        self._process.kill()
        self._process.wait()


class SessionQuiescer(Quiescer):
    """An application that is kept quiet by one session of its server's client."""

    _opened: Session | None = None

    def _client(self, *names: str) -> str:
        """The path of the server's client, which goes by these names."""
        return self._program("client", *names, otherwise="install the server's client")

    @property
    def _session(self) -> Session:
        assert self._opened is not None
        return self._opened

    def abandon(self) -> None:
        """End the session; the server then lets go by itself of what it holds."""
        if self._opened is not None:
            with contextlib.suppress(OSError):
                self._opened.kill()

    def watched_fds(self) -> tuple[int, ...]:
        """The client's output: it hangs up when the client ends."""
        return (self._opened.out_fd,) if self._opened else ()
