"""strace, attached to one process of a run: what it calls, and one of these calls made to fail."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

#: Looked up once by who is traced, right before what is of interest begins.
BEGIN = "/pyfreeze-begins-here"
_CALL = re.compile(r"^(?:(\d+) +)?([a-z_0-9]+)\(")

_OPENING = ("EMFILE", "ENOMEM", "EINTR")
#: Errors that a call may really end with, besides those that any may.
_ERRORS = {
    "openat": _OPENING,
    "open": _OPENING,
    "socketpair": _OPENING,
    "pipe2": _OPENING,
    "eventfd2": _OPENING,
    "signalfd4": _OPENING,
    "timerfd_create": _OPENING,
    "epoll_create1": _OPENING,
    "memfd_create": _OPENING,
    "pidfd_open": _OPENING,
    "dup": ("EMFILE", "EBADF"),
    "dup2": ("EMFILE", "EINTR"),
    "mmap": ("ENOMEM", "EAGAIN"),
    "mprotect": ("ENOMEM",),
    "munmap": ("ENOMEM",),
    "brk": ("ENOMEM",),
    "mlockall": ("ENOMEM", "EPERM"),
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "fork": ("EAGAIN", "ENOMEM"),
    "vfork": ("EAGAIN", "ENOMEM"),
    "execve": ("ENOMEM", "EACCES", "EMFILE"),
    "ftruncate": ("ENOSPC", "EINTR"),
    "fallocate": ("ENOSPC", "EINTR"),
    "write": ("EIO", "ENOSPC", "EINTR"),
    "pwrite64": ("EIO", "ENOSPC", "EINTR"),
    "flock": ("EINTR", "ENOLCK", "EAGAIN"),
    "kill": ("EPERM", "ESRCH"),
    "sched_setscheduler": ("EPERM",),
    "setsid": ("EPERM",),
    "exit": ("EINTR",),
    "exit_group": ("EINTR",),
}
_ANY = ("EIO", "ENOMEM", "EINTR")
#: Cannot fail, or are not calls of their own; strace cannot make them fail either.
#: rt_sigprocmask: the C library's pthread_create() and fork() rely on its never failing, and the
#: kernel fails it for a bad address only.
_SPARED = {"rt_sigreturn", "rt_sigprocmask", "restart_syscall", "exit", "exit_group", "???"}


class Fault(NamedTuple):
    """One call that is made to fail."""

    role: str
    call: str
    when: int
    """Which of the calls of that name, counted in each thread by itself."""
    error: str

    def __str__(self) -> str:
        return f"{self.role}: inject={self.call}:error={self.error}:when={self.when}"


def faults_of(role: str, calls: Counter[str], before: Counter[str], *, brief: bool) -> list[Fault]:
    """All faults to try, of what was called since the begin; briefly: the first and the last."""
    found = []
    for call in sorted(set(calls) - _SPARED):
        ordinals = list(range(before[call] + 1, calls[call] + 1))
        if brief and len(ordinals) > 2:
            ordinals = [ordinals[0], ordinals[-1]]
        errors = _ERRORS.get(call, _ANY)
        for when in ordinals:
            found += [Fault(role, call, when, e) for e in (errors[:1] if brief else errors)]
    return found


class Strace:
    """One strace, attached to a process."""

    def __init__(self, pid: int, log: Path, *words: str) -> None:
        self.log = log
        log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["strace", "-p", str(pid), "-o", str(log), "-e", "signal=none", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        if "attached" not in line:
            self._process.kill()
            raise RuntimeError(f"strace: {line}{self._process.communicate()[1]}")
        self.pid = self._process.pid

    def forget(self) -> None:
        """Somebody else has waited for it."""
        self._process.returncode = 0
        assert self._process.stderr is not None
        self._process.stderr.close()

    @staticmethod
    def inject(fault: Fault) -> tuple[str, ...]:
        inject = f"inject={fault.call}:error={fault.error}:when={fault.when}"
        return ("-e", f"trace={fault.call}", "-e", inject)


def calls_in(log: Path, pid: int, begin: str) -> tuple[Counter[str], Counter[str]]:
    """What was called: the most often by one thread, and how often before the begin.

    Args:
        log: of a strace without arguments.
        pid: the process attached to, whose own begin is looked for; other threads begin at once.
        begin: words in the line after which it is of interest.
    """
    threads: dict[str, Counter[str]] = {}
    before: Counter[str] = Counter()
    ended: set[str] = set()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _CALL.match(line)
        if not found or found[2] in _SPARED:
            continue
        thread = found[1] or str(pid)
        if thread in ended:
            continue
        counts = threads.setdefault(thread, Counter())
        counts[found[2]] += 1
        if begin in line and thread == str(pid):
            before = counts.copy()
        elif found[2] == "execve":
            ended.add(thread)  # a script from here on
    most: Counter[str] = Counter()
    for counts in threads.values():
        most |= counts
    return most, before


def injected(log: Path) -> bool:
    """Whether the call was made to fail."""
    with contextlib.suppress(FileNotFoundError):
        return "(INJECTED)" in log.read_text(encoding="utf-8", errors="replace")
    return False


def begin_here() -> None:
    with contextlib.suppress(FileNotFoundError):
        os.stat(BEGIN)
