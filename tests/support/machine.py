"""A machine with a kernel of its own: User Mode Linux, which is a process.

Its `/` is this machine's, to be read only. With programs for volumes it is an overlay: this
machine's, those programs, and what is written, which goes with it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.command import Done
from tests.support.script_dir import ScriptDir

_MEMORY = "512M"
_DISK_BYTES = 256 << 20
_HANG_S = 90.0

#: Before Linux 5.18 it has no entropy of its own: getrandom(2) blocks for seconds, in mkfs already.
_SEED = """python -c '
import fcntl, struct
RNDADDENTROPY = 0x40085203
with open("/run/share/seed", "rb") as file:
    seed = file.read()
with open("/dev/random", "wb") as device:
    fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
'
"""
_SEED_BYTES = 64

#: The kernel's process is in a chroot with the libraries that it was built with; this system is
#: below it.
_ENTER = """
cd "$1"
shift
mount --rbind / host
mount --rbind /dev dev
mount --rbind /proc proc
exec chroot . /usr/bin/linux.uml "$@"
"""

#: The first process. `share` and `volumes` are in its environment: words that the kernel was given,
#: and did not know.
_BOOT = """#!/bin/sh
set -e
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs -o mode=755 none /run
cd /run
mkdir -p lib/modules lock root share upper volumes work zfs
# By mount(2): a directory alone is no option that fsconfig(2) would take for a hostfs.
LIBMOUNT_FORCE_MOUNT2=always
export LIBMOUNT_FORCE_MOUNT2
mount -t hostfs -o "$share" none share
mount -t hostfs -o /usr/lib/uml/modules none lib/modules
modprobe --dirname=/run loop
if [ -n "$volumes" ]; then
    mount -t hostfs -o "$volumes" none volumes
fi
unset LIBMOUNT_FORCE_MOUNT2
cd /
if [ -n "$volumes" ]; then
    for module in overlay dm-snapshot fuse nbd raid1; do
        modprobe --dirname=/run "$module"
    done
    layers=lowerdir=/run/volumes:/,upperdir=/run/upper,workdir=/run/work
    mount -t overlay -o "$layers" none /run/root
    cd /run/root
    for name in dev proc run sys; do
        mount --rbind "/$name" "$name"
    done
    # There is no udev.
    printf '%s\n' 'activation { udev_sync=0 udev_rules=0 monitoring=0 }' \\
        'devices { obtain_device_list_from_udev=0 use_devicesfile=0 }' >etc/lvm/lvmlocal.conf
fi
status=0
chroot . sh /run/share/script >/run/share/out 2>/run/share/err </dev/null || status=$?
echo "$status" >/run/share/status
echo o >/proc/sysrq-trigger
sleep 60
"""


class Machine:
    """One machine, booted for one script; /dev/ubda is a disk of its own."""

    def __init__(self, script_dir: ScriptDir, kernel: Path, volumes: Path | None = None) -> None:
        self._kernel = kernel
        self._volumes = volumes
        self._share = script_dir.path("machine")
        self._share.mkdir()

    def sh(self, script: str) -> Done:
        """Boot, run a script as root to its end or its first failure, and switch off."""
        directory = shlex.quote(str(Path(sys.executable).parent))
        lines = [f"PATH={directory}:$PATH", "export PATH PYTHONDONTWRITEBYTECODE=1", "set -eu"]
        text = "\n".join([*lines, _SEED, script])
        (self._share / "script").write_text(text, encoding="utf-8")
        (self._share / "seed").write_bytes(os.urandom(_SEED_BYTES))
        boot = self._share / "boot"
        boot.write_text(_BOOT, encoding="utf-8")
        boot.chmod(0o700)
        with (self._share / "disk").open("wb") as disk:
            disk.truncate(_DISK_BYTES)
        self._run()
        status = self._share / "status"
        assert status.exists(), f"it has not come to its script's end\n{self._read('console')}"
        return Done(int(self._read("status")), self._read("out"), self._read("err"))

    def _read(self, name: str) -> str:
        return (self._share / name).read_text(encoding="utf-8", errors="replace")

    def _run(self) -> None:
        share = f"/host{self._share}"
        words = ["rootfstype=hostfs", "rootflags=/host", "ro", f"init={self._share}/boot"]
        words += [f"share={share}", f"volumes={f'/host{self._volumes}' if self._volumes else ''}"]
        words += [f"mem={_MEMORY}", f"ubd0={share}/disk", f"uml_dir={share}/"]
        words += ["con=null", "con0=null,fd:1"]
        enter = ["unshare", "--mount", "--propagation=private", "sh", "-euc", _ENTER, "sh"]
        with (self._share / "console").open("wb") as console:
            process = subprocess.Popen(
                [*enter, str(self._kernel), *words],
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
