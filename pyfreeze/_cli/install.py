"""`pyfreeze install`: unit files, manual page and completion, where a Debian package has them."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING

import click

from pyfreeze._cli import exits
from pyfreeze._cli.command import Example, declare, option
from pyfreeze._cli.types import File
from pyfreeze._model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyfreeze._setup.units import Installed

#: What systemd takes in ExecStart= without quoting, and a shell without any.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+@=-]+")


@declare(
    "install",
    Example("On this machine, below /usr/local", "pyfreeze install && systemctl daemon-reload"),
    Example("All of it gone again", "pyfreeze install --uninstall"),
    Example(
        "Into the directory that a package is made of",
        "pyfreeze install --root debian/pyfreeze --prefix /usr --program /usr/bin/pyfreeze",
    ),
)
@option(
    "--prefix", File(), "/usr for a distribution's package.",
    metavar="DIR", default="/usr/local", show_default=True,
)  # fmt: skip
@option(
    "--root", File(), "Install below this directory, as if it were the root directory.",
    metavar="DIR", default="/", show_default=True,
)  # fmt: skip
@option("--program", File(), "What the units are to start. Default: this program, wherever it is.")
@option("--uninstall", None, "Remove what this would install.")
def command(prefix: str, root: str, program: str | None, uninstall: bool) -> int:
    """Install systemd units, manual page and completion scripts.

    They go to lib/systemd/system, share/man/man1, share/bash-completion, share/zsh,
    share/fish and share/doc/pyfreeze below the prefix, and the directory /etc/pyfreeze is made for
    the units' configurations. What is there is replaced: changes to units belong into systemctl
    edit. Nothing is enabled or started.

    Exit status 0: done, and each path printed. 1: a file could not be written. 2: wrong usage.
    """
    from pyfreeze._setup.units import install, remove

    if not prefix.startswith("/"):
        raise UsageError(errno.EINVAL, f"found {prefix!r}, expected an absolute path", "--prefix")
    group = click.get_current_context().find_root().command
    assert isinstance(group, click.Group)
    files = tuple(_files(group, prefix, _program(program)))
    change, done = (remove, "removed") if uninstall else (install, "installed")
    for path in change(files, root):
        click.echo(f"{done} {path}")
    return exits.SUCCESS


def _program(named: str | None) -> str:
    path = named or os.path.abspath(sys.argv[0])
    if named is None and os.path.basename(path) != "pyfreeze":  # python -m pyfreeze
        path = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "pyfreeze")
    if not _PLAIN_PATH.fullmatch(path):
        text = (
            f"found {path!r}, expected an absolute path of letters, digits and _./+@=- only, for "
            "a unit file: link to it from such a path, and name that"
        )
        raise UsageError(errno.EINVAL, text, "--program")
    if named is None and not os.access(path, os.X_OK):
        text = f"found no program at {path}, expected one: name it"
        raise UsageError(errno.ENOENT, text, "--program")
    return path


def _files(group: click.Group, prefix: str, program: str) -> Iterator[Installed]:
    """The files, as plain data."""
    from pyfreeze._cli.completion import script_for
    from pyfreeze._cli.manual import render
    from pyfreeze._setup.units import Installed, units

    yield from units(prefix, program)
    share = f"{prefix}/share"
    yield Installed(f"{share}/man/man1/pyfreeze.1", render(group))
    # Debian's zsh looks for packages' functions in vendor-completions.
    zsh = "vendor-completions" if os.path.normpath(prefix) == "/usr" else "site-functions"
    for shell, path in (
        ("bash", "bash-completion/completions/pyfreeze"),
        ("zsh", f"zsh/{zsh}/_pyfreeze"),
        ("fish", "fish/vendor_completions.d/pyfreeze.fish"),
    ):
        yield Installed(f"{share}/{path}", script_for(shell, group))
