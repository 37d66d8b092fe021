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
from tests.support.database import TABLES, PipedClient, Transactions, copies_of, mounted_instead
from tests.support.disks import Disk, Disks
from tests.support.load import Writers
from tests.support.namespace import ROOT
from tests.support.quiesce import QuiesceScripts
from tests.support.script_dir import ScriptDir
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
    CLIENT, CHECK = "mariadb", "mariadb-check"
    #: What the script says that it needs.
    BACKUP_RIGHTS = "RELOAD, PROCESS, SUPER, BINLOG MONITOR, REPLICA MONITOR"

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
        output_of_program([*drop(), *words, *self._log_words()])

    def _log_words(self) -> list[str]:
        size = "--innodb-log-file-size=16M"
        return [size, *([f"--innodb-log-group-home-dir={self.logs}"] if self.logs else [])]

    def _daemon(self) -> list[str]:
        """The server program, and what it needs to be told in any case."""
        return ["mariadbd", "--no-defaults", f"--datadir={self.data}", *self._log_words()]

    def start(self, *settings: str) -> None:
        words = [*self._daemon(), f"--socket={self.socket}", f"--pid-file={self.directory}/pid"]
        words.append("--bind-address=127.0.0.1" if self.network else "--skip-networking")
        words += [f"--log-bin={self.logs or self.data}/binlog", f"--log-error={self.log_path}"]
        self.log_path.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [*self.network, *drop(), *words, *self.settings, *settings],
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
        return [self.CLIENT, *options, f"--socket={self.socket}", "--user=root"]

    def check(self) -> str:
        """What the server's own check says."""
        words = [self.CHECK, "--no-defaults", f"--socket={self.socket}", "--user=root"]
        return output_of_program([*words, "--check", "--extended", "--databases", "shop", "mysql"])

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


def drop() -> list[str]:
    """The words before a program that is to run as the server's user, and to end with the tests."""
    who = (f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups")
    return ["setpriv", *who, "--pdeathsig=KILL", "--"]


class Database:
    """A server with its filesystems."""

    def __init__(self, server: Server, disks: Sequence[Disk]) -> None:
        self.server = server
        self.disks = disks

    @classmethod
    def make(
        cls,
        disks: Disks,
        layout: str,
        network: Sequence[str] = (),
        *,
        kind: type[Server] = Server,
        settings: Sequence[str] = (),
    ) -> Database:
        """Data and logs on one filesystem, or on two if the layout is "two"."""
        name = f"{layout}-{Path(kind.CLIENT).name}"
        data = disks.make(f"{name}-data", "xfs")
        logs = disks.make(f"{name}-logs", "ext4") if layout == "two" else None
        settings = [*settings, "--innodb-buffer-pool-size=32M", "--open-files-limit=1024"]
        # Once a second at best: what is acknowledged is in memory only. And nothing is fixed
        # before it is looked at.
        settings += ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-log-at-timeout=2700"]
        settings += ["--myisam-recover-options=OFF", "--server-id=1"]
        server = kind(
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

    def scripts(
        self, pyfreeze: Pyfreeze, script_dir: ScriptDir, **settings: object
    ) -> QuiesceScripts:
        where = {"socket": self.server.socket, "client": self.server.CLIENT}
        return QuiesceScripts(pyfreeze, script_dir, "mariadb", **{**where, **settings})

    def writers(self, script_dir: ScriptDir, count: int) -> Writers:
        accounts = ", ".join(f"({number}, 0)" for number in range(2 * count))
        self.server.sql(
            "USE shop; DELETE FROM written; DELETE FROM account; DELETE FROM plain;"
            f" INSERT INTO account VALUES {accounts}"
        )
        clients = [self.server.client() for _ in range(count)]
        also = "INSERT INTO plain VALUES ({writer}, {number});"
        return Writers(script_dir, [Transactions(*one, also) for one in enumerate(clients)])

    @contextlib.contextmanager
    def busy(self, statement: str) -> Iterator[int]:
        """A connection that is busy with a statement, or keeps what that has locked; its number."""
        words = [*self.server.client_words(), "shop"]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"SELECT CONNECTION_ID();\n{statement}\nSELECT 'done';\n")
        connection = int(process.stdout.readline())
        try:
            if "SLEEP" in statement:
                where = f"ID = {connection} AND STATE = 'User sleep'"
                query = f"SELECT 1 FROM information_schema.PROCESSLIST WHERE {where}"
                wait_until(lambda: self.server.sql(query), "the connection is busy")
            else:
                assert process.stdout.readline() == "done\n"
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
        lines = self.server.check()
        lines += "".join(
            f"\n{line}" for line in self.server.log.splitlines() if "in the future" in line
        )
        return [line for line in lines.splitlines() if not line.endswith(("OK", " Table is fine"))]

    @contextlib.contextmanager
    def restored(self, script_dir: ScriptDir) -> Iterator[None]:
        """The server started on the snapshot, at the place of the original."""
        self.server.stop()
        try:
            with mounted_instead(self.disks, copies_of(script_dir, self.disks)):
                self.server.start()
                try:
                    yield
                finally:
                    self.server.stop()
        finally:
            self.server.start()
