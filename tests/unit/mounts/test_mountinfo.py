"""The parser of mountinfo, what is visible in a table, and the checks of paths."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyfreeze._mounts.mountinfo import (
    Mount,
    MountError,
    by_mount_point,
    file_mounts,
    mount_holding,
    normalise,
    parse_mountinfo,
    prefixes,
    read_mounts,
    resolve_paths,
    touchable,
    visible,
)

if TYPE_CHECKING:
    from pathlib import Path

ROOT = b"21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro\n"


def tree(*rows: tuple[int, int, str], fstype: str = "ext4") -> tuple[Mount, ...]:
    """A table of (mount id, parent id, mount point), each its own filesystem."""
    return tuple(
        Mount(mount_id, parent_id, (8, mount_id), "/", point, ("rw",), fstype, "/dev/x", ("rw",))
        for mount_id, parent_id, point in rows
    )


def test_an_ordinary_line_field_by_field() -> None:
    """Each field is read into its place."""
    (mount,) = parse_mountinfo(ROOT)
    assert mount == Mount(
        mount_id=21,
        parent_id=1,
        device=(8, 2),
        root="/",
        mount_point="/",
        options=("rw", "relatime"),
        fstype="ext4",
        source="/dev/sda2",
        super_options=("rw", "errors=remount-ro"),
    )


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (rb"40 21 8:3 / /srv/a\040b rw - xfs /dev/sda3 rw", "mount_point", "/srv/a b"),
        (rb"40 21 8:3 / /a\011b\012c\134d\043e rw - xfs s rw", "mount_point", "/a\tb\nc\\d#e"),
        (rb"40 21 8:3 / /\134040 rw - xfs s rw", "mount_point", "/\\040"),
        (rb"40 21 8:3 / /a\9b\04 rw - xfs s rw", "mount_point", "/a\\9b\\04"),
        (rb"40 21 8:3 / /a\777 rw - xfs s rw", "mount_point", "/a\\777"),
        (b"40 21 8:3 / /\xff\xc3\xa4 rw - xfs s rw", "mount_point", "/\udcff\xe4"),
        (rb"40 21 0:33 /sub\040vol /s rw - btrfs /dev/sda3 rw", "root", "/sub vol"),
        (b"40 21 8:3 / /s rw shared:1 master:2 propagate_from:3 - xfs s rw", "fstype", "xfs"),
        (b"40 21 8:3 / /- rw - xfs - rw", "source", "-"),
        (b"40 21 0:40 / /s rw - tmpfs  rw,size=4k", "source", ""),
        (b"40 21 0:40 / /s rw - tmpfs  rw,size=4k", "super_options", ("rw", "size=4k")),
        (b"40 21 0:40 / /s rw - tmpfs none rw", "source", "none"),
        (rb"40 21 0:9 / /s rw - overlay o rw,lowerdir=/a\054b:/c", "super_options",
         ("rw", "lowerdir=/a,b:/c")),
        (b"40 21 0:9 / /s rw - odd o rw,a b", "super_options", ("rw", "a b")),
        (b"40 21 0:9 / /s rw - odd o ", "super_options", ()),
        (b"40 21 259:1048575 / /s rw - xfs s rw", "device", (259, 1048575)),
    ],
)  # fmt: skip
def test_fields_as_kernels_print_them(line: bytes, field: str, value: object) -> None:
    """Escapes, other encodings, optional fields and empty ones are read as they were meant."""
    assert getattr(parse_mountinfo(line + b"\n")[0], field) == value


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"", "b''"),
        (b"40 21 8:3 / /srv rw xfs /dev/sda3 rw", "/dev/sda3"),
        (b"40 21 8:3 / - xfs /dev/sda3 rw", "/dev/sda3"),
        (b"40 21 8:3 / /srv rw - xfs", "xfs"),
        (b"40 21 8:3 / /srv rw -", "/srv"),
        (b"40 21 8:3 / /srv rw -  s rw", "/srv"),
        (b"40 21 8:3 / /srv rw -  - xfs s rw", "/srv"),
        (b"x 21 8:3 / /srv rw - xfs s rw", "b'x 21"),
        (b"40 -1 8:3 / /srv rw - xfs s rw", "-1"),
        (b"40 21 8 / /srv rw - xfs s rw", "21 8 /"),
        (b"40 21 8:3_0 / /srv rw - xfs s rw", "8:3_0"),
        (b"40 21 :3 / /srv rw - xfs s rw", " :3 "),
        (b"4" * 5000 + b" 21 8:3 / /srv rw - xfs s rw", "..."),
    ],
)
def test_a_malformed_line_is_named_with_what_was_found(line: bytes, found: str) -> None:
    with pytest.raises(ValueError, match="mountinfo line 2: found ") as caught:
        parse_mountinfo(ROOT + line + b"\n")
    assert found in str(caught.value)
    assert "expected two IDs, major:minor, root, mount point, " in str(caught.value)
    assert len(str(caught.value)) < 400


def test_no_lines() -> None:
    """An empty table has no mounts."""
    assert parse_mountinfo(b"") == ()


def test_this_machines_table_holds_proc() -> None:
    assert by_mount_point(read_mounts())["/proc"].fstype == "proc"


@pytest.mark.parametrize(
    ("rows", "hidden"),
    [
        ([(2, 1, "/"), (3, 2, "/a"), (4, 3, "/a/b")], set()),
        # Stacked on one mount point: the last one counts.
        ([(2, 1, "/"), (3, 2, "/a"), (4, 3, "/a"), (5, 4, "/a")], {3, 4}),
        # Mounted below first, then over the directory above.
        ([(2, 1, "/"), (3, 2, "/a/b"), (4, 2, "/a")], {3}),
        # The child of a mount that was covered later; the cover has the same directory again.
        ([(2, 1, "/"), (3, 2, "/a"), (4, 3, "/a/b"), (5, 3, "/a"), (6, 5, "/a/b")], {3, 4}),
        # The order of the table does not matter: parents tell.
        ([(5, 3, "/a"), (4, 3, "/a/b"), (3, 2, "/a"), (2, 1, "/")], {3, 4}),
        # Mounted over "/": those who were in the old root stay there (the kernel: nd_jump_root).
        ([(2, 1, "/"), (3, 2, "/a"), (4, 2, "/"), (5, 4, "/b")], {4, 5}),
        # An old rootfs that is its own parent.
        ([(1, 1, "/"), (3, 1, "/a")], set()),
        # chroot into a plain directory: the mount with the root is not listed.
        ([(3, 2, "/a"), (4, 3, "/a"), (5, 2, "/b")], {3}),
        # The directory mounted on was removed.
        ([(2, 1, "/"), (3, 2, "/a//deleted")], {3}),
        # /ab is not below /a.
        ([(2, 1, "/"), (3, 2, "/ab"), (4, 2, "/a")], set()),
        # Nonsense no kernel writes must end all the same.
        ([(2, 1, "/"), (3, 4, "/a"), (4, 3, "/a")], {3, 4}),
        ([(2, 1, "/"), (3, 2, "/a"), (2, 3, "/a")], set()),
        ([], set()),
    ],
)
def test_which_mounts_are_hidden(rows: list[tuple[int, int, str]], hidden: set[int]) -> None:
    """Those that no path leads to, as the kernel walks."""
    mounts = tree(*rows)
    assert {m.mount_id for m in mounts} - {m.mount_id for m in visible(mounts)} == hidden


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ["/"]),
        ("/a", ["/", "/a"]),
        ("/a/bc/d", ["/", "/a", "/a/bc", "/a/bc/d"]),
    ],
)
def test_prefixes(path: str, expected: list[str]) -> None:
    """All directories on the way, from the root on."""
    assert list(prefixes(path)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("//a//b/", "/a/b"), ("//", "/"), ("/", "/"), ("/a/./b/../c", "/a/c"), ("///a", "/a")],
)
def test_normalise(path: str, expected: str) -> None:
    """One slash between names, and no dots."""
    assert normalise(path) == expected


def test_the_mount_that_holds_a_path() -> None:
    """The longest mount point above it, by whole names."""
    reachable = by_mount_point(tree((2, 1, "/"), (3, 2, "/srv"), (4, 3, "/srv/db")))
    for path, point in [("/etc", "/"), ("/srv", "/srv"), ("/srvx", "/"), ("/srv/db/x", "/srv/db")]:
        holder = mount_holding(path, reachable)
        assert holder is not None
        assert holder.mount_point == point
    assert mount_holding("/x", {}) is None


@pytest.mark.parametrize(
    ("fstype", "device", "expected"),
    [
        ("ext4", (8, 3), True),
        ("tmpfs", (0, 3), True),
        ("btrfs", (0, 3), True),
        ("nfs4", (0, 3), False),
        ("fuse.sshfs", (0, 3), False),
        ("fuseblk", (8, 3), False),
        ("autofs", (0, 3), False),
        ("gfs2", (8, 3), False),
        ("somenewnetfs", (0, 3), False),
    ],
)
def test_paths_through_filesystems_that_may_hang_are_not_touchable(
    fstype: str, device: tuple[int, int], expected: bool
) -> None:
    root, middle, top = tree((2, 1, "/"), (3, 2, "/m"), (4, 3, "/m/x"))
    reachable = by_mount_point([root, middle._replace(fstype=fstype, device=device), top])
    assert touchable("/m/x/file", reachable) is expected
    assert touchable("/other", reachable) is True


def test_an_automount_point_that_is_mounted_over_does_not_matter() -> None:
    root, auto, real = tree((2, 1, "/"), (3, 2, "/boot"), (4, 3, "/boot"))
    reachable = by_mount_point([root, auto._replace(fstype="autofs", device=(0, 40)), real])
    assert touchable("/boot/x", reachable)


def test_mounts_of_files_are_found(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.touch()
    root, on_file, on_directory, gone, remote = tree(
        (2, 1, "/"), (3, 2, str(file)), (4, 2, str(tmp_path)), (5, 4, f"{tmp_path}/gone"),
        (6, 4, str(file)),
    )  # fmt: skip
    on_file, on_directory, gone, remote = (
        m._replace(root="/part") for m in (on_file, on_directory, gone, remote)
    )
    assert file_mounts([root, on_file]) == {3}
    assert file_mounts([root, on_directory, gone]) == frozenset()
    remote = remote._replace(fstype="nfs4", device=(0, 50))
    assert file_mounts([root, on_directory, remote]) == frozenset()


def test_resolving_follows_symlinks_and_tidies(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    base = os.path.realpath(tmp_path)
    names = [f"{tmp_path}/link", f"{tmp_path}//real/"]
    assert resolve_paths(names, tree((2, 1, "/"))) == (f"{base}/real", f"{base}/real")


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("", "'': is empty", "an absolute path"),
        ("srv/db", "srv/db: is a relative path", "an absolute path"),
        ("/a\0b", "'/a\\x00b': contains a NUL byte", "an absolute path"),
        ("{tmp}/gone", "/gone: does not exist", "a mount point directory"),
        ("{tmp}/file", "/file: is a regular file", "a mount point directory"),
        ("{tmp}/file/x", "/file/x: cannot be looked up (Not a directory)", "a mount point"),
        ("{tmp}/loop", "/loop: cannot be looked up (Too many levels", "a mount point"),
        ("{tmp}/fifo", "/fifo: is a FIFO", "a mount point directory"),
        ("/\ud800", "'/\\ud800': cannot be looked up (is not a file name)", "a mount point"),
    ],
)
def test_paths_that_cannot_be_mount_points(
    tmp_path: Path, name: str, found: str, expected: str
) -> None:
    """The error says what was found and what was expected."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    path = name.replace("{tmp}", str(tmp_path))
    with pytest.raises(MountError) as caught:
        resolve_paths([path], tree((2, 1, "/")))
    assert found in str(caught.value)
    assert f", expected {expected}" in str(caught.value)
    assert caught.value.path == path


def test_permission_denied_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *, strict: bool) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os.path, "realpath", refuse)
    with pytest.raises(MountError, match="/srv: permission denied, expected a mount point"):
        resolve_paths(["/srv"], tree((2, 1, "/")))


@pytest.mark.parametrize("path", ["/net/share", "/net/share/../../srv", "/net"])
def test_network_paths_are_not_touched(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, net = tree((2, 1, "/"), (3, 2, "/net"))
    mounts = [root, net._replace(fstype="nfs4", device=(0, 50))]
    monkeypatch.delattr(os.path, "realpath")
    assert resolve_paths([path], mounts) == (normalise(path),)
