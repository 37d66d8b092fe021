"""PostgreSQL: a checkpoint and backup mode, held by one session. No writer has to wait."""

from __future__ import annotations

import base64
import os
import stat
import time

from pyfreeze._base import trust
from pyfreeze._base.files import replace
from pyfreeze._quiesce.application import INTEGER, PATH, PROMPT_S, SECONDS, YES_NO, Setting
from pyfreeze._quiesce.apps.client_session import (
    END,
    GRACE_S,
    Session,
    SessionQuiescer,
    SessionTimeoutError,
    account_of,
)
from pyfreeze._quiesce.errors import QuiesceError, files_of
from pyfreeze._quiesce.rendezvous import own_run_id

_OLDEST = 12
_NEW_NAMES = 15  # pg_backup_start: the name since the exclusive mode is gone
_IDLE_SESSION_TIMEOUT = 14

_ABOUT = """\
It has the server write a checkpoint, puts it into backup mode (one session of psql, held open
until the post-script), and flushes the write-ahead log (WAL). No query and no commit ever waits
for it.

What the snapshot is worth. pyfreeze freezes all filesystems before the snapshot and thaws them
after it, so data directory, WAL and tablespaces are of one moment, also on different
filesystems, as long as all of them are frozen in the same run (not with --no-freeze). A commit
that was acknowledged with synchronous_commit on (the default) is in the snapshot if that was
before the freeze.
With synchronous_commit off the server acknowledges what is only in its memory; of that,
everything acknowledged before the flush, the pre-script's last step, is in the snapshot.

To restore, choose one of two ways:

1. To the moment of the snapshot. Mount the snapshots where the filesystems were and start the
   server: it finds its last checkpoint, replays the WAL since then, which is short, and is
   consistent. Remove a postmaster.pid first if the server complains of it. Do NOT put a
   backup_label into the data directory for this: the WAL in the snapshot ends before the backup
   does, and the server would refuse to start ("WAL ends before end of online backup").

2. To a later moment, with archived WAL. The backup is an ordinary base backup: put the
   backup_label that the post-script printed (it is in the report; label_directory keeps it as a
   file), and the tablespace_map if there was one, into the data directory (as files of the
   server's own user), empty pg_wal, set restore_command, create recovery.signal and start the
   server. This works even if the snapshots of several filesystems were not of the same moment.

On a standby the same works: its restartpoints stand in for checkpoints.

Tested with PostgreSQL 12 to 18."""

_SETTINGS = (
    Setting("port", "5432", "The server's port; it also is a part of its socket's name.", INTEGER),
    Setting(
        "socket_directory",
        "",
        "The directory of the server's socket. Empty: where psql looks by itself "
        "(/var/run/postgresql on Debian). Always a socket, never TCP.",
        PATH,
    ),
    Setting(
        "os_user",
        "postgres",
        "The system user that psql is run as: peer authentication makes it the database's user.",
    ),
    Setting(
        "db_user",
        "",
        "The database's user, if its name is another. It must be a superuser, or a member of "
        "pg_checkpoint that may execute pg_backup_start and pg_backup_stop.",
    ),
    Setting("database", "postgres", "The database to connect to; any will do."),
    Setting(
        "password_file",
        "",
        "A password file (as ~/.pgpass) for servers without peer authentication. It must belong "
        "to os_user, mode 0600. No password ever is on a command line or in an environment.",
        PATH,
    ),
    Setting("client", "", "The client program. Empty: psql, wherever it is in PATH."),
    Setting(
        "checkpoint_wait_s",
        "90",
        "How long checkpoint and start of the backup may take together. Nobody waits meanwhile.",
        SECONDS,
    ),
    Setting(
        "backup_mode",
        "yes",
        "no: only the checkpoint and the flush, for servers with wal_level=minimal. Then only the "
        "first way of restoring is there.",
        YES_NO,
    ),
    Setting(
        "wait_for_archive",
        "no",
        "yes: the post-script waits until the WAL that the second way needs is archived, as long "
        "as its timeout allows.",
        YES_NO,
    ),
    Setting(
        "label_directory",
        "",
        "Where the post-script keeps backup_label and tablespace_map, below the run's id. Root's "
        "alone, as all directories above it. Empty: they are only in the report.",
        PATH,
    ),
)


class Application(SessionQuiescer):
    """One server in backup mode."""

    name = "postgresql"
    title = "PostgreSQL"
    about = _ABOUT
    settings = _SETTINGS
    hold_at_most_s = 120.0  # nobody waits for it
    timeout_s = 100.0

    _major = 0
    _backs_up = False

    def quiesce(self) -> str:
        """Connect, write a checkpoint, start the backup, flush."""
        if directory := self._values["label_directory"]:
            # Now, and not only after the snapshot.
            with files_of("label_directory"):
                trust.check_directory(directory)
        self._opened = self._connect()
        version, in_recovery = self._greet()
        wait_s = float(self._values["checkpoint_wait_s"])
        until_s = time.monotonic() + wait_s
        where = "the checkpoint"
        try:
            # Most of what is dirty is written here, so that the second checkpoint, which the
            # backup begins with, is short, and with it the time of full-page writes.
            self._session.ask("CHECKPOINT;", wait_s)
            started = ""
            if self._values["backup_mode"] == "yes":
                where = "the start of the backup"
                statement = start_statement(self._major, f"pyfreeze {own_run_id()}")
                (position,) = self._session.ask(statement, until_s - time.monotonic())
                self._backs_up = True
                started = f", backup mode since {position}"
            if not in_recovery:
                # Written to disk is what was acknowledged without having been (synchronous_commit
                # off): a transaction's commit flushes the WAL up to its own record, so all before.
                flush = "SELECT pg_logical_emit_message(true, 'pyfreeze', 'quiesced');"
                self._session.ask(flush)
        except SessionTimeoutError:
            raise QuiesceError(
                f"{where} took longer than {wait_s:g} s (checkpoint_wait_s): look at the disks' "
                "load, or allow more, and raise timeoutInSeconds with it"
            ) from None
        role = "a standby" if in_recovery else "a primary"
        return f"PostgreSQL {version}, {role}: checkpoint written{started}"

    def _connect(self) -> Session:
        values = self._values
        account = account_of(values["os_user"])
        environment = {"PGCONNECT_TIMEOUT": f"{PROMPT_S:.0f}", "PGAPPNAME": "pyfreeze"}
        if values["password_file"]:
            with files_of("password_file"):
                status = os.stat(values["password_file"])
            if status.st_uid != account.pw_uid or status.st_mode & 0o077:
                found = f"owner uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"
                raise QuiesceError(
                    f"{values['password_file']}: {found}, needed owner {account.pw_name}, mode 0600"
                )
            environment["PGPASSFILE"] = values["password_file"]
        words = [self._client("psql"), "-X", "-q", "-A", "-t", "-w"]
        words += ["-v", "ON_ERROR_STOP=1", "-p", values["port"], "-d", values["database"]]
        if values["socket_directory"]:
            words += ["-h", values["socket_directory"]]
        if values["db_user"]:
            words += ["-U", values["db_user"]]
        return Session(words, account, environment, f"\\echo {END}")

    def _greet(self) -> tuple[str, bool]:
        """Set the session up; returns the server's version and whether it is a standby."""
        number, version, in_recovery = self._session.ask(
            # Names in the database itself must not come before the server's own.
            "SET search_path = pg_catalog;\n"
            "SHOW server_version_num;\nSHOW server_version;\nSELECT pg_is_in_recovery();",
            PROMPT_S * 2,
            late="the server does not answer: is it overloaded, or stopped?",
        )
        self._major = int(number) // 10000
        if self._major < _OLDEST:
            raise QuiesceError(f"found PostgreSQL {version}, expected {_OLDEST} or newer")
        # The local flush is wanted, not a standby's: one that is down would have us wait for ever.
        settings = "SET synchronous_commit = local;\nSET client_min_messages = warning;"
        # Ours alone may last: a role or database may have timeouts of its own.
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            settings += f"\nSET {name} = 0;"
        if self._major >= _IDLE_SESSION_TIMEOUT:
            idle_ms = (float(self._values["hold_at_most_s"]) + GRACE_S) * 1e3
            settings += f"\nSET idle_session_timeout = {idle_ms:.0f};"
        self._session.ask(settings)
        return version, in_recovery == "t"

    def release(self) -> str:
        """Stop the backup. The server refuses unless this very session has started it."""
        wait = self._values["wait_for_archive"] == "yes"
        late = "the server did not answer when the backup was to be stopped"
        if not self._backs_up:
            self._session.ask("SELECT 1;", late=late)
            self._session.close()
            return ""
        statement = stop_statement(self._major, wait=wait)
        (answer,) = self._session.ask(statement, 1800.0 if wait else PROMPT_S, late=late)
        self._session.close()
        position, label, tablespace_map = answer.split("|")
        files = {
            name: base64.b64decode(text).decode("utf-8", "replace")
            for name, text in (("backup_label", label), ("tablespace_map", tablespace_map))
            if text
        }
        kept = ""
        if directory := self._values["label_directory"]:
            with files_of("backup_label cannot be kept (label_directory)"):
                place = os.path.join(trust.check_directory(directory), own_run_id())
                os.mkdir(place, 0o700)
                for name, text in files.items():
                    replace(f"{place}/{name}", text, mode=0o600)
            kept = f", backup_label kept in {place}"
        texts = [f"{name}:\n{text.rstrip()}" for name, text in files.items()]
        return "\n".join([f"backup mode until {position}{kept}", *texts])


def start_statement(major: int, label: str) -> str:
    """What starts a backup on this major version; its answer is one line, a position: pure."""
    quoted = label.replace("'", "''")
    if major >= _NEW_NAMES:
        return f"SELECT pg_backup_start('{quoted}', fast => true);"
    return f"SELECT pg_start_backup('{quoted}', fast => true, exclusive => false);"


def stop_statement(major: int, *, wait: bool) -> str:
    """What stops it; the answer is one line, position|backup_label|tablespace_map in base64."""
    name = "pg_backup_stop(" if major >= _NEW_NAMES else "pg_stop_backup(exclusive => false, "
    call = f"{name}wait_for_archive => {str(wait).lower()})"
    encoded = ", ".join(
        f"translate(encode(convert_to(coalesce({column}, ''), 'UTF8'), 'base64'), E'\\n', '')"
        for column in ("labelfile", "spcmapfile")
    )
    return f"SELECT lsn, {encoded} FROM {call};"  # noqa: S608 - nothing of it is from outside
