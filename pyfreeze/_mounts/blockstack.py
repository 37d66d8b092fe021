"""What filesystems lie on: partitions, device-mapper, md and loop devices, down to the disks.

Sources: /sys/dev/block and /sys/fs/btrfs (Documentation/ABI), loop(4), proc_pid_fdinfo(5).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.files import bytes_if_there, opened
from pyfreeze._base.text import device_number
from pyfreeze._mounts.mountinfo import Device, by_mount_point, mount_holding, touchable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pyfreeze._mounts.mountinfo import Mount

# <linux/loop.h>: struct loop_info64 is 232 bytes and begins with lo_device and lo_inode (__u64).
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO64_SIZE = 232


class BlockDevice(NamedTuple):
    """A block device and what is directly beneath it."""

    name: str
    """The kernel's name: sda1, dm-0, loop3."""
    device: Device
    kind: str = "disk"
    """disk, partition, dm, multipath, md, loop, or stacked (bcache and the like)."""
    slaves: tuple[Device, ...] = ()
    """The block devices beneath; for a partition its whole disk."""
    backing_filesystem: Device | None = None
    """Loop: the superblock device of the filesystem that holds the backing file, where known."""


class BlockStack(NamedTuple):
    """Plain data; a device that is mentioned but not described is a disk nothing is known about."""

    devices: Mapping[Device, BlockDevice]
    members: Mapping[Device, tuple[Device, ...]]
    """For each filesystem (superblock device) the block devices it is on; () for those on none."""
    layers: Mapping[Device, tuple[Device, ...]] = {}
    """For an overlay the filesystem its writes go to, where something below depends on it."""


def lies_on(stack: BlockStack, filesystem: Device) -> frozenset[Device]:
    """The filesystems (superblock devices) that one lies on, with no other filesystem between.

    They may be the filesystem itself only where the description is circular.
    """
    backing = (device.backing_filesystem for device in _beneath(stack, filesystem))
    return frozenset(stack.layers.get(filesystem, ())).union(filter(None, backing))


def with_all_beneath(stack: BlockStack, filesystems: Iterable[Device]) -> set[Device]:
    """These filesystems and all that they lie on, at any depth."""
    return _reached(filesystems, lambda filesystem: lies_on(stack, filesystem))


def whole_disks(stack: BlockStack, filesystems: Iterable[Device]) -> frozenset[Device]:
    """The disks under the filesystems, through partitions, dm, md, and loop devices.

    The paths of one multipath device are one disk. A loop device whose backing file is on no disk
    (in memory, on a network) or is unknown counts as a disk of its own.
    """

    def is_disk(device: BlockDevice) -> bool:
        backing = device.backing_filesystem
        if backing is None:
            return device.kind == "multipath" or not device.slaves
        return not (stack.members.get(backing) or stack.layers.get(backing))

    # What is on no block device adds nothing.
    passed = with_all_beneath(stack, filesystems)
    beneath = (device for filesystem in passed for device in _beneath(stack, filesystem))
    return frozenset(device.device for device in beneath if is_disk(device))


def read_block_stack(
    mounts: Iterable[Mount], sys_root: str = "/sys", dev_root: str = "/dev"
) -> BlockStack:
    """Describe the block devices under the mounted filesystems.

    Only looks: what vanishes meanwhile, or cannot be read, is left out. Lookups on network and
    FUSE filesystems are avoided: a path that leads there is judged by its name alone.
    """
    table = tuple(mounts)
    reader = _Reader(table, sys_root, dev_root)
    for mount in table:
        reader.add_filesystem(mount)
    reader.describe_devices()
    return BlockStack(reader.devices, reader.members, reader.layers)


def parse_loop_status(status: bytes) -> tuple[Device, int]:
    """From a struct loop_info64: the backing file's device (its `st_dev`) and its inode number."""
    # `huge_encode_dev` lays the number out as glibc's dev_t does, as far as 32 bits go.
    number, inode = struct.unpack_from("=QQ", status)
    return _split(number), inode


def _beneath(stack: BlockStack, filesystem: Device) -> list[BlockDevice]:
    """The block devices under a filesystem, down to disks and to loop devices' backing files."""

    def described(number: Device) -> BlockDevice:
        return stack.devices.get(number) or BlockDevice("", number)

    def beneath(number: Device) -> tuple[Device, ...]:
        device = described(number)
        return () if device.kind == "multipath" else device.slaves

    return [described(number) for number in _reached(stack.members.get(filesystem, ()), beneath)]


def _reached(start: Iterable[Device], step: Callable[[Device], Iterable[Device]]) -> set[Device]:
    """The start, and whatever steps lead to from there; the way may be circular."""
    todo = list(start)
    passed: set[Device] = set()
    while todo:
        if (device := todo.pop()) not in passed:
            passed.add(device)
            todo += step(device)
    return passed


class _Reader:
    """One reading of /sys, /dev and /proc into the tables of a BlockStack."""

    def __init__(self, mounts: tuple[Mount, ...], sys_root: str, dev_root: str) -> None:
        self.sys_root = sys_root
        self.dev_root = dev_root
        self.reachable = by_mount_point(mounts)
        self.by_id = {mount.mount_id: mount for mount in mounts}
        self.by_device = {mount.device: mount for mount in mounts}
        self.devices: dict[Device, BlockDevice] = {}
        self.members: dict[Device, tuple[Device, ...]] = {}
        self.layers: dict[Device, tuple[Device, ...]] = {}
        self._registries: dict[str, list[dict[str, Device]]] = {}

    def add_filesystem(self, mount: Mount) -> None:
        if mount.device in self.members:
            return
        found: list[Device] = []
        if mount.facts.is_anonymous:
            found = self._source_devices(mount)
        elif mount.device[0] != 0:
            extra = (o for o in mount.super_options if o.startswith(mount.facts.device_options))
            found = [mount.device, *self._block_numbers(o.partition("=")[2] for o in extra)]
        self.members[mount.device] = tuple(dict.fromkeys(found))
        # Only a root directory and backing files (below) can make an overlay matter to the order.
        if mount.mount_point == "/":
            self._add_layers(mount)

    def describe_devices(self) -> None:
        todo = [number for numbers in self.members.values() for number in numbers]
        while todo:
            number = todo.pop()
            if number in self.devices:
                continue
            device = self._describe(number)
            if device is None:
                continue
            self.devices[number] = device
            todo += device.slaves
            backing = device.backing_filesystem
            if backing in self.by_device:
                self._add_layers(self.by_device[backing])
            elif backing is not None and backing[0] != 0:
                # Mounted in another namespace only: it is on the device of its own number.
                self.members.setdefault(backing, (backing,))
                todo.append(backing)

    def _describe(self, number: Device) -> BlockDevice | None:
        base = f"{self.sys_root}/dev/block/{device_number(number)}"
        try:
            name = os.path.basename(os.readlink(base))
        except OSError:
            return None
        if bytes_if_there(f"{base}/partition") is not None:
            # The kernel resolves the link before "..": this is the directory of the whole disk.
            disk = _read_number(f"{base}/../dev")
            return BlockDevice(name, number, "partition", () if disk is None else (disk,))
        raw_path = bytes_if_there(f"{base}/loop/backing_file")
        if raw_path is not None:
            # As the kernel gives it, " (deleted)" and all.
            path = os.fsdecode(raw_path.removesuffix(b"\n"))
            filesystem = self._backing_filesystem(name, number, path)
            return BlockDevice(name, number, "loop", (), filesystem)
        slaves = tuple(number for _, number in _numbers_in(f"{base}/slaves"))
        uuid = bytes_if_there(f"{base}/dm/uuid")
        if uuid is not None:
            kind = "multipath" if uuid.startswith(b"mpath-") else "dm"
        elif os.path.isdir(f"{base}/md"):
            kind = "md"
        else:
            kind = "stacked" if slaves else "disk"
        return BlockDevice(name, number, kind, slaves)

    def _backing_filesystem(self, name: str, number: Device, path: str) -> Device | None:
        """The filesystem of a loop device's backing file.

        The path is relative to our root directory where it can be, but the file may have been
        removed, or its mount may be in another namespace, where the same path leads elsewhere.
        The loop driver's inode number tells. A device number alone would not do: on btrfs files
        carry their subvolume's anonymous number, which is in no mount table (`btrfs_getattr`).
        """
        # A memfd has a name without a slash.
        by_name = mount_holding(path, self.reachable) if path.startswith("/") else None
        if not touchable(path, self.reachable):
            # Neither opened nor asked for its inode: `vfs_getattr` may go to the server.
            return by_name and by_name.device
        identity = self._loop_identity(name, number)
        place = self._place(path)
        if place is not None and (identity is None or identity == place[1:]):
            return place[0]
        if identity is None:
            return by_name and by_name.device
        device = identity[0]
        if device in self.by_device or device[0] != 0:
            return device
        return by_name.device if by_name is not None and by_name.facts.has_subvolumes else None

    def _loop_identity(self, name: str, number: Device) -> tuple[Device, int] | None:
        """The device (`st_dev`) and inode of the backing file, from the loop driver itself."""
        status = bytearray(_LOOP_INFO64_SIZE)
        flags = os.O_RDONLY | os.O_NONBLOCK
        with contextlib.suppress(OSError), opened(f"{self.dev_root}/{name}", flags) as fd:
            node = os.fstat(fd)
            if stat.S_ISBLK(node.st_mode) and _split(node.st_rdev) == number:
                fcntl.ioctl(fd, _LOOP_GET_STATUS64, status)
                return parse_loop_status(bytes(status))
        return None

    def _place(self, path: str) -> tuple[Device, Device, int] | None:
        """Where a path leads: superblock device, `st_dev`, inode. None: nowhere we know."""
        if not path.startswith("/"):
            return None
        # O_PATH: neither permission events nor the driver's open, and it works on any file.
        flags = os.O_PATH | os.O_NOFOLLOW
        with contextlib.suppress(OSError, ValueError), opened(path, flags) as fd:
            status = os.fstat(fd)
            for line in (bytes_if_there(f"/proc/self/fdinfo/{fd}") or b"").splitlines():
                if line.startswith(b"mnt_id:"):
                    mount = self.by_id.get(int(line[7:]))
                    return mount and (mount.device, _split(status.st_dev), status.st_ino)
        return None

    def _add_layers(self, mount: Mount) -> None:
        name = mount.facts.upper_option
        if not name or mount.device in self.layers:
            return
        for option in mount.super_options:
            path = option.removeprefix(name)
            if path != option and path.startswith("/") and touchable(path, self.reachable):
                place = self._place(path)
                if place is not None and place[0] != mount.device:
                    self.layers[mount.device] = (place[0],)

    def _source_devices(self, mount: Mount) -> list[Device]:
        separator = mount.facts.source_separator
        sources = mount.source.split(separator) if separator else [mount.source]
        numbers = self._block_numbers(sources)
        for members in self._registered(mount.fstype) if mount.facts.has_registry else ():
            # By name where /dev is not ours, as in a container.
            if set(numbers) & set(members.values()) or os.path.basename(mount.source) in members:
                return numbers + list(members.values())
        return numbers

    def _registered(self, fstype: str) -> list[dict[str, Device]]:
        """The devices of each filesystem of a type, by name; read once, not for each mount."""
        if fstype not in self._registries:
            top = f"{self.sys_root}/fs/{fstype}"
            self._registries[fstype] = [
                dict(_numbers_in(f"{top}/{uuid}/devices")) for uuid in _list(top)
            ]
        return self._registries[fstype]

    def _block_numbers(self, paths: Iterable[str]) -> list[Device]:
        numbers = []
        for path in paths:
            if path.startswith("/") and touchable(path, self.reachable):
                with contextlib.suppress(OSError, ValueError):
                    status = os.stat(path)
                    if stat.S_ISBLK(status.st_mode):
                        numbers.append(_split(status.st_rdev))
        return numbers


def _split(number: int) -> Device:
    return (os.major(number), os.minor(number))


def _read_number(path: str) -> Device | None:
    """The device number in a sysfs file `dev`, as "8:1"."""
    major, _, minor = (bytes_if_there(path) or b"").strip().partition(b":")
    if major.isdigit() and minor.isdigit():
        return (int(major), int(minor))
    return None


def _numbers_in(directory: str) -> Iterator[tuple[str, Device]]:
    """Name and number of each device in a directory of sysfs."""
    for name in _list(directory):
        if (number := _read_number(f"{directory}/{name}/dev")) is not None:
            yield name, number


def _list(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
