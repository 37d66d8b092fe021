"""The permission checks, against real files of every wrong kind."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pyfreeze._base import trust
from pyfreeze._base.trust import (
    FREEZE_CONFIG,
    HOST_CONFIG,
    SCRIPT,
    SCRIPT_CONFIG,
    Requirement,
    TrustError,
    check,
)
from tests.support.facts import assert_facts
from tests.support.needs import give_up

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
    assert_facts(check(str(path), SCRIPT_CONFIG), path=str(path), content=b"{}")
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
    """Each kind of file has its modes, and every other one is refused."""
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
    """A file that is not root's is refused, whatever its kind."""
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
    """A script passes without its content."""
    path = make(root_dir / "pre.sh", 0o700)
    assert_facts(check(str(path), SCRIPT), path=str(path), content=b"")


def test_a_hard_link_is_fine(root_dir: Path) -> None:
    path = make(root_dir / "one")
    (root_dir / "two").hardlink_to(path)
    assert check(str(root_dir / "two"), SCRIPT_CONFIG).content == b"content"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777, 0o722])
def test_a_directory_that_others_write_to(root_dir: Path, mode: int) -> None:
    """Any directory on the way that others can write to is refused."""
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
    """Any directory on the way that is not root's is refused."""
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


def test_configurations_may_be_as_large_as_a_mebibyte() -> None:
    assert {SCRIPT_CONFIG.max_bytes, HOST_CONFIG.max_bytes, FREEZE_CONFIG.max_bytes} == {1048576}


def test_sizes(root_dir: Path) -> None:
    """The limit itself passes; one byte more is refused, and not read."""
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
    assert_facts(error, problem="size", found="11 bytes")


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

    class Failing(io.BytesIO):
        def read(self, _size: int | None = None) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(trust, "open", lambda *_, **__: Failing(), raising=False)
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


def test_noexec_matters_to_scripts_alone(root_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "import sys; from pyfreeze._base.trust import *\n"
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
                "--mount",
                "--propagation=unchanged",  # the session's namespace is private already
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
        if done.returncode != 0:
            give_up(f"cannot mount here: {done.stderr}")
        said.append(done.stdout)
    assert said[0].startswith("noexec ")
    assert "mounted noexec" in said[0]
    assert said[1] == "passed\n"


def test_the_error_survives_pickling() -> None:
    error = refused("relative")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.problem == error.problem
