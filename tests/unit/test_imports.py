"""What `import pyfreeze` and `frozen()` pull in: embedders pay for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pyfreeze

HEAVY = {
    "argparse", "asyncio", "click", "dataclasses", "json", "logging", "msgspec", "pathlib",
    "rich", "subprocess", "tempfile", "threading", "inspect",
}  # fmt: skip


def modules_after(statement: str) -> set[str]:
    # -S: the site hooks of an editable install import what they like; so its paths go in by hand.
    places = [str(Path(pyfreeze.__file__).parents[1]), *sys.path]
    code = f"import sys; sys.path[:] = {places!r}; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import pyfreeze",
        "import pyfreeze; pyfreeze.frozen",
        "import pyfreeze._api.window, pyfreeze._core.pages",
    ],
)
def test_no_heavy_module_on_the_way_to_frozen(statement: str) -> None:
    assert HEAVY & (modules_after(statement) - modules_after("pass")) == set()


def test_the_package_alone_imports_next_to_nothing() -> None:
    added = modules_after("import pyfreeze") - modules_after("pass")
    assert added <= {"pyfreeze", "__future__"}


def test_the_guard_sees_a_heavy_module() -> None:
    assert "msgspec" in modules_after("import pyfreeze; pyfreeze.backup")


def test_planning_needs_no_c() -> None:
    """A plan is made where nothing can be frozen, too: nothing of it needs the compiled module."""
    modules = modules_after(
        "from pyfreeze._backup import plan, settings; "
        "plan.make_plan(settings.Settings(['true'], freeze=False, scripts=False))"
    )
    assert "pyfreeze._snapshot.command" in modules
    assert "pyfreeze._native" not in modules
