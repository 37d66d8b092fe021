"""A run as an onlooker sees it: its state page, its processes, the marks that its scripts leave."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from pyfreeze._core.pages import Record
from pyfreeze._core.run import PROGRAM
from pyfreeze._model.errors import FreezeError
from tests.soak.arena import Arena
from tests.soak.schedule import CLIENT, COMMAND, REAPER, SUPERVISOR
from tests.support.processes import is_alive, state_pages

_FROZEN_OR_LATER = {"frozen", "thawing", "thawed", "foreign-thaw", "stuck"}
_THAWING_OR_LATER = _FROZEN_OR_LATER - {"frozen"}
_THAWED = {"thawed", "failed"}


def children_of(pid: int) -> list[int]:
    """The children of a process, of its first thread: none of ours is forked by another."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(word) for word in words]


class Watch:
    """One run, from the fork of its client on."""

    def __init__(self, arena: Arena, client: int) -> None:
        self.arena = arena
        self.client = client
        self._supervisor = 0
        self._record: Record | None = None

    def close(self) -> None:
        if self._record is not None:
            self._record.close()

    @property
    def has_ended(self) -> bool:
        """Whether nothing of the run is left but zombies."""
        return not is_alive(self.client) and not (self._supervisor and is_alive(self._supervisor))

    # ---- the state page ----------------------------------------------------------------------

    def states(self) -> list[str]:
        """The filesystems' states; empty before there is a page."""
        if self._record is None:
            for path in state_pages():
                try:
                    record = Record(str(path))
                except (FreezeError, OSError):  # not filled in yet
                    return []
                if record.filesystems():
                    self._record = record
                else:  # its length is not, yet
                    record.close()
        if self._record is None:
            return []
        return [filesystem.state for filesystem in self._record.filesystems()]

    def kernel_ns(self) -> int:
        """The longest that FIFREEZE and FITHAW themselves took: nobody can shorten that."""
        rows = self._record.filesystems() if self._record is not None else ()
        return max(
            (
                max(0, row.freeze_return_ns - row.freeze_enter_ns)
                + max(0, row.thaw_return_ns - row.thaw_enter_ns)
                for row in rows
            ),
            default=0,
        )

    # ---- processes ---------------------------------------------------------------------------

    @property
    def supervisor(self) -> int:
        if not self._supervisor:
            # Until its execve it is a thread of control of the client's, with the client's memory.
            for pid in children_of(self.client):
                if _name(pid) == "pyfreeze-superv":
                    self._supervisor = pid
        return self._supervisor

    def find(self, victim: str) -> int:
        """The process that the strike is for; 0: there is none just now."""
        if victim == CLIENT:
            return self.client
        if victim == SUPERVISOR:
            return self.supervisor
        reapers = children_of(self.supervisor) if self.supervisor else []
        if not reapers:
            return 0
        if victim == REAPER:
            return reapers[-1]
        found = children_of(reapers[-1])
        return found[0] if found and self._is(victim, found[0]) else 0

    @staticmethod
    def is_of_the_run(pid: int) -> bool:
        """Whether a process is in this mount namespace, where there is nothing but the arena's."""
        try:
            return os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        except OSError:
            return False

    def _is(self, victim: str, child: int) -> bool:
        """Whether a reaper's child is the command, parked before its execve or not, or a script."""
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            return False
        if victim == COMMAND and os.fsencode(PROGRAM) in words:
            # Not a post-script, which comes when the window has ended, or its client.
            states = set(self.states())
            window = states & {"freezing", "frozen"} and not states & _THAWING_OR_LATER
            return bool(window) and is_alive(self.client)
        is_command = os.fsencode(self.arena.command) in words
        return is_command if victim == COMMAND else not is_command

    # ---- where it is -------------------------------------------------------------------------

    def has_passed(self, event: str) -> bool:
        """Whether a boundary has been reached."""
        match event:
            case "page":
                return bool(self.states())
            case "supervisor":
                return self.supervisor != 0
            case "pre-script":
                return self.arena.marked("pre.begun")
            case "pre-script ended":
                return self.arena.marked("pre.ended")
            case "command":
                return self.arena.marked("command.begun")
            case "post-script":
                return self.arena.marked("post.begun")
            case "post-script ended":
                return self.arena.marked("post.ended")
            case _:
                states = self.states()
                return bool(states) and _slots_have_passed(event, states)

    def phase(self) -> str:
        """In a word, for the table."""
        marked, states = self.arena.marked, self.states()
        if marked("post.ended"):
            return "after post-script"
        if marked("post.begun"):
            return "post-script"
        if any(state in _THAWING_OR_LATER for state in states):
            return "thawed" if all(state in _THAWED for state in states) else "thawing"
        if any(state in ("freezing", "frozen") for state in states):
            return "frozen" if all(state == "frozen" for state in states) else "freezing"
        if marked("pre.ended"):
            return "flush"
        if marked("pre.begun"):
            return "pre-script"
        return "start" if not states or states[0] == "chosen" else "open"


def _slots_have_passed(event: str, states: list[str]) -> bool:
    match event:
        case "open":
            return all(state != "chosen" for state in states)
        case "freezing":
            return any(state not in ("chosen", "open") for state in states)
        case "one frozen":
            return any(state in _FROZEN_OR_LATER for state in states)
        case "all frozen":
            return all(state in _FROZEN_OR_LATER for state in states)
        case "thawing":
            return any(state in _THAWING_OR_LATER for state in states)
        case "one thawed":
            return any(state in _THAWED for state in states)
        case "all thawed":
            return all(state in _THAWED for state in states)
    raise AssertionError(event)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


# ---- the processes of a run ----------------------------------------------------------------------


def _below(pid: int) -> list[int]:
    found = []
    for child in children_of(pid):
        found += [child, *_below(child)]
    return found


def describe_below(pid: int) -> str:
    """The processes below one, with what their threads wait for."""
    lines = []
    for child in _below(pid):
        for task in sorted(Path("/proc", str(child), "task").glob("*")):
            try:
                stat = (task / "stat").read_text(encoding="utf-8", errors="replace")
                wchan = (task / "wchan").read_text(encoding="ascii")
            except OSError:
                continue
            lines.append(f"  {child} {_name(child)} {stat.rpartition(')')[2].split()[0]} {wchan}")
    return "\n".join(lines)


def kill_below(pid: int) -> None:
    """End everything below a process, and bury it."""
    while below := _below(pid):
        for child in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)
