"""A directory that passes the permission checks: pytest's own lies below world-writable /tmp."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.needs import give_up

if TYPE_CHECKING:
    from collections.abc import Iterator

_CANDIDATES = ("/run", "/var/lib", "/root", "/opt", "/")


def _usable(directory: str) -> bool:
    """Say whether scripts may lie here: /run, the natural place, is often mounted noexec."""
    status = Path(directory).stat()
    return (
        status.st_uid == 0
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and not os.statvfs(directory).f_flag & os.ST_NOEXEC
        and os.access(directory, os.W_OK)
    )


@pytest.fixture
def root_dir() -> Iterator[Path]:
    """Make a directory that only root can write to, on a filesystem that runs programs."""
    places = [place for place in _CANDIDATES if _usable(place)] if os.geteuid() == 0 else []
    if not places:
        give_up("needs root and a root-only directory on a filesystem not mounted noexec")
    directory = tempfile.mkdtemp(dir=places[0], prefix="pyfreeze-test-")
    yield Path(directory)
    shutil.rmtree(directory)
