"""What lies on what: over hand-made stacks, over a made-up /sys, and over this machine's own."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyfreeze._mounts import blockstack
from pyfreeze._mounts.blockstack import (
    BlockDevice,
    BlockStack,
    lies_on,
    parse_loop_status,
    read_block_stack,
    whole_disks,
)
from pyfreeze._mounts.mountinfo import Device, Mount, read_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK_A, DISK_B = (8, 0), (8, 16)
PART_A1, PART_A2 = (8, 1), (8, 2)
DM, MD, LOOP = (253, 0), (9, 127), (7, 0)


def device(number: Device, kind: str = "disk", *slaves: Device) -> BlockDevice:
    return BlockDevice(f"{kind}{number[1]}", number, kind, slaves)


def loop(number: Device, backing: Device | None) -> BlockDevice:
    return BlockDevice(f"loop{number[1]}", number, "loop", (), backing)


def stack_of(*devices: BlockDevice, **more: dict[Device, tuple[Device, ...]]) -> BlockStack:
    """A stack with a filesystem on each device; `more` are further members, and layers."""
    members = {d.device: (d.device,) for d in devices} | more.get("members", {})
    return BlockStack({d.device: d for d in devices}, members, more.get("layers", {}))


STACK = stack_of(
    device(DISK_A),
    device(DISK_B),
    device(PART_A1, "partition", DISK_A),
    device(PART_A2, "partition", DISK_A),
    device(MD, "md", PART_A2, DISK_B),
    device(DM, "dm", MD, LOOP),
    loop(LOOP, PART_A1),
    loop((7, 1), (0, 40)),
    loop((7, 2), DM),
    loop((7, 3), None),
    loop((7, 4), (0, 41)),
    loop((7, 5), (0, 50)),
    device((253, 7), "multipath", (8, 32), (8, 48)),
    device((253, 8), "dm", (253, 7)),
    members={(0, 40): (), (0, 41): (PART_A2, DISK_B), (0, 50): ()},
    layers={(0, 50): (PART_A1,)},
)


@pytest.mark.parametrize(
    ("filesystem", "expected"),
    [
        (PART_A1, set()),
        (MD, set()),
        (LOOP, {PART_A1}),
        (DM, {PART_A1}),  # dm above a loop device and an md array
        ((7, 2), {DM}),  # and not what that lies on in turn
        ((7, 1), {(0, 40)}),
        ((7, 3), set()),
        ((0, 50), {PART_A1}),
        ((0, 99), set()),
    ],
)
def test_lies_on(filesystem: Device, expected: set[Device]) -> None:
    """Only the filesystems directly below, through any number of devices."""
    assert lies_on(STACK, filesystem) == expected


@pytest.mark.parametrize(
    ("filesystems", "expected"),
    [
        ([PART_A1], {DISK_A}),
        ([PART_A1, PART_A2], {DISK_A}),
        ([MD], {DISK_A, DISK_B}),
        ([LOOP], {DISK_A}),
        ([(7, 2)], {DISK_A, DISK_B}),
        ([(0, 41)], {DISK_A, DISK_B}),  # btrfs over two
        ([(7, 4)], {DISK_A, DISK_B}),  # an image on it
        ([(7, 5)], {DISK_A}),  # an image on an overlay
        ([(7, 1)], {(7, 1)}),  # in memory: a disk of its own
        ([(7, 3)], {(7, 3)}),  # unknown: the same
        ([(253, 8)], {(253, 7)}),  # both paths of a multipath device are one disk
        ([(0, 40)], set()),
        ([], set()),
    ],
)
def test_whole_disks(filesystems: list[Device], expected: set[Device]) -> None:
    """The disks at the bottom, through partitions, RAID, images and multipath."""
    assert whole_disks(STACK, filesystems) == expected


def test_a_device_nothing_is_known_of_is_a_disk() -> None:
    assert whole_disks(BlockStack({}, {(8, 1): ((8, 1),)}), [(8, 1)]) == {(8, 1)}


def test_circles_end() -> None:
    """A stack that bites its tail is no endless loop."""
    stack = stack_of(device((253, 0), "dm", (253, 1)), device((253, 1), "dm", (253, 0)),
                     loop((7, 0), (7, 1)), loop((7, 1), (7, 0)))  # fmt: skip
    assert whole_disks(stack, [(253, 0), (7, 0)]) == set()
    assert lies_on(stack, (7, 0)) == {(7, 1)}


def test_loop_status() -> None:
    """LOOP_GET_STATUS64 gives the backing file's device and inode."""
    status = (0x10301234).to_bytes(8, sys.byteorder) + (77).to_bytes(8, sys.byteorder) + bytes(216)
    number, inode = parse_loop_status(status)
    assert number == (os.major(0x10301234), os.minor(0x10301234)) == (0x12, 0x10334)
    assert inode == 77


def mount(number: Device, point: str, fstype: str = "ext4", **fields: Any) -> Mount:
    """A mount whose id is its minor number plus 100, below a root with the id 100."""
    made = Mount(100 + number[1], 100, number, "/", point, ("rw",), fstype, "/dev/gone", ("rw",))
    return made._replace(**fields)


class FakeSys:
    """A /sys with the files the reader looks at."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(
        self, name: str, number: Device, *slaves: str, parent: str = "", **files: str
    ) -> FakeSys:
        directory = self.root / "devices" / parent / name
        for path, text in {"dev": f"{number[0]}:{number[1]}", **files}.items():
            file = directory / path.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
        for slave in slaves:
            (directory / "slaves").mkdir(exist_ok=True)
            (directory / "slaves" / slave).symlink_to(self.root / "devices" / slave)
        link = self.root / "dev" / "block" / f"{number[0]}:{number[1]}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(directory)
        return self

    def read(self, *mounts: Mount) -> BlockStack:
        return read_block_stack(mounts, str(self.root), str(self.root / "no-dev"))


@pytest.fixture
def fake_sys(tmp_path: Path) -> FakeSys:
    return FakeSys(tmp_path / "sys")


def test_reading_partitions_lvm_and_raid(fake_sys: FakeSys) -> None:
    """Each kind of device is known by its files in /sys."""
    fake_sys.add("sda", DISK_A).add("sdb", DISK_B)
    fake_sys.add("sda1", PART_A1, parent="sda", partition="1")
    fake_sys.add("md127", MD, "sdb", md__level="raid1")
    fake_sys.add("dm-0", DM, "md127", dm__uuid="LVM-abc")
    fake_sys.add("dm-7", (253, 7), "sda", "sdb", dm__uuid="mpath-3600")
    fake_sys.add("bcache0", (252, 0), "sda")
    stack = fake_sys.read(
        mount(PART_A1, "/boot"), mount(DM, "/"), mount((253, 7), "/m"), mount((252, 0), "/c"),
        mount((8, 77), "/vanished"), mount((0, 5), "/proc", "proc"),
    )  # fmt: skip
    assert {d.name: (d.kind, d.slaves) for d in stack.devices.values()} == {
        "sda": ("disk", ()),
        "sdb": ("disk", ()),
        "sda1": ("partition", (DISK_A,)),
        "md127": ("md", (DISK_B,)),
        "dm-0": ("dm", (MD,)),
        "dm-7": ("multipath", (DISK_A, DISK_B)),
        "bcache0": ("stacked", (DISK_A,)),
    }
    assert stack.members[DM] == (DM,)
    assert stack.members[(0, 5)] == ()
    assert whole_disks(stack, [PART_A1, DM]) == {DISK_A, DISK_B}


def test_reading_a_slave_that_vanished_leaves_an_edge_out(fake_sys: FakeSys) -> None:
    fake_sys.add("sdb", DISK_B).add("dm-0", DM, "sda", "sdb", dm__uuid="LVM-abc")
    assert fake_sys.read(mount(DM, "/")).devices[DM].slaves == (DISK_B,)


def test_reading_btrfs_finds_all_members(fake_sys: FakeSys) -> None:
    fake_sys.add("sda", DISK_A).add("sdb", DISK_B)
    for uuid, names in {"0000-other": ["sdc"], "1111-ours": ["sda", "sdb"]}.items():
        for name in names:
            link = fake_sys.root / "fs" / "btrfs" / uuid / "devices" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(fake_sys.root / "devices" / name)
    (fake_sys.root / "fs" / "btrfs" / "features").mkdir()
    stack = fake_sys.read(mount((0, 33), "/", "btrfs", source="/nowhere/sda"))
    assert stack.members[(0, 33)] == (DISK_A, DISK_B)


def test_reading_never_looks_at_the_source_of_a_network_filesystem(fake_sys: FakeSys) -> None:
    stack = fake_sys.read(mount((0, 44), "/net", "nfs4", source="server:/x"))
    assert stack == BlockStack({}, {(0, 44): ()}, {})


@pytest.fixture
def shown() -> Iterator[Path]:
    """A directory whose mount the mount table shows, which in a chroot a plain "/" is not."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture
def image(shown: Path) -> Path:
    path = shown / "disk image"
    path.touch()
    return path


def own_mount(path: Path) -> Mount:
    """The mount of this machine that a file is on."""
    fd = os.open(path, os.O_PATH)
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            fields = dict(line.split(":", 1) for line in info)
    finally:
        os.close(fd)
    return next(m for m in read_mounts() if m.mount_id == int(fields["mnt_id"]))


def test_a_backing_file_is_found_by_its_mount_id(fake_sys: FakeSys, image: Path) -> None:
    fake_sys.add("loop0", LOOP, loop__backing_file=str(image))
    stack = fake_sys.read(*read_mounts(), mount(LOOP, "/x"))
    assert stack.devices[LOOP].backing_filesystem == own_mount(image).device


IDENTITY_ELSEWHERE = ((8, 99), 1)


def test_another_file_at_the_path_of_a_backing_file_is_not_it(
    fake_sys: FakeSys, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockstack._Reader, "_loop_identity", lambda *_: IDENTITY_ELSEWHERE)
    fake_sys.add("loop0", LOOP, loop__backing_file=str(image))
    stack = fake_sys.read(*read_mounts(), mount(LOOP, "/x", mount_id=900_000))
    assert stack.devices[LOOP].backing_filesystem == (8, 99)


def test_the_name_of_a_memfd_is_not_looked_up_in_the_working_directory(
    fake_sys: FakeSys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memfd:x").touch()
    monkeypatch.chdir(tmp_path)
    fake_sys.add("loop0", LOOP, loop__backing_file="memfd:x")
    stack = fake_sys.read(*read_mounts(), mount(LOOP, "/x", mount_id=900_000))
    assert stack.devices[LOOP].backing_filesystem is None


def test_the_file_the_loop_driver_names_is_it(
    fake_sys: FakeSys, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = image.stat()
    identity = ((os.major(status.st_dev), os.minor(status.st_dev)), status.st_ino)
    monkeypatch.setattr(blockstack._Reader, "_loop_identity", lambda *_: identity)
    fake_sys.add("loop0", LOOP, loop__backing_file=str(image))
    stack = fake_sys.read(*read_mounts(), mount(LOOP, "/x", mount_id=900_000))
    assert stack.devices[LOOP].backing_filesystem == own_mount(image).device


def test_a_symlink_in_place_of_a_backing_file_is_not_followed(
    fake_sys: FakeSys, shown: Path
) -> None:
    (shown / "link").symlink_to("/proc/version")
    fake_sys.add("loop0", LOOP, loop__backing_file=f"{shown}/link")
    stack = fake_sys.read(*read_mounts(), mount(LOOP, "/x", mount_id=900_000))
    assert stack.devices[LOOP].backing_filesystem == own_mount(shown).device


@pytest.mark.parametrize(
    ("identity", "name", "expected"),
    [
        # The path leads to another file than the driver has: the driver is right.
        (IDENTITY_ELSEWHERE, "{image}", (8, 99)),
        (IDENTITY_ELSEWHERE, "/gone/file", (8, 99)),
        (IDENTITY_ELSEWHERE, "{image} (deleted)", (8, 99)),
        # An anonymous number in no mount table: nothing known.
        (((0, 9999), 1), "/gone/file", None),
        # Unless the name says btrfs, whose files have their subvolume's number.
        (((0, 9999), 1), "/data/file (deleted)", (0, 33)),
        # Nobody to ask: the name.
        (None, "/gone/file", DISK_A),
        (None, "/data/file (deleted)", (0, 33)),
        # Network: by name, and neither opened nor asked for.
        (IDENTITY_ELSEWHERE, "/net/file", (0, 44)),
        (IDENTITY_ELSEWHERE, "memfd:x", (8, 99)),
    ],
)
def test_a_backing_file_that_cannot_be_trusted(
    fake_sys: FakeSys,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    identity: tuple[Device, int] | None,
    name: str,
    expected: Device | None,
) -> None:
    """The loop driver's device and inode are believed before any name."""
    monkeypatch.setattr(blockstack._Reader, "_loop_identity", lambda *_: identity)
    fake_sys.add("loop0", LOOP, loop__backing_file=name.replace("{image}", str(image)))
    stack = fake_sys.read(
        mount(DISK_A, "/", parent_id=1),
        mount(LOOP, "/x", mount_id=900),
        mount((0, 33), "/data", "btrfs"),
        mount((0, 44), "/net", "nfs4"),
    )
    assert stack.devices[LOOP].backing_filesystem == expected
    if expected == (8, 99):
        assert stack.members[(8, 99)] == ((8, 99),)  # mounted in another namespace


def test_an_overlay_under_a_backing_file_leads_on(fake_sys: FakeSys, image: Path) -> None:
    """The overlay is what this machine's own table calls the image's directory."""
    holder = own_mount(image)
    overlay = holder._replace(fstype="overlay", device=(0, 70), super_options=("rw",))
    upper = mount((8, 5), "/upper", "ext4", mount_id=holder.mount_id + 10_000)
    fake_sys.add("loop0", LOOP, loop__backing_file=str(image))
    # Without an upperdir that can be found there is no layer, and nothing fails.
    stack = fake_sys.read(overlay, upper, mount(LOOP, "/x", mount_id=900_000))
    assert stack.devices[LOOP].backing_filesystem == (0, 70)
    assert stack.layers == {}


def test_the_layer_of_a_root_overlay(fake_sys: FakeSys, shown: Path) -> None:
    """The upper layer's filesystem is found by its directory."""
    holder = own_mount(shown)
    root = Mount(900_000, 1, (0, 70), "/", "/", ("rw",), "overlay", "o",
                 ("rw", "lowerdir=/l", f"upperdir={shown}"))  # fmt: skip
    assert fake_sys.read(root, holder).layers == {(0, 70): (holder.device,)}


def test_this_machine() -> None:
    """The real /sys can be read, and leads to disks."""
    mounts = read_mounts()
    stack = read_block_stack(mounts)
    assert {m.device for m in mounts} <= set(stack.members)
    for number, found in stack.devices.items():
        assert found.device == number
        assert found.name
        assert os.path.exists(f"/sys/class/block/{found.name}")
    on_disk = {m.device for m in mounts if m.device[0] != 0}
    for filesystem in on_disk & set(stack.devices):
        assert whole_disks(stack, [filesystem])
