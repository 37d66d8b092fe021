"""Fixtures of the system tests: filesystems, scripts, the command, and a look around afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import foreign, namespace
from tests.support.command import Pyfreeze
from tests.support.disks import FSTYPES, Disk, Disks, is_written
from tests.support.machine import Machine
from tests.support.needs import MUST_WORK, give_up, need
from tests.support.processes import helpers, journals, state_pages, strangers
from tests.support.script_dir import ScriptDir
from tests.support.systemd import Systemd
from tests.support.systemd import missing as systemd_lacks
from tests.support.waiting import holds_within
from tests.support.writer import Writer

_TOOLS = (
    "mkfs.ext4",
    "mkfs.xfs",
    "mkfs.btrfs",
    "e2fsck",
    "xfs_repair",
    "btrfs",
    "btrfstune",
    "fsfreeze",
    "mount",
    "strace",
    "unshare",
    "setpriv",
)
_RCU_EXPEDITED = Path("/sys/kernel/rcu_expedited")
_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def able_machine() -> None:
    """Everything that these tests need; what is missing skips them, or fails where it must work."""
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if not Path("/dev/loop-control").exists():
        missing.append("/dev/loop-control")
    if namespace.Session.obstacle:
        missing.append(namespace.Session.obstacle)
    need(missing)


def _rcu_expedited() -> str:
    return _RCU_EXPEDITED.read_text(encoding="ascii").strip() if _RCU_EXPEDITED.exists() else ""


@pytest.fixture(scope="session")
def rcu_expedited(able_machine: None) -> str:
    """The machine's own value. Another run on this machine may have raised it for a moment."""
    seen = set()
    for _ in range(20):
        seen.add(_rcu_expedited())
        time.sleep(0.005)
    return min(seen)


@pytest.fixture(autouse=True)
def nothing_left(able_machine: None, rcu_expedited: str) -> Iterator[None]:
    """After each test: nothing frozen, running or raised; no state page, no journal."""
    yield
    left = [*_frozen_disks(), *_helpers_left(), *_pages_left()]
    if not holds_within(lambda: _rcu_expedited() == rcu_expedited, 5):
        if MUST_WORK or not strangers():
            left.append("rcu_expedited is raised")
        _RCU_EXPEDITED.write_text(rcu_expedited, encoding="ascii")
    assert not left, f"left behind: {', '.join(left)}"


def _frozen_disks() -> list[str]:
    writings = [(disk, disk.start_writing()) for disk in Disk.mounted]
    frozen = [(disk, writing) for disk, writing in writings if not is_written(writing)]
    for disk, writing in frozen:
        disk.thaw()
        with contextlib.suppress(AssertionError):
            is_written(writing)
    return [f"{disk} frozen" for disk, _ in frozen]


def _helpers_left() -> list[str]:
    holds_within(lambda: not helpers(), 10)
    left = helpers()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    holds_within(lambda: not helpers(), 10)
    return [f"process {pid}" for pid in left]


def _pages_left() -> list[str]:
    left = [*state_pages(), *journals()]
    for page in left:
        page.unlink()
    return [page.name for page in left]


def _fresh_directory(prefix: str) -> Path:
    return Path(namespace.ROOT, f"{prefix}{next(_numbers)}")


@pytest.fixture(scope="module")
def disks(able_machine: None) -> Iterator[Disks]:
    """The module's filesystems."""
    directory = _fresh_directory("disks")
    directory.mkdir(mode=0o755)
    made = Disks(directory)
    yield made
    made.close()


@pytest.fixture(params=FSTYPES)
def disk(request: pytest.FixtureRequest, disks: Disks) -> Disk:
    """Each kind of filesystem, one after another."""
    return disks[request.param]


@pytest.fixture
def ext4(disks: Disks) -> Disk:
    """For what has nothing to do with the kind of filesystem."""
    return disks["ext4"]


@pytest.fixture
def script_dir(able_machine: None) -> Iterator[ScriptDir]:
    made = ScriptDir(_fresh_directory("place"))
    yield made
    shutil.rmtree(made.directory)


@pytest.fixture
def pyfreeze(nothing_left: None) -> Pyfreeze:
    return Pyfreeze()


@pytest.fixture
def writer(script_dir: ScriptDir) -> Iterator[Callable[[Disk], Writer]]:
    """Starts writers, and stops them."""
    writers: list[Writer] = []

    def start(disk: Disk) -> Writer:
        disk.path("records").unlink(missing_ok=True)
        writers.append(Writer(disk.mount_point, script_dir.path(f"{disk.fstype}.acknowledged")))
        return writers[-1]

    yield start
    for one in writers:
        one.stop()


@pytest.fixture
def blocked_pair(disks: Disks) -> Iterator[tuple[Disk, Disk]]:
    """An ext4 that cannot write: its image lies on an xfs, frozen by somebody else."""
    lower = disks["xfs"]
    if "upper" not in disks:
        disks.make("upper", "ext4", lower.path("upper.img"))
    upper = disks["upper"]
    subprocess.run(["sync", "-f", upper.mount_point], check=True, timeout=60)
    lower.freeze()
    yield lower, upper
    if lower.is_frozen():
        lower.thaw()


@pytest.fixture
def systemd(script_dir: ScriptDir) -> Iterator[Systemd]:
    """To be given units and booted, when the filesystems that it is to see are mounted."""
    need(systemd_lacks())
    made = Systemd(script_dir)
    yield made
    made.close()


@pytest.fixture
def boot(script_dir: ScriptDir) -> Callable[..., Machine]:
    """Makes a machine with the kernel of a Debian release, with programs for volumes or without."""

    def boot(suite: str, *, volumes: bool = False) -> Machine:
        kernels, programs = foreign.find("kernels"), foreign.find("volumes")
        if kernels is None or programs is None:
            give_up("missing: User Mode Linux and its programs")
        return Machine(script_dir, kernels / suite, programs if volumes else None)

    return boot


@pytest.fixture
def machine(boot: Callable[..., Machine]) -> Machine:
    """One with Linux 6.12, and with programs for volumes; to be given a script."""
    return boot("trixie", volumes=True)
