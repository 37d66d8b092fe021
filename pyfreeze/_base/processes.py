"""Which processes a run has, and what this one may do: asked of /proc, so nothing is touched."""

from __future__ import annotations

import os
from typing import Literal

from pyfreeze._base.files import read_if_there

ProcessState = Literal["running", "stopped", "gone"]

_CAP_SYS_ADMIN = 21


def find_supervisor(run_id: str) -> int:
    """The supervisor of a run whose client died before it could note the pid; 0: there is none."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return next((pid for pid in pids if is_supervisor(pid, run_id)), 0)


def is_supervisor(pid: int, run_id: str) -> bool:
    """Whether a process is the supervisor of that run: it has the id as its argument."""
    return read_if_there(f"/proc/{pid}/cmdline").split("\0")[1:2] == [run_id]


def state_of(pid: int) -> ProcessState:
    """What a process does, by the letter of its scheduler's state; a zombie is gone."""
    letters = read_if_there(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
    if not letters or letters[0] in "ZX":
        return "gone"
    return "stopped" if letters[0] in "Tt" else "running"


def has_mapped(pid: int, path: str) -> bool:
    """Whether a process has that very file in its memory: its pid alone may be somebody else's."""
    try:
        # The path may be shown from another root directory, so its last name counts.
        inode, name = str(os.stat(path).st_ino).encode(), os.fsencode(os.path.basename(path))
        with open(f"/proc/{pid}/maps", "rb") as file:
            lines = (line.rstrip().split(None, 5) for line in file)
            return any(f[4] == inode and os.path.basename(f[-1]) == name for f in lines)
    except OSError:
        return False


def has_cap_sys_admin() -> bool:
    """Whether this process may mount and freeze: root in a container often may not."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line[:7] == "CapEff:")
    return bool(effective >> _CAP_SYS_ADMIN & 1)
