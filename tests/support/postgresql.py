"""PostgreSQL servers of the tests' own, on their filesystems, reached by sockets of theirs only."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support import foreign
from tests.support.command import Pyfreeze
from tests.support.database import TABLES, PipedClient, Transactions, copies_of, mounted_instead
from tests.support.disks import Disk, Disks
from tests.support.load import Writers
from tests.support.namespace import ROOT
from tests.support.processes import is_asleep
from tests.support.quiesce import QuiesceScripts
from tests.support.script_dir import ScriptDir
from tests.support.servers import ServerProcess, output_of_program
from tests.support.waiting import wait_until

USER = "postgres"
#: What pg_amcheck does, by what every version has: all of the heap is read for it.
_CHECK_INDEXES = (
    "CREATE EXTENSION IF NOT EXISTS amcheck;"
    " SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c"
    " ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree'"
)
#: Little is flushed that no script asks for.
_SETTINGS = (
    "autovacuum=off",
    "max_connections=20",
    "max_wal_size=24MB",
    "wal_writer_delay=10s",
)
_numbers = itertools.count()


#: Major versions beside the system's; their servers come without any client.
OTHER_MAJORS = (12, 13, 14, 16, 17, 18)


def find_programs(major: int | None = None) -> Path | None:
    """Where the newest installed server has its programs; Debian has them out of PATH.

    Or where those of one major version have been fetched to.
    """
    if major is None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        return found[-1].parent if found else None
    fetched = foreign.find("postgresql")
    return fetched and fetched / f"node_modules/postgresql-{major}/native/bin"


def drop(*words: str) -> list[str]:
    """A command line as the server's user, which ends with the tests whatever becomes of them."""
    who = (f"--reuid={USER}", f"--regid={USER}", "--init-groups")
    return ["setpriv", *who, "--pdeathsig=KILL", "--", *words]


class Server(ServerProcess):
    """One server. Its data lies in `data`, its WAL in `wal` or there too."""

    ENDING = signal.SIGINT  # a fast shutdown; SIGQUIT is an immediate one

    def __init__(
        self,
        data: Path,
        directory: Path,
        *,
        wal: Path | None = None,
        settings: Sequence[str] = (),
        major: int | None = None,
    ) -> None:
        super().__init__(directory)
        programs, clients = find_programs(major), find_programs()
        assert programs, "no PostgreSQL server: sh ./bootstrap test installs it"
        assert clients, "no PostgreSQL client: sh ./bootstrap test installs it"
        self._programs = programs
        self._clients = clients
        self.major = major
        self.data = data
        self.wal = wal
        self.settings = list(settings)
        directory.mkdir(mode=0o755)
        shutil.chown(directory, USER, USER)

    # ---- the server --------------------------------------------------------------------------

    def init(self, *options: str) -> None:
        """Make the cluster; whoever is the system's postgres is its superuser."""
        for path in (self.data, *([self.wal] if self.wal else [])):
            path.mkdir(mode=0o700)
            shutil.chown(path, USER, USER)
        where = ["-D", str(self.data), *(["-X", str(self.wal)] if self.wal else [])]
        self.run("initdb", *where, "-A", "peer", "-N", *options)

    def launch(self, *settings: str) -> None:
        """Start it and do not wait until it is ready; it may not become so."""
        options = [word for one in (*self.settings, *settings) for word in ("-c", one)]
        words = ["-D", str(self.data), "-k", str(self.directory), "-h", "", *options]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                drop(str(self._programs / "postgres"), *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self, *settings: str) -> None:
        self.launch(*settings)
        self._wait_until_ready()

    def asking(self) -> list[str]:
        return self.words("pg_isready", "-q", "-h", str(self.directory))

    @property
    def log_path(self) -> Path:
        return self.directory / "log"

    # ---- its programs ------------------------------------------------------------------------

    def has(self, program: str) -> bool:
        """Whether a program is there in the server's own version."""
        return (self._programs / program).exists()

    def words(self, program: str, *arguments: str) -> list[str]:
        """A command line of one of its programs, as the server's user."""
        directory = self._programs if self.has(program) else self._clients
        return drop(str(directory / program), *arguments)

    def run(self, program: str, *arguments: str) -> str:
        return output_of_program(self.words(program, *arguments))

    def sql(self, statement: str) -> list[str]:
        """Run a statement; returns its rows."""
        words = ("-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.directory), "-c", statement)
        return self.run("psql", *words, "postgres").splitlines()

    def client(self, first: str = "") -> PipedClient:
        """A connection."""
        words = ("-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.directory), "postgres")
        client = PipedClient(self.words("psql", *words), "\\echo acknowledged")
        assert client.execute(first)
        return client

    @contextlib.contextmanager
    def stopped_process(self, backend_type: str) -> Iterator[None]:
        """One of its background processes does not get a turn: a bad moment, made long.

        Call it while nothing is written: stopped with a lock held, it would stop everybody.
        """
        where = f"backend_type = '{backend_type}'"
        (pid,) = self.sql(f"SELECT pid FROM pg_stat_activity WHERE {where}")
        wait_until(lambda: is_asleep(int(pid)), f"the {backend_type} has nothing to do")
        with _stopped(int(pid)):
            yield

    def sessions_of_pyfreeze(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pyfreeze'"
        return int(self.sql(query)[0])


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def fresh_directory() -> Path:
    """A short path: a socket's may have 107 bytes."""
    return Path(ROOT, f"postgresql{next(_numbers)}")


class Database:
    """A server with its filesystems."""

    def __init__(self, server: Server, disks: Sequence[Disk]) -> None:
        self.server = server
        self.disks = disks

    def scripts(
        self, pyfreeze: Pyfreeze, script_dir: ScriptDir, **settings: object
    ) -> QuiesceScripts:
        where = {"socket_directory": self.server.directory}
        return QuiesceScripts(pyfreeze, script_dir, "postgresql", **where, **settings)

    def writers(self, script_dir: ScriptDir, kinds: Sequence[str]) -> Writers:
        """A connection for each synchronous_commit."""
        accounts = ", ".join(f"({number}, 0)" for number in range(2 * len(kinds)))
        for statement in ("DELETE FROM written", "DELETE FROM account"):
            self.server.sql(statement)
        self.server.sql(f"INSERT INTO account VALUES {accounts}")
        clients = [self.server.client(f"SET synchronous_commit = {kind};") for kind in kinds]
        return Writers(script_dir, [Transactions(*one) for one in enumerate(clients)])

    def numbers(self, writer: int) -> list[int]:
        query = f"SELECT number FROM written WHERE writer = {writer} ORDER BY number"
        return [int(row) for row in self.server.sql(query)]

    def assert_undamaged(self) -> None:
        """What the server's own checks say."""
        assert self.server.sql("SELECT sum(balance), count(*) > 0 FROM account") == ["0|t"]
        assert "checksum" not in self.server.log
        if self.server.has("pg_amcheck"):
            self.server.run("pg_amcheck", *self.amcheck_words())
        else:
            self.server.sql(_CHECK_INDEXES)

    def amcheck_words(self) -> list[str]:
        words = ["-h", str(self.server.directory), "--install-missing", "--heapallindexed"]
        return [*words, "-d", "postgres"]

    @contextlib.contextmanager
    def restored(self, script_dir: ScriptDir, *, settings: Sequence[str] = ()) -> Iterator[None]:
        """The server started on the snapshot, at the place of the original."""
        self.server.stop()
        try:
            with mounted_instead(self.disks, copies_of(script_dir, self.disks)):
                (self.server.data / "postmaster.pid").unlink(missing_ok=True)
                self.server.start(*settings)
                try:
                    yield
                finally:
                    self.server.stop()
                if self.server.has("pg_checksums"):
                    self.server.run("pg_checksums", "--check", "-D", str(self.server.data))
        finally:
            self.server.start()

    @classmethod
    def make(cls, disks: Disks, layout: str, major: int | None = None) -> Database:
        """Data and WAL on "one" filesystem, or on "two"."""
        data = disks.make(f"{layout}-data{major or ''}", "xfs")
        wal = disks.make(f"{layout}-wal{major or ''}", "ext4") if layout == "two" else None
        server = Server(
            data.path("cluster"),
            fresh_directory(),
            wal=wal.path("wal") if wal else None,
            settings=_SETTINGS,
            major=major,
        )
        server.init("--data-checksums", "--wal-segsize=1")
        server.start()
        for statement in TABLES:
            server.sql(statement)
        return cls(server, [data, *([wal] if wal else [])])
