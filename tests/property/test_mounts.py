"""What must hold of every mount table and every stack of devices."""

from __future__ import annotations

import os

from hypothesis import example, given
from hypothesis import strategies as st

from pyfreeze._mounts.blockstack import BlockDevice, BlockStack, lies_on, whole_disks
from pyfreeze._mounts.mountinfo import (
    Device,
    Mount,
    MountError,
    by_mount_point,
    normalise,
    parse_mountinfo,
    visible,
)
from pyfreeze._mounts.selection import (
    Selection,
    freeze_levels,
    select,
    single_disk,
)
from tests.support.facts import assert_facts

# A file name: any bytes but a NUL. (The kernel's escapes make the rest safe.)
names = st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"\0", b"?"))


def mangle(name: bytes, escaped: bytes = b" \t\n\\#") -> bytes:
    """What the kernel's `mangle_path` makes of a name."""
    return b"".join(b"\\%03o" % c if c in escaped else bytes((c,)) for c in name)


@given(names, names, names, st.lists(names, max_size=4), st.integers(0, 3))
def test_any_name_survives_the_kernels_escapes(
    root: bytes, point: bytes, source: bytes, options: list[bytes], tags: int
) -> None:
    fields = [b"7 1 0:9", mangle(root), mangle(point), b"rw", *[b"shared:1"] * tags]
    # `seq_show_option` escapes commas too.
    shown = b",".join(mangle(option, b" \t\n\\,=") for option in options)
    line = b" ".join([*fields, b"-", b"xfs", mangle(source), shown])
    (mount,) = parse_mountinfo(line + b"\n")
    assert os.fsencode(mount.root) == root
    assert os.fsencode(mount.mount_point) == point
    assert os.fsencode(mount.source) == source
    assert [os.fsencode(option) for option in mount.super_options] == options
    assert_facts(mount, mount_id=7, parent_id=1, device=(0, 9))


pieces = st.sampled_from(
    [b" ", b"\n", b" - ", b"-", b"8:1", b":", b"/", b"1", b"99999999999", b"\\040", b"\\", b"rw",
     b"\\999", b"\xff", b"7 1 0:9 / / rw - xfs s rw\n", b"\xd9\xa1", b"+1", b"1_0"]
)  # fmt: skip


@given(st.binary() | st.lists(pieces, max_size=30).map(b"".join))
@example(b"\n")
@example(b"7 1 0:9 / / rw - xfs  \n")
def test_the_parser_raises_nothing_but_a_value_error_with_the_line(data: bytes) -> None:
    try:
        mounts = parse_mountinfo(data)
    except ValueError as error:
        assert str(error).startswith("mountinfo line ")
        assert ", expected " in str(error)
    else:
        assert len(mounts) == len(data.removesuffix(b"\n").split(b"\n")) or not data


ids = st.sampled_from([b"0", b"1", b"2", b"7"])
paths = st.sampled_from([b"/", b"/a", b"/a/b", b"a", b"//", b"/a/", b"/\\040", b"/\xff", b""])
lines = st.tuples(
    ids, ids, st.sampled_from([b"7:1", b"0:9"]), paths, paths, st.sampled_from([b"rw", b"ro,x"]),
    st.sampled_from([b"-", b"shared:1 -", b"- -", b""]),
    st.sampled_from([b"ext4", b"proc", b"\xff"]), paths, st.sampled_from([b"rw", b"ro", b""]),
).map(b" ".join)  # fmt: skip


@given(st.lists(lines, max_size=6), st.binary(max_size=3), st.integers(0, 200))
def test_whatever_the_parser_accepts_can_be_chosen_from(
    rows: list[bytes], noise: bytes, at: int
) -> None:
    """Also tables that no kernel has: ids twice, parents in a circle, names that are no paths."""
    data = b"".join(row + b"\n" for row in rows)
    data = data[:at] + noise + data[at + len(noise) :]
    try:
        mounts = parse_mountinfo(data)
    except ValueError:
        return
    assert {m.mount_id for m in visible(mounts)} <= {m.mount_id for m in mounts}
    stack = BlockStack({}, {})
    select(mounts, stack)
    for point in ("/", "/a"):
        try:
            (chosen,) = select(mounts, stack, only=[point]).filesystems
        except MountError as error:
            assert error.path == point
        else:
            assert chosen.mount_point == point


points = st.lists(st.sampled_from("abc"), max_size=3).map(lambda parts: "/" + "/".join(parts))
devices = st.tuples(st.sampled_from([0, 7, 8]), st.integers(1, 6))
FSTYPES = ["ext4", "xfs", "btrfs", "tmpfs", "nfs4", "fuse.x", "autofs", "overlay", "proc", "vfat"]


@st.composite
def tables(draw: st.DrawFn, *, kernel_like: bool = True) -> list[Mount]:
    """Mount tables; the kernel-like ones are made by mounting one after another."""
    kinds: dict[Device, tuple[str, bool]] = {}
    mounts: list[Mount] = []
    count = draw(st.integers(1, 12))
    for i in range(count):
        device = draw(devices)
        fstype, read_only = kinds.setdefault(
            device, (draw(st.sampled_from(FSTYPES)), draw(st.booleans()))
        )
        if i == 0:
            point, parent = "/", 1
        elif kernel_like:
            # As `do_new_mount` finds its script_dir: the visible mount the path leads to.
            point = draw(points.filter(lambda p: p != "/"))
            reachable = by_mount_point(mounts)
            held = max((p for p in reachable if (point + "/").startswith(p.rstrip("/") + "/")),
                       key=len)  # fmt: skip
            parent = reachable[held].mount_id
        else:
            point, parent = draw(points), draw(st.integers(1, count + 3))
        root = draw(st.sampled_from(["/", "/", "/part"]))
        options = ("ro",) if read_only else ("rw",)
        mounts.append(Mount(i + 2, parent, device, root, point, ("rw",), fstype, "s", options))
    return draw(st.permutations(mounts))


@st.composite
def stacks(draw: st.DrawFn, mounts: list[Mount]) -> BlockStack:
    """Arbitrary stacks under a table: with circles, gaps, and devices nobody mounted."""
    numbers = sorted({m.device for m in mounts} | {(9, 1), (9, 2)})
    some = st.lists(st.sampled_from(numbers), max_size=2).map(tuple)
    described = {}
    for number in draw(st.lists(st.sampled_from(numbers), unique=True)):
        kind = draw(st.sampled_from(["disk", "dm", "loop", "multipath", "partition"]))
        backing = draw(st.sampled_from(numbers)) if kind == "loop" and draw(st.booleans()) else None
        slaves = draw(some) if kind in ("dm", "partition", "multipath") else ()
        described[number] = BlockDevice("x", number, kind, slaves, backing)
    members = {number: draw(some | st.just((number,))) for number in numbers}
    layers = draw(st.dictionaries(st.sampled_from(numbers), some, max_size=1))
    return BlockStack(described, members, layers)


tables_and_stacks = (tables() | tables(kernel_like=False)).flatmap(
    lambda mounts: st.tuples(st.just(mounts), stacks(mounts))
)


def check(mounts: list[Mount], stack: BlockStack, selection: Selection) -> None:
    """What holds of any selection."""
    chosen = {f.mount_id: f for f in selection.filesystems}
    assert len({f.device for f in selection.filesystems}) == len(selection.filesystems)
    # Every mount is either frozen or accounted for.
    left = sorted(m.mount_point for m in mounts if m.mount_id not in chosen)
    assert sorted(s.mount for s in selection.skipped) == left
    assert all(s.reason for s in selection.skipped)
    seen = {m.mount_id for m in visible(mounts)}
    for mount in mounts:
        if mount.mount_id in chosen:
            assert mount.mount_id in seen
            assert mount.facts.obstacle is None
            assert "ro" not in mount.super_options
    levels = {f.device: f.level for f in selection.filesystems}
    assert set(levels.values()) == set(range(len(set(levels.values()))))
    order = [(f.level, f.mount_point) for f in selection.filesystems]
    assert order == sorted(order)
    reach = {device: beneath(stack, device) for device in levels}
    for upper, level in levels.items():
        for lower in reach[upper] & set(levels):
            if upper in reach[lower]:
                assert levels[lower] == level
            else:
                assert levels[lower] > level
    root = by_mount_point(mounts).get("/")
    if root is not None and root.device in levels:
        after = {d for d in levels if levels[d] > levels[root.device]}
        assert after <= reach[root.device]


def beneath(stack: BlockStack, device: Device) -> set[Device]:
    """Slow and plain: everything a filesystem lies on, by going on until nothing is new."""
    found: set[Device] = set(lies_on(stack, device))
    while new := {d for f in found for d in lies_on(stack, f)} - found:
        found |= new
    return found


@given(tables_and_stacks)
def test_a_selection_accounts_for_every_mount_and_respects_every_edge(
    given_data: tuple[list[Mount], BlockStack],
) -> None:
    mounts, stack = given_data
    selection = select(mounts, stack)
    check(mounts, stack, selection)
    # Nothing that can be frozen was forgotten.
    wanted = {m.device for m in visible(mounts)
              if m.facts.obstacle is None and "ro" not in m.super_options}  # fmt: skip
    assert {f.device for f in selection.filesystems} == wanted
    assert isinstance(single_disk(stack, mounts), bool)
    assert whole_disks(stack, wanted) <= whole_disks(stack, {m.device for m in mounts})


@given(tables_and_stacks, st.lists(points, min_size=1, max_size=3), st.lists(points, max_size=2))
def test_named_and_skipped_mounts(
    given_data: tuple[list[Mount], BlockStack], only: list[str], skip: list[str]
) -> None:
    """What is skipped is not frozen; what is named is frozen, or an error names it."""
    mounts, stack = given_data
    skipping = select(mounts, stack, skip=skip)
    check(mounts, stack, skipping)
    frozen = {f.device for f in skipping.filesystems}
    assert not frozen & {m.device for m in visible(mounts) if m.mount_point in skip}
    try:
        selection = select(mounts, stack, only=only, skip=skip)
    except MountError as error:
        assert error.path in map(normalise, only)
    else:
        check(mounts, stack, selection)
        assert sorted(f.mount_point for f in selection.filesystems) == sorted(only)


@given(tables())
def test_what_is_mounted_last_is_visible_and_nothing_is_seen_twice(mounts: list[Mount]) -> None:
    seen = visible(mounts)
    assert max(mounts, key=lambda m: m.mount_id) in seen
    assert len({m.mount_point for m in seen}) == len(seen)


@given(st.data(), st.integers(0, 8))
def test_levels_of_acyclic_stacks_are_tight(data: st.DataObject, count: int) -> None:
    """Each level is used, and each filesystem above level 0 is there for a reason."""
    nodes: list[Device] = [(8, i) for i in range(count)]
    closed: dict[Device, set[Device]] = {}
    for i, node in enumerate(nodes):
        direct = data.draw(st.sets(st.sampled_from(nodes[:i]))) if i else set()
        closed[node] = direct.union(*(closed[d] for d in direct))
    levels = freeze_levels(closed)
    for node in nodes:
        uppers = [levels[u] for u in nodes if node in closed[u]]
        assert levels[node] == max((level + 1 for level in uppers), default=0)
    if nodes:
        root = data.draw(st.sampled_from(nodes))
        raised = freeze_levels(closed, {root})
        assert all(raised[low] > raised[up] for up in nodes for low in closed[up])
        assert all(raised[n] <= raised[root] for n in nodes if n not in closed[root])
        # No level of its own: only what the root lies on may make the whole longer.
        assert max(raised[n] for n in nodes if n not in closed[root]) == max(
            levels[n] for n in nodes if n not in closed[root]
        )
