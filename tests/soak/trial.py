"""One run that is struck, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyfreeze
from pyfreeze._core.pages import Record, take_lock
from pyfreeze._recovery.recover import recover
from tests.soak.arena import Arena
from tests.soak.client import act_as_command, act_as_library, import_everything
from tests.soak.load import Load, written_between
from tests.soak.schedule import CLIENT, HELD_WINDOW_S, REAPER, SCRIPT, SUPERVISOR, Kill, Strike
from tests.soak.watch import Watch, describe_below, kill_below
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import state_pages
from tests.support.waiting import holds_within

_NS = 1_000_000_000
#: Who is stopped is left so beyond the deadline; by then others must have thawed.
_STOPPED_BEYOND_NS = 600_000_000
#: For ever, to the command of a held run.
_FOR_EVER_S = 3600.0
_POLL_NS = 40_000
#: How long a victim is waited for, and one after the first.
_VICTIM_NS = 10 * _NS
_NEXT_VICTIM_NS = 100_000_000
#: How often the next run is watched to its end, besides after those that could leave something.
_WHOLE_EVERY = 8


def _states(page: Path) -> list[str]:
    """Of the filesystems in a page; one whose client died while it made it is as good as new."""
    try:
        record = Record(str(page))
    except pyfreeze.FreezeError as error:
        if error.errno != errno.EBADMSG:
            raise
        return ["chosen"]
    try:
        return [filesystem.state for filesystem in record.filesystems()]
    finally:
        record.close()


class ViolationError(AssertionError):
    """What must hold did not."""


class Result(NamedTuple):
    """What was done to a run, and what became of it."""

    number: int
    name: str
    phase: str
    """Where the first strike met it; "over": it came too late."""
    outcome: str
    stall_ms: float
    """The longest that a single write took."""
    late_ms: float
    """By how much that is more than the window allows, beside the kernel's own time to freeze."""
    recovered: bool
    """`pyfreeze thaw` or the next run had something to see to."""
    read_only: bool
    """The kernel has made a btrfs read-only; see _judge_writers()."""


class Trial:
    """Runs, kills, judges. The process must be a child subreaper without children of its own."""

    def __init__(self, arena: Arena, load: Load, patience_s: float, late_s: float) -> None:
        self.arena = arena
        self.load = load
        self.patience_s = patience_s
        self.late_s = late_s
        self.run_ns = 0
        import_everything()
        gc.freeze()  # so that the forks leave alone what there is

    # ---- a run -------------------------------------------------------------------------------

    def _start(
        self,
        client: str,
        command_s: float,
        max_window_s: float,
        prepare: Callable[[], None] = lambda: None,
    ) -> int:
        """Fork a client, which prepares itself first; returns its process id."""
        self.arena.clear()
        self.load.forget_longest()
        pid = os.fork()
        if pid:
            return pid
        status = 99
        try:
            os.setsid()
            for name, fd in (("report", 1), ("errors", 2)):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                os.dup2(os.open(self.arena.place.path(name), flags, 0o600), fd)
            prepare()
            act = act_as_command if client == "command" else act_as_library
            status = act(self.arena, [self.arena.command, f"{command_s:g}"], max_window_s)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def run_whole(self) -> None:
        """A run that nobody disturbs: it must work."""
        begin_ns = time.monotonic_ns()
        status = self._wait_for_end(self._start("library", 0.0, HELD_WINDOW_S))
        self.run_ns = time.monotonic_ns() - begin_ns
        report = self._report()
        if status != 0 or report is None or report.get("consistency") != "application":
            raise ViolationError(f"the next run: status {status}, {self._told()}")
        self._judge_report(report)
        if state_pages():
            raise ViolationError("a run that nobody disturbed left its state page")
        self._judge_leavings()

    def kill(self, kill: Kill) -> Result:
        """Do it.

        Raises:
            ViolationError: something that must hold did not.
        """
        begin_ns = time.monotonic_ns()
        command_s = _FOR_EVER_S if kill.held else kill.command_s
        client = self._start(kill.client, command_s, kill.max_window_s)
        watch = Watch(self.arena, client)
        stopped: list[int] = []
        try:
            self._wait_for_moment(kill, watch, begin_ns)
            phase = watch.phase()
            hits = self._strike(kill, watch, stopped)
            struck_ns = time.monotonic_ns()
            due_ns = struck_ns + int(kill.max_window_s * _NS) + _STOPPED_BEYOND_NS
            status = self._wait_for_end(client, stopped, due_ns, kill)
            kernel_ns = watch.kernel_ns()
        finally:
            watch.close()
            for pidfd in stopped:
                os.close(pidfd)
        report = self._report()
        outcome = outcome_of(status, report)
        self._judge_end(kill, status, report)
        recovered = self._recover(kill)
        self._judge_leavings()
        read_only = self._judge_writers(kill)
        stall_ns = self.load.longest_ns
        allowed_ns = struck_ns - begin_ns if kill.held else int(kill.max_window_s * _NS)
        late_ns = 0 if kill.loses_both else max(0, stall_ns - allowed_ns - kernel_ns)
        if late_ns > self.late_s * _NS:
            raise ViolationError(f"thawed {late_ns / _NS:.3f} s too late, in phase {phase}")
        if not read_only and (kill.loses_both or kill.number % _WHOLE_EVERY == 0):
            self.run_whole()
        return Result(
            number=kill.number,
            name=kill.name,
            phase=phase if hits else "over",
            outcome=outcome,
            stall_ms=stall_ns / 1e6,
            late_ms=late_ns / 1e6,
            recovered=recovered,
            read_only=read_only,
        )

    # ---- the strike --------------------------------------------------------------------------

    def _wait_for_moment(self, kill: Kill, watch: Watch, begin_ns: int) -> None:
        """Wait for it: nearly busy, and quite so at the end."""
        at_ns = begin_ns + int(kill.part * self.run_ns)
        while not watch.has_ended and time.monotonic_ns() < begin_ns + _VICTIM_NS:
            if kill.event and watch.has_passed(kill.event):
                at_ns = time.monotonic_ns() + kill.delay_ns
                break
            if not kill.event and time.monotonic_ns() >= at_ns - _POLL_NS:
                break
            time.sleep(_POLL_NS / _NS)
        else:
            return
        while time.monotonic_ns() < at_ns:
            pass

    def _strike(self, kill: Kill, watch: Watch, stopped: list[int]) -> int:
        """Signal the victims; returns how many were there to be hit."""
        hits = 0
        watch.find(CLIENT if len(kill.strikes) == 1 else "supervisor")  # known before it is lost
        for strike in kill.strikes:
            if hits:
                until_ns = time.monotonic_ns() + kill.gap_ns
                while time.monotonic_ns() < until_ns and not watch.has_ended:
                    time.sleep(_POLL_NS / _NS)
            # The first strike may have seen to it that there will never be one.
            until_ns = time.monotonic_ns() + (_NEXT_VICTIM_NS if hits else _VICTIM_NS)
            while not (pid := watch.find(strike.victim)) and not watch.has_ended:
                if time.monotonic_ns() > until_ns:
                    break
                time.sleep(_POLL_NS / _NS)
            try:
                pidfd = os.pidfd_open(pid) if pid else -1
            except ProcessLookupError:
                continue
            if pidfd < 0:
                continue
            is_hit = False
            with contextlib.suppress(ProcessLookupError):
                # The descriptor is the process's own: what is looked up now is what is hit.
                is_hit = watch.is_of_the_run(pid)
                if is_hit:
                    signal.pidfd_send_signal(pidfd, strike.signal)
                    hits += 1
            if is_hit and strike.signal == signal.SIGSTOP:
                stopped.append(pidfd)
            else:
                os.close(pidfd)
        return hits

    def _wait_for_end(
        self,
        client: int,
        stopped: list[int] | None = None,
        due_ns: int = 0,
        kill: Kill | None = None,
    ) -> int:
        """Wait until no process of the run is left. Returns the client's, as waitpid() gives it."""
        status = -1
        hang_ns = time.monotonic_ns() + int(self.patience_s * _NS)
        waking = list(stopped or ())
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return status
            if pid == client:
                status = code
            if pid:
                continue
            now_ns = time.monotonic_ns()
            if waking and kill and now_ns >= due_ns:
                if not kill.loses_both:
                    self._require_writes("while the stopped is stopped")
                if kill.leaves_a_stopped_supervisor and status != -1:
                    recover(STATE_DIRECTORY)  # as `pyfreeze thaw` does: it lets it go on
                else:
                    for pidfd in waking:
                        with contextlib.suppress(ProcessLookupError):
                            signal.pidfd_send_signal(pidfd, kill.wake)
                waking = []
                hang_ns = time.monotonic_ns() + int(self.patience_s * _NS)
            if now_ns > max(hang_ns, due_ns if waking else 0):
                raise ViolationError(f"it does not end; there are\n{describe_below(os.getpid())}")
            time.sleep(0.001)

    # ---- judging -----------------------------------------------------------------------------

    def _require_writes(self, when: str) -> None:
        """Every writer goes on: nothing is frozen, by the word of those who wait for it."""
        before = self.load.done
        goes_on: Callable[[], bool] = lambda: all(  # noqa: E731
            now > then or error
            for now, then, error in zip(self.load.done, before, self.load.errors, strict=True)
        )
        if not holds_within(goes_on, self.patience_s):
            raise ViolationError(
                f"frozen {when}: writes {before} -> {self.load.done}; writers\n"
                f"{describe_below(os.getppid())}"
            )

    def _judge_leavings(self) -> None:
        if self.arena.rcu_is_raised:
            self.arena.lower_rcu()
            raise ViolationError("rcu_expedited is left raised")
        if frozen := self.arena.thaw():
            raise ViolationError(f"left frozen: {', '.join(frozen)}")
        self._require_writes("after the end")

    def _judge_writers(self, kill: Kill) -> bool:
        """Whether the kernel has made the btrfs read-only, which is not ours to prevent.

        btrfs_unfreeze() reads the superblocks back, and waits for them killably: when the thread
        that is in FITHAW gets SIGKILL, it takes the EINTR for a superblock that somebody has
        modified, thaws, and forces the filesystem read-only. So a SIGKILL can cost this, but only
        to the one who thaws at that very moment.
        """
        if self.arena.is_read_only:
            holds_within(lambda: any(self.load.errors), self.patience_s)
        failed = {
            disk.fstype: error
            for disk, error in zip(self.arena.disks, self.load.errors, strict=True)
            if error
        }
        if not failed:
            return False
        killed = Strike(SUPERVISOR, signal.SIGKILL), Strike(CLIENT, signal.SIGKILL)
        if failed != {"btrfs": errno.EROFS} or not set(killed) & set(kill.strikes):
            raise ViolationError(f"writers have ended: {failed}")
        return True

    def _recover(self, kill: Kill) -> bool:
        """See to what is left as whoever comes next would. Returns whether there was anything."""
        try:
            os.close(take_lock(STATE_DIRECTORY))
        except pyfreeze.LockedError:
            raise ViolationError("the lock is held, by nobody") from None
        pages = state_pages()
        if not pages:
            return False
        if not kill.loses_both:
            states = _states(pages[0])
            # A client that dies before there is a supervisor leaves a page that says nothing.
            if set(states) != {"chosen"} or not kill.hits(CLIENT):
                raise ViolationError(f"the state page is left: {states}")
        if kill.recovery == "run" and not self.arena.is_read_only:
            self.run_whole()
        else:
            for found in recover(STATE_DIRECTORY):
                if found.failed:
                    raise ViolationError(f"thaw: {found.failed}")
        if state_pages():
            raise ViolationError("the state page is left after the recovery")
        return True

    def _judge_end(self, kill: Kill, status: int, report: dict[str, Any] | None) -> None:
        marked = self.arena.marked
        if os.WIFEXITED(status) and report is None:
            raise ViolationError(f"no report: status {status}, {self._told()}")
        if report is not None:
            self._judge_report(report)
            if os.WIFEXITED(status) and kill.client == "command":
                self._judge_status(os.WEXITSTATUS(status), report)
            if not kill.loses_both:
                self._judge_pending(report)
        spared = not kill.loses_both and not kill.hits(SCRIPT, REAPER)
        if spared and marked("pre.begun") and not marked("post.ended"):
            raise ViolationError(f"the post-script did not run: {self._told()}")

    def _judge_pending(self, report: dict[str, Any]) -> None:
        """What is said to be frozen may only be what a FIFREEZE does not return from in time."""
        rows = (report.get("window") or {}).get("filesystems", [])
        pending = {row["mount"] for row in rows if row["outcome"] == "pending"}
        if not set(report.get("still_frozen", ())) <= pending:
            raise ViolationError(f"said to be frozen: {self._told()}")

    def _judge_status(self, status: int, report: dict[str, Any]) -> None:
        good = report.get("status") == "success"
        if status not in ((0, 128 + signal.SIGTERM) if good else range(1, 256)):
            raise ViolationError(f"exit status {status}: {self._told()}")

    def _judge_report(self, report: dict[str, Any]) -> None:
        """What is called consistent was frozen, from before the command to its end."""
        if report.get("consistency") not in ("application", "filesystem"):
            return
        marked, read = self.arena.marked, self.arena.place.path
        if not marked("command.ended"):
            raise ViolationError(f"consistent without a snapshot: {self._told()}")
        written = written_between(read("before").read_bytes(), read("after").read_bytes())
        if any(written):
            raise ViolationError(f"{written} writes within the snapshot: {self._told()}")
        scripts = marked("pre.ended") and marked("post.ended")
        if report["consistency"] == "application" and not scripts:
            raise ViolationError(f"application without whole scripts: {self._told()}")

    # ---- what it told ------------------------------------------------------------------------

    def _report(self) -> dict[str, Any] | None:
        try:
            parsed = json.loads(self.arena.place.read("report"))
        except (FileNotFoundError, ValueError):
            return None
        return parsed if isinstance(parsed, dict) else None

    def _told(self) -> str:
        script_dir = self.arena.place
        return " ".join(
            script_dir.read(name) for name in ("report", "errors") if script_dir.exists(name)
        )

    def abandon(self) -> None:
        """After a violation: leave nothing of the run, whatever it left."""
        self.arena.thaw()
        kill_below(os.getpid())
        self.arena.thaw()


def outcome_of(status: int, report: dict[str, Any] | None) -> str:
    if os.WIFSIGNALED(status):
        return f"client ended by {signal.Signals(os.WTERMSIG(status)).name}"
    if report is None:
        return "nothing told"
    if "error" in report:
        return str(report["error"])
    return f"{report['status']}, {report['consistency']}"
