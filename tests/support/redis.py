"""Redis servers of the tests' own, on their filesystems, reached by sockets of theirs only."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from pyfreeze._quiesce.errors import QuiesceError
from pyfreeze._quiesce.resp import Redis
from tests.support.disks import Disk
from tests.support.place import Place
from tests.support.waiting import wait_until

_HANG_S = 60.0


def find_program() -> str | None:
    return shutil.which("redis-server")


class Server:
    """One server; what it keeps lies on a disk of the tests'."""

    def __init__(self, disk: Disk, place: Place, *options: str) -> None:
        self.disk = disk
        self.socket = str(place.path("redis.sock"))
        self._options = options
        self._log = place.path("redis.log")
        self._data = disk.path("redis")
        self._data.mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = find_program()
        assert program, "no Redis server: sh ./bootstrap test installs it"
        words = [program, "--port", "0", "--unixsocket", self.socket, "--dir", str(self._data)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*words, *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, f"Redis answers\n{self._log}")

    def _answers(self) -> bool:
        try:
            with contextlib.closing(self.connect()) as client:
                client.ask("DBSIZE")
        except QuiesceError as error:
            return "NOAUTH" in str(error)
        return True

    def connect(self) -> Redis:
        return Redis(self.socket, _HANG_S)

    def kill(self) -> None:
        """As a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_HANG_S)
            self._process = None

    def numbers(self, writer: int) -> list[int]:
        """Which of a writer's numbers are there."""
        client = self.connect()
        keys = client.ask("KEYS", f"{writer}:*")
        client.close()
        assert isinstance(keys, list)
        return sorted(int(str(key).partition(":")[2]) for key in keys)


class Writers:
    """Connections that set one key after the other; how many were acknowledged is kept outside."""

    def __init__(self, place: Place, server: Server, count: int = 3) -> None:
        self._place = place
        self._files = [place.path(f"acknowledged-{writer}") for writer in range(count)]
        self._stopping = threading.Event()
        for file in self._files:
            file.write_text("0", encoding="ascii")
        self._threads = [
            threading.Thread(target=self._write, args=(writer, server.connect()), daemon=True)
            for writer in range(count)
        ]
        for thread in self._threads:
            thread.start()
        self.wait_for_more()

    def _write(self, writer: int, client: Redis) -> None:
        number = 0
        while not self._stopping.is_set():
            try:
                client.ask("SET", f"{writer}:{number + 1}", "x" * (number % 300))
            except QuiesceError:
                break
            number += 1
            part = self._files[writer].with_suffix(".part")
            part.write_text(str(number), encoding="ascii")
            part.rename(self._files[writer])
        client.close()

    def acknowledged(self, when: str = "") -> list[int]:
        files = [Path(f"{file}{when and '.' + when}") for file in self._files]
        return [int(file.read_text(encoding="ascii")) for file in files]

    def noting(self, when: str) -> str:
        """Shell lines that note what is acknowledged when they run."""
        return "\n".join(f"cp {file} {file}.{when}" for file in self._files)

    def wait_for_more(self, more: int = 20) -> None:
        before = self.acknowledged()
        wait_until(lambda: _is_beyond(self.acknowledged(), before, more), "all writers write")

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_HANG_S)
            assert not thread.is_alive(), "a writer hangs"


def _is_beyond(now: Sequence[int], then: Sequence[int], more: int) -> bool:
    return all(a >= b + more for a, b in zip(now, then, strict=True))
