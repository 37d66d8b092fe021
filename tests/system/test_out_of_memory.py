"""The kernel kills for memory, with everything frozen: a control group's limit is reached."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.memory import MemoryGroup
from tests.support.namespace import ROOT
from tests.support.processes import state_pages
from tests.support.script_dir import ScriptDir
from tests.support.snippets import start_python

#: Enough for all that pyfreeze has; what eats is stopped well before the machine feels it.
LIMIT_MIB = 200
#: tail keeps a line in memory, and this one does not end.
_EATS = "tail /dev/zero"
_numbers = itertools.count()


@pytest.fixture
def limited(able_machine: None) -> Iterator[MemoryGroup]:
    group = MemoryGroup(Path(ROOT, f"memory{next(_numbers)}"), LIMIT_MIB)
    yield group
    group.close()


def test_snapshot_command(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, limited: MemoryGroup
) -> None:
    """A command that the kernel killed is an error, after the thaw."""
    done = pyfreeze.run(
        [disk], ["tail", "/dev/zero"], config=script_dir.config(), prefix=limited.prefix
    )
    assert_facts(done, exit_status=1, code=2, consistency="none")
    assert done.report["snapshot"]["signal"] == signal.SIGKILL
    assert [f["outcome"] for f in done.report["window"]["filesystems"]] == ["thawed"]
    assert script_dir.outcomes == ["failed"]
    disk.assert_writable()


def test_pre_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, limited: MemoryGroup
) -> None:
    """The script fails, and not the backup."""
    config = script_dir.config(script_dir.script("pre", f"exec {_EATS}"))
    done = pyfreeze.run([ext4], ["true"], config=config, prefix=limited.prefix)
    assert_facts(done, exit_status=0, consistency="filesystem", code=300)
    (pre,) = [script for script in done.report["scripts"] if script["phase"] == "pre"]
    assert pre["signal"] == signal.SIGKILL


_CLIENT = """
import sys, pyfreeze
def snapshot():
    print("inside", flush=True)
    kept = []
    while True:
        kept.append(b"x" * (1 << 20))
pyfreeze.backup(snapshot, mounts=sys.argv[1:], max_window=60)
"""


def test_embedding_process(disk: Disk, limited: MemoryGroup) -> None:
    """The largest process of the group is the client: its supervisor outlives it, and thaws."""
    process = start_python(_CLIENT, disk, prefix=limited.prefix)
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == -signal.SIGKILL
    assert out == "inside\n"
    disk.assert_writable()
    assert not state_pages()
