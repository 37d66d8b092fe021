"""What the tests of any database share: clients that write all the time, snapshots restored."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from tests.support.disks import Disk, copy_command, opened_copy, tool
from tests.support.place import Place
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


class Writers:
    """Connections that write all the time; what was acknowledged is kept outside, a file each."""

    def __init__(self, place: Place, clients: Sequence[Client], also: str = "") -> None:
        """Start to write; `also` is a further statement of every other writer, with its number."""
        self._also = also
        self._place = place
        self._clients = clients
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(number, client), daemon=True)
            for number, client in enumerate(clients)
        ]
        for writer in range(len(clients)):
            self._file(writer).write_text("0", encoding="ascii")
        for thread in self._threads:
            thread.start()
        self.wait_for_more()

    def _file(self, writer: int, when: str = "now") -> Path:
        return self._place.path(f"acknowledged-{writer}.{when}")

    def _write(self, writer: int, client: Client) -> None:
        file = os.open(self._file(writer), os.O_WRONLY)
        number = 0
        while not self._stopping.is_set():
            also = self._also.format(writer=writer, number=number + 1) if writer % 2 else ""
            if not client.execute(f"{transaction(writer, number + 1)} {also}"):
                break
            number += 1
            os.pwrite(file, b"%09d" % number, 0)
        os.close(file)

    def acknowledged(self, when: str = "now") -> list[int]:
        """How many rows of each writer had been acknowledged; they are numbered from 1."""
        return [
            int(self._file(writer, when).read_text(encoding="ascii"))
            for writer in range(len(self._clients))
        ]

    def wait_for_more(self, rows: int = 20) -> None:
        """Wait until every writer has gone on."""
        before = self.acknowledged()
        wait_until(
            lambda: all(
                now >= then + rows for now, then in zip(self.acknowledged(), before, strict=True)
            ),
            "all writers write",
        )

    def noting(self, when: str) -> str:
        """Shell lines that note what is acknowledged when they run."""
        return "\n".join(
            shlex.join(["cp", str(self._file(writer)), str(self._file(writer, when))])
            for writer in range(len(self._clients))
        )

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_HANG_S)
            assert not thread.is_alive(), "a writer hangs"
        for client in self._clients:
            client.close()


def copies_of(place: Place, disks: Sequence[Disk]) -> list[Path]:
    return [place.path(f"{disk.fstype}.copy") for disk in disks]


def snapshot(place: Place, disks: Sequence[Disk], before: str = ":", after: str = ":") -> list[str]:
    """A command that copies all images, and runs shell lines before and after that."""
    copies = zip(disks, copies_of(place, disks), strict=True)
    lines = [shlex.join(copy_command(disk, copy)) for disk, copy in copies]
    return [place.script("snapshot", "\n".join(["set -e", before, *lines, after]))]


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
