"""Which processes there are; of pyfreeze's own only those of this namespace, so of these tests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.namespace import STATE_DIRECTORY

_NAMESPACE = "/proc/{}/ns/mnt"
_FIFREEZE = "0xc0045877"  # _IOWR('X', 119, int)
_WRITE = {"x86_64": "1"}.get(os.uname().machine, "64")
_SYNCFS = {"x86_64": "306"}.get(os.uname().machine, "267")  # 267: the generic table


def is_alive(pid: int) -> bool:
    """Whether there is such a process that is more than a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[1])


def peak_kib(pid: int) -> int:
    """The largest that a process's resident memory has been."""
    return _status_kib(pid, "VmHWM:")


def resident_kib(pid: int) -> int:
    """A process's resident memory now."""
    return _status_kib(pid, "VmRSS:")


def _status_kib(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise AssertionError(f"{pid} has no {key}")


def caught_by(pid: int) -> list[int]:
    """The signals that a process has a handler for."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    return [number for number in range(1, 65) if mask >> (number - 1) & 1]


def threads_of(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def is_in_fifreeze(pid: int) -> bool:
    """Whether one of a process's threads sleeps in FIFREEZE, where no signal reaches it."""
    return count_in_fifreeze(pid) > 0


def count_in_fifreeze(pid: int) -> int:
    """How many of its threads do."""
    return sum(_FIFREEZE in call[1:] for call in _calls_asleep(pid))


def is_in_syncfs(pid: int) -> bool:
    """Whether one of a process's threads sleeps in syncfs."""
    return any(call[0] == _SYNCFS for call in _calls_asleep(pid))


def is_writing_to(pid: int, fd: int) -> bool:
    """Whether a process's main thread sleeps in a write() to one of its descriptors."""
    call = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()
    return call[:2] == [_WRITE, f"{fd:#x}"]


def is_asleep(pid: int) -> bool:
    """Whether a process's main thread waits in a system call for something to happen."""
    call = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()
    return call[0] != "running"


def _calls_asleep(pid: int) -> Iterator[list[str]]:
    """The system calls, number and arguments, in which the threads of a process sleep."""
    for task in Path("/proc", str(pid), "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = (task / "syscall").read_text(encoding="ascii").split()
            if words and words[0] != "running":
                yield words


def helpers() -> list[int]:
    """The supervisors and reapers of this namespace that are alive."""
    return [pid for pid in _all() if _is_helper(pid)]


def recoverers() -> list[int]:
    """Those among them that wait for what a killed supervisor's last thread may have frozen."""
    return [pid for pid in _all() if _is_helper(pid, "pyfreeze-recov")]


def supervisors_of(client: int) -> list[int]:
    """The supervisors that a process has started, in whatever namespace, and that are alive."""
    found = []
    for pid in _all():
        try:
            if _name(pid) == "pyfreeze-superv" and parent_of(pid) == client and is_alive(pid):
                found.append(pid)
        except OSError:
            continue
    return found


def strangers() -> bool:
    """Whether other tests or runs go on on this machine: they raise what we look at, too."""
    return any(_is_stranger(pid) for pid in _all())


def _is_stranger(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        return ("pytest" in words or "pyfreeze" in words) and not _is_in_namespace(pid)
    except OSError:
        return False


def _is_in_namespace(pid: int) -> bool:
    return os.readlink(_NAMESPACE.format(pid)) == os.readlink(_NAMESPACE.format("self"))


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()


def _is_helper(pid: int, name: str = "pyfreeze-") -> bool:
    try:
        return _name(pid).startswith(name) and _is_in_namespace(pid) and is_alive(pid)
    except OSError:  # gone, or a zombie
        return False


#: Words before a command that make it nobody's; it may still read the tree, wherever that is.
AS_NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)


def state_pages() -> list[Path]:
    """The state pages that runs of these tests have, or have left."""
    return sorted(Path(STATE_DIRECTORY).glob("*.state"))


def journals() -> list[Path]:
    """The journals beside them."""
    return sorted(Path(STATE_DIRECTORY).glob("*.journal"))
