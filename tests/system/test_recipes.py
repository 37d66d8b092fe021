"""What docs/recipes.md says of the kernel, beside its commands: tests/system/test_documents.py."""

from __future__ import annotations

import os
import re

from tests.support.command import Pyfreeze
from tests.support.disks import Disks, tool
from tests.support.facts import assert_facts


def test_btrfs_snapshot_of_what_is_frozen(disks: Disks, pyfreeze: Pyfreeze) -> None:
    """It waits for the thaw, and then it is made all the same: it is worth nothing."""
    disk = disks["btrfs"]
    tool("btrfs", "subvolume", "create", str(disk.path("data")))
    snapshot = disk.path("snapshot")
    command = ["btrfs", "subvolume", "snapshot", "-r", str(disk.path("data")), str(snapshot)]
    done = pyfreeze.run([disk], command, "--max-window", "0.5")
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert re.search(r"Snapshots are inconsistent: the window of .* expired", done.err)
    assert snapshot.exists()
    tool("btrfs", "subvolume", "delete", str(snapshot))


def test_btrfs_snapshot_has_what_was_written_before(disks: Disks, pyfreeze: Pyfreeze) -> None:
    """Also what no fsync has asked for; and the one inside is not in it."""
    disk = disks["btrfs"]
    tool("btrfs", "subvolume", "create", str(disk.path("shop")))
    tool("btrfs", "subvolume", "create", str(disk.path("shop/inner")))
    disk.path("shop/inner/file").write_text("x", encoding="utf-8")
    content = os.urandom(1 << 20)
    disk.path("shop/orders").write_bytes(content)
    snapshot = disk.path("shop-snapshot")
    words = ["btrfs", "subvolume", "snapshot", "-r", str(disk.path("shop")), str(snapshot)]
    done = pyfreeze("run", "--no-scripts", "--no-freeze", "--json", "--", *words)
    assert_facts(done, exit_status=0, consistency="crash")
    assert (snapshot / "orders").read_bytes() == content
    assert not (snapshot / "inner" / "file").exists()
