"""Where runs are killed: filesystems under load, scripts, a command, an rcu_expedited to raise."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from tests.soak.load import Load
from tests.support import namespace
from tests.support.disks import FSTYPES, Disks, tool
from tests.support.script_dir import ScriptDir

_FITHAW = 0xC0045878
_RCU_EXPEDITED = "/sys/kernel/rcu_expedited"

#: What scripts and the command leave behind them.
MARKS = (
    "pre.begun",
    "pre.ended",
    "post.begun",
    "post.ended",
    "command.begun",
    "command.ended",
    "before",
    "after",
    "report",
    "errors",
)
_SCRIPT = 'echo "$PYFREEZE_OUTCOME" >>"$D/{0}.begun"\nsleep 0.004\necho x >>"$D/{0}.ended"'
_COMMAND = """set -e
cat "$D/counts" >"$D/before"
echo x >"$D/command.begun"
[ "$1" = 0 ] || sleep "$1"
cat "$D/counts" >"$D/after"
echo x >"$D/command.ended"
"""
#: Long on any machine: who is stopped is woken before, and the loss of a script is not the load's.
SCRIPT_TIMEOUT_S = 20.0


class Arena:
    """Made once, in a mount namespace of this process's own; used for many runs."""

    def __init__(self, fstypes: tuple[str, ...] = FSTYPES) -> None:
        namespace.enter()
        assert not namespace.Session.obstacle, namespace.Session.obstacle
        directory = Path(namespace.ROOT, "disks")
        directory.mkdir(mode=0o755)
        self._disks = Disks(directory)
        self.disks = [self._disks[fstype] for fstype in fstypes]
        self.mounts = [disk.mount_point for disk in self.disks]
        # Held from before anything is frozen: with these alone everything can be thawed.
        self._fds = [os.open(mount, os.O_RDONLY | os.O_DIRECTORY) for mount in self.mounts]
        self.place = ScriptDir(Path(namespace.ROOT, "place"))
        self.command = self.place.script("command", _COMMAND)
        pre = self.place.script("pre", _SCRIPT.format("pre"))
        post = self.place.script("post", _SCRIPT.format("post"))
        self.config = self.place.config(pre, post, timeoutInSeconds=SCRIPT_TIMEOUT_S)
        self._rcu = self._cover_rcu()

    def _cover_rcu(self) -> Path | None:
        """Lay a file over the kernel's: others on this machine may be freezing as well."""
        if not Path(_RCU_EXPEDITED).exists():
            return None
        stand_in = self.place.path("rcu_expedited")
        stand_in.write_text("0\n", encoding="ascii")
        tool("mount", "--bind", str(stand_in), _RCU_EXPEDITED)
        return stand_in

    def start_load(self) -> Load:
        return Load(self.place.path("counts"), self.disks)

    def make_anew(self, load: Load) -> None:
        """Replace the disks on which writing has failed."""
        for row, error in enumerate(load.errors):
            if error:
                fstype = self.disks[row].fstype
                os.close(self._fds[row])
                self._disks.drop(fstype)
                self.disks[row] = self._disks[fstype]
                self._fds[row] = os.open(self.mounts[row], os.O_RDONLY | os.O_DIRECTORY)
                load.restart(row, self.disks[row])

    def close(self) -> None:
        self.thaw()
        for fd in self._fds:
            os.close(fd)
        if self._rcu is not None:
            tool("umount", _RCU_EXPEDITED)
        self._disks.close()

    # ---- one run after another ---------------------------------------------------------------

    def clear(self) -> None:
        for name in MARKS:
            with contextlib.suppress(FileNotFoundError):
                self.place.path(name).unlink()

    def marked(self, name: str) -> bool:
        return self.place.exists(name)

    # ---- what is left ------------------------------------------------------------------------

    def thaw(self) -> list[str]:
        """Thaw everything; returns what was frozen. On what is not, FITHAW does nothing: EINVAL."""
        frozen = []
        for mount, fd in zip(self.mounts, self._fds, strict=True):
            try:
                fcntl.ioctl(fd, _FITHAW, 0)
            except OSError as error:
                assert error.errno == errno.EINVAL, error
            else:
                frozen.append(mount)
        return frozen

    @property
    def is_read_only(self) -> bool:
        """Whether the kernel has made one of the filesystems read-only."""
        return any(os.fstatvfs(fd).f_flag & os.ST_RDONLY for fd in self._fds)

    @property
    def rcu_is_raised(self) -> bool:
        return self._rcu is not None and self._rcu.read_text(encoding="ascii").strip() != "0"

    def lower_rcu(self) -> None:
        if self._rcu is not None:
            self._rcu.write_text("0\n", encoding="ascii")
