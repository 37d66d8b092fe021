"""MariaDB and MySQL: commits are held back by one session, for as long as the snapshot takes."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING

from pyfreeze._base import trust
from pyfreeze._base.text import numbers_in, shown
from pyfreeze._quiesce.application import PATH, PROMPT_S, SECONDS, Setting, one_of
from pyfreeze._quiesce.apps.client_session import (
    END,
    GRACE_S,
    Session,
    SessionError,
    SessionQuiescer,
    SessionTimeoutError,
    account_of,
)
from pyfreeze._quiesce.errors import QuiesceError, files_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOCK_WAIT_TIMEOUT = "ERROR 1205"
#: Of SHOW PROCESSLIST: its own threads, and those that wait as we did.
_SERVERS_OWN = ("system user", "event_scheduler")
_WAITING = ("Waiting for backup lock", "Waiting for global read lock")
_SUSPECTS = 3

_ABOUT = """\
It connects once, holds back all commits with that connection, and has InnoDB write its log to
disk, whatever innodb_flush_log_at_trx_commit says (where that is 0 it is set to 1 for a moment,
which takes the privilege SUPER or SYSTEM_VARIABLES_ADMIN). The post-script, the first thing it
does, lets commits go on. So they wait as long as flush, freeze and snapshot take, and never
longer than hold_at_most_s and a second.

Two ways to hold them back (the setting method):

stage    BACKUP STAGE START, FLUSH, BLOCK_DDL, BLOCK_COMMIT; MariaDB 10.4 and newer. What was
         committed is in the snapshot, and nothing that was not. Queries go on, and so do
         changes inside transactions, which wait only when they commit. Tables without
         transactions (MyISAM, Aria) are closed, DDL waits. It waits for statements under way
         that change such tables; no other one, and no open transaction, is in its way.
ftwrl    FLUSH TABLES WITH READ LOCK; any version, and MySQL. The same guarantee, but every
         change waits at once. It has to wait for every statement under way that changes
         something (in MySQL also for queries), and until then every new change waits behind it:
         hence lock_wait_s.

If the lock is not to be had within lock_wait_s the script fails, and the application goes on.

Tested with MariaDB 10.11 and MySQL 9.7. What MySQL before 8.4 is told is by its manual.

On a replica the applier waits at its commits, too: it need not be stopped, and the position
that is noted in the report, from SHOW REPLICA STATUS, is the one that the snapshot has. Only
temporary tables of statement-based replication would be missing from it: with some of them open
the script fails (set preScriptNoOfRetries to try again).

To restore: mount the snapshots where the filesystems were and start the server. It recovers
InnoDB from its log as after a power failure. Data, InnoDB's log and the binary log may be on
different filesystems, as long as all of them are frozen in the same run.

To restore a replica, besides: only its applier was held back, not its receiver, so the relay
log may end anywhere. Have it fetched again, before START REPLICA: in MariaDB by CHANGE MASTER
TO MASTER_USE_GTID = slave_pos, in MySQL by CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION
= 1, or, without GTIDs, by changing to the file and the position noted."""

_METHODS = one_of("auto", "stage", "ftwrl")
_SETTINGS = (
    Setting("socket", "", "The server's socket. Empty: where the client looks by itself.", PATH),
    Setting(
        "os_user",
        "root",
        "The system user that the client is run as: with the plugin unix_socket, which is the "
        "default for root, it is the database's user too.",
    ),
    Setting(
        "db_user",
        "",
        "The database's user, if its name is another. It needs the privileges RELOAD, PROCESS and "
        "REPLICATION CLIENT (in MariaDB BINLOG MONITOR and REPLICA MONITOR).",
    ),
    Setting(
        "option_file",
        "",
        "An option file with user and password in its section [client], for servers that ask for "
        "one. It must be root's, mode 0600. No password ever is on a command line or in an "
        "environment. Empty: the client's usual option files.",
        PATH,
    ),
    Setting("client", "", "The client program. Empty: mariadb or mysql, wherever it is in PATH."),
    Setting("method", "auto", "stage, ftwrl, or auto: stage where the server knows it.", _METHODS),
    Setting(
        "lock_wait_s",
        "10",
        "How long the lock may be waited for, over all its steps. Changes may have to wait "
        "meanwhile.",
        SECONDS,
    ),
)


class Application(SessionQuiescer):
    """One server whose commits wait."""

    name = "mariadb"
    title = "MariaDB or MySQL"
    about = _ABOUT
    settings = _SETTINGS
    hold_at_most_s = 30.0  # commits wait all the while
    timeout_s = 30.0

    _stages = False

    def quiesce(self) -> str:
        """Connect, lock, flush."""
        self._opened = self._connect()
        version = self._greet()
        method, knows = self._values["method"], knows_stages(version)
        if method == "stage" and not knows:
            raise QuiesceError(f"setting method: {version} does not know BACKUP STAGE: set ftwrl")
        self._stages = method != "ftwrl" and knows
        self._lock()
        self._flush_innodb_log()
        log_query, replica_query = position_queries(version)
        log = [f"binary log: {row['File']} {row['Position']}" for row in self._rows(log_query)]
        positions = [*log, *self._replica_positions(replica_query)]
        how = "BACKUP STAGE BLOCK_COMMIT" if self._stages else "FLUSH TABLES WITH READ LOCK"
        return "\n".join([f"{version}: {how}", *positions])

    def _connect(self) -> Session:
        values = self._values
        words = [self._client("mariadb", "mysql")]
        if option_file := values["option_file"]:
            with files_of("option_file"):
                trust.check(option_file, trust.SCRIPT_CONFIG._replace(max_bytes=0))
            words.append(f"--defaults-extra-file={option_file}")
        # A connection that is made anew holds nothing, and would not say so.
        words += ["--batch", "--unbuffered", "--skip-reconnect", "--no-auto-rehash"]
        words += ["--protocol=socket", f"--connect-timeout={PROMPT_S:.0f}"]
        if values["socket"]:
            words.append(f"--socket={values['socket']}")
        if values["db_user"]:
            words.append(f"--user={values['db_user']}")
        echo = f"SELECT '{END}' AS '{END}';"
        return Session(words, account_of(values["os_user"]), {}, echo, has_headings=True)

    def _greet(self) -> str:
        (row,) = self._rows("SELECT VERSION() AS version, @@version_comment AS comment;")
        # Should the holder be stopped (SIGSTOP), the server itself ends the session.
        idle_s = math.ceil(float(self._values["hold_at_most_s"])) + GRACE_S
        self._ask(f"SET SESSION wait_timeout = {idle_s};")
        name = "MariaDB" if "mariadb" in (row["version"] + row["comment"]).lower() else "MySQL"
        return f"{name} {row['version'].split('-')[0]}"

    def _lock(self) -> None:
        wait_s = float(self._values["lock_wait_s"])
        until_s = time.monotonic() + wait_s
        stages = ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT")
        steps = [f"BACKUP STAGE {stage};" for stage in stages]
        for step in steps if self._stages else ["FLUSH TABLES WITH READ LOCK;"]:
            left_s = max(until_s - time.monotonic(), 0)
            timeout = f"SET SESSION lock_wait_timeout = {math.ceil(left_s)};"
            try:
                self._ask(f"{timeout}\n{step}", left_s + 1)
            except QuiesceError as error:
                late = isinstance(error, SessionTimeoutError) or _LOCK_WAIT_TIMEOUT in str(error)
                if not late:
                    raise
                self.abandon()
                waited = f"{step.rstrip(';')} had to wait longer than {wait_s:g} s (lock_wait_s)"
                text = f"{waited}, and was given up. {self._suspects()}"
                raise QuiesceError(text) from None

    def _suspects(self) -> str:
        """Who may have been in the way: the server does not say."""
        try:
            self._opened = self._connect()
            rows = self._rows("SHOW PROCESSLIST;")
        except QuiesceError:
            return "Look for long queries and locked tables (SHOW PROCESSLIST)"
        seen = ", ".join(suspects(rows)) or "nobody any more"
        return f"In the way may be: {seen}; wait, or KILL its query"

    def _flush_innodb_log(self) -> None:
        """Write to disk what was acknowledged without having been."""
        flush = "FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS;"
        name = "innodb_flush_log_at_trx_commit"
        (row,) = self._rows(f"SELECT @@GLOBAL.{name} AS value;")
        if row["value"] == "0":
            # With 0, MariaDB leaves out this flush too (innobase_flush_logs). No commit is under
            # way, so nobody notices; and were we killed in between, 1 would only be slower.
            flush = f"SET GLOBAL {name} = 1;\n{flush}\nSET GLOBAL {name} = 0;"
        self._ask(flush)

    def _replica_positions(self, query: str) -> list[str]:
        rows = self._rows(query)
        if not rows:
            return []
        # MySQL has it under its old name and its new one.
        counts = self._rows("SHOW GLOBAL STATUS LIKE '%_open_temp_tables';")
        if opened := [row["Value"] for row in counts if row["Value"] != "0"]:
            raise QuiesceError(
                f"the replica's applier has {opened[0]} temporary tables open, which no "
                "snapshot has: try again later, or use row-based replication"
            )
        return [replica_position(row) for row in rows]

    def release(self) -> str:
        """Let commits go on. The server refuses to end a backup that this session has not begun.

        A read lock's end is the proof too: the client does not connect a second time.
        """
        late = "the server did not answer when it was to be let go on"
        self._ask("BACKUP STAGE END;" if self._stages else "UNLOCK TABLES;", late=late)
        self._session.close()
        return ""

    def _ask(
        self, statements: str, timeout_s: float = PROMPT_S, late: str = "no answer in time"
    ) -> list[str]:
        try:
            return self._session.ask(statements, timeout_s, late)
        except SessionError as error:
            # The client shows the statement, too, between lines of dashes.
            found = re.search(r"ERROR \d+.*", str(error))
            raise SessionError(found[0] if found else str(error)) from None

    def _rows(self, query: str) -> list[dict[str, str]]:
        """Run one query. With --batch, columns are separated by tabs, and in a value escaped."""
        lines = self._ask(query)
        names = lines[0].split("\t") if lines else []
        return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]


def knows_stages(version: str) -> bool:
    """Whether a server ("MariaDB 10.11.9") knows BACKUP STAGE: pure."""
    return version.startswith("MariaDB ") and numbers_in(version) >= (10, 4)


def position_queries(version: str) -> tuple[str, str]:
    """What asks this version for the binary log's position, and for a replica's: pure."""
    if version.startswith("MariaDB"):
        return "SHOW MASTER STATUS;", "SHOW ALL SLAVES STATUS;"
    log = "BINARY LOG" if numbers_in(version) >= (8, 4) else "MASTER"
    replica = "REPLICA" if numbers_in(version) >= (8, 0, 22) else "SLAVE"
    return f"SHOW {log} STATUS;", f"SHOW {replica} STATUS;"


def suspects(rows: Sequence[dict[str, str]]) -> list[str]:
    """Who of SHOW PROCESSLIST may keep a lock from being had, a phrase each: pure."""
    others = [
        row
        for row in rows
        if row["User"] not in _SERVERS_OWN
        and row["State"] not in _WAITING
        and row["Info"] != "SHOW PROCESSLIST"
    ]
    # Who is doing something, and the longest of them, before those who only may have locked it.
    others.sort(key=lambda row: (row["Command"] == "Sleep", -_seconds(row["Time"])))
    return [
        f"connection {row['Id']} of {row['User']} "
        f"({' '.join([row['Command'], row['State']]).strip()}, {_seconds(row['Time'])} s)"
        for row in others[:_SUSPECTS]
    ]


def _seconds(time: str) -> int:
    """A connection that is only being made has none: "NULL"."""
    return int(time) if time.isdigit() else 0


def replica_position(row: dict[str, str]) -> str:
    """One line about where a replica is, from a row of SHOW REPLICA STATUS of any version: pure."""

    def value(*names: str) -> str:
        return shown(next((row[name] for name in names if row.get(name)), "?"))

    name = row.get("Connection_name") or row.get("Channel_Name") or ""
    position = (
        f"{value('Relay_Source_Log_File', 'Relay_Master_Log_File')} "
        f"{value('Exec_Source_Log_Pos', 'Exec_Master_Log_Pos')}"
    )
    gtid = value("Gtid_Slave_Pos", "Executed_Gtid_Set")
    host = value("Source_Host", "Master_Host")
    return f"replica{name and ' ' + shown(name)} of {host}: executed up to {position}, GTID {gtid}"
