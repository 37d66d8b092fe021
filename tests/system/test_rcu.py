"""rcu_expedited is raised while FIFREEZE works, put back before the snapshot, and after any death.

A file of the tests' own lies over the kernel's: others on this machine may be freezing as well.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk, tool
from tests.support.processes import helpers, is_alive, is_in_fifreeze
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

ATTRIBUTE = "/sys/kernel/rcu_expedited"
LOOK = ["cat", ATTRIBUTE]


@pytest.fixture
def attribute(script_dir: ScriptDir) -> Iterator[Path]:
    if not Path(ATTRIBUTE).exists():
        pytest.skip(f"this kernel has no {ATTRIBUTE}")
    stand_in = script_dir.path("rcu_expedited")
    stand_in.write_text("0\n", encoding="ascii")
    tool("mount", "--bind", str(stand_in), ATTRIBUTE)
    yield stand_in
    tool("umount", ATTRIBUTE)


def value(attribute: Path) -> str:
    return attribute.read_text(encoding="ascii").strip()


def test_put_back_before_the_snapshot(attribute: Path, disk: Disk, pyfreeze: Pyfreeze) -> None:
    done = pyfreeze.run([disk], LOOK)
    assert done.status == 0
    assert done.report["snapshot"]["output"] == "0\n"
    assert value(attribute) == "0"


def test_raised_by_the_administrator(attribute: Path, ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """What was raised before stays so."""
    attribute.write_text("1\n", encoding="ascii")
    done = pyfreeze.run([ext4], LOOK)
    assert done.status == 0
    assert done.report["snapshot"]["output"] == "1\n"
    assert value(attribute) == "1"


def test_put_back_after_a_freeze_that_failed(
    attribute: Path, ext4: Disk, pyfreeze: Pyfreeze
) -> None:
    """It is as before after a FIFREEZE that failed."""
    ext4.freeze()
    try:
        assert pyfreeze.run([ext4], ["true"]).status == 1
    finally:
        ext4.thaw()
    assert value(attribute) == "0"


@pytest.mark.parametrize("end", ["timeout", "client", "supervisor", "both"])
def test_put_back_when_freezing_does_not_end(
    attribute: Path, blocked_pair: tuple[Disk, Disk], pyfreeze: Pyfreeze, end: str
) -> None:
    lower, upper = blocked_pair
    limit = "0.7" if end == "timeout" else "300"
    words = ("--freeze-timeout", limit, "--max-window", "300")
    running = pyfreeze.start_run([upper], ["true"], *words)
    supervisor = running.supervisor
    wait_until(lambda: is_in_fifreeze(supervisor), "FIFREEZE hangs")
    if end != "timeout":
        assert value(attribute) == "1"
    if end == "both":
        running.signal(signal.SIGSTOP)
    if end in ("supervisor", "both"):
        os.kill(supervisor, signal.SIGKILL)
    if end in ("client", "both"):
        running.kill()
    else:
        running.finish()
    if end != "both":
        wait_until(lambda: value(attribute) == "0", "it is put back while FIFREEZE still hangs")
    lower.thaw()
    wait_until(lambda: not is_alive(supervisor) and not helpers(), "the supervisor ends")
    assert pyfreeze("thaw").status == 0
    assert value(attribute) == "0"
    upper.assert_writable()


def test_option_leaves_it_alone(
    attribute: Path, blocked_pair: tuple[Disk, Disk], pyfreeze: Pyfreeze
) -> None:
    """With --no-expedite it is not raised."""
    lower, upper = blocked_pair
    words = ("--no-expedite", "--freeze-timeout", "300", "--max-window", "300")
    running = pyfreeze.start_run([upper], ["true"], *words)
    supervisor = running.supervisor
    wait_until(lambda: is_in_fifreeze(supervisor), "FIFREEZE hangs")
    assert value(attribute) == "0"
    lower.thaw()
    assert running.finish().status == 0
