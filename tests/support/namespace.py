"""The mount namespace that the test session moves into, and the places that it has there.

Nothing that is mounted in it is seen outside, and all of it goes with the session's last process,
so no loop device stays busy whatever becomes of the tests.
"""

from __future__ import annotations

import contextlib
import os

from pyfreeze._demo.namespace import enter_private_namespace, mount

#: Root's own tmpfs, which everything that is made for the tests lies on.
ROOT = "/mnt"
#: Where runs keep their state: a tmpfs of the tests' own, so they never meet a real run.
STATE_DIRECTORY = "/run/pyfreeze"
#: A machine that is really backed up has its configuration there, which tests must not see.
_REAL_CONFIGURATION = "/etc/azure"

_MS_BIND = 0x1000
_MS_REC = 0x4000


class Session:
    """Whether this process is in its own namespace."""

    #: Why not; empty: it is.
    obstacle = "tests/conftest.py has not run"


def enter() -> None:
    """Move this process into a namespace of its own, or note why that is impossible."""
    try:
        _enter()
    except OSError as error:
        Session.obstacle = f"no mount namespace of its own: {error}"
    else:
        Session.obstacle = ""


def _enter() -> None:
    enter_private_namespace()
    _make_root_a_mount_point()
    with contextlib.suppress(FileExistsError):
        os.mkdir(STATE_DIRECTORY, 0o700)
    _mount_tmpfs(STATE_DIRECTORY, "mode=700,size=64m")
    _mount_tmpfs(ROOT, "mode=755,size=4g")
    if os.path.isdir(_REAL_CONFIGURATION):
        _mount_tmpfs(_REAL_CONFIGURATION, "mode=755,size=1m")


def _make_root_a_mount_point() -> None:
    """In a chroot it may be a plain directory, and then unshare --mount is refused."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        if any(line.split()[4] == "/" for line in table):
            return
    directory = os.getcwd()
    mount("/", ROOT, "none", _MS_BIND | _MS_REC)
    os.chroot(ROOT)
    os.chdir(directory)


def _mount_tmpfs(directory: str, options: str) -> None:
    mount("pyfreeze-tests", directory, "tmpfs", data=options)


def assert_ours(path: str) -> None:
    """Fail unless a path lies on what was made for the tests: nothing else is ever frozen."""
    assert not Session.obstacle, Session.obstacle
    real = os.path.realpath(os.path.join("/", path))
    assert real.startswith(ROOT + "/"), f"{path} is not the tests' own: it must not be frozen"
