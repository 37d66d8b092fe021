"""MySQL servers of the tests' own: programs of another system's, with all of its libraries."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.support import foreign, mariadb
from tests.support.namespace import ROOT
from tests.support.servers import output_of_program

_PROGRAMS = Path(ROOT, "mysql-programs")


def find_programs() -> Path | None:
    """A directory of commands that run them, made the first time."""
    fetched = foreign.find("mysql")
    if fetched is None:
        return None
    if not _PROGRAMS.exists():
        _PROGRAMS.mkdir()
        libraries = fetched / "usr/lib/x86_64-linux-gnu"
        # Not in lib64: whether that is at / or below /usr depends on who has unpacked it.
        loader = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
        for program in ("sbin/mysqld", "bin/mysql", "bin/mysqlcheck"):
            path = _PROGRAMS / Path(program).name
            words = shlex.join([*loader, str(fetched / "usr" / program)])
            path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
            path.chmod(0o755)
    return _PROGRAMS


class Server(mariadb.Server):
    """One server of MySQL, used as one of MariaDB is."""

    CLIENT, CHECK = str(_PROGRAMS / "mysql"), str(_PROGRAMS / "mysqlcheck")
    BACKUP_RIGHTS = "RELOAD, PROCESS, REPLICATION CLIENT, SYSTEM_VARIABLES_ADMIN"

    def init(self) -> None:
        """Make the system tables; root of the system is root of the database, and nobody else."""
        first = self.directory / "first.sql"
        first.write_text(
            "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';\n"
            "ALTER USER root@localhost IDENTIFIED WITH auth_socket;\n",
            encoding="ascii",
        )
        words = [*self._daemon(), "--initialize-insecure", f"--init-file={first}"]
        output_of_program([*mariadb.drop(), *words])

    def _log_words(self) -> list[str]:
        where = [f"--innodb-log-group-home-dir={self.logs}"] if self.logs else []
        return ["--innodb-redo-log-capacity=16M", *where]

    def _daemon(self) -> list[str]:
        fetched = foreign.find("mysql")
        assert fetched, "no MySQL server: sh ./bootstrap test fetches it"
        words = [f"--basedir={fetched}/usr", f"--plugin-dir={fetched}/usr/lib/mysql/plugin"]
        # As MariaDB's default: what the filesystem has is as good for these tests.
        words.append("--sync-binlog=0")
        words += ["--secure-file-priv=", f"--datadir={self.data}", *self._log_words()]
        return [str(_PROGRAMS / "mysqld"), "--no-defaults", *words]
