"""A PostgreSQL server of the benchmarks' own, on a filesystem of theirs, under pgbench's load."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.support.disks import Disk
from tests.support.waiting import wait_until

_USER = "postgres"
_CLIENTS = 4
_SCALE = 5
_HANG_S = 120.0


def programs() -> Path:
    """Where the newest installed server has its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    assert found, "no PostgreSQL server: sh ./bootstrap bench installs it"
    return found[-1].parent


class Load(NamedTuple):
    """What pgbench's clients saw over a while."""

    longest_ms: float
    """The longest transaction."""
    per_s: float
    """Transactions in a second."""


class Postgres:
    """A server that listens on a socket in `directory` only, its data on `disk`."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._programs = programs()
        self._data = disk.path("postgres")
        self.directory = directory
        directory.mkdir(mode=0o700)
        self._data.mkdir(mode=0o700)
        for path in (directory, self._data):
            shutil.chown(path, _USER, _USER)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "--no-instructions")
        self._server = subprocess.Popen(
            self.words(
                "postgres",
                *("-D", str(self._data), "-k", str(directory), "-h", ""),
                *("-c", "logging_collector=off", "-c", "max_wal_size=4GB"),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(self._is_ready, "the server takes connections", _HANG_S)
            self._run("pgbench", "-i", "-q", "-s", str(_SCALE), "-h", str(directory), "postgres")
        except BaseException:
            self.close()
            raise

    def words(self, program: str, *arguments: str) -> list[str]:
        """A command line of one of its programs, as the server's user."""
        drop = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--init-groups", "--"]
        return [*drop, str(self._programs / program), *arguments]

    def sql(self, statement: str) -> list[str]:
        """A command line that runs one statement."""
        return self.words("psql", "-qAt", "-h", str(self.directory), "-c", statement, "postgres")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self.words(program, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            timeout=_HANG_S,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"

    def _is_ready(self) -> bool:
        assert self._server.poll() is None, "the server has ended"
        words = self.words("pg_isready", "-q", "-h", str(self.directory))
        return subprocess.run(words, timeout=_HANG_S, check=False).returncode == 0

    def start_load(self, seconds: int) -> subprocess.Popen[bytes]:
        """Start pgbench's standard load, with a log of every transaction."""
        return subprocess.Popen(
            self.words(
                "pgbench",
                *("-h", str(self.directory), "-c", str(_CLIENTS), "-T", str(seconds), "-n", "-l"),
                *("--log-prefix", str(self.directory / "transactions"), "postgres"),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end_load(self, load: subprocess.Popen[bytes], seconds: int) -> Load:
        """Wait for its end, and read the log: the third column is microseconds."""
        assert load.wait(timeout=_HANG_S) == 0, "pgbench failed"
        latencies_us: list[int] = []
        for log in self.directory.glob("transactions.*"):
            lines = log.read_text(encoding="ascii").splitlines()
            latencies_us += [int(line.split()[2]) for line in lines]
            log.unlink()
        assert latencies_us, "pgbench did nothing"
        return Load(max(latencies_us) / 1e3, len(latencies_us) / seconds)

    def close(self) -> None:
        self._server.send_signal(signal.SIGINT)  # a fast shutdown
        try:
            self._server.wait(timeout=_HANG_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(timeout=_HANG_S)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._data)
        shutil.rmtree(self.directory)
