"""On other kernels, from the oldest on, and ones with device-mapper: User Mode Linux."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.foreign import FOREIGN
from tests.support.machine import Machine

pytestmark = FOREIGN

#: A volume of the only disk, mounted on /srv/data.
_VOLUME = """
{
pvcreate --quiet /dev/ubda
vgcreate --quiet vg /dev/ubda
lvcreate --quiet --size 32M --name data vg
mkfs.ext4 -q /dev/vg/data
mkdir -p /srv/data
mount /dev/vg/data /srv/data
echo important >/srv/data/ledger
} >&2
"""


_SNAPSHOT = "lvcreate --snapshot --size 16M --name data-snapshot vg/data"

#: Of Debian 11 to 14, with the versions that they had.
KERNELS = {"bullseye": (5, 10), "bookworm": (6, 1), "trixie": (6, 12), "forky": (7, 2)}


@pytest.mark.parametrize("suite", KERNELS)
def test_the_demo_holds(boot: Callable[..., Machine], suite: str) -> None:
    """On kernels from before and after freezes could nest (FREEZE_MAY_NEST, 6.8)."""
    done = boot(suite).sh("uname --kernel-release >&2\npyfreeze demo --json")
    assert done.status == 0, done
    assert json.loads(done.out)["holds"] is True
    major, minor = done.err.split(".")[:2]
    assert (int(major), int(minor)) >= KERNELS[suite]


def test_before_freezes_nest_a_frozen_volume_cannot_be_suspended_and_is_thawed(
    boot: Callable[..., Machine],
) -> None:
    """Why the recipe for LVM does not freeze: device-mapper does, and would be the second."""
    done = boot("bookworm", volumes=True).sh(
        f"{_VOLUME}\n"
        f"pyfreeze run --no-scripts --mount /srv/data --json -- {_SNAPSHOT} >/run/report ||"
        " echo $?\n"
        "echo more >>/srv/data/ledger\n"
        "sync --file-system /srv/data\n"
        "cat /run/report"
    )
    status, _, report = done.out.partition("\n")
    assert done.status == 0, done
    assert status == "1", done
    found = json.loads(report)
    assert found["still_frozen"] == []
    assert "Device or resource busy" in found["snapshot"]["output"]


@pytest.mark.parametrize("suite", ["trixie", "forky"])
def test_since_freezes_nest_a_frozen_volume_is_suspended_and_is_as_before(
    boot: Callable[..., Machine], suite: str
) -> None:
    done = boot(suite, volumes=True).sh(
        f"{_VOLUME}\n"
        f"pyfreeze run --no-scripts --mount /srv/data -- {_SNAPSHOT}\n"
        "echo more >>/srv/data/ledger\n"
        "umount /srv/data\n"
        "mount /dev/vg/data /srv/data\n"
        "e2fsck -fn /dev/vg/data-snapshot\n"
        "mkdir /srv/copy\n"
        "mount -o ro,noload /dev/vg/data-snapshot /srv/copy\n"
        "cat /srv/copy/ledger\n"
    )
    assert done.status == 0, done
    assert done.out.splitlines()[-1] == "important"


def test_filesystems_over_md_and_device_mapper_are_frozen_before_what_they_lie_on(
    machine: Machine,
) -> None:
    """In another order the inner freeze would wait for the outer thaw, until it is given up."""
    done = machine.sh(
        """
mkdir -p /srv/base /srv/data
{
    mkfs.ext4 -q /dev/ubda
    mount /dev/ubda /srv/base
    for number in 0 1; do
        truncate -s 64M "/srv/base/half$number"
        losetup "/dev/loop$number" "/srv/base/half$number"
    done
    mdadm --create /dev/md0 --run --metadata=1.2 --level=1 --raid-devices=2 /dev/loop0 /dev/loop1
    pvcreate --quiet /dev/md0
    vgcreate --quiet vg /dev/md0
    lvcreate --quiet --size 32M --name data vg
    mkfs.ext4 -q /dev/vg/data
    mount /dev/vg/data /srv/data
    echo important >/srv/data/ledger
} >&2
pyfreeze run --no-scripts --mount /srv/base --mount /srv/data --freeze-timeout 5 --json -- true
"""
    )
    assert done.status == 0, done
    frozen = json.loads(done.out)["window"]["filesystems"]
    assert [one["mount"] for one in frozen] == ["/srv/data", "/srv/base"]


def test_what_lies_below_volumes_is_frozen_for_its_snapshot(machine: Machine) -> None:
    """As for a cloud's disk that is the physical volume: nobody else freezes."""
    done = machine.sh(
        f"{_VOLUME}\n"
        "pyfreeze run --no-scripts --mount /srv/data -- cp --sparse=always /dev/ubda /run/copy\n"
        "losetup /dev/loop0 /run/copy\n"
        "vgimportclone --basevgname copy /dev/loop0\n"
        "vgchange --activate y copy\n"
        "e2fsck -fn /dev/copy/data\n"
        "mkdir /srv/copy\n"
        "mount -o ro,noload /dev/copy/data /srv/copy\n"
        "cat /srv/copy/ledger"
    )
    assert done.status == 0, done
    assert done.out.splitlines()[-1] == "important"
