"""An application: it appends records and fsyncs, and keeps outside what was acknowledged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.waiting import wait_until

_PROGRAM = """
import os, sys
data = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
acknowledged = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o600)
number = 0
while True:
    os.write(data, b"%09d\\n" % number)
    os.fsync(data)
    number += 1
    os.pwrite(acknowledged, b"%09d" % number, 0)
"""
NAME = "records"


class Writer:
    """Writes to a filesystem until it is stopped; frozen, it waits."""

    def __init__(self, directory: str, acknowledged: Path) -> None:
        self.acknowledged = acknowledged
        words = [sys.executable, "-I", "-c", _PROGRAM, f"{directory}/{NAME}", str(acknowledged)]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        wait_until(lambda: acknowledged.exists() and self.count > 3, "the writer writes")

    @property
    def count(self) -> int:
        """How many records have been acknowledged."""
        return int(self.acknowledged.read_text(encoding="ascii") or "0")

    def wait_for_more(self) -> None:
        before = self.count
        wait_until(lambda: self.count > before + 1, "the writer goes on")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(timeout=60)


def records_in(directory: Path) -> int:
    """How many records a copy has; they are whole and in order."""
    lines = (directory / NAME).read_bytes()
    count, rest = divmod(len(lines), 10)
    assert rest == 0, "a torn record"
    assert lines == b"".join(b"%09d\n" % number for number in range(count))
    return count
