"""Arguments are checked before anything happens."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyfreeze._backup.plan import make_plan
from pyfreeze._backup.settings import Settings, parse_level
from pyfreeze._model.codes import Level
from pyfreeze._model.errors import UsageError
from pyfreeze._snapshot.catalogue import provider_of
from pyfreeze._snapshot.command import find_program
from pyfreeze._snapshot.peer import Peer


@pytest.mark.parametrize("snapshot", [(), [], "cp a b", ["cp", "a\0b"]])
def test_commands_that_are_none(snapshot: list[str]) -> None:
    """An empty command, one string, and a NUL are refused."""
    with pytest.raises(UsageError, match="snapshot command"):
        provider_of(snapshot, {}, "/", 1.0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("max_window", Settings(snapshot=["true"], window={"max_window": -1})),
        ("freeze_timeout", Settings(snapshot=["true"], window={"freeze_timeout": -1})),
        ("flush_timeout", Settings(snapshot=["true"], flush_timeout_s=-1)),
        ("snapshot_timeout", Settings(snapshot=["true"], snapshot_timeout_s=-1)),
    ],
)
def test_each_duration_is_checked_by_its_name(name: str, settings: Settings) -> None:
    with pytest.raises(UsageError, match=f"{name}: found -1"):
        make_plan(settings)


def test_a_peer_needs_open_descriptors() -> None:
    reading, writing = os.pipe()
    try:
        assert provider_of(Peer(writing, reading), {}, "/", 1.0).peer == (writing, reading)
    finally:
        os.close(reading)
        os.close(writing)
    with pytest.raises(UsageError, match=f"peer: found {writing}, expected an open descriptor"):
        provider_of(Peer(writing, reading), {}, "/", 1.0)


def test_programs_are_found_like_a_shell_does(tmp_path: Path) -> None:
    program = tmp_path / "snap"
    program.write_text("#!/bin/sh\n")
    environment = {"PATH": str(tmp_path)}
    with pytest.raises(UsageError, match="no such program in PATH"):
        find_program("snap", environment, "/")
    with pytest.raises(UsageError, match="no executable file"):
        find_program("./snap", environment, str(tmp_path))
    with pytest.raises(UsageError, match="no such file"):
        find_program("./other", environment, str(tmp_path))
    with pytest.raises(UsageError, match="no executable file"):
        find_program(str(tmp_path), environment, "/")
    program.chmod(0o755)
    assert find_program("snap", environment, "/") == str(program)
    assert os.path.samefile(find_program("./snap", {}, str(tmp_path)), program)
    assert find_program(str(program), {}, "/") == str(program)


def test_levels_by_name() -> None:
    """A level is known by its name; another one is told them all."""
    assert parse_level("application") is Level.APPLICATION
    assert parse_level("none") is Level.NONE
    with pytest.raises(UsageError, match="expected one of none, crash, filesystem, application"):
        parse_level("full")
