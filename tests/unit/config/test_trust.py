"""The permission checks, against real files of every wrong kind."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pyfreeze._config.trust import (
    FREEZE_CONFIG,
    HOST_CONFIG,
    SCRIPT,
    SCRIPT_CONFIG,
    Requirement,
    TrustError,
    check,
)

NOBODY = 65534


def make(path: Path, mode: int = 0o600, content: bytes = b"content") -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(path: Path | str, requirement: Requirement = SCRIPT_CONFIG) -> TrustError:
    open_before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(TrustError) as caught:
        check(str(path), requirement)
    assert set(os.listdir("/proc/self/fd")) == open_before
    assert caught.value.path == str(path)
    assert str(caught.value).isprintable()
    return caught.value


def test_a_good_file_is_read_and_its_real_path_returned(root_dir: Path) -> None:
    path = make(root_dir / "c.json", content=b"{}")
    open_before = set(os.listdir("/proc/self/fd"))
    assert check(str(path), SCRIPT_CONFIG) == (str(path), b"{}")
    assert set(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize(
    ("requirement", "good", "bad"),
    [
        (SCRIPT_CONFIG, (0o600, 0o400, 0o200), (0o640, 0o604, 0o644, 0o700, 0o601, 0o777)),
        (HOST_CONFIG, (0o600, 0o644, 0o640, 0o444, 0o744), (0o664, 0o646, 0o654, 0o645, 0o622)),
        (FREEZE_CONFIG, (0o600, 0o644), (0o664, 0o666)),
        (
            SCRIPT,
            (0o700, 0o500),
            (0o755, 0o710, 0o701, 0o600, 0o400, 0o100, 0o300, 0o4700, 0o2700, 0o000),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Requirement) else "",
)
def test_modes(
    root_dir: Path, requirement: Requirement, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    path = make(root_dir / "file")
    for mode in good:
        path.chmod(mode)
        assert check(str(path), requirement).path == str(path)
    for mode in bad:
        path.chmod(mode)
        error = refused(path, requirement)
        assert error.problem == "mode", oct(mode)
        assert f"{mode:04o}" in error.found


def test_the_message_names_path_found_and_needed(root_dir: Path) -> None:
    path = make(root_dir / "x.json", 0o644)
    assert str(refused(path)) == (
        f"{path}: mode 0644 (-rw-r--r--), needed 0600 or stricter: no group or other bit, "
        "no execute bit"
    )


@pytest.mark.parametrize("requirement", [SCRIPT_CONFIG, HOST_CONFIG, FREEZE_CONFIG, SCRIPT])
def test_another_owner(root_dir: Path, requirement: Requirement) -> None:
    path = make(root_dir / "file", 0o700 if requirement is SCRIPT else 0o600)
    os.chown(path, NOBODY, 0)
    error = refused(path, requirement)
    assert error.problem == "owner"
    assert str(NOBODY) in error.found


def test_another_group_is_fine(root_dir: Path) -> None:
    path = make(root_dir / "file")
    os.chown(path, 0, NOBODY)
    assert check(str(path), SCRIPT_CONFIG).content == b"content"


def test_a_script_is_not_read(root_dir: Path) -> None:
    path = make(root_dir / "pre.sh", 0o700)
    assert check(str(path), SCRIPT) == (str(path), b"")


def test_a_hard_link_is_fine(root_dir: Path) -> None:
    path = make(root_dir / "one")
    (root_dir / "two").hardlink_to(path)
    assert check(str(root_dir / "two"), SCRIPT_CONFIG).content == b"content"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777, 0o722])
def test_a_directory_that_others_write_to(root_dir: Path, mode: int) -> None:
    directory = root_dir / "open"
    below = directory / "closed"
    below.mkdir(parents=True)
    path = make(below / "file")
    directory.chmod(mode)
    error = refused(path)
    assert error.problem == "mode"
    assert f"directory {directory} " in error.found
    assert f"{mode:04o}" in error.found


def test_a_directory_of_another_owner(root_dir: Path) -> None:
    directory = root_dir / "theirs"
    directory.mkdir(mode=0o700)
    path = make(directory / "file")
    os.chown(directory, NOBODY, 0)
    error = refused(path)
    assert error.problem == "owner"
    assert f"directory {directory} " in error.found


def test_the_sticky_bit_of_tmp_is_no_excuse(tmp_path: Path) -> None:
    if Path("/tmp").stat().st_mode & 0o1777 != 0o1777:
        pytest.skip("/tmp is not the usual one")
    path = tmp_path / "file"
    path.touch(0o600)
    if str(path).startswith("/tmp/"):
        assert refused(path).problem == "mode"


def test_missing(root_dir: Path) -> None:
    assert refused(root_dir / "no.json").problem == "missing"
    assert refused(root_dir / "no" / "no.json").problem == "missing"


def test_a_file_in_place_of_a_directory(root_dir: Path) -> None:
    path = make(root_dir / "file")
    error = refused(path / "below")
    assert error.problem == "directory"
    assert str(path) in error.found


@pytest.mark.parametrize("ending", ["/", "/.", "//", "/../file"])
def test_a_file_is_no_directory_at_the_end_either(root_dir: Path, ending: str) -> None:
    path = make(root_dir / "file")
    assert refused(f"{path}{ending}").problem == "directory"


@pytest.mark.parametrize("requirement", [SCRIPT_CONFIG, SCRIPT])
def test_what_is_no_regular_file_is_never_opened(
    root_dir: Path, requirement: Requirement, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root_dir / "directory").mkdir()
    os.mkfifo(root_dir / "FIFO", 0o700)
    os.mknod(root_dir / "device", 0o700 | 0o020000, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root_dir / "socket"))
        opened_for_io = []
        real_open = os.open

        def spy(path: str, flags: int, *args: object, **kwargs: object) -> int:
            if not flags & os.O_PATH:
                opened_for_io.append(path)
            return real_open(path, flags, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", spy)
        for kind in ("directory", "FIFO", "device", "socket"):
            error = refused(root_dir / kind, requirement)
            assert error.problem == "type"
            assert kind in error.found
    assert opened_for_io == []


@pytest.mark.parametrize("path", ["/", "//", "/.", "/..", "/run/..", "/run/."])
def test_a_path_that_ends_in_a_directory(root_dir: Path, path: str) -> None:
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
    error = refused(path)
    assert error.problem == "unreadable"
    assert word in error.found


def test_the_longest_path(root_dir: Path) -> None:
    path = make(root_dir / "file")
    longest = "/" * (4095 - len(str(path))) + str(path)
    assert check(longest, SCRIPT_CONFIG).path == str(path)
    assert refused("/" + longest).problem == "unreadable"


def test_a_name_that_is_too_long(root_dir: Path) -> None:
    assert refused(root_dir / ("x" * 256)).problem == "unreadable"
    assert refused(root_dir / ("x" * 256) / "file").problem == "unreadable"


def test_a_name_with_a_newline_stays_on_one_line(root_dir: Path) -> None:
    path = make(root_dir / "a\nb", 0o644)
    assert "\\n" in str(refused(path))


def test_a_name_that_is_not_utf8(root_dir: Path) -> None:
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
        assert check(str(root_dir / name), SCRIPT_CONFIG) == (str(path), b"content")


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
    directory = root_dir / "open"
    directory.mkdir()
    make(root_dir / "file")
    directory.chmod(0o777)
    assert f"directory {directory} " in refused(f"{directory}/../file").found


def test_loops_of_symlinks(root_dir: Path) -> None:
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


def test_configurations_may_be_as_large_as_a_mebibyte() -> None:
    assert {SCRIPT_CONFIG.max_bytes, HOST_CONFIG.max_bytes, FREEZE_CONFIG.max_bytes} == {1048576}


def test_sizes(root_dir: Path) -> None:
    limit = SCRIPT_CONFIG.max_bytes
    path = make(root_dir / "file", content=b"x" * limit)
    assert len(check(str(path), SCRIPT_CONFIG).content) == limit
    make(path, content=b"x" * (limit + 1))
    error = refused(path)
    assert error.problem == "size"
    assert f"{limit + 1} bytes" in error.found
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: must be refused, not read
    assert f"{1 << 40} bytes" in refused(path).found
    make(path, content=b"")
    assert check(str(path), SCRIPT_CONFIG).content == b""


def test_a_size_that_is_not_what_it_says(root_dir: Path) -> None:
    """Files of the kernel have size 0; the bound on what is read must hold without it."""
    assert root_dir
    proc_file = HOST_CONFIG._replace(max_bytes=10)
    error = refused("/proc/meminfo", proc_file)
    assert (error.problem, error.found) == ("size", "11 bytes")


def test_a_swap_between_look_and_read_is_seen(
    root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides is the descriptor that is read, not the look at the name before it."""
    path = make(root_dir / "file")
    bad = make(root_dir / "bad", 0o644, b"evil")
    real_open = os.open

    def swapping_open(name: str, flags: int, *args: object, **kwargs: object) -> int:
        if not flags & os.O_PATH and bad.exists():
            bad.rename(path)
        return real_open(name, flags, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swapping_open)
    assert refused(path).problem == "mode"
    assert not bad.exists()


@pytest.mark.parametrize("kind", ["fifo", "symlink"])
def test_a_swap_for_something_else_neither_hangs_nor_leads_elsewhere(
    root_dir: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = make(root_dir / "file")
    other = make(root_dir / "other")
    real_open = os.open

    def swapping_open(name: str, flags: int, *args: object, **kwargs: object) -> int:
        if not flags & os.O_PATH:
            path.unlink()
            if kind == "fifo":
                os.mkfifo(path, 0o600)
            else:
                path.symlink_to(other)
        return real_open(name, flags, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swapping_open)
    assert refused(path).problem == ("type" if kind == "fifo" else "unreadable")


def test_a_swapped_directory_does_not_matter_once_it_is_entered(
    root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk holds the directory it checked, so it reads from that one."""
    (root_dir / "d").mkdir(mode=0o700)
    (root_dir / "evil").mkdir(mode=0o700)
    make(root_dir / "d" / "file", content=b"good")
    make(root_dir / "evil" / "file", content=b"evil")
    real_open = os.open

    def swapping_open(name: str, flags: int, *args: object, **kwargs: object) -> int:
        if name == "file" and (root_dir / "evil").exists():
            (root_dir / "d").rename(root_dir / "old")
            (root_dir / "evil").rename(root_dir / "d")
        return real_open(name, flags, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swapping_open)
    assert check(str(root_dir / "d" / "file"), SCRIPT_CONFIG).content == b"good"


def test_a_read_error_is_a_trust_error(root_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(root_dir / "file")

    def failing_read(_fd: int, _size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", failing_read)
    error = refused(path)
    assert error.problem == "unreadable"
    assert "Input/output error" in error.found


def test_descriptors_running_out_is_a_trust_error(
    root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(root_dir / "file")

    def failing_open(*_args: object, **_kwargs: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", failing_open)
    assert refused(path).problem == "unreadable"


def test_noexec_matters_to_scripts_alone(
    root_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = make(root_dir / "pre.sh", 0o700)
    config = make(root_dir / "file")
    (root_dir / "link").symlink_to(script)
    flags = list(os.statvfs(root_dir))
    flags[8] |= os.ST_NOEXEC
    monkeypatch.setattr(os, "fstatvfs", lambda _fd: os.statvfs_result(flags))
    assert str(refused(script, SCRIPT)) == (
        f"{script}: a filesystem mounted noexec, needed one that programs can be run from"
    )
    assert f"{script} on a filesystem" in refused(root_dir / "link", SCRIPT).found
    assert check(str(config), SCRIPT_CONFIG).content == b"content"


def test_a_script_on_a_noexec_mount(root_dir: Path) -> None:
    """On a real mount, in a mount namespace of its own."""
    program = (
        "import sys; from pyfreeze._config.trust import *\n"
        "try: check(sys.argv[1], SCRIPT)\n"
        "except TrustError as error: print(error.problem, error)\n"
        "else: print('passed')"
    )
    make(root_dir / "pre.sh", 0o700)
    mounted = root_dir / "mounted"
    mounted.mkdir()
    shell = (
        'mount -t tmpfs -o "$1,mode=755" none "$2/mounted" && cp -p "$2/pre.sh" "$2/mounted/" && '
        'exec "$3" -c "$4" "$2/mounted/pre.sh"'
    )
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    said = []
    for option in ("noexec", "exec"):
        done = subprocess.run(
            [
                "unshare",
                "-m",
                "sh",
                "-c",
                shell,
                "sh",
                option,
                str(root_dir),
                sys.executable,
                program,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 and os.environ.get("PYFREEZE_MUST_WORK") != "1":
            pytest.skip(f"cannot mount here: {done.stderr}")
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0].startswith("noexec ")
    assert "mounted noexec" in said[0]
    assert said[1] == "passed\n"


def test_the_error_survives_pickling() -> None:
    error = refused("relative")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.problem) == (str(error), error.problem)
