"""Which filesystems are chosen, why the others are not, and the order of freezing."""

from __future__ import annotations

import errno
import pickle

import pytest

from pyfreeze._mounts.blockstack import BlockDevice, BlockStack
from pyfreeze._mounts.mountinfo import Device, Mount, MountError, parse_mountinfo
from pyfreeze._mounts.selection import Selection, freeze_levels, select, single_disk
from tests.support.facts import assert_facts

NOTHING = BlockStack({}, {})

SERVER = parse_mountinfo(
    rb"""21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
22 21 0:5 / /proc rw,nosuid - proc proc rw
23 21 0:20 / /sys rw,nosuid - sysfs sysfs rw
24 21 0:6 / /dev rw - devtmpfs devtmpfs rw,size=4k
25 24 0:21 / /dev/shm rw - tmpfs tmpfs rw
26 23 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
30 21 8:1 / /boot rw - vfat /dev/sda1 rw
31 21 253:0 / /var/lib/pg\040data rw - xfs /dev/mapper/vg-pg rw
32 21 8:2 /srv/export /srv/pub rw - ext4 /dev/sda2 rw
33 21 0:40 / /home rw - nfs4 server:/home rw
34 21 0:41 / /misc rw - autofs systemd-1 rw
35 21 0:42 / /mnt/ssh rw - fuse.sshfs me@host: rw
36 21 8:17 / /mnt/usb rw - fuseblk /dev/sdb1 rw
37 21 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
38 21 0:43 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,upperdir=/u
39 21 8:18 / /ro rw - ext4 /dev/sdb2 ro
40 21 8:19 / /archive ro,relatime - ext4 /dev/sdb3 rw
41 21 0:44 /vol /data rw - btrfs /dev/sdc rw,subvol=/vol
42 21 0:44 / /mnt/btrfs-top rw - btrfs /dev/sdc rw,subvol=/
43 21 8:20 / /cluster rw - gfs2 /dev/sdb4 rw
44 21 0:45 / /nosource rw - tmpfs  rw
"""
)


def points(selection: Selection) -> list[str]:
    return [f.mount_point for f in selection.filesystems]


def reasons(selection: Selection) -> dict[str, str]:
    return dict(selection.skipped)


def test_a_servers_table() -> None:
    """Of a usual server each mount is frozen, or has its reason."""
    selection = select(SERVER, NOTHING)
    assert points(selection) == ["/", "/archive", "/data", "/var/lib/pg data"]
    assert reasons(selection) == {
        "/proc": "pseudo filesystem (proc)",
        "/sys": "pseudo filesystem (sysfs)",
        "/dev": "kept in memory (devtmpfs)",
        "/dev/shm": "kept in memory (tmpfs)",
        "/sys/fs/cgroup": "pseudo filesystem (cgroup2)",
        "/boot": "its driver has no freeze (vfat)",
        "/srv/pub": "same filesystem as /",
        "/home": "network filesystem (nfs4)",
        "/misc": "automount point (autofs)",
        "/mnt/ssh": "FUSE filesystem (fuse.sshfs)",
        "/mnt/usb": "FUSE filesystem (fuseblk)",
        "/snap/core/1": "read-only image (squashfs)",
        "/var/lib/docker/overlay2/x/merged": "its layers are on other filesystems (overlay)",
        "/ro": "mounted read-only",
        "/mnt/btrfs-top": "same filesystem as /data",
        "/cluster": "cluster filesystem (gfs2)",
        "/nosource": "kept in memory (tmpfs)",
    }
    assert selection.notices == ()
    data = selection.filesystems[2]
    assert_facts(data, mount_point="/data", mount_id=41, device=(0, 44))
    assert_facts(data, fstype="btrfs", source="/dev/sdc", level=0)


def ext4(mount_id: int, parent: int, device: Device, point: str, root: str = "/") -> Mount:
    return Mount(mount_id, parent, device, root, point, ("rw",), "ext4", "/dev/x", ("rw",))


ROOT = ext4(2, 1, (8, 1), "/")


@pytest.mark.parametrize(
    ("mounts", "expected", "reason"),
    [
        # All of it rather than a part, however long the path.
        ([ext4(3, 2, (8, 2), "/a", "/part"), ext4(4, 2, (8, 2), "/long/path")],
         "/long/path", "same filesystem as /long/path"),
        # Then the shortest path.
        ([ext4(3, 2, (8, 2), "/aaa"), ext4(4, 2, (8, 2), "/b")], "/b", "same filesystem as /b"),
        # A visible one: /a is covered by a tmpfs, or by another ext4 stacked on it.
        ([ext4(3, 2, (8, 2), "/a"), ext4(4, 2, (8, 2), "/b/c", "/part"),
          ext4(5, 3, (0, 9), "/a")._replace(fstype="tmpfs")],
         "/b/c", "same filesystem as /b/c"),
        # A part is better than nothing.
        ([ext4(3, 2, (8, 2), "/a", "/part")], "/a", None),
        # Hidden everywhere.
        ([ext4(3, 2, (8, 2), "/a"), ext4(5, 3, (0, 9), "/a")._replace(fstype="tmpfs")],
         None, "hidden under another mount"),
        # Shown by a single file only (id 7 is among `files`).
        ([ext4(7, 2, (8, 2), "/etc/hosts", "/hosts")], None, "a file, not a directory"),
        ([ext4(7, 2, (8, 2), "/hosts", "/hosts"), ext4(8, 2, (8, 2), "/data", "/d")],
         "/data", "same filesystem as /data"),
    ],
)  # fmt: skip
def test_the_mount_a_filesystem_is_opened_by(
    mounts: list[Mount], expected: str | None, reason: str | None
) -> None:
    """One mount of each filesystem is chosen, and why the others are not is told."""
    selection = select([ROOT, *mounts], NOTHING, files={7})
    chosen = [f.mount_point for f in selection.filesystems if f.device == (8, 2)]
    assert chosen == ([expected] if expected else [])
    others = {s.reason for s in selection.skipped if s.reason != "kept in memory (tmpfs)"}
    assert others == ({reason} if reason else set())


@pytest.mark.parametrize(
    ("skip", "left", "reason"),
    [
        (["/"], ["/archive", "/data", "/var/lib/pg data"], ("/", "left out on request")),
        (["/"], ["/archive", "/data", "/var/lib/pg data"],
         ("/srv/pub", "left out on request, as the same filesystem as /")),
        ([" //data/ ", ""], ["/", "/archive", "/var/lib/pg data"],
         ("/data", "left out on request")),
        (["/srv/pub"], ["/archive", "/data", "/var/lib/pg data"],
         ("/", "left out on request, as the same filesystem as /srv/pub")),
        (["/home"], ["/", "/archive", "/data", "/var/lib/pg data"],
         ("/home", "network filesystem (nfs4)")),
        (["/var/lib/pg data "], ["/", "/archive", "/data"],
         ("/var/lib/pg data", "left out on request")),
    ],
)  # fmt: skip
def test_skipping(skip: list[str], left: list[str], reason: tuple[str, str]) -> None:
    """A skipped mount leaves its whole filesystem out."""
    selection = select(SERVER, NOTHING, skip=skip)
    assert points(selection) == left
    assert reason in selection.skipped
    assert selection.notices == ()


def test_skipping_a_covered_mount_point_skips_what_is_seen_there() -> None:
    below, over = ext4(3, 2, (8, 2), "/a"), ext4(4, 3, (8, 3), "/a")
    elsewhere = ext4(5, 2, (8, 2), "/b")
    assert points(select([ROOT, below, over, elsewhere], NOTHING, skip=["/a"])) == ["/", "/b"]


def test_skipping_tries_the_name_as_it_stands_before_trimming_it() -> None:
    plain, blank = ext4(3, 2, (8, 2), "/a"), ext4(4, 2, (8, 3), "/a ")
    assert points(select([ROOT, plain, blank], NOTHING, skip=["/a "])) == ["/", "/a"]
    assert points(select([ROOT, plain, blank], NOTHING, skip=[" /a"])) == ["/", "/a "]


def test_a_skip_that_names_no_mount_point_is_a_notice() -> None:
    selection = select(SERVER, NOTHING, skip=["/nowhere", "data", " ", "/a\n"])
    assert len(selection.filesystems) == 4
    assert selection.notices == (
        "/nowhere: named to be skipped, but is not a mount point",
        "data: named to be skipped, but is not a mount point",
        "'/a\\n': named to be skipped, but is not a mount point",
    )


def test_only_the_mounts_named() -> None:
    """They are what is opened, and why all others are left out is told."""
    selection = select(SERVER, NOTHING, only=["/var/lib/pg data/", "/srv/pub"])
    assert [(f.mount_point, f.mount_id) for f in selection.filesystems] == [
        ("/srv/pub", 32),
        ("/var/lib/pg data", 31),
    ]
    said = reasons(selection)
    assert said["/"] == "same filesystem as /srv/pub"
    assert said["/data"] == said["/mnt/btrfs-top"] == "not among the mounts named"
    assert said["/home"] == "network filesystem (nfs4)"


FREEZABLE = "one of bcachefs, btrfs, ext2, ext3, ext4, f2fs, jfs, nilfs2, reiserfs, xfs"


@pytest.mark.parametrize(
    ("only", "found", "expected"),
    [
        (["/srv/x"], "/srv/x: is not a mount point (it lies on the filesystem mounted at /)",
         "a mount point"),
        (["/dev/shm"], "/dev/shm: tmpfs cannot be frozen (kept in memory)", FREEZABLE),
        (["/boot"], "/boot: vfat cannot be frozen (its driver has no freeze)", FREEZABLE),
        (["/ro"], "/ro: is mounted read-only", "a writable filesystem"),
        (["/data", "//data/"], "/data: named twice", "each mount point once"),
        (["/data", "/mnt/btrfs-top"],
         "/mnt/btrfs-top: is the same filesystem (0:44) as /data", "only one of them"),
        (["data"], "data: is a relative path", "an absolute path of a mount point"),
        ([""], "'': is empty", "an absolute path of a mount point"),
    ],
)  # fmt: skip
def test_a_mount_that_cannot_be_frozen_is_refused(
    only: list[str], found: str, expected: str
) -> None:
    with pytest.raises(MountError) as caught:
        select(SERVER, NOTHING, only=only)
    assert str(caught.value) == f"{found}, expected {expected}"
    assert isinstance(caught.value, ValueError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert_facts(copy, path=caught.value.path, errno=errno.EINVAL, filename=copy.path)


def test_hidden_skipped_and_file_mounts_are_refused() -> None:
    mounts = [ROOT, ext4(3, 2, (8, 2), "/a/b"), ext4(4, 2, (8, 3), "/a"), ext4(7, 2, (8, 4), "/f")]
    with pytest.raises(MountError, match="/a/b: is hidden under another mount, expected a mount"):
        select(mounts, NOTHING, only=["/a/b"])
    with pytest.raises(MountError, match="/a: is to be skipped as /a, expected to be named once"):
        select(mounts, NOTHING, only=["/a"], skip=["/a"])
    with pytest.raises(MountError, match="/f: is a file, expected a mount point directory"):
        select(mounts, NOTHING, only=["/f"], files={7})


def stacked(**edges: str) -> tuple[list[Mount], BlockStack]:
    """Filesystems named by letters ("root" is at /), each on a loop device over another's file.

    `a="b"` mounts a at /a, from an image on b; an empty string is a disk.
    """
    number = {name: (7, i) for i, name in enumerate(edges, start=1)}
    mounts = [
        ext4(10 + i, 10 - 9 * (name == "root"), number[name], "/" + name * (name != "root"))
        for i, name in enumerate(edges)
    ]  # fmt: skip
    devices = {
        number[name]: BlockDevice(name, number[name], "loop", (), number[on] if on else None)
        for name, on in edges.items()
    }
    return mounts, BlockStack(devices, {n: (n,) for n in number.values()})


@pytest.mark.parametrize(
    ("edges", "skip", "expected"),
    [
        ({"root": "", "a": ""}, [], {"/": 0, "/a": 0}),
        ({"root": "", "a": "root"}, [], {"/a": 0, "/": 1}),
        # "/" is raised to the last level, and needs none of its own.
        ({"root": "", "a": "b", "b": ""}, [], {"/a": 0, "/b": 1, "/": 1}),
        ({"root": "", "a": "b", "b": "root", "c": ""}, [], {"/a": 0, "/c": 0, "/b": 1, "/": 2}),
        # What "/" lies on comes after it.
        ({"root": "b", "a": "", "b": ""}, [], {"/a": 0, "/": 0, "/b": 1}),
        ({"root": "b", "b": "", "x": "y", "y": "z", "z": ""}, [],
         {"/x": 0, "/y": 1, "/z": 2, "/": 2, "/b": 3}),
        # One that is not chosen still carries the order.
        ({"root": "", "a": "b", "b": "c", "c": ""}, ["/b"], {"/a": 0, "/c": 1, "/": 1}),
        ({"root": "", "a": "root"}, ["/"], {"/a": 0}),
    ],
)  # fmt: skip
def test_levels(edges: dict[str, str], skip: list[str], expected: dict[str, int]) -> None:
    """What lies on another is frozen before it, and `/` last."""
    selection = select(*stacked(**edges), skip=skip)
    assert {f.mount_point: f.level for f in selection.filesystems} == expected
    order = [(f.level, f.mount_point) for f in selection.filesystems]
    assert order == sorted(order)
    assert selection.notices == ()


def test_a_circle_is_one_level_and_a_notice() -> None:
    selection = select(*stacked(root="", a="b", b="c", c="a", d="a", e="e"))
    assert {f.mount_point: f.level for f in selection.filesystems} == {
        "/d": 0, "/e": 0, "/a": 1, "/b": 1, "/c": 1, "/": 1,
    }  # fmt: skip
    assert selection.notices == (
        "/a, /b, /c: lying on each other, frozen side by side",
        "/e: lying on each other, frozen side by side",
    )


def test_a_circle_with_the_root_is_raised_with_it() -> None:
    selection = select(*stacked(root="a", a="root", x="y", y=""))
    assert {f.mount_point: f.level for f in selection.filesystems} == {
        "/x": 0, "/y": 1, "/": 1, "/a": 1,
    }  # fmt: skip


def test_under_an_overlay_root_the_filesystem_of_its_layer_is_the_last() -> None:
    mounts, stack = stacked(root="", upper="", a="b", b="")
    mounts[0] = mounts[0]._replace(fstype="overlay", device=(0, 70))
    stack = stack._replace(layers={(0, 70): (mounts[1].device,)})
    selection = select(mounts, stack)
    assert {f.mount_point: f.level for f in selection.filesystems} == {
        "/a": 0, "/b": 1, "/upper": 1,
    }  # fmt: skip


def test_levels_of_a_diamond() -> None:
    """The longest way down to a filesystem gives its level, not the shortest."""
    a, b, c, d = ((8, i) for i in range(4))
    assert freeze_levels({a: {b, c, d}, b: {d}, c: {d}, d: set()}) == {a: 0, b: 1, c: 1, d: 2}
    assert freeze_levels({}) == {}


PARTITIONS = {
    (8, 1): BlockDevice("sda1", (8, 1), "partition", ((8, 0),)),
    (8, 2): BlockDevice("sda2", (8, 2), "partition", ((8, 0),)),
    (7, 0): BlockDevice("loop0", (7, 0), "loop", (), (8, 1)),
    (7, 1): BlockDevice("loop1", (7, 1), "loop", (), (0, 9)),
}


@pytest.mark.parametrize(
    ("mounts", "members", "expected"),
    [
        ([(8, 1), (8, 2)], {}, True),
        ([(8, 1), (8, 16)], {}, False),
        ([(8, 1), (7, 0)], {}, True),
        ([(8, 1), (7, 1)], {}, False),
        ([(0, 33)], {(0, 33): ((8, 1), (8, 2))}, True),
        # A btrfs nothing is known of, and no disk at all.
        ([(8, 1), (0, 33)], {(0, 33): ()}, False),
        ([], {}, False),
    ],
)
def test_single_disk(
    mounts: list[Device], members: dict[Device, tuple[Device, ...]], expected: bool
) -> None:
    """True only if all that could be frozen is known to lie on one disk."""
    stack = BlockStack(PARTITIONS, {d: (d,) for d in [*mounts, (11, 0)]} | {(0, 9): ()} | members)
    table = [ext4(i, 1, device, f"/{i}") for i, device in enumerate(mounts)]
    other = [
        ext4(90, 1, (11, 0), "/cd")._replace(fstype="iso9660"),
        ext4(91, 1, (0, 9), "/tmp")._replace(fstype="tmpfs"),
    ]
    assert single_disk(stack, table + other) is expected
