"""Redis servers of the tests' own, on their filesystems, reached by sockets of theirs only."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

from pyfreeze._quiesce.apps.resp import Redis
from pyfreeze._quiesce.errors import QuiesceError
from tests.support.disks import Disk
from tests.support.load import Writers
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_HANG_S = 60.0


def find_program() -> str | None:
    return shutil.which("redis-server")


class Server:
    """One server; what it keeps lies on a disk of the tests'."""

    def __init__(self, disk: Disk, script_dir: ScriptDir, *options: str) -> None:
        self.disk = disk
        self.socket = str(script_dir.path("redis.sock"))
        self._options = options
        self._log = script_dir.path("redis.log")
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

    def writers(self, script_dir: ScriptDir, count: int = 3) -> Writers:
        return Writers(script_dir, [_Keys(writer, self.connect()) for writer in range(count)])

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


class _Keys:
    """One writer's keys: a number each."""

    def __init__(self, writer: int, client: Redis) -> None:
        self._writer = writer
        self._client = client

    def commit(self, number: int) -> bool:
        try:
            self._client.ask("SET", f"{self._writer}:{number}", "x" * (number % 300))
        except QuiesceError:
            return False
        return True

    def close(self) -> None:
        self._client.close()
