"""Build the cffi extension. Its declarations are the public header's, so they cannot drift."""

from __future__ import annotations

import re
from pathlib import Path

import cffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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

#: The rooms of this folder that each of the two programs is made of.
CLIENT_ROOMS = ("base", "protocol", "kernel", "client")
SUPERVISOR_ROOMS = ("base", "protocol", "kernel", "window", "children", "supervisor")


def sources(rooms: Sequence[str]) -> list[str]:
    """Return the C files of some rooms, from the project's root."""
    return [
        f"csrc/{room}/{path.name}" for room in rooms for path in sorted((HERE / room).glob("*.c"))
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
    sources=sources(CLIENT_ROOMS),
    include_dirs=["csrc"],
    depends=[f"csrc/{path.relative_to(HERE)}" for path in sorted(HERE.rglob("*.h"))],
    extra_compile_args=COMPILE_ARGS,
    extra_link_args=["-pthread", "-Wl,-z,relro,-z,now"],
)
