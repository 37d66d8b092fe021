"""The demo's proofs: they hold where they should, and above all fail where they should."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from pyfreeze._demo import proof
from pyfreeze._demo.needs import Missing, missing
from pyfreeze._demo.play import measure_pauses
from pyfreeze._demo.proof import Contents, Moments
from pyfreeze._demo.shop import Order
from pyfreeze._demo.stage import ORDERS
from tests.support.facts import assert_facts
from tests.support.needs import need

MS = 1_000_000
#: Ten orders, one each ms; a pause of 50 ms; ten more.
ORDERS_TAKEN = tuple(
    Order(number, (number if number <= 10 else number + 50) * MS) for number in range(1, 21)
)
MOMENTS = Moments(paused_ns=20 * MS, thawed_ns=40 * MS)
NEVER = Moments(0, 0)
GOOD = Contents("orders.db", "ok", 10, 1, 10, 5500)


def test_a_good_database_passes() -> None:
    assert proof.intact(GOOD).holds
    assert proof.complete(GOOD, ORDERS_TAKEN, MOMENTS).holds
    assert proof.nothing_later(GOOD, ORDERS_TAKEN, MOMENTS).holds
    assert proof.agree(GOOD, GOOD._replace(name="audit.db")).holds
    assert proof.held_still(ORDERS_TAKEN, MOMENTS).holds
    assert proof.went_on(ORDERS_TAKEN, MOMENTS, 10).holds


@pytest.mark.parametrize(
    "contents",
    [
        GOOD._replace(orders=9, last=9),
        GOOD._replace(orders=9, first=2),
        GOOD._replace(orders=9),
        GOOD._replace(orders=0, first=0, last=0),
    ],
    ids=["last-missing", "first-missing", "gap", "empty"],
)
def test_a_missing_order_is_found(contents: Contents) -> None:
    assert not proof.complete(contents, ORDERS_TAKEN, MOMENTS).holds


def test_an_order_too_many_is_found_and_counted() -> None:
    contents = GOOD._replace(orders=12, last=12)
    assert proof.complete(contents, ORDERS_TAKEN, MOMENTS).holds
    later = proof.nothing_later(contents, ORDERS_TAKEN, MOMENTS)
    assert_facts(later, holds=False, found="2")


def test_an_empty_database_proves_nothing() -> None:
    empty = GOOD._replace(orders=0, first=0, last=0, cents=0)
    assert not proof.complete(empty, (), MOMENTS).holds
    assert not proof.nothing_later(empty, ORDERS_TAKEN, MOMENTS).holds
    assert not proof.agree(empty, empty).holds


@pytest.mark.parametrize(
    "other", [GOOD._replace(cents=5501), GOOD._replace(orders=9), GOOD._replace(last=11)]
)
def test_databases_that_differ_do_not_agree(other: Contents) -> None:
    assert not proof.agree(GOOD, other).holds


def test_without_a_pause_nothing_holds() -> None:
    assert not proof.complete(GOOD, ORDERS_TAKEN, NEVER).holds
    assert not proof.nothing_later(GOOD, ORDERS_TAKEN, NEVER).holds
    assert not proof.held_still(ORDERS_TAKEN, NEVER).holds
    assert not proof.went_on(ORDERS_TAKEN, NEVER, 1).holds


def test_an_order_during_the_freeze_is_found() -> None:
    orders = (*ORDERS_TAKEN[:10], Order(11, 30 * MS), *ORDERS_TAKEN[11:])
    still = proof.held_still(orders, MOMENTS)
    assert_facts(still, holds=False, found="1")


def test_a_shop_that_does_not_go_on_is_found() -> None:
    assert not proof.went_on(ORDERS_TAKEN[:10], MOMENTS, 1).holds
    assert not proof.went_on(ORDERS_TAKEN, MOMENTS, 11).holds


def test_pauses_are_the_writers_own() -> None:
    pauses = measure_pauses(ORDERS_TAKEN, MOMENTS)
    assert_facts(pauses, orders=20, usual_ms=1.0, longest_ms=51.0, snapshot_ms=51.0)
    nothing = measure_pauses((), MOMENTS)
    assert_facts(nothing, orders=0, usual_ms=0.0, longest_ms=0.0, snapshot_ms=None)
    assert measure_pauses(ORDERS_TAKEN, NEVER).snapshot_ms is None


# ---- databases -----------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def make_database(path: Path, orders: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, cents INT, item TEXT)")
    rows = [(number, number, "x" * 1000) for number in range(1, orders + 1)]
    connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    return connection


def test_a_copy_is_read_with_its_log(tmp_path: Path, work: Path) -> None:
    connection = make_database(tmp_path / "a.db", 10)
    try:
        assert (tmp_path / "a.db-wal").stat().st_size > 0
        contents = proof.read_copy(str(tmp_path / "a.db"), str(work))
    finally:
        connection.close()
    assert contents == Contents("a.db", "ok", 10, 1, 10, 55)


def test_damage_is_a_result_and_no_exception(tmp_path: Path, work: Path) -> None:
    make_database(tmp_path / "a.db", 100).close()
    with (tmp_path / "a.db").open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(4096))
    assert not proof.intact(proof.read_copy(str(tmp_path / "a.db"), str(work))).holds
    (tmp_path / "b.db").write_bytes(b"no database at all" * 100)
    assert not proof.intact(proof.read_copy(str(tmp_path / "b.db"), str(work))).holds
    assert not proof.intact(proof.read_copy(str(tmp_path / "c.db"), str(work))).holds


# ---- images --------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> Path:
    names = ("mkfs.ext4", "e2fsck", "dumpe2fs")
    tools = [shutil.which(name, path="/usr/sbin:/sbin") for name in names]
    need(name for name, found in zip(names, tools, strict=True) if found is None)
    path = tmp_path / "ext4.img"
    with path.open("xb") as file:
        file.truncate(ORDERS.size)
    assert tools[0] is not None
    subprocess.run([tools[0], "-q", "-F", str(path)], check=True, capture_output=True, timeout=60)
    return path


def ext4(image: Path) -> list[bool]:
    return [one.holds for one in proof.ext4_clean(ORDERS, str(image))]


def patch(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_clean_ext4_passes(image: Path) -> None:
    assert ext4(image) == [True, True]


def test_a_journal_that_must_be_replayed_is_found(image: Path) -> None:
    with image.open("rb") as file:
        file.seek(1024 + 0x60)
        features = file.read(1)[0]
    patch(image, 1024 + 0x60, bytes([features | 0x4]))
    assert ext4(image)[1] is False


def test_a_damaged_ext4_is_found(image: Path) -> None:
    patch(image, 1024 + 0x0C, b"\xff\xff")  # s_free_blocks_count_lo
    assert ext4(image)[0] is False


def test_no_ext4_at_all_is_found(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(bytes(1 << 16))
    assert ext4(path) == [False, False]


XFS_USUAL = "Phase 1 - find and verify superblock...\n        - agno = 0\nPhase 7\n"
XFS_MARK = (
    "ALERT: The filesystem has valuable metadata changes in a log which is being\n"
    "ignored because the -n option was used.  Expect spurious inconsistencies\n"
    "which may be resolved by first mounting the filesystem to replay the log.\n"
)


def test_what_every_frozen_xfs_makes_xfs_repair_say_is_no_complaint() -> None:
    said = XFS_USUAL + XFS_MARK + "sb_fdblocks 59947, counted 60372\n"
    assert proof._xfs_complaints(said, XFS_USUAL) == []


def test_whatever_else_it_says_is_one() -> None:
    for line in ("agf_freeblks 1, counted 2 in ag 0", "sb_ifree 1, counted 2", "bad magic # 0x0"):
        said = f"{XFS_USUAL}{XFS_MARK}{line}\n"
        assert proof._xfs_complaints(said, XFS_USUAL) == [line]


# ---- what is missing -----------------------------------------------------------------------------


def test_everything_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("pyfreeze._demo.needs._kernel_has", lambda _: False)
    monkeypatch.setattr("pyfreeze._demo.needs._LOOP_CONTROL", "/nowhere")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = list(missing())
    assert found[0] == Missing("root", "this runs as uid 1000: try sudo", None)
    assert {one.name: one.package for one in found if one.found == "not installed"} == {
        "cp": "coreutils",
        "mount": "mount",
        "mkfs.ext4": "e2fsprogs",
        "dumpe2fs": "e2fsprogs",
        "e2fsck": "e2fsprogs",
        "mkfs.xfs": "xfsprogs",
        "xfs_repair": "xfsprogs",
    }
    assert {"loop devices (/nowhere)", "ext4 in the kernel", "xfs in the kernel"} < {
        one.name for one in found
    }
