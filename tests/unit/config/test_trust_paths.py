"""The walk to a file: odd paths, symlinks, and the directories on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyfreeze._base.trust import SCRIPT_CONFIG, TrustError, check
from tests.support.facts import assert_facts

NOBODY = 65534


def make(path: Path, mode: int = 0o600) -> Path:
    path.write_bytes(b"content")
    path.chmod(mode)
    return path


def refused(path: Path | str) -> TrustError:
    open_before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(TrustError) as caught:
        check(str(path), SCRIPT_CONFIG)
    assert set(os.listdir("/proc/self/fd")) == open_before
    assert caught.value.path == str(path)
    assert str(caught.value).isprintable()
    return caught.value


def test_missing(root_dir: Path) -> None:
    """A missing file, or directory above it, is "missing"."""
    assert refused(root_dir / "no.json").problem == "missing"
    assert refused(root_dir / "no" / "no.json").problem == "missing"


def test_a_file_in_place_of_a_directory(root_dir: Path) -> None:
    """A file on the way is named as what it is."""
    path = make(root_dir / "file")
    error = refused(path / "below")
    assert error.problem == "directory"
    assert str(path) in error.found


@pytest.mark.parametrize("ending", ["/", "/.", "//", "/../file"])
def test_a_file_is_no_directory_at_the_end_either(root_dir: Path, ending: str) -> None:
    path = make(root_dir / "file")
    assert refused(f"{path}{ending}").problem == "directory"


@pytest.mark.parametrize("path", ["/", "//", "/.", "/..", "/run/..", "/run/."])
def test_a_path_that_ends_in_a_directory(root_dir: Path, path: str) -> None:
    """A directory is no configuration."""
    assert root_dir
    assert refused(path).problem == "type"


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("", "empty"),
        ("file", "relative"),
        ("./file", "relative"),
        ("/run/a\0b", "NUL"),
        ("\0", "NUL"),
        ("/run/\ud800", "character"),
        ("/" + "x" * 5000, "5001 bytes"),
        ("/" + "a/" * 2046 + "aaa", "4096 bytes"),
    ],
)
def test_what_no_file_can_be_called(path: str, word: str) -> None:
    """A path that open() could not take is refused with the reason."""
    error = refused(path)
    assert error.problem == "unreadable"
    assert word in error.found


def test_the_longest_path(root_dir: Path) -> None:
    """PATH_MAX is the limit."""
    path = make(root_dir / "file")
    longest = "/" * (4095 - len(str(path))) + str(path)
    assert check(longest, SCRIPT_CONFIG).path == str(path)
    assert refused("/" + longest).problem == "unreadable"


def test_a_name_that_is_too_long(root_dir: Path) -> None:
    """NAME_MAX is the limit."""
    assert refused(root_dir / ("x" * 256)).problem == "unreadable"
    assert refused(root_dir / ("x" * 256) / "file").problem == "unreadable"


def test_a_name_with_a_newline_stays_on_one_line(root_dir: Path) -> None:
    path = make(root_dir / "a\nb", 0o644)
    assert "\\n" in str(refused(path))


def test_a_name_that_is_not_utf8(root_dir: Path) -> None:
    """Any bytes can be a name."""
    path = make(root_dir / os.fsdecode(b"caf\xe9"))
    assert check(str(path), SCRIPT_CONFIG).path == str(path)


def test_symlinks_are_resolved(root_dir: Path) -> None:
    real = root_dir / "real"
    real.mkdir()
    path = make(real / "file")
    (root_dir / "absolute").symlink_to(path)
    (root_dir / "relative").symlink_to("real/./../real//file")
    (root_dir / "directory").symlink_to("real")
    (root_dir / "chain").symlink_to("directory/../absolute")
    # Of any owner: nobody can change a symlink, and only root can replace this one.
    os.chown(root_dir / "absolute", NOBODY, NOBODY, follow_symlinks=False)
    for name in ("absolute", "relative", "directory/file", "chain"):
        found = check(str(root_dir / name), SCRIPT_CONFIG)
        assert_facts(found, path=str(path), content=b"content")


def test_dot_dot_after_a_symlink_is_the_parent_of_its_target(root_dir: Path) -> None:
    (root_dir / "one" / "two").mkdir(parents=True)
    path = make(root_dir / "one" / "file")
    (root_dir / "link").symlink_to("one/two")
    assert check(f"{root_dir}/link/../file", SCRIPT_CONFIG).path == str(path)


def test_dot_dot_stops_at_the_root(root_dir: Path) -> None:
    path = make(root_dir / "file")
    assert check(f"/../../..{path}", SCRIPT_CONFIG).path == str(path)


def test_the_target_of_a_symlink_is_what_is_checked(root_dir: Path) -> None:
    path = make(root_dir / "file", 0o666)
    (root_dir / "link").symlink_to(path)
    error = refused(root_dir / "link")
    assert error.problem == "mode"
    assert str(path) in error.found


def test_a_bad_directory_behind_a_symlink(root_dir: Path) -> None:
    """The target's directories are checked."""
    directory = root_dir / "open"
    directory.mkdir()
    make(directory / "file")
    directory.chmod(0o777)
    (root_dir / "link").symlink_to("open/file")
    assert f"directory {directory} " in refused(root_dir / "link").found


def test_a_bad_directory_before_a_symlink(root_dir: Path) -> None:
    """Whoever can write to it can turn the link elsewhere, however good its target is."""
    directory = root_dir / "open"
    directory.mkdir()
    make(root_dir / "file")
    (directory / "link").symlink_to(root_dir / "file")
    directory.chmod(0o777)
    assert f"directory {directory} " in refused(directory / "link").found


def test_a_bad_directory_that_dot_dot_leaves_again(root_dir: Path) -> None:
    """A directory that the path passes through is checked."""
    directory = root_dir / "open"
    directory.mkdir()
    make(root_dir / "file")
    directory.chmod(0o777)
    assert f"directory {directory} " in refused(f"{directory}/../file").found


def test_loops_of_symlinks(root_dir: Path) -> None:
    """A loop is a "loop", wherever in the path it is."""
    (root_dir / "self").symlink_to("self")
    (root_dir / "a").symlink_to("b/x")
    (root_dir / "b").symlink_to("a")
    for name in ("self", "a", "b/file"):
        assert refused(root_dir / name).problem == "loop"


def test_forty_symlinks_and_no_more(root_dir: Path) -> None:
    make(root_dir / "0")
    for i in range(1, 42):
        (root_dir / str(i)).symlink_to(str(i - 1))
    assert check(str(root_dir / "40"), SCRIPT_CONFIG).content == b"content"
    assert refused(root_dir / "41").problem == "loop"


def test_a_dangling_symlink_is_missing(root_dir: Path) -> None:
    (root_dir / "link").symlink_to("nowhere")
    assert refused(root_dir / "link").problem == "missing"


def test_a_path_that_resolves_to_one_too_long(root_dir: Path) -> None:
    """It is refused as unreadable, and the message says why."""
    here = os.open(root_dir, os.O_RDONLY)
    try:
        middle = here
        for _ in range(30):
            os.mkdir("d" * 200, 0o700, dir_fd=middle)
            deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=middle)
            if middle != here:
                os.close(middle)
            middle = deeper
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=middle))
        os.close(middle)
        half = "/".join(["d" * 200] * 15)
        os.symlink(half, root_dir / "half")
        os.symlink(half, f"{root_dir}/half/half")
        error = refused(root_dir / "half" / "half" / "file")
        assert error.problem == "unreadable"
        assert "too long" in error.found
    finally:
        os.close(here)
