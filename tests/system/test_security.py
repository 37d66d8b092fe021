"""The claims of SECURITY.md that no other test shows."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import pyfreeze as library
from pyfreeze._core import run as core
from tests.support.command import Done, Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import state_pages
from tests.support.script_dir import ScriptDir
from tests.support.waiting import holds_within, wait_until

# ---- the state directory -------------------------------------------------------------------------

#: Where struct pf_page has `rcu_saved`.
RCU_SAVED = 108
#: What somebody has put where the state directory is to be, as shell commands; $0 is a directory.
DIRECTORIES = {
    "symlink": 'ln -s "$0" /run/pyfreeze',
    "dangling symlink": 'ln -s "$0/none" /run/pyfreeze',
    "file": "touch /run/pyfreeze",
    "owner": "mkdir -m 700 /run/pyfreeze && chown 65534 /run/pyfreeze",
    "group writes": "mkdir -m 770 /run/pyfreeze",
    "all write": "mkdir -m 1777 /run/pyfreeze",
}
#: And what is in their own one.
ENTRIES = {
    "lock is a symlink": 'ln -s "$0/none" /run/pyfreeze/lock',
    "lock is a directory": "mkdir /run/pyfreeze/lock",
    "page is a symlink": 'touch "$0/page" && ln -s "$0/page" /run/pyfreeze/theirs.state',
}


def behind(commands: str, target: Path) -> list[str]:
    """Words before a command, which has an empty /run of its own in which these ran first."""
    own_run = "mount -t tmpfs -o mode=755 pyfreeze-tests /run"
    return [
        *("unshare", "--mount", "--propagation", "private"),
        *("sh", "-c", f'{own_run} && {commands} && exec "$@"', str(target)),
    ]


def assert_refused(done: Done, script_dir: ScriptDir, target: Path, before: list[str]) -> None:
    assert done.status == 1, done.err
    done.assert_one_line("/run/pyfreeze")
    assert not script_dir.exists("snapshot.ran")
    assert sorted(os.listdir(target)) == before
    assert all(path.stat().st_size == 0 for path in target.iterdir())


@pytest.fixture
def target(script_dir: ScriptDir) -> Path:
    path = script_dir.path("target")
    path.mkdir()
    return path


@pytest.mark.parametrize("commands", DIRECTORIES.values(), ids=DIRECTORIES)
def test_state_directory_made_by_somebody_else(
    commands: str, ext4: Disk, script_dir: ScriptDir, target: Path, pyfreeze: Pyfreeze
) -> None:
    """It is refused, and nothing is written into it or through it."""
    command = [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]
    words = ["run", "--no-scripts", "--mount", ext4.mount_point, "--json", "--", *command]
    assert_refused(pyfreeze(*words, prefix=behind(commands, target)), script_dir, target, [])


@pytest.mark.parametrize("commands", ENTRIES.values(), ids=ENTRIES)
def test_entries_of_the_state_directory_that_are_not_ours(
    commands: str, ext4: Disk, script_dir: ScriptDir, target: Path, pyfreeze: Pyfreeze
) -> None:
    """They are refused, and neither followed nor changed."""
    command = [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]
    words = ["run", "--no-scripts", "--mount", ext4.mount_point, "--json", "--", *command]
    prefix = behind(f"mkdir -m 700 /run/pyfreeze && {commands}", target)
    before = ["page"] if "page" in commands else []
    assert_refused(pyfreeze(*words, prefix=prefix), script_dir, target, before)


@pytest.mark.parametrize("kind", ["owner", "group writes", "all write"])
def test_thaw_believes_no_page_of_somebody_else(
    kind: str, script_dir: ScriptDir, target: Path, pyfreeze: Pyfreeze
) -> None:
    """It would thaw what others have frozen, and write into rcu_expedited."""
    commands = f"{DIRECTORIES[kind]} && touch /run/pyfreeze/theirs.state"
    assert_refused(pyfreeze("thaw", prefix=behind(commands, target)), script_dir, target, [])


@pytest.mark.parametrize("kind", ["symlink", "file"])
def test_page_is_made_anew_or_not_at_all(kind: str, ext4: Disk, target: Path) -> None:
    page = Path(STATE_DIRECTORY, "mine.state")
    victim = target / "victim"
    victim.touch()
    page.symlink_to(victim) if kind == "symlink" else page.touch(0o600)
    try:
        with pytest.raises(library.FreezeError) as caught:
            core.Run((), "mine")
        assert_facts(caught.value, errno=errno.EEXIST, filename=STATE_DIRECTORY)
        assert victim.stat().st_size == 0
    finally:
        page.unlink()


def test_modes_of_the_state(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The page and the lock are root's alone, whatever the umask."""
    running = pyfreeze.start_run(
        [ext4], script_dir.blocking_command(), "--max-window", "60", umask=0
    )
    wait_until(lambda: script_dir.stays, "the snapshot command runs")
    (page,) = state_pages()
    for path, mode in ((page, 0o600), (page.with_name("lock"), 0o600)):
        status = path.lstat()
        assert stat.S_ISREG(status.st_mode)
        assert status.st_uid == 0, path
        assert stat.S_IMODE(status.st_mode) == mode, path
    running.signal(signal.SIGTERM)
    running.finish()


def test_page_from_before_the_last_boot_is_removed_unused(
    rcu_expedited: str, pyfreeze: Pyfreeze
) -> None:
    """What it had raised then is no value of this boot's."""
    page = Path(STATE_DIRECTORY, "old.state")
    with core.Run((), "old"):
        content = bytearray(page.read_bytes())
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    assert content.count(boot_id) == 1
    content[content.index(boot_id)] ^= 1
    content[RCU_SAVED : RCU_SAVED + 4] = b"\1\0\0\0" if rcu_expedited == "0" else bytes(4)
    page.write_bytes(content)
    done = pyfreeze("thaw")
    assert_facts(done, exit_status=0, out="nothing to thaw\n")
    assert not page.exists()
    value = Path("/sys/kernel/rcu_expedited")
    assert holds_within(lambda: value.read_text(encoding="ascii").strip() == rcu_expedited, 5)


# ---- files ---------------------------------------------------------------------------------------

CREATING = ("open", "openat", "openat2", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "symlink",
            "symlinkat", "link", "linkat", "rename", "renameat", "renameat2")  # fmt: skip
_PATH = re.compile(r'(?:AT_FDCWD<(?P<cwd>[^>]*)>|(?P<fd>\d+)<(?P<at>[^>]*)>)?,? ?"(?P<name>[^"]*)"')


def created(log: Path) -> list[str]:
    """The paths that anything traced has asked to be created."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if re.search(r"\bopen(at2?)?\(", line) and "O_CREAT" not in line:
            continue
        call = re.search(r"\b[a-z0-9]+\((.*)", line)
        where = _PATH.match(call[1]) if call else None
        if where:
            found.append(os.path.join(where["cwd"] or where["at"] or "/", where["name"]))
    return found


def test_files_are_made_in_the_state_directory_only(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """By the command, supervisor and reapers; no temporary file in a place that all share."""
    log = script_dir.path("calls")
    calls = ",".join(f"?{call}" for call in CREATING)
    prefix = ["strace", "-f", "-y", "-qq", "-s", "4096", "-o", str(log), f"--trace={calls}"]
    done = pyfreeze.run(
        [ext4],
        ["true"],
        config=script_dir.config(
            script_dir.script("pre", "true"), script_dir.script("post", "true")
        ),
        prefix=prefix,
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert_facts(done, exit_status=0, code=0)
    paths = created(log)
    assert {os.path.dirname(path) for path in paths if path != STATE_DIRECTORY} == {STATE_DIRECTORY}
    assert {os.path.splitext(path)[1] for path in paths if path != STATE_DIRECTORY} == {
        "",
        ".state",
        ".journal",
    }


def test_nothing_installed_is_set_id(pyfreeze: Pyfreeze) -> None:
    package = Path(library.__file__).parent
    files = [path for path in package.rglob("*") if path.is_file()]
    files.append(Path(sys.executable).with_name("pyfreeze"))
    assert any(path.name == "pyfreeze-supervisor" for path in files)
    for path in files:
        assert path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) == 0, path
        assert "security.capability" not in os.listxattr(path), path


# ---- what processes inherit ----------------------------------------------------------------------


def descriptors_of(pid: int) -> dict[int, str]:
    names = os.listdir(f"/proc/{pid}/fd")
    return {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in names}


def test_supervisor_inherits_nothing(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        running = pyfreeze.start_run(
            [ext4],
            script_dir.blocking_command(),
            directory=str(script_dir.directory),
            environment={"LD_DEBUG_OUTPUT": "/nowhere", "SECRET": "x"},
            pass_fds=[secret],
        )
    finally:
        os.close(secret)
    wait_until(lambda: script_dir.stays, "the snapshot command runs")
    supervisor = running.supervisor
    proc = Path("/proc", str(supervisor))
    open_files = descriptors_of(supervisor)
    command_files = descriptors_of(script_dir.blocking_pids()[0])
    assert (proc / "environ").read_bytes() == b""
    assert os.readlink(proc / "cwd") == "/"
    assert [open_files[fd] for fd in range(3)] == ["/dev/null"] * 3
    assert "/etc/passwd" not in open_files.values()
    assert_only_standard(command_files, script_dir)
    running.signal(signal.SIGTERM)
    running.finish()


def assert_only_standard(files: dict[int, str], script_dir: ScriptDir) -> None:
    """Input from nowhere, output to the supervisor; and the script that a shell reads."""
    assert files.pop(0) == "/dev/null"
    assert files.pop(1).startswith("pipe:")
    assert files.pop(2).startswith("pipe:")
    assert set(files.values()) <= {str(script_dir.path("stay")), str(script_dir.path("stay.pid"))}


def words_of(paths: Sequence[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_every_claim_has_its_test() -> None:
    """SECURITY.md names tests; each is there."""
    root = Path(__file__).resolve().parents[2]
    text = (root / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) >= 20
    sources = words_of(
        sorted((root / "tests").rglob("*.py")) + sorted((root / "tests").rglob("*.c"))
    )
    assert {name for name in named if not re.search(rf"\b{name}\(", sources)} == set()
