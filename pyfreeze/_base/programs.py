"""What programs are run with, and where they are."""

from __future__ import annotations

import shutil

#: All that a script inherits: nothing of the caller's environment reaches it.
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}


def find_in_path(*names: str, path: str | None = None) -> str | None:
    """The first of some programs that there is, by default in the PATH that scripts have."""
    path = CLEAN_ENVIRONMENT["PATH"] if path is None else path
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)
