"""A real systemd, the first process of namespaces of its own: it sees the tests' filesystems.

Its control groups are below one that is made for it, and it changes nothing of the machine's: what
it writes to /etc and /usr/local goes with it, and so do its units; /proc/sys is read-only to it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.disks import tool
from tests.support.namespace import ROOT, STATE_DIRECTORY
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_HANG_S = 60.0
#: Where the program is depends on the age of the merge of / and /usr.
_PROGRAMS = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_numbers = itertools.count()

#: The tests' own, what is enabled, and where `pyfreeze install` puts what it has.
_UNIT_PATH = "/run/units:/etc/systemd/system:/usr/local/lib/systemd/system"

_BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$R"
mkdir "$R/pyfreeze"
mount --bind "$S" "$R/pyfreeze"
cp -r "$U" "$R/units"
mount --rbind "$R" /run
for path in /etc /usr/local; do
    own="$R/own$path"
    mkdir -p "$own/upper" "$own/work"
    mount -t overlay -o "lowerdir=$path,upperdir=$own/upper,workdir=$own/work" none $path
done
mkdir -p /etc/systemd/system
mount -t tmpfs -o mode=755 none /etc/systemd/system
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
[ ! -d /var/lib/systemd ] || mount -t tmpfs -o mode=755 none /var/lib/systemd
umount -R -l /sys/fs/cgroup || :
mount -t cgroup2 none /sys/fs/cgroup
exec env -i container=tests PATH="$PATH" SYSTEMD_UNIT_PATH="$UNITS" "$P" \\
    --system --unit=default.target --log-target=null --show-status=no
"""

#: What every boot goes through, without what a machine does there.
_TARGETS = {
    "default.target": "Requires=basic.target dbus.socket\nAfter=basic.target\nAllowIsolate=yes",
    "basic.target": "Requires=sysinit.target\nAfter=sysinit.target",
    "sysinit.target": "DefaultDependencies=no",
    "local-fs.target": "DefaultDependencies=no",
    "timers.target": "DefaultDependencies=no",
    "time-set.target": "DefaultDependencies=no",
    "shutdown.target": "DefaultDependencies=no",
}
# systemctl has some things done over it, freezing among them.
_BUS = "unix:path=/run/dbus/system_bus_socket"
_DBUS = {
    "dbus.socket": "[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    "dbus.service": (
        "[Unit]\nRequires=dbus.socket\n[Service]\n"
        "ExecStart=dbus-daemon --config-file=/run/units/dbus.conf --address=systemd: --nofork"
        " --nopidfile --systemd-activation\n"
    ),
    "dbus.conf": (
        f"<busconfig><type>system</type><listen>{_BUS}</listen><policy context='default'>"
        "<allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/>"
        "<allow user='*'/></policy></busconfig>\n"
    ),
}


def missing() -> list[str]:
    """Which of the needed programs are not there."""
    programs = ("systemctl", "systemd-run", "dbus-daemon", "nsenter", "unshare")
    here = any(map(os.path.exists, _PROGRAMS))
    lacking = [program for program in programs if shutil.which(program) is None]
    return [*([] if here else ["systemd"]), *lacking]


class Systemd:
    """One systemd. It has the units and sees the filesystems that there are when it is booted."""

    def __init__(self, script_dir: ScriptDir) -> None:
        self._place = script_dir
        self._units = script_dir.path("systemd-units")
        self._units.mkdir()
        self._groups = Path(ROOT, f"control-groups{next(_numbers)}")
        self._group = self._groups
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        for name, lines in _TARGETS.items():
            self.add(name, f"[Unit]\n{lines}\n")
        for name, text in _DBUS.items():
            self.add(name, text)

    def add(self, name: str, text: str) -> None:
        """A unit, or a drop-in of one, before the boot."""
        path = self._units / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    # ---- its life ----------------------------------------------------------------------------

    def boot(self) -> None:
        run = self._place.path("systemd-run-directory")
        run.mkdir()
        self._groups.mkdir()
        subprocess.run(
            ["mount", "-t", "cgroup2", "none", str(self._groups)], check=True, timeout=_HANG_S
        )
        # All mounts show the same groups, and another session's process may have our number.
        self._group = Path(tempfile.mkdtemp(prefix="pyfreeze-tests-", dir=self._groups))
        program = next(path for path in _PROGRAMS if os.path.exists(path))
        places = {
            "R": run,
            "S": STATE_DIRECTORY,
            "U": self._units,
            "P": program,
            "UNITS": _UNIT_PATH,
        }
        variables = [f"{name}={shlex.quote(str(path))}" for name, path in places.items()]
        namespaces = "--pid --fork --kill-child=KILL --mount --mount-proc --uts --ipc --cgroup"
        script = self._place.script("boot", "\n".join([*variables, _BOOT]))
        # Whatever becomes of the tests, it does not go on without them.
        with_us = f"setpriv --pdeathsig=KILL unshare {namespaces}"
        entering = f'echo $$ >{self._group}/cgroup.procs && exec {with_us} -- "$0"'
        with self._place.path("boot.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", entering, script], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._has_first_process, "the namespaces are made")
        wait_until(self._is_up, "systemd has booted")

    def _has_first_process(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._place.read("boot.log")
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        self._pid = int(children[0]) if children else 0
        return bool(children)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._place.read("boot.log")
        return self.ask("is-system-running").stdout.strip() in ("running", "degraded")

    def close(self) -> None:
        """End it with all that runs in it: what it has mounted goes with it."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(_HANG_S)
        wait_until(self._has_left, "its control groups are empty")
        subprocess.run(["umount", str(self._groups)], check=True, timeout=_HANG_S)

    def _has_left(self) -> bool:
        for directory, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        return not self._group.exists()

    # ---- asking ------------------------------------------------------------------------------

    def words(self, *words: str) -> list[str]:
        """What has a command line run in its namespaces."""
        # With its root, which in a chroot is not the namespace's.
        namespaces = ("--pid", "--mount", "--uts", "--ipc", "--cgroup", "--root")
        where = f"--wd=/proc/{self._pid}/root"
        return ["nsenter", f"--target={self._pid}", *namespaces, where, "--", *words]

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`systemctl`, whatever comes of it."""
        return subprocess.run(
            self.words("systemctl", "--no-pager", *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_HANG_S,
            check=False,
        )

    def sh(self, script: str) -> str:
        """Run a shell script in there, which succeeds; returns what it has printed."""
        return tool(*self.words("sh", "-euc", script))

    def do(self, *words: str) -> None:
        """`systemctl`, which succeeds."""
        done = self.ask(*words)
        assert done.returncode == 0, f"systemctl {words}: {done.stderr}"

    def show(self, unit: str, key: str) -> str:
        """A property's value."""
        return self.ask("show", f"--property={key}", "--value", unit).stdout.strip()

    def group(self, unit: str) -> Path:
        """A running unit's control group."""
        return Path(f"{self._group}{self.show(unit, 'ControlGroup')}")

    def main_pid(self, unit: str) -> int:
        """A unit's main process, by its number outside."""
        inner = self.show(unit, "MainPID")
        for group in self._group.rglob("cgroup.procs"):
            for pid in group.read_text(encoding="ascii").split():
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                (numbers,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
                if numbers.split()[-1] == inner:
                    return int(pid)
        raise AssertionError(f"{unit} has no main process ({inner})")
