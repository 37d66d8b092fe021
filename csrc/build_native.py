"""Build the cffi extension. Its declarations are the public header's, so they cannot drift."""

from __future__ import annotations

import re
from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent
HEADER = HERE / "pyfreeze.h"

COMPILE_ARGS = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-pthread",
    "-fvisibility=hidden",
    "-fstack-protector-strong",
    "-Wall",
    "-Wextra",
]

#: What only the client needs, what only the supervisor needs, and what both share.
SHARED_SOURCES = ["fault.c", "page.c", "thaw.c", "rcu.c", "wire.c", "childpage.c"]
CLIENT_SOURCES = [
    *SHARED_SOURCES,
    "start.c",
    "spawn.c",
    "ask.c",
    "hear.c",
    "watch.c",
    "record.c",
    "statedir.c",
]
SUPERVISOR_SOURCES = [
    *SHARED_SOURCES,
    "supervisor.c",
    "heir.c",
    "setup.c",
    "requests.c",
    "tell.c",
    "peer.c",
    "lifecycle.c",
    "timer.c",
    "haste.c",
    "latency.c",
    "level.c",
    "load.c",
    "window.c",
    "worker.c",
    "child.c",
    "keeper.c",
    "tree.c",
    "fds.c",
]


def declarations(header: str) -> str:
    """Return a header's plain declarations: no preprocessor lines, no comments."""
    without_comments = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    lines = (line for line in without_comments.splitlines() if not line.lstrip().startswith("#"))
    return "\n".join(lines)


ffibuilder = cffi.FFI()
ffibuilder.cdef(declarations(HEADER.read_text(encoding="ascii")))
ffibuilder.set_source(
    "pyfreeze._native",
    '#include "pyfreeze.h"',
    sources=[f"csrc/{name}" for name in CLIENT_SOURCES],
    include_dirs=["csrc"],
    depends=[f"csrc/{path.name}" for path in sorted(HERE.glob("*.h"))],
    extra_compile_args=COMPILE_ARGS,
    extra_link_args=["-pthread", "-Wl,-z,relro,-z,now"],
)
