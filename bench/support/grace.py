"""Waiting for RCU grace periods, so that no freeze profits from the one before it.

Freezing takes percpu rw-semaphores, whose rcu_sync_enter() waits for a grace period only when the
semaphore is idle. After a thaw it becomes idle by a callback, a grace period or two later; whoever
freezes the same filesystem again before that waits for nothing: 0.1 ms instead of 40. Real backups
are minutes apart, so each window here begins with idle semaphores.
"""

from __future__ import annotations

import ctypes
import os

_SYS_MEMBARRIER = {"x86_64": 324}.get(os.uname().machine, 283)  # 283: the generic table
_MEMBARRIER_CMD_GLOBAL = 1
#: rcu_sync_func() may need a second one (GP_REPLAY); callbacks run a little after each.
_GRACE_PERIODS = 4

_libc = ctypes.CDLL(None, use_errno=True)


def wait_for_grace_periods() -> None:
    """Return when what has been thawed so far is as if it had never been frozen."""
    for _ in range(_GRACE_PERIODS):
        # The one system call that is synchronize_rcu() and nothing else.
        if _libc.syscall(_SYS_MEMBARRIER, _MEMBARRIER_CMD_GLOBAL, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "membarrier(MEMBARRIER_CMD_GLOBAL)")
