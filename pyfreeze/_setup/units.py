"""What `pyfreeze install` writes: systemd units, and whatever else belongs to an installation."""

from __future__ import annotations

import contextlib
import os
import re
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.files import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_UNITS = ("pyfreeze@.service", "pyfreeze@.timer", "pyfreeze-thaw@.service", "pyfreeze-thaw.service")
_CONFIGURATION = "/etc/pyfreeze"


class Installed(NamedTuple):
    """A file to install."""

    path: str
    """Below the root."""
    content: str


def units(prefix: str, program: str) -> Iterator[Installed]:
    """The units, which start `program`, and an example of their configuration."""
    for unit in _UNITS:
        # By its path: the bare name stands where a command begins.
        command = r"(?m)^(Exec\w+=(?:.*\bwhile )?)pyfreeze "
        content = re.sub(command, rf"\g<1>{program} ", _source(unit))
        yield Installed(f"{prefix}/lib/systemd/system/{unit}", content)
    example = f"{prefix}/share/doc/pyfreeze/examples/example.conf"
    yield Installed(example, _source("example.conf"))


def _source(name: str) -> str:
    return files("pyfreeze").joinpath("_setup", "systemd", name).read_text(encoding="utf-8")


def install(installed: Iterable[Installed], root: str) -> Iterator[str]:
    """Write the files, and the directory for the units' configurations; yields each file's path."""
    os.makedirs(_below(root, "/etc"), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(_below(root, _CONFIGURATION), 0o700)
    for file in installed:
        path = _below(root, file.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace(path, file.content, mode=0o644)
        yield path


def remove(installed: Iterable[Installed], root: str) -> Iterator[str]:
    """Remove those of the files that are there; yields each one's path."""
    for file in installed:
        path = _below(root, file.path)
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        yield path
        if "/share/doc/" in path:  # the only directories that are pyfreeze's own
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))
                os.rmdir(os.path.dirname(os.path.dirname(path)))
    with contextlib.suppress(OSError):  # not if there is a configuration in it
        os.rmdir(_below(root, _CONFIGURATION))


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))
