"""The application's view: how long a database's longest transaction takes while it is backed up."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyfreeze
from bench.support.comparison import Compare, Contender, Target
from bench.support.filesystems import Filesystems, thaw_all
from bench.support.postgres import Postgres
from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.namespace import ROOT
from tests.support.quiesce import QuiesceScripts
from tests.support.script_dir import ScriptDir

_SPAN_S = 2
#: When in the span the backup begins: every client has its connection by then.
_BACKUP_AT_S = 0.7
#: What takes the snapshot, in every backup.
_SNAPSHOT = ["sleep", "0.005"]
_HANG_S = 60.0


@pytest.fixture
def database(filesystems: Filesystems) -> Iterator[tuple[Postgres, Disk]]:
    disk = filesystems.loaded("ext4")
    server = Postgres(disk, Path(ROOT, "postgres"))
    yield server, disk
    server.close()


@pytest.fixture
def script_dir() -> ScriptDir:
    return ScriptDir(Path(ROOT, "postgres-scripts"))


def test_postgresql(
    compare: Compare, database: tuple[Postgres, Disk], script_dir: ScriptDir
) -> None:
    """By pyfreeze's own scripts, and as in a shell script: a checkpoint, then freeze and thaw."""
    server, disk = database
    checkpoint = shlex.join(server.sql("CHECKPOINT"))
    scripts = QuiesceScripts(
        Pyfreeze(), script_dir, "postgresql", socket_directory=server.directory
    )
    mount = shlex.quote(disk.mount_point)
    by_hand = f"{checkpoint} && fsfreeze -f {mount} && {shlex.join(_SNAPSHOT)}; fsfreeze -u {mount}"
    per_s: dict[str, list[float]] = {}

    def nothing() -> None:
        pass

    def by_pyfreeze() -> None:
        report = pyfreeze.backup(_SNAPSHOT, mounts=[disk.mount_point], config=scripts.config)
        assert report.consistency == "application", report.message

    def by_fsfreeze() -> None:
        subprocess.run(["sh", "-c", by_hand], check=True, timeout=_HANG_S)

    def under_load(name: str, backup: Callable[[], None]) -> Contender:
        def run() -> float:
            load = server.start_load(_SPAN_S)
            try:
                time.sleep(_BACKUP_AT_S)
                backup()
            except BaseException:
                thaw_all([disk])
                raise
            finally:
                seen = server.end_load(load, _SPAN_S)
            per_s.setdefault(name, []).append(seen.per_s)
            return seen.longest_ms

        return run

    backups = {
        "no backup": nothing,
        "pyfreeze": by_pyfreeze,
        "fsfreeze in a shell script": by_fsfreeze,
    }
    compare(
        "longest transaction, PostgreSQL under pgbench",
        {name: under_load(name, backup) for name, backup in backups.items()},
        unit="ms",
        least_rounds=4,
        targets=[
            Target(
                "pyfreeze",
                "fsfreeze in a shell script",
                at_most=1.0,
                text="longest transaction, against fsfreeze in a shell script",
            )
        ],
    )
    compare.add("transactions per second, PostgreSQL under pgbench", per_s, unit="1/s")
