"""MariaDB servers of the tests' own, on their filesystems, reached by sockets of theirs only."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.command import Pyfreeze
from tests.support.database import TABLES, PipedClient, Writers, copies_of, mounted_instead
from tests.support.disks import Disk, Disks
from tests.support.namespace import ROOT
from tests.support.place import Place
from tests.support.quiesce import QuiesceScripts
from tests.support.servers import ServerProcess, output_of_program
from tests.support.waiting import wait_until

#: The server's user, by number: the programs alone come without one of their own.
_UID = 65534
_HANG_S = 120.0
_numbers = itertools.count()


def find_programs() -> str | None:
    return shutil.which("mariadbd") if shutil.which("mariadb") else None


def fresh_directory() -> Path:
    """A short path: a socket's may have 107 bytes."""
    return Path(ROOT, f"mariadb{next(_numbers)}")


class Server(ServerProcess):
    """One server. Its data lies in `data`, InnoDB's and the binary log in `logs` or there too."""

    ENDING = signal.SIGTERM

    def __init__(
        self, data: Path, directory: Path, *, logs: Path | None = None, settings: Sequence[str] = ()
    ) -> None:
        super().__init__(directory)
        self.data = data
        self.logs = logs
        self.socket = directory / "socket"
        self.settings = list(settings)
        self.network: Sequence[str] = ()
        """Words before the program that give it a network; without them it has none."""
        for path in (data, directory, *([logs] if logs else [])):
            path.mkdir(mode=0o755)
            os.chown(path, _UID, _UID)

    def init(self) -> None:
        """Make the system tables; root of the system is root of the database, and nobody else."""
        words = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db"]
        words += ["--auth-root-authentication-method=socket", "--auth-root-socket-user=root"]
        output_of_program([*_drop(), *words, *self._where()])

    def _where(self) -> list[str]:
        size = "--innodb-log-file-size=16M"
        return [size, *([f"--innodb-log-group-home-dir={self.logs}"] if self.logs else [])]

    def start(self, *settings: str) -> None:
        words = ["mariadbd", "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}"]
        words += [f"--pid-file={self.directory}/pid", *self._where()]
        words.append("--bind-address=127.0.0.1" if self.network else "--skip-networking")
        words += [f"--log-bin={self.logs or self.data}/binlog", f"--log-error={self.log_path}"]
        self.log_path.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [*self.network, *_drop(), *words, *self.settings, *settings],
            stdin=subprocess.DEVNULL,
            cwd="/",
        )
        self._wait_until_ready()

    def asking(self) -> list[str]:
        return [*self.client_words(), "-e", "SELECT 1"]

    @property
    def log_path(self) -> Path:
        return self.directory / "log.err"

    def client_words(self) -> list[str]:
        options = ["--no-defaults", "--batch", "--skip-column-names", "--unbuffered"]
        return ["mariadb", *options, f"--socket={self.socket}", "--user=root"]

    def sql(self, statement: str) -> list[str]:
        """Run a statement; returns its rows."""
        return output_of_program([*self.client_words(), "-e", statement]).splitlines()

    def pages_flushed(self) -> int:
        (row,) = self.sql("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_flushed'")
        return int(row.split()[1])

    def client(self, first: str = "") -> PipedClient:
        """A connection to the database of the tests."""
        client = PipedClient([*self.client_words(), "shop"], "SELECT 'acknowledged';")
        assert client.execute(first)
        return client


#: A network of its own: its loopback device, switched on (SIOCSIFFLAGS, IFF_UP).
_OWN_NETWORK = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""
OWN_NETWORK = ("unshare", "--net", "--", sys.executable, "-c", _OWN_NETWORK)


def network_of(server: Server) -> tuple[str, ...]:
    """The words for a server that is to be in the same network."""
    return ("nsenter", "--net", f"--target={server.pid}", "--")


def _drop() -> list[str]:
    # Whatever becomes of the tests, a server does not go on without them.
    who = (f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups")
    return ["setpriv", *who, "--pdeathsig=KILL", "--"]


class Database:
    """A server with its filesystems."""

    def __init__(self, server: Server, disks: Sequence[Disk]) -> None:
        self.server = server
        self.disks = disks

    @classmethod
    def make(cls, disks: Disks, layout: str, network: Sequence[str] = ()) -> Database:
        """Data and logs on one filesystem, or on two if the layout is "two"."""
        data = disks.make(f"{layout}-data", "xfs")
        logs = disks.make(f"{layout}-logs", "ext4") if layout == "two" else None
        settings = ["--innodb-buffer-pool-size=32M", "--open-files-limit=1024"]
        # Once a second at best: what is acknowledged is in memory only. And nothing is mended
        # before it is looked at.
        settings += ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-log-at-timeout=2700"]
        settings += ["--myisam-recover-options=OFF", "--server-id=1"]
        server = Server(
            data.path("data"),
            fresh_directory(),
            logs=logs.path("logs") if logs else None,
            settings=settings,
        )
        server.network = network
        server.init()
        server.start()
        server.sql("CREATE DATABASE shop")
        for statement in TABLES:
            server.sql(f"USE shop; {statement}")
        server.sql("CREATE TABLE shop.idle (id INT); INSERT INTO shop.idle VALUES (1)")
        server.sql("CREATE TABLE shop.plain (writer INT, number INT, KEY (number)) ENGINE=MyISAM")
        return cls(server, [data, *([logs] if logs else [])])

    def scripts(self, pyfreeze: Pyfreeze, place: Place, **settings: object) -> QuiesceScripts:
        return QuiesceScripts(pyfreeze, place, "mariadb", socket=self.server.socket, **settings)

    def writers(self, place: Place, count: int) -> Writers:
        accounts = ", ".join(f"({number}, 0)" for number in range(2 * count))
        self.server.sql(
            "USE shop; DELETE FROM written; DELETE FROM account; DELETE FROM plain;"
            f" INSERT INTO account VALUES {accounts}"
        )
        clients = [self.server.client() for _ in range(count)]
        return Writers(place, clients, also="INSERT INTO plain VALUES ({writer}, {number});")

    @contextlib.contextmanager
    def busy(self, statement: str) -> Iterator[int]:
        """A connection that is busy with a statement, or keeps what that has locked; its number."""
        words = [*self.server.client_words(), "shop"]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("SELECT CONNECTION_ID();\n")
        connection = int(process.stdout.readline())
        try:
            process.stdin.write(f"{statement}\n")
            where = f"ID = {connection} AND (STATE = 'User sleep' OR COMMAND = 'Sleep')"
            query = f"SELECT 1 FROM information_schema.PROCESSLIST WHERE {where} AND TIME_MS > 50"
            wait_until(lambda: self.server.sql(query), "the connection is busy")
            yield connection
        finally:
            process.kill()
            process.communicate(timeout=_HANG_S)
            with contextlib.suppress(AssertionError):  # it may have ended by itself
                self.server.sql(f"KILL {connection}")

    def numbers(self, writer: int, table: str = "written") -> list[int]:
        query = f"SELECT number FROM shop.{table} WHERE writer = {writer} ORDER BY number"
        return [int(row) for row in self.server.sql(query)]

    def complaints(self) -> list[str]:
        """What the server's own check says, but for what is in order."""
        words = ("mariadb-check", "--no-defaults", f"--socket={self.server.socket}", "--user=root")
        lines = output_of_program([*words, "--check", "--extended", "--databases", "shop", "mysql"])
        lines += "".join(
            f"\n{line}" for line in self.server.log.splitlines() if "in the future" in line
        )
        return [line for line in lines.splitlines() if not line.endswith(("OK", " Table is fine"))]

    @contextlib.contextmanager
    def restored(self, place: Place) -> Iterator[None]:
        """The server started on the snapshot, at the place of the original."""
        self.server.stop()
        try:
            with mounted_instead(self.disks, copies_of(place, self.disks)):
                self.server.start()
                try:
                    yield
                finally:
                    self.server.stop()
        finally:
            self.server.start()
