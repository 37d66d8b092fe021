"""A program on a terminal of its own, with somebody who types."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence

#: A guard against hanging, not a measure of speed.
PATIENCE_S = 20.0


class Terminal:
    """A session whose controlling terminal is ours to read and to type on."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], cwd: str = "/"
    ) -> None:
        self._leader, follower = os.openpty()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *words],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**environment, "TERM": "dumb"},
            cwd=cwd,
            start_new_session=True,
        )
        os.close(follower)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._leader, text.encode())

    def wait_for(self, text: str) -> None:
        """Return as soon as the program has printed it, since the last time."""
        until = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            left_s = until - time.monotonic()
            ready = select.select([self._leader], [], [], max(left_s, 0))[0]
            assert ready, f"{text!r} did not come: {self.seen!r}"
            self.seen += os.read(self._leader, 65536).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._leader)  # a hang-up for the session
        try:
            self._process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=PATIENCE_S)
            raise
