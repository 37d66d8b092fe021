"""What the figures were measured on. No names: of neither people nor hosts."""

from __future__ import annotations

import gzip
import os
import platform
from pathlib import Path

_RCU = Path("/sys/kernel")
#: How long a grace period takes depends on these.
_OPTIONS = (
    "CONFIG_HZ=",
    "CONFIG_PREEMPT=",
    "CONFIG_PREEMPT_NONE=",
    "CONFIG_PREEMPT_VOLUNTARY=",
    "CONFIG_PREEMPT_LAZY=",
    "CONFIG_PREEMPT_RT=",
    "CONFIG_PREEMPT_DYNAMIC=",
)


def describe(disk_directory: str) -> dict[str, str]:
    """The machine, as rows of a table."""
    return {
        "processors": f"{os.cpu_count()} x {_processor()}{_hypervisor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.release()} {platform.machine()}",
        "kernel configuration": _kernel_options(),
        "RCU": f"rcu_expedited {_read(_RCU / 'rcu_expedited')}, "
        f"rcu_normal {_read(_RCU / 'rcu_normal')} before the run",
        "disk under load": _filesystem_of(disk_directory),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown"


def _cpuinfo(key: str) -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _processor() -> str:
    return _cpuinfo("model name") or platform.machine()


def _hypervisor() -> str:
    return ", virtual" if "hypervisor" in _cpuinfo("flags").split() else ""


def _kernel_options() -> str:
    found = [line for line in _kernel_config().splitlines() if line.startswith(_OPTIONS)]
    return ", ".join(found) or "unknown"


def _kernel_config() -> str:
    try:
        return gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        return _read(Path(f"/boot/config-{platform.release()}"))


def _filesystem_of(directory: str) -> str:
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            fstype, source = after.split()[:2]
            return f"{fstype} on {source}"
    return "unknown"
