"""What the tests of any database share: clients that write all the time, snapshots restored."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from tests.support.disks import Disk, copy_command, opened_copy, tool
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_HANG_S = 60.0


class Client(Protocol):
    """One connection: a statement, and its answer when the server has acknowledged it."""

    def execute(self, statements: str) -> bool: ...
    def close(self) -> None: ...


class PipedClient:
    """A server's own client program, which reads from a pipe and ends at the first error."""

    def __init__(self, words: Sequence[str], acknowledge: str) -> None:
        self._acknowledge = acknowledge
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def execute(self, statements: str) -> bool:
        """Whether the server has done it; False: the connection is over."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{statements}\n{self._acknowledge}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        while line := self._process.stdout.readline():
            if line == "acknowledged\n":
                return True
        return False

    def close(self) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=_HANG_S)


#: Rows to be found again, and accounts whose sum has to stay zero.
TABLES = (
    "CREATE TABLE written (writer INT, number INT, filler TEXT, PRIMARY KEY (writer, number))",
    "CREATE TABLE account (id INT PRIMARY KEY, balance INT NOT NULL)",
)


def transaction(writer: int, number: int) -> str:
    """One row, and a transfer between two accounts of the writer's own."""
    giver, taker = 2 * writer, 2 * writer + 1
    return (
        f"BEGIN; INSERT INTO written VALUES ({writer}, {number}, repeat('x', {number % 400}));"
        f" UPDATE account SET balance = balance - 1 WHERE id = {giver};"
        f" UPDATE account SET balance = balance + 1 WHERE id = {taker}; COMMIT;"
    )


class Transactions:
    """A writer of a database's: each of its numbers a row, and a transfer."""

    def __init__(self, writer: int, client: Client, also: str = "") -> None:
        """Use a connection; every other writer adds the statement `also`, with its number."""
        self._writer = writer
        self._client = client
        self._also = also if writer % 2 else ""

    def commit(self, number: int) -> bool:
        also = self._also.format(writer=self._writer, number=number)
        return self._client.execute(f"{transaction(self._writer, number)} {also}")

    def close(self) -> None:
        self._client.close()


def copies_of(script_dir: ScriptDir, disks: Sequence[Disk]) -> list[Path]:
    return [script_dir.path(f"{disk.fstype}.copy") for disk in disks]


def snapshot(
    script_dir: ScriptDir, disks: Sequence[Disk], before: str = ":", after: str = ":"
) -> list[str]:
    """A command that copies all images, and runs shell lines before and after that."""
    copies = zip(disks, copies_of(script_dir, disks), strict=True)
    lines = [shlex.join(copy_command(disk, copy)) for disk, copy in copies]
    return [script_dir.script("snapshot", "\n".join(["set -e", before, *lines, after]))]


@contextlib.contextmanager
def mounted_instead(
    disks: Sequence[Disk], copies: Sequence[Path], *, clean: bool = True
) -> Iterator[None]:
    """Mount copies where the filesystems were. The original server must be down."""
    for disk, copy in zip(disks, copies, strict=True):
        if clean:
            with opened_copy(disk.fstype, copy):
                pass
    for disk in disks:
        disk.unmount()
    mounted: list[Disk] = []
    try:
        for disk, copy in zip(disks, copies, strict=True):
            tool("mount", "-t", disk.fstype, "-o", "loop", str(copy), disk.mount_point)
            mounted.append(disk)
        yield
    finally:
        for disk in mounted:
            what = f"the copy on {disk.mount_point} can be unmounted"
            wait_until(partial(_try_unmount, disk.mount_point), what)
        for disk in disks:
            disk.mount()


def _try_unmount(mount_point: str) -> bool:
    done = subprocess.run(["umount", mount_point], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def assert_rows(
    numbers: Callable[[int], list[int]], at_least: Sequence[int], at_most: Sequence[int]
) -> None:
    """Every writer's rows are there without a gap: those acknowledged, and none from after.

    One more than was acknowledged may have been written: the one under way.
    """
    for writer, (least, most) in enumerate(zip(at_least, at_most, strict=True)):
        found = numbers(writer)
        assert found == list(range(1, len(found) + 1)), f"writer {writer} has gaps"
        expected = f"expected {least} to {most + 1}"
        assert least <= len(found) <= most + 1, f"writer {writer}: {len(found)} rows, {expected}"
