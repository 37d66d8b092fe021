"""What programs are run with."""

from __future__ import annotations

#: All that a script inherits: nothing of the caller's environment reaches it.
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
