"""A machine with a kernel of its own: User Mode Linux, which is a process.

It has what this machine's kernel may lack (device-mapper, md, nbd) and the programs for that. Its
`/` is an overlay: this machine's, those programs, and what it writes, which goes with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.command import Done
from tests.support.place import Place

_MEMORY = "512M"
_DISK_BYTES = 256 << 20
_HANG_S = 90.0

#: The first process. `share` and `programs` are in its environment: words that the kernel was
#: given, and did not know.
_BOOT = """#!/bin/sh
set -e
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/lib/modules /run/lock /run/programs /run/root /run/share /run/upper /run/work /run/zfs
mount -t hostfs -o "$share" none /run/share
mount -t hostfs -o "$programs" none /run/programs
ln -s "/run/programs/usr/lib/uml/modules/$(uname -r)" /run/lib/modules
for module in overlay dm-snapshot fuse loop nbd raid1; do
    modprobe --dirname=/run "$module"
done
mount -t overlay -o lowerdir=/run/programs:/,upperdir=/run/upper,workdir=/run/work none /run/root
cd /run/root
for name in dev proc run sys; do
    mount --rbind "/$name" "$name"
done
# There is no udev.
printf '%s\n' 'activation { udev_sync=0 udev_rules=0 monitoring=0 }' \\
    'devices { obtain_device_list_from_udev=0 use_devicesfile=0 }' >etc/lvm/lvmlocal.conf
status=0
chroot . sh /run/share/script >/run/share/out 2>/run/share/err </dev/null || status=$?
echo "$status" >/run/share/status
echo o >/proc/sysrq-trigger
sleep 60
"""


class Machine:
    """One machine, booted for one script; /dev/ubda is a disk of its own."""

    def __init__(self, place: Place, programs: Path) -> None:
        self._programs = programs
        self._share = place.path("machine")
        self._share.mkdir()

    def sh(self, script: str) -> Done:
        """Boot, run a script as root to its end or its first failure, and switch off."""
        directory = Path(sys.executable).parent
        lines = [f"PATH={directory}:$PATH", "export PATH PYTHONDONTWRITEBYTECODE=1", "set -eu"]
        (self._share / "script").write_text("\n".join([*lines, script]), encoding="utf-8")
        boot = self._share / "boot"
        boot.write_text(_BOOT, encoding="utf-8")
        boot.chmod(0o700)
        with (self._share / "disk").open("wb") as disk:
            disk.truncate(_DISK_BYTES)
        console = self._run()
        status = self._share / "status"
        assert status.exists(), f"it has not come to its script's end\n{console}"
        out, err = (
            (self._share / name).read_text(encoding="utf-8", errors="replace")
            for name in ("out", "err")
        )
        return Done(int(status.read_text(encoding="ascii")), out, err)

    def _run(self) -> str:
        words = [f"init={self._share}/boot", f"share={self._share}", f"programs={self._programs}"]
        words += ["rootfstype=hostfs", "ro", f"mem={_MEMORY}", f"ubd0={self._share}/disk"]
        words += [f"uml_dir={self._share}", "con=null", "con0=null,fd:1"]
        with (self._share / "console").open("wb+") as console:
            process = subprocess.Popen(
                [str(self._programs / "usr/bin/linux.uml"), *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
            try:
                process.wait(_HANG_S)
            finally:
                # Each of its processes is one of this machine, too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(_HANG_S)
        return (self._share / "console").read_text(encoding="utf-8", errors="replace")
