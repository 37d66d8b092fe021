"""Which room may use which: whoever reads a room need not read the ones above it.

import-linter checks the rooms of pyfreeze/ (`make lint`), but for the compiled module.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

#: Each room, and the rooms besides itself whose headers its files may include.
MAY_INCLUDE: dict[str, set[str]] = {
    "base": set(),
    "protocol": {"base"},
    "kernel": {"base", "protocol"},
    "window": {"base", "protocol", "kernel"},
    "children": {"base", "protocol", "kernel"},
    "client": {"base", "protocol", "kernel"},
    "supervisor": {"base", "protocol", "kernel", "window", "children"},
}

#: cffi reads the public header, which lies in no room. Rooms that know of freezing may include it.
PUBLIC_HEADER = "pyfreeze.h"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]*)"', re.MULTILINE)


def violations(name: str, text: str) -> Iterator[str]:
    """Check one C file: its name relative to csrc/, and its text."""
    room, slash, _ = name.partition("/")
    if name == PUBLIC_HEADER:
        allowed: set[str] = set()
    elif not slash or room not in MAY_INCLUDE:
        yield f"{name} is in none of the rooms {', '.join(MAY_INCLUDE)}"
        return
    else:
        allowed = {room, *MAY_INCLUDE[room]}
    for included in INCLUDE.findall(text):
        target, slash, _ = included.partition("/")
        if included == PUBLIC_HEADER and room != "base":
            continue
        if not slash:
            yield f"{name} includes {included} without its room"
        elif target not in allowed:
            yield f"{name} includes {included}, but {room} may not know {target}"


def c_files() -> dict[str, str]:
    """The text of each C file, by its name relative to csrc/."""
    return {
        str(path.relative_to(CSRC)): path.read_text(encoding="utf-8")
        for path in sorted(CSRC.rglob("*.[ch]"))
    }


def test_every_include_of_csrc_goes_in_the_right_direction() -> None:
    files = c_files()
    # A room that lost its files would pass for lack of anything to check.
    assert {name.partition("/")[0] for name in files} == {*MAY_INCLUDE, PUBLIC_HEADER}
    assert [wrong for name, text in files.items() for wrong in violations(name, text)] == []


def test_the_comments_of_csrc_name_files_that_exist() -> None:
    """A file's first line names the file, and a header names the file that defines a function."""
    files = c_files()
    known = {name.rpartition("/")[2] for name in files}
    for name, text in files.items():
        comments = re.findall(r"/\*.*?\*/", text, re.DOTALL)
        named = set(re.findall(r"\b\w+\.[ch]\b", " ".join(comments)))
        assert named <= known, name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("base/timer.c", '#include "base/util.h"\n#include <errno.h>\n'),
        ("protocol/wire.h", '#include "pyfreeze.h"\n'),
        ("client/send.c", '#include "kernel/rcu.h"\n#include "protocol/wire.h"\n'),
        ("supervisor/loop.c", '#include "window/window.h"\n#include "children/child.h"\n'),
        ("pyfreeze.h", "#include <stdint.h>\n"),
        ("base/timer.c", '/* Like #include "client/run.h", but without it. */\n'),
    ],
)
def test_an_include_in_the_right_direction_passes(name: str, text: str) -> None:
    assert list(violations(name, text)) == []


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("base/timer.c", '#include "protocol/wire.h"', "base may not know protocol"),
        ("base/timer.c", '#include "pyfreeze.h"', "without its room"),
        ("protocol/wire.h", '# include "kernel/rcu.h"', "protocol may not know kernel"),
        ("kernel/rcu.c", '#include "window/state.h"', "kernel may not know window"),
        ("window/level.c", '#include "children/child.h"', "window may not know children"),
        ("window/level.c", '#include "client/run.h"', "window may not know client"),
        ("children/child.c", '#include "window/window.h"', "children may not know window"),
        ("client/send.c", '#include "children/child.h"', "client may not know children"),
        ("client/send.c", '#include "supervisor/state.h"', "client may not know supervisor"),
        ("supervisor/loop.c", '#include "client/run.h"', "supervisor may not know client"),
        ("kernel/rcu.c", '#include "elsewhere/rcu.h"', "kernel may not know elsewhere"),
        ("kernel/rcu.c", '#include "../window/state.h"', "kernel may not know .."),
        ("kernel/rcu.c", '#include "rcu.h"', "includes rcu.h without its room"),
        ("pyfreeze.h", '#include "protocol/fault.h"', "may not know protocol"),
        ("rcu.c", "", "is in none of the rooms"),
        ("elsewhere/rcu.c", "", "is in none of the rooms"),
    ],
)
def test_an_include_in_the_wrong_direction_is_reported(name: str, text: str, wrong: str) -> None:
    (reported,) = violations(name, f"/* A file. */\n{text}\n")
    assert wrong in reported
    assert name in reported


def imports_the_compiled_module(source: str) -> bool:
    """Whether a module of pyfreeze/ imports pyfreeze._native, in whatever form."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {f"{node.module}"}
    return "pyfreeze._native" in names


def test_only_core_imports_the_compiled_module() -> None:
    package = ROOT / "pyfreeze"
    importers = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if imports_the_compiled_module(path.read_text(encoding="utf-8"))
    }
    assert importers == {"_core"}


@pytest.mark.parametrize(
    "source",
    [
        "import pyfreeze._native",
        "from pyfreeze import _native",
        "from pyfreeze._native import lib",
        "def late():\n    from pyfreeze._native import ffi",
    ],
)
def test_an_import_of_the_compiled_module_is_seen(source: str) -> None:
    assert imports_the_compiled_module(source)


def test_other_imports_are_not_the_compiled_module() -> None:
    assert not imports_the_compiled_module("import os\nfrom pyfreeze._core import run")
