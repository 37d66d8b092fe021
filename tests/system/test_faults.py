"""System calls that fail, by strace's injection: nothing stays frozen or is called good."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir
from tests.support.snippets import run_python

SLOW_S = 100.0


def strace(inject: str, log: Path, *words: str) -> list[str]:
    call = inject.partition(":")[0]
    return [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(log),
        "-e",
        f"trace={call}",
        *words,
        "-e",
        f"inject={inject}",
    ]


def failed(log: Path, words: str) -> bool:
    """Whether a call that shows these words was made to fail."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(words in line and "INJECTED" in line and "= -1" in line for line in lines)


@pytest.mark.parametrize("when", [1, 2, 3, 4])
@pytest.mark.parametrize("error", ["EIO", "EINTR"])
def test_ioctl_fails(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, when: int, error: str
) -> None:
    """Counted for each thread by itself: a worker's first is FIFREEZE, its second FITHAW."""
    log = script_dir.path("log")
    prefix = strace(f"ioctl:error={error}:when={when}", log)
    done = pyfreeze.run(
        [disk], ["true"], config=script_dir.config(), prefix=prefix, timeout_s=SLOW_S
    )
    disk.assert_writable()
    assert not disk.is_frozen()
    if failed(log, "FIFREEZE"):
        assert_facts(done, exit_status=1, consistency="none", code=121)
        assert disk.mount_point in done.err
        assert script_dir.outcomes == ["none"]
    else:
        # A thaw that fails once is tried again, and then the snapshot is good.
        assert_facts(done, exit_status=0, consistency="application", code=0)
        assert script_dir.outcomes == ["success"]
    assert (when == 1) == failed(log, "FIFREEZE")
    assert (when == 2) == failed(log, "FITHAW")


def test_thaw_never_works(disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Then it is said loudly, and `pyfreeze thaw` makes up for it."""
    prefix = strace("ioctl:error=EIO:when=2+", script_dir.path("log"))
    done = pyfreeze.run(
        [disk], ["true"], config=script_dir.config(), prefix=prefix, timeout_s=SLOW_S
    )
    assert disk.is_frozen()
    report = done.report
    assert_facts(done, exit_status=5, consistency="none", code=2)
    assert report["still_frozen"] == [disk.mount_point]
    assert disk.mount_point in done.err
    assert script_dir.outcomes == ["failed"]
    done = pyfreeze("thaw")
    assert_facts(done, exit_status=0, err="")
    assert not disk.is_frozen()


def test_flush_fails(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A syncfs() that fails is a failed freeze, with the filesystem's name."""
    prefix = strace("syncfs:error=EIO", script_dir.path("log"))
    done = pyfreeze.run(
        [ext4], ["true"], config=script_dir.config(), prefix=prefix, timeout_s=SLOW_S
    )
    assert_facts(done, exit_status=1, consistency="none", code=121)
    assert ext4.mount_point in done.err


BLOCK = """
import sys, pyfreeze
try:
    with pyfreeze.frozen(sys.argv[1:]):
        print("frozen")
except pyfreeze.FreezeFailedError as error:
    print(error.errno, error.filename)
"""


def test_flush_of_a_window_fails(ext4: Disk, script_dir: ScriptDir) -> None:
    """What could not be written is not frozen over."""
    prefix = strace("syncfs:error=EIO", script_dir.path("log"))
    out = run_python(BLOCK, ext4, prefix=prefix)
    assert out == f"{errno.EIO} {ext4.mount_point}\n"
