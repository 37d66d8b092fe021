"""Writers: threads that commit one number after the other, to whatever keeps them."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_HANG_S = 60.0


class Committer(Protocol):
    """One connection to what is written to."""

    def commit(self, number: int) -> bool:
        """Whether that was acknowledged; False: the connection is over."""

    def close(self) -> None: ...


class Writers:
    """A thread for each connection; what was acknowledged is kept outside, a file each."""

    def __init__(self, script_dir: ScriptDir, committers: Sequence[Committer]) -> None:
        self._place = script_dir
        self._committers = committers
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=one, daemon=True)
            for one in enumerate(committers)
        ]
        for writer in range(len(committers)):
            self._note(writer, 0)
        for thread in self._threads:
            thread.start()
        self.wait_for_more()

    def _file(self, writer: int, when: str = "now") -> Path:
        return self._place.path(f"acknowledged-{writer}.{when}")

    def _note(self, writer: int, number: int) -> None:
        part = self._file(writer, "part")
        part.write_text(str(number), encoding="ascii")
        part.rename(self._file(writer))

    def _write(self, writer: int, committer: Committer) -> None:
        number = 0
        while not self._stopping.is_set() and committer.commit(number + 1):
            number += 1
            self._note(writer, number)

    def acknowledged(self, when: str = "now") -> list[int]:
        """How many of each writer's numbers had been acknowledged; they begin with 1."""
        writers = range(len(self._committers))
        return [int(self._file(writer, when).read_text(encoding="ascii")) for writer in writers]

    def noting(self, when: str) -> str:
        """Shell lines that note what is acknowledged when they run."""
        # Not by cp, which refuses a file that is replaced between its lstat() and its open().
        return "\n".join(
            f"cat {shlex.quote(str(self._file(writer)))} "
            f">{shlex.quote(str(self._file(writer, when)))}"
            for writer in range(len(self._committers))
        )

    def assert_nobody_wrote(self, since: str, until: str) -> None:
        """Between two notes; but one answer may have been on its way to the writer's own note."""
        then, now = self.acknowledged(since), self.acknowledged(until)
        for writer, (before, after) in enumerate(zip(then, now, strict=True)):
            found = f"writer {writer}: {before} when {since}, {after} when {until}"
            assert before <= after <= before + 1, found

    def wait_for_more(self, more: int = 20) -> None:
        """Wait until every writer has gone on."""
        before = self.acknowledged()
        wait_until(
            lambda: all(
                now >= then + more for now, then in zip(self.acknowledged(), before, strict=True)
            ),
            "all writers write",
        )

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_HANG_S)
            assert not thread.is_alive(), "a writer hangs"
        for committer in self._committers:
            committer.close()
