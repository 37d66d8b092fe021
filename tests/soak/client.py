"""What a forked client does: a backup by the library, or by the command."""

from __future__ import annotations

import importlib
import json
import pkgutil

import pyfreeze
from pyfreeze._cli.main import run as run_command
from tests.soak.arena import Arena


def import_everything() -> None:
    """So that no fork has to: what is tried is the run, not the interpreter's start."""
    for module in pkgutil.walk_packages(pyfreeze.__path__, "pyfreeze."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def act_as_library(arena: Arena, argv: list[str], max_window_s: float) -> int:
    """Back the arena up with a command; returns an exit status, and prints the report."""
    try:
        report = pyfreeze.backup(
            argv,
            config=arena.config,
            mounts=arena.mounts,
            max_window=max_window_s,
            single_disk=False,
        )
    except pyfreeze.FreezeError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}))
        return 1
    print(report.to_json().decode())
    return 0 if report.status == "success" else 1


def act_as_command(arena: Arena, argv: list[str], max_window_s: float) -> int:
    """The same by `pyfreeze run`."""
    mounts = [word for mount in arena.mounts for word in ("--mount", mount)]
    words = ["--config", arena.config, *mounts, "--several-disks", "--json"]
    words += ["--max-window", f"{max_window_s:g}"]
    return run_command(["run", *words, "--", *argv])
