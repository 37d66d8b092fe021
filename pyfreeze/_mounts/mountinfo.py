"""The mount table of this process, /proc/self/mountinfo, and what a path lookup reaches in it.

Source of the format: proc_pid_mountinfo(5); `show_mountinfo` in the kernel's fs/proc_namespace.c.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.files import kind_of
from pyfreeze._base.text import printable
from pyfreeze._model.errors import UsageError
from pyfreeze._mounts.fstypes import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pyfreeze._mounts.fstypes import Fstype

Device = tuple[int, int]

_LINE = re.compile(
    rb"([0-9]{1,10}) ([0-9]{1,10}) ([0-9]{1,10}):([0-9]{1,10}) ([^ ]*) ([^ ]*) ([^ ]*)"
    # Optional fields (shared:1, master:2, ...) may be any number; a lone "-" ends them.
    rb"(?: (?!- )[^ ]*)* - "
    # An empty source (mount("", ...)) leaves two spaces in a row, so an empty field is a field.
    # What follows the source is one field, whatever a driver printed there.
    rb"([^ ]+) ([^ ]*) (.*)",
)
_EXPECTED = "two IDs, major:minor, root, mount point, options, tags, -, type, source, options"
_SHOWN_BYTES = 200
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")


class Mount(NamedTuple):
    """One line of mountinfo. Names are decoded like file names (`os.fsdecode`)."""

    mount_id: int
    parent_id: int
    device: Device
    """(major, minor) of the superblock, `s_dev`; major 0 is an anonymous device."""
    root: str
    """The directory (or file) of the filesystem that is mounted here; "/" is all of it."""
    mount_point: str
    options: tuple[str, ...]
    """The mount's own options: "ro" here leaves the filesystem writable elsewhere."""
    fstype: str
    source: str
    super_options: tuple[str, ...]
    """The superblock's options: "ro" here means that nobody can write."""

    @property
    def facts(self) -> Fstype:
        """What is known of its type."""
        return facts_of(self.fstype, self.device)


class MountError(UsageError):
    """A mount point somebody named cannot be used: `path`, what was `found`, what is `expected`.

    It is none, cannot be frozen, is read-only, or is named twice. Nothing was touched.
    """

    def __init__(self, path: str, found: str, expected: str) -> None:
        super().__init__(errno.EINVAL, f"{found}, expected {expected}", path)
        self.path = path
        self.found = found
        self.expected = expected

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.found}, expected {self.expected}"

    def __reduce__(self) -> tuple[type[MountError], tuple[str, str, str]]:
        # OSError's own would hand errno, text and file name to __init__.
        return type(self), (self.path, self.found, self.expected)


def parse_mountinfo(data: bytes) -> tuple[Mount, ...]:
    """Parse the bytes of a mountinfo file, in the order of its lines.

    Raises:
        ValueError: a line is malformed; names its number, what was found and what is expected.
    """
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return tuple(_parse_line(line, number) for number, line in enumerate(lines, start=1))


def read_mounts() -> tuple[Mount, ...]:
    """Read the mount table of this process (of its mount namespace, below its root directory).

    Raises:
        OSError: /proc is not mounted.
        ValueError: see `parse_mountinfo`.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        return parse_mountinfo(file.read())


def visible(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """The mounts that a lookup of their own mount point reaches, in the order given.

    A mount is hidden by one stacked on it, by one over a directory above it, by being the child of
    a hidden one, or because its directory was removed. No two visible mounts share a mount point.
    Give it the whole table: a hidden mount can be what a visible one is stacked on.
    """
    table = tuple(mounts)
    ids = {mount.mount_id for mount in table}
    # The kernel keeps one mount for each (parent, dentry), so this loses nothing (`__lookup_mnt`).
    children = {(m.parent_id, m.mount_point): m for m in table if m.parent_id != m.mount_id}
    tops = [m for m in table if m.parent_id not in ids or m.parent_id == m.mount_id]
    root = next((mount for mount in tops if mount.mount_point == "/"), None)
    # chroot into a plain directory: the mount that holds it is not listed, its children are.
    root_id = root.mount_id if root else next((mount.parent_id for mount in tops), -1)
    return tuple(m for m in table if m is root or _lookup(m.mount_point, root_id, children) is m)


def prefixes(path: str) -> Iterator[str]:
    """Every directory on the way to an absolute path, "/" first and the path itself last."""
    yield "/"
    if path != "/":
        yield from (path[: slash.start()] for slash in re.finditer("/", path) if slash.start())
        yield path


def normalise(path: str) -> str:
    """The path without doubled and trailing slashes, "." and ".."; symlinks are not looked at."""
    normal = os.path.normpath(path)
    # POSIX lets exactly two leading slashes stand, and so does normpath; Linux gives them no sense.
    return normal[1:] if normal.startswith("//") else normal


def by_mount_point(mounts: Iterable[Mount]) -> dict[str, Mount]:
    """The visible mounts by their mount points."""
    return {mount.mount_point: mount for mount in visible(mounts)}


def mount_holding(path: str, reachable: Mapping[str, Mount]) -> Mount | None:
    """The mount an absolute path without symlinks lies on; `reachable` is from `by_mount_point`."""
    held_by = None
    for prefix in prefixes(path):
        held_by = reachable.get(prefix, held_by)
    return held_by


def touchable(path: str, reachable: Mapping[str, Mount]) -> bool:
    """Whether looking up an absolute path stays on filesystems that answer without anybody's help.

    False once a mount on the way is, or may be, a network or FUSE filesystem or an automount point:
    such a lookup can hang for as long as a server is away.
    """
    on_the_way = [reachable[prefix] for prefix in prefixes(path) if prefix in reachable]
    # An unknown type without a device may be on a network.
    local = (m.device[0] != 0 if m.facts.is_local is None else m.facts.is_local for m in on_the_way)
    return all(local)


def file_mounts(mounts: Iterable[Mount]) -> frozenset[int]:
    """The ids of visible mounts of local filesystems whose mount point is a file, not a directory.

    Containers mount single files (/etc/hosts), and such a mount cannot be opened as a directory.
    A mount point that cannot be looked at is not among them.
    """
    reachable = by_mount_point(mounts)
    found = set()
    for mount in reachable.values():
        # The root of a filesystem is a directory always: only parts of one need a look.
        if mount.root != "/" and touchable(mount.mount_point, reachable):
            with contextlib.suppress(OSError):
                if not stat.S_ISDIR(os.stat(mount.mount_point).st_mode):
                    found.add(mount.mount_id)
    return frozenset(found)


def resolve_paths(paths: Sequence[str], mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Check that the paths are existing directories; return them with symlinks resolved.

    Paths on network and FUSE filesystems are returned unresolved and are not touched: that they
    cannot be frozen is for `select` to say.

    Raises:
        MountError: a path is empty, relative, has a NUL, does not exist, cannot be reached, or is
            not a directory.
    """
    reachable = by_mount_point(mounts)
    return tuple(_resolve(path, reachable) for path in paths)


def check_absolute(path: str) -> None:
    """Raise `MountError` when a path is empty, relative, or has a NUL byte in it."""
    expected = "an absolute path of a mount point"
    if not path:
        raise MountError(path, "is empty", expected)
    if "\0" in path:
        raise MountError(path, "contains a NUL byte", expected)
    if not path.startswith("/"):
        raise MountError(path, "is a relative path", expected)


def _resolve(path: str, reachable: Mapping[str, Mount]) -> str:
    check_absolute(path)
    normal = normalise(path)
    if not (touchable(normal, reachable) and touchable(path, reachable)):
        return normal
    expected = "a mount point directory"
    try:
        resolved = os.path.realpath(path, strict=True)
        mode = os.stat(resolved).st_mode
    except FileNotFoundError:
        raise MountError(path, "does not exist", expected) from None
    except PermissionError:
        raise MountError(path, "permission denied", expected) from None
    except (OSError, UnicodeEncodeError) as error:
        if normal in reachable and getattr(error, "errno", 0) == errno.EIO:
            return normal  # its device is gone: told when it is opened, since that is no misuse
        reason = getattr(error, "strerror", None) or "is not a file name"
        raise MountError(path, f"cannot be looked up ({reason})", expected) from None
    if not stat.S_ISDIR(mode):
        raise MountError(path, f"is {kind_of(mode)}", expected)
    return resolved


def _lookup(path: str, root_id: int, children: Mapping[tuple[int, str], Mount]) -> Mount | None:
    """The mount that a walk from the root directory to `path` ends on; None: the root's own.

    Like the kernel's `link_path_walk`: at each directory, step onto the mount on it, and onto those
    stacked there (`follow_managed`, since 5.10 `traverse_mounts`). The walk starts *in* the root
    directory without stepping onto what is mounted over it (`nd_jump_root`): a filesystem mounted
    over "/" is not seen by the processes that were there before, so "/" itself is left out here.
    """
    # `d_path` marks a removed directory so; nothing can be looked up there.
    if path.endswith("//deleted"):
        return None
    at: Mount | None = None
    at_id = root_id
    for prefix in [*prefixes(path)][1:]:
        passed = {at_id}
        # The set only matters to a table that no kernel wrote: mounts stacked on each other.
        while (over := children.get((at_id, prefix))) and over.mount_id not in passed:
            at, at_id = over, over.mount_id
            passed.add(at_id)
    return at


def _parse_line(line: bytes, number: int) -> Mount:
    fields = _LINE.fullmatch(line)
    if fields is None:
        found = line if len(line) <= _SHOWN_BYTES else line[:_SHOWN_BYTES] + b"..."
        raise ValueError(f"mountinfo line {number}: found {found!r}, expected {_EXPECTED}")
    mount_id, parent_id, major, minor, root, point, options, fstype, source, extra = fields.groups()
    return Mount(
        mount_id=int(mount_id),
        parent_id=int(parent_id),
        device=(int(major), int(minor)),
        root=_decode(root),
        mount_point=_decode(point),
        options=_options(options),
        fstype=_decode(fstype),
        source=_decode(source),
        super_options=_options(extra),
    )


def _options(field: bytes) -> tuple[str, ...]:
    # Split first: `seq_show_option` escapes the commas inside a value as \054.
    return tuple(_decode(option) for option in field.split(b",") if option)


def _decode(field: bytes) -> str:
    """Undo the kernel's `mangle_path`: a backslash and three octal digits are one byte.

    A backslash that begins no such escape stands for itself: the options of some drivers are
    printed as they are.
    """
    return os.fsdecode(_ESCAPE.sub(lambda escape: bytes((int(escape[1], 8),)), field))
