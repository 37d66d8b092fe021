"""A connection that speaks RESP, Redis' protocol (version 2), in as few lines as it takes.

Through a socket of our own, because the password then is in no command line and no environment.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pyfreeze._quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from collections.abc import Sequence

Reply = str | int | list["Reply"] | None


class Redis:
    """One connection to a server.

    Raises:
        QuiesceError: there is no server, it does not answer in time, or it says no.
    """

    def __init__(self, address: str | tuple[str, int], timeout_s: float) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._name = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise QuiesceError(
                f"{self._name}: {error.strerror or error}: is Redis running, and is this where it "
                "listens? (the settings socket and port)"
            ) from None
        self._replies = self._socket.makefile("rb")

    def ask(self, *words: str) -> Reply:
        """One command; its reply."""
        try:
            self._socket.sendall(request(words))
            return self._read()
        except TimeoutError:
            raise QuiesceError(f"{self._name} does not answer {words[0]} in time") from None
        except OSError as error:
            raise QuiesceError(f"{self._name}: {error.strerror or error}") from None

    def tell(self, *words: str) -> None:
        """One command, whose reply nobody waits for."""
        self._socket.sendall(request(words))

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO."""
        text = self.ask("INFO", section)
        assert isinstance(text, str)
        pairs = (line.partition(":") for line in text.splitlines())
        return {name: value for name, colon, value in pairs if colon}

    def fileno(self) -> int:
        """Hangs up when the server ends the connection."""
        return self._socket.fileno()

    def close(self) -> None:
        """End it."""
        self._replies.close()
        self._socket.close()

    def _read(self) -> Reply:
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise QuiesceError(f"{self._name} has ended the connection")
        kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
        if kind == b"-":
            raise QuiesceError(f"{self._name}: {rest}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            if length < 0:
                return None
            data = self._replies.read(length + 2)
            if len(data) < length + 2:
                raise QuiesceError(f"{self._name} has ended the connection")
            return data[:-2].decode("utf-8", "replace")
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        return rest


def request(words: Sequence[str]) -> bytes:
    """A command as an array of bulk strings: pure."""
    encoded = [word.encode() for word in words]
    parts = [b"*%d\r\n" % len(encoded)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
    return b"".join(parts)
