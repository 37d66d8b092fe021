"""A limit of memory by the kernel's own means: a control group, in which it kills for memory."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.support.waiting import wait_until

_MIB = 1 << 20


class MemoryGroup:
    """A control group with a limit, in version 1 where the machine has the controller there."""

    def __init__(self, mount_point: Path, limit_mib: int) -> None:
        self._mount_point = mount_point
        mount_point.mkdir()
        limit = self._mount("cgroup", "memory", "memory.limit_in_bytes") or self._mount(
            "cgroup2", "", "memory.max"
        )
        assert limit, "no memory controller"
        # All mounts show the same groups, and another session's process may have our number.
        self._group = Path(tempfile.mkdtemp(prefix="pyfreeze-tests-", dir=mount_point))
        (self._group / limit).write_text(str(limit_mib * _MIB), encoding="ascii")

    def _mount(self, fstype: str, options: str, limit: str) -> str:
        """Mount a hierarchy; returns the limit's name if the controller is there."""
        words = ["mount", "-t", fstype, *(["-o", options] if options else []), "none"]
        done = subprocess.run([*words, str(self._mount_point)], capture_output=True, check=False)
        if done.returncode != 0:
            return ""
        if fstype == "cgroup2":
            if "memory" not in self._read("cgroup.controllers"):
                return ""
            (self._mount_point / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
        return limit

    def _read(self, name: str) -> str:
        return (self._mount_point / name).read_text(encoding="ascii")

    @property
    def prefix(self) -> list[str]:
        """Words before a command, which have it run in the group."""
        return ["sh", "-c", f'echo $$ >{self._group}/cgroup.procs && exec "$@"', "sh"]

    def close(self) -> None:
        wait_until(self._is_removed, "the control group is empty")
        subprocess.run(["umount", str(self._mount_point)], check=True)
        self._mount_point.rmdir()

    def _is_removed(self) -> bool:
        try:
            self._group.rmdir()
        except OSError:
            return False
        return True
