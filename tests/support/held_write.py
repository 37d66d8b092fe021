"""A write that is under way for as long as one likes: FIFREEZE waits for it, in sb_wait_write()."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.needs import give_up
from tests.support.waiting import wait_until

_USERFAULTFD = {"x86_64": 323}.get(os.uname().machine, 282)  # 282: the generic table
_UFFD_API = 0xAA
_UFFDIO_API = 0xC018AA3F
_UFFDIO_REGISTER = 0xC020AA00
_MODE_MISSING = 1

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def held_write(path: Path) -> Iterator[None]:
    """Write a page to a file; it is under way until the end of the block.

    vfs_write() holds sb_start_write() while it copies, and what it is to copy from is missing: its
    page fault waits for a userfaultfd, whose end fills it with zeros.
    """
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    faults = _libc.syscall(_USERFAULTFD, os.O_CLOEXEC)
    if faults < 0:
        give_up(f"userfaultfd: {os.strerror(ctypes.get_errno())}")
    with contextlib.closing(open(faults, "rb", buffering=0)), path.open("wb") as file:
        fcntl.ioctl(faults, _UFFDIO_API, bytearray(struct.pack("3Q", _UFFD_API, 0, 0)))
        region = struct.pack("4Q", address, mmap.PAGESIZE, _MODE_MISSING, 0)
        fcntl.ioctl(faults, _UFFDIO_REGISTER, bytearray(region))
        words = (file.fileno(), ctypes.c_void_p(address), mmap.PAGESIZE)
        thread = threading.Thread(target=_libc.write, args=words)
        thread.start()
        wait_until(lambda: _is_in_write(thread), "the write waits for its page")
        yield
    thread.join()


def _is_in_write(thread: threading.Thread) -> bool:
    call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text(encoding="ascii")
    return call.split()[0] == {"x86_64": "1"}.get(os.uname().machine, "64")
