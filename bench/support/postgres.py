"""A PostgreSQL server of the benchmarks' own, on a filesystem of theirs, under pgbench's load."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.support.clients import Load
from tests.support.disks import Disk
from tests.support.postgresql import Server

_CLIENTS = 4
_SCALE = 5
_HANG_S = 120.0


class Postgres:
    """A server that listens on a socket in `directory` only, its data on `disk`."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self.directory = directory
        self.server = Server(disk.path("postgres"), directory, settings=["max_wal_size=4GB"])
        self.server.init()
        self.server.start()
        try:
            where = ("-h", str(directory), "postgres")
            self.server.run("pgbench", "-i", "-q", "-s", str(_SCALE), *where)
        except BaseException:
            self.close()
            raise

    def sql(self, statement: str) -> list[str]:
        """A command line that runs one statement."""
        where = ("-h", str(self.directory), "postgres")
        return self.server.words("psql", "-qAt", "-c", statement, *where)

    def start_load(self, seconds: int) -> subprocess.Popen[bytes]:
        """Start pgbench's standard load, with a log of every transaction."""
        return subprocess.Popen(
            self.server.words(
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
        self.server.stop()
        shutil.rmtree(self.server.data, ignore_errors=True)
        shutil.rmtree(self.directory)
