"""PM QoS: the processors' idle states are off while FIFREEZE works, and back after any death.

A file of the tests' own lies over the kernel's: others on this machine may be freezing as well. It
holds all that was written, one int32 after the other.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk, tool
from tests.support.facts import assert_facts
from tests.support.processes import is_in_fifreeze
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_DEVICE = "/dev/cpu_dma_latency"
#: PM_QOS_CPU_LATENCY_DEFAULT_VALUE
_NO_WISH_US = 2_000_000_000
_LONG = ("--freeze-timeout", "300", "--max-window", "300")


@pytest.fixture
def stand_in(script_dir: ScriptDir) -> Iterator[Path]:
    if not Path(_DEVICE).exists():
        pytest.skip(f"this kernel has no {_DEVICE}")
    file = script_dir.path("cpu_dma_latency")
    file.touch()
    tool("mount", "--bind", str(file), _DEVICE)
    yield file
    tool("umount", _DEVICE)


def requests_us(file: Path) -> list[int]:
    return [value for (value,) in struct.iter_unpack("=i", file.read_bytes())]


def target_us() -> int:
    """What the kernel makes of everybody's requests."""
    with open(_DEVICE, "rb") as device:
        return int.from_bytes(device.read(4), "little", signed=True)


def test_held_and_given_back(stand_in: Path, disk: Disk, pyfreeze: Pyfreeze) -> None:
    """The request is 0 us while FIFREEZE works, and "no wish" afterwards."""
    assert pyfreeze.run([disk], ["true"]).status == 0
    assert requests_us(stand_in) == [0, _NO_WISH_US]


def test_a_long_snapshot_does_not_hold_it(
    stand_in: Path, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    running = pyfreeze.start_run([ext4], [script_dir.waiting_script()], "--max-window", "300")
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    wait_until(lambda: requests_us(stand_in) == [0, _NO_WISH_US], "it is given back meanwhile")
    script_dir.release()
    assert running.finish().status == 0
    assert requests_us(stand_in) == [0, _NO_WISH_US]


def test_option_leaves_it_alone(stand_in: Path, ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """With --no-cpu-latency nothing is asked of the kernel."""
    assert pyfreeze.run([ext4], ["true"], "--no-cpu-latency").status == 0
    assert requests_us(stand_in) == []


def test_without_the_device(stand_in: Path, ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """A device that cannot be opened is no error of a run; `check` names it."""
    tool("mount", "-o", "remount,bind,ro", _DEVICE)
    done = pyfreeze.run([ext4], ["true"])
    assert_facts(done, exit_status=0, err="")
    checked = pyfreeze("check", "--mount", ext4.mount_point)
    assert checked.status == 0
    assert _DEVICE in checked.out


def test_gone_with_the_supervisor(blocked_pair: tuple[Disk, Disk], pyfreeze: Pyfreeze) -> None:
    """The kernel drops the request of a supervisor that was killed."""
    lower, upper = blocked_pair
    running = pyfreeze.start_run([upper], ["true"], *_LONG)
    supervisor = running.supervisor
    wait_until(lambda: is_in_fifreeze(supervisor), "FIFREEZE hangs")
    assert target_us() == 0
    os.kill(supervisor, signal.SIGKILL)
    lower.thaw()
    assert running.finish().status == 1
    wait_until(lambda: target_us() > 0, "the kernel has dropped the request")
