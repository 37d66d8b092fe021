"""Redis: writes are held back, and all that was acknowledged is in its files."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base import trust
from pyfreeze._base.text import numbers_in
from pyfreeze._quiesce.application import INTEGER, PATH, PROMPT_S, SECONDS, Quiescer, Setting
from pyfreeze._quiesce.apps.resp import Redis
from pyfreeze._quiesce.errors import QuiesceError, files_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OLDEST = (6, 2)  # the first that can end a pause before its time
#: How long after the holder's deadline the server lets writes go on by itself.
_GRACE_S = 1.0
_POLL_S = 0.005
_UNPAUSE = ("CLIENT", "UNPAUSE")
#: Of INFO's section persistence: what is not 0 while something is being written.
_APPENDING = ("aof_buffer_length", "aof_pending_bio_fsync")
_REWRITING = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
_SAVING = ("rdb_bgsave_in_progress",)

_ABOUT = """\
It holds back all writes (CLIENT PAUSE ... WRITE, Redis 6.2 and newer; queries go on) and then
sees to it that everything acknowledged is in Redis' files:

append-only file on     it waits until nothing is left in the buffer and no fsync is under way.
append-only file off    it has a snapshot of its own written (BGSAVE) and waits for its end. The
                        writers wait as long, up to save_wait_s: with gigabytes of data turn the
                        append-only file on.

The server itself ends the pause at the deadline, even if the holder was killed. The post-script
compares the server's own count of changes, and how much the append-only file has: it fails if
there was a change in between, or a restart.

To restore: mount the snapshot where the filesystem was and start the server."""

_SETTINGS = (
    Setting(
        "socket", "", "The server's socket. Empty: TCP, on this machine, to the port below.", PATH
    ),
    Setting("port", "6379", "The port on 127.0.0.1, where there is no socket.", INTEGER),
    Setting("user", "", "The user of Redis' access control list, if it is not the default one."),
    Setting(
        "password_file",
        "",
        "A file with the password alone, for servers that ask for one. It must be root's, mode "
        "0600. The password is in no command line and no environment.",
        PATH,
    ),
    Setting("save_wait_s", "60", "How long writing to the files may take.", SECONDS),
)


class Mark(NamedTuple):
    """What tells of a change to a server's data, from INFO."""

    run_id: str
    """The server's life."""
    changes: str
    """Since the last snapshot of its own."""
    saves: str
    """Which one that was: the end of another one counts anew."""
    appended: str
    """Bytes in the append-only file, or about to be; a rewrite changes them, too. Empty: none."""


class Application(Quiescer):
    """One server whose writers wait."""

    name = "redis"
    title = "Redis"
    about = _ABOUT
    settings = _SETTINGS
    hold_at_most_s = 30.0  # writers wait all the while
    timeout_s = 90.0

    _connection: Redis | None = None
    _mark: Mark

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self._hold_s = float(values["hold_at_most_s"])
        self._save_s = float(values["save_wait_s"])

    @property
    def _redis(self) -> Redis:
        assert self._connection is not None
        return self._connection

    def quiesce(self) -> str:
        """Connect, pause, write."""
        self._connection = self._connect()
        version = self._redis.info("server").get("redis_version", "0")
        if numbers_in(version) < _OLDEST:
            raise QuiesceError(f"found Redis {version}, expected 6.2 or newer")
        # While nobody waits yet. A snapshot under way delays the one that has everything; and an
        # append-only file just switched on is none before its first rewrite has ended.
        if self._is_appending():
            self._wait_for(_REWRITING, "a rewrite of the append-only file that was under way")
        else:
            self._wait_for(_SAVING, "a snapshot that was under way")
        self._redis.ask(*_pause(self._hold_s + self._save_s + _GRACE_S))
        try:
            how = self._write()
        except QuiesceError:
            self.abandon()
            raise
        # What writing may take is no part of the deadline any more. A pause only ever gets longer,
        # so this one ends, and in the same moment another one begins.
        for words in (("MULTI",), _UNPAUSE, _pause(self._hold_s + _GRACE_S), ("EXEC",)):
            self._redis.ask(*words)
        self._mark = self._look()
        role = self._redis.info("replication").get("role", "?")
        return f"Redis {version}, {role}: writes paused, {how}"

    def _connect(self) -> Redis:
        values = self._values
        redis = Redis(values["socket"] or ("127.0.0.1", int(values["port"])), PROMPT_S)
        if path := values["password_file"]:
            with files_of("password_file"):
                content = trust.check(path, trust.SCRIPT_CONFIG).content
            user = (values["user"],) if values["user"] else ()
            redis.ask("AUTH", *user, content.decode("utf-8", "replace").strip())
        redis.ask("PING")
        return redis

    def _write(self) -> str:
        if self._is_appending():
            self._wait_for(_APPENDING, "the append-only file")
            return "the append-only file written"
        self._wait_for(_SAVING, "a snapshot that was under way")
        self._redis.ask("BGSAVE")
        self._wait_for(_SAVING, "its snapshot")
        if self._persistence().get("rdb_last_bgsave_status") != "ok":
            raise QuiesceError("Redis could not write its snapshot (BGSAVE): see its log")
        return "a snapshot of its own written"

    def _wait_for(self, fields: Sequence[str], what: str) -> None:
        until_s = time.monotonic() + self._save_s
        while True:
            persistence = self._persistence()
            if all(persistence.get(field, "0") == "0" for field in fields):
                return
            if time.monotonic() > until_s:
                raise QuiesceError(
                    f"{what} was not written within {self._save_s:g} s (save_wait_s): look at the "
                    "disk, or allow more, and raise timeoutInSeconds with it"
                )
            time.sleep(_POLL_S)

    def _is_appending(self) -> bool:
        return self._persistence().get("aof_enabled") == "1"

    def _persistence(self) -> dict[str, str]:
        return self._redis.info("persistence")

    def _look(self) -> Mark:
        return mark_of(self._redis.info("server"), self._persistence())

    def release(self) -> str:
        """Let writers go on, if none has until now."""
        before, now = self._mark, self._look()
        self._redis.ask(*_UNPAUSE)
        self._redis.close()
        if now.run_id != before.run_id:
            raise QuiesceError("the server was started anew meanwhile")
        if not is_unchanged(before, now):
            raise QuiesceError(
                "data was changed meanwhile: somebody has ended the pause, or this is a replica "
                "whose master went on (pause the master instead)"
            )
        return ""

    def abandon(self) -> None:
        """End the pause at once; else the server does at its own deadline."""
        if self._connection is not None:
            # Without its answer: a server that writes at once to a frozen file has none yet.
            with contextlib.suppress(OSError):
                self._connection.tell(*_UNPAUSE)
                self._connection.close()

    def watched_fds(self) -> tuple[int, ...]:
        """The connection: it hangs up when the server ends."""
        return (self._connection.fileno(),) if self._connection else ()


def mark_of(server: Mapping[str, str], persistence: Mapping[str, str]) -> Mark:
    """The mark, from INFO's sections: pure."""
    appended = ""
    if persistence.get("aof_enabled") == "1":
        parts = ("aof_current_size", "aof_buffer_length")
        appended = str(sum(int(persistence.get(part, "0")) for part in parts))
    # The time alone, in seconds, is what 6.2 has.
    saves = [persistence.get(name, "") for name in ("rdb_last_save_time", "rdb_saves")]
    changes = persistence.get("rdb_changes_since_last_save", "")
    return Mark(server.get("run_id", ""), changes, "/".join(saves), appended)


def is_unchanged(before: Mark, now: Mark) -> bool:
    """Whether the data is certainly as it was: pure.

    Either says so by itself: a snapshot of the server's own may end in between, or a rewrite of its
    append-only file may.
    """
    if now.run_id != before.run_id:
        return False
    is_counted = (now.changes, now.saves) == (before.changes, before.saves)
    return is_counted or now.appended == before.appended != ""


def _pause(seconds: float) -> tuple[str, ...]:
    return ("CLIENT", "PAUSE", str(round(seconds * 1000)), "WRITE")
