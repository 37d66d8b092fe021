"""One run with one system call that fails, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from typing import Any, NamedTuple

from pyfreeze._core.run import PROGRAM
from pyfreeze._recovery.recover import recover
from tests.soak.arena import Arena
from tests.soak.load import Load
from tests.soak.strace import BEGIN, Fault, Strace, begin_here, calls_in, faults_of, injected
from tests.soak.trial import Trial, ViolationError, outcome_of
from tests.support.disks import tool
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import is_alive, state_pages
from tests.support.waiting import wait_until

#: Whose calls fail: of the Python process, of the supervisor's loop, of everything that the
#: supervisor runs in (its workers, reapers, and what these fork), a call in each.
CLIENT, SUPERVISOR, BELOW = ROLES = ("client", "supervisor", "below")

# Waits until it is traced, then becomes the supervisor: the same process, the same descriptors.
_GATE = """[ -e "$D/traced" ] || exec "$D/supervisor" "$@"
echo $$ >"$D/spawned"
read -r go <"$D/gate"
exec "$D/supervisor" "$@"
"""
#: So long that a writer that is not frozen is sure to write meanwhile.
_COMMAND_S = 0.01
_WINDOW_S = 2.0


class Outcome(NamedTuple):
    """A fault, and what became of the run."""

    fault: Fault
    text: str
    took_s: float
    detail: str = ""


class FaultTrial(Trial):
    """Runs with faults. The process must be a child subreaper without children of its own."""

    def __init__(self, arena: Arena, load: Load, patience_s: float, late_s: float) -> None:
        super().__init__(arena, load, patience_s, late_s)
        script_dir = arena.place
        self.log = script_dir.path("strace")
        shutil.copy(PROGRAM, script_dir.path("supervisor"))
        gate = script_dir.script("gated", _GATE)
        if not script_dir.exists("gate"):
            os.mkfifo(script_dir.path("gate"), 0o600)
            tool("mount", "--bind", gate, PROGRAM)

    def record(self, role: str, *, brief: bool) -> list[Fault]:
        """The faults to try in a role, by what a whole run calls."""
        words = ("-f",) if role == BELOW else ()
        status, pid = self._run(role, words)
        if status != 0:
            raise ViolationError(f"a run that was only traced: {status}, {self._told()}")
        begin = BEGIN if role == CLIENT else f'execve("{self.arena.place.path("supervisor")}'
        calls, before = calls_in(self.log, pid, begin)
        return faults_of(role, calls, before, brief=brief)

    def fail(self, fault: Fault) -> Outcome:
        """Do it.

        Raises:
            ViolationError: something that must hold did not.
        """
        begin_s = time.monotonic()
        words = Strace.inject(fault)
        status, _ = self._run(fault.role, ("-f", *words) if fault.role == BELOW else words)
        report = self._report()
        self._judge(status, report)
        text = outcome_of(status, report)
        took_s = time.monotonic() - begin_s
        return Outcome(fault, text if injected(self.log) else "not reached", took_s)

    def _run(self, role: str, words: tuple[str, ...]) -> tuple[int, int]:
        """Returns the client's status, and whom strace was attached to."""
        self.arena.clear()
        script_dir = self.arena.place
        for name in ("traced", "spawned"):
            script_dir.path(name).unlink(missing_ok=True)
        read_fd, write_fd = os.pipe()
        if role != CLIENT:
            script_dir.path("traced").touch()
            os.write(write_fd, b"x")

        def wait() -> None:
            os.close(write_fd)
            os.read(read_fd, 1)
            os.close(read_fd)
            begin_here()

        client = self._start("command", _COMMAND_S, _WINDOW_S, wait)
        os.close(read_fd)
        if role == CLIENT:
            pid = client
            strace = Strace(pid, self.log, *words)
            with contextlib.suppress(BrokenPipeError):  # the fault has ended it already
                os.write(write_fd, b"x")
        else:
            wait_until(lambda: self._spawned().endswith("\n"), "the supervisor is spawned")
            pid = int(self._spawned())
            strace = Strace(pid, self.log, *words)
            wait_until(lambda: self._opens_gate() or not is_alive(pid), "the gate opens")
        os.close(write_fd)
        try:
            return self._wait_for_end(client), pid
        finally:
            strace.forget()

    def _opens_gate(self) -> bool:
        """Let the supervisor go on, if it has come to the gate; it may have been given up."""
        try:
            gate = os.open(self.arena.place.path("gate"), os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return False
        os.write(gate, b"go\n")
        os.close(gate)
        return True

    def _spawned(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self.arena.place.read("spawned")
        return ""

    def abandon(self) -> None:
        super().abandon()
        self.arena.lower_rcu()
        for page in state_pages():
            page.unlink()

    # ---- judging -----------------------------------------------------------------------------

    def _judge(self, status: int, report: dict[str, Any] | None) -> None:
        success = report is not None and report.get("status") == "success"
        if report is not None:
            self._judge_report(report)
        if os.WIFEXITED(status) and (os.WEXITSTATUS(status) == 0) and not success:
            raise ViolationError(f"exit status 0: {self._told()}")
        if report is not None:
            self._judge_pending(report)
        late_s = self.load.longest_ns / 1e9 - _WINDOW_S
        if late_s > self.late_s:
            raise ViolationError(f"thawed {late_s:.1f} s after its deadline: {self._told()}")
        frozen = self.arena.thaw()
        if frozen:
            raise ViolationError(f"left frozen: {frozen}: {self._told()}")
        for found in recover(STATE_DIRECTORY):
            if found.failed or found.thawed:
                raise ViolationError(f"left to `pyfreeze thaw`: {found}: {self._told()}")
        self._judge_leavings()
