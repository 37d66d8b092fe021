"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pyfreeze._base.files import check_target, read_if_there, replace, save


def test_put_in_place_whole(tmp_path: Path) -> None:
    target = tmp_path / "metrics.prom"
    target.write_text("before", encoding="utf-8")
    seen = target.open(encoding="utf-8")
    save(str(target), "after, longer", mode=0o644)
    with seen:
        assert seen.read() == "before"  # a reader has the old one whole
    assert target.read_text(encoding="utf-8") == "after, longer"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["metrics.prom"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    (target / "in it").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        save(str(target), "text")
    assert os.listdir(tmp_path) == ["directory"]


def test_what_killed_runs_have_left_is_swept_up(tmp_path: Path) -> None:
    left, fresh = tmp_path / ".report.0a1b2c3d.part", tmp_path / ".report.4e5f6a7b.part"
    others = tmp_path / ".another.0a1b2c3d.part"
    for path in (left, fresh, others):
        path.touch()
    for path in (left, others):
        os.utime(path, (0, 0))
    save(str(tmp_path / "report"), "text")
    assert sorted(os.listdir(tmp_path)) == sorted([fresh.name, others.name, "report"])


def test_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    check_target(str(link))
    save(str(link), "text")
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == "text"


def test_bytes_that_are_no_text_are_written_all_the_same(tmp_path: Path) -> None:
    save(str(tmp_path / "report"), os.fsdecode(b"/srv/\xff"))
    assert (tmp_path / "report").read_bytes() == b"/srv/\\udcff"


def test_refused_beforehand(tmp_path: Path) -> None:
    """A directory that is missing, and what is no regular file: before anything is written."""
    with pytest.raises(OSError, match="directory does not exist"):
        check_target(str(tmp_path / "missing" / "file"))
    with pytest.raises(OSError, match="no regular file"):
        check_target(str(tmp_path))
    with pytest.raises(OSError, match="no regular file"):
        check_target("/dev/null")


def test_nothing_to_read_is_nothing(tmp_path: Path) -> None:
    assert read_if_there(str(tmp_path / "missing")) == ""
    assert read_if_there(str(tmp_path)) == ""


def test_a_link_is_replaced_where_its_target_is_not_meant(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before", encoding="utf-8")
    link.symlink_to(real)
    replace(str(link), "text")
    assert not link.is_symlink()
    assert real.read_text(encoding="utf-8") == "before"
    assert link.read_text(encoding="utf-8") == "text"


def test_a_failure_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "file")
    with pytest.raises(FileNotFoundError) as caught:
        replace(path, "text")
    assert caught.value.filename == path
