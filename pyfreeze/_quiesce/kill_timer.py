"""The holder's end by the kernel's own hand: also of one that is stopped, and cannot let go.

A POSIX timer whose signal is SIGKILL: it ends a stopped process, too, and needs no second one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time

_SIGEV_SIGNAL = 0  # bits/sigevent-consts.h


class KillTimer:
    """Ends this process after a while, unless `arm(0)` comes before."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        # Timers are in the C library itself since glibc 2.34.
        has_timers = hasattr(libc, "timer_create")
        self._libc = libc if has_timers else ctypes.CDLL("librt.so.1", use_errno=True)
        self._timer = ctypes.c_void_p()
        # struct sigevent, 64 bytes: a value, which nobody reads, the signal, and how it is told.
        event = struct.pack("Pii52x", 0, signal.SIGKILL, _SIGEV_SIGNAL)
        self._call("timer_create", time.CLOCK_MONOTONIC, event, ctypes.byref(self._timer))

    def arm(self, after_s: float) -> None:
        """SIGKILL to this process in `after_s` seconds; 0: not any more.

        Raises:
            OSError: a system call was refused.
        """
        seconds = int(after_s)
        # struct itimerspec: seconds and nanoseconds of the interval, which is none, and the value.
        timer = (ctypes.c_long * 4)(0, 0, seconds, int((after_s - seconds) * 1e9))
        self._call("timer_settime", self._timer, 0, ctypes.byref(timer), None)

    def _call(self, function: str, *arguments: object) -> None:
        if getattr(self._libc, function)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{function}: {os.strerror(number)}")
