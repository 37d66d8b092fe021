"""Too little of something: it works all the same, or one line says what is lacking; never half."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from tests.support.command import Done, Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.namespace import STATE_DIRECTORY
from tests.support.processes import helpers
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_MIB = 1 << 20


def assert_nothing_begun(done: Done, script_dir: ScriptDir, *parts: str) -> None:
    assert done.status == 1, done.err
    done.assert_one_line(*parts)
    assert_facts(done, status="error", consistency="none")
    assert not script_dir.exists("pre.ran"), "the application was never asked to wait"
    assert not script_dir.outcomes
    assert done.report["snapshot"] is None


def assert_next_run_works(pyfreeze: Pyfreeze, disk: Disk) -> None:
    done = pyfreeze.run([disk], ["true"])
    assert_facts(done, exit_status=0, consistency="filesystem")


# ---- the state directory -------------------------------------------------------------------------


def in_namespace(script: str) -> list[str]:
    """Words before a command: mounts of its own."""
    run = f'{script}\nexec "$@"'
    return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-ec", run, "sh"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("size=4k", "making the state page: No space left on device"),
        ("nr_inodes=2", "making the state page: No space left on device"),
        ("nr_inodes=1", "taking the lock: No space left on device"),
        ("ro", "taking the lock: Read-only file system"),
    ],
)
def test_state_directory(
    options: str, says: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Full, and full before anything else is in it, and read-only."""
    fill = f"; echo x >{STATE_DIRECTORY}/other" if "size" in options else ""
    prefix = in_namespace(f"mount -t tmpfs -o mode=700,{options} none {STATE_DIRECTORY}{fill}")
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    assert_nothing_begun(done, script_dir, STATE_DIRECTORY, says)
    assert_next_run_works(pyfreeze, ext4)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("mount -t tmpfs -o ro none /run", "Read-only file system"),
        ("mount -t tmpfs none /run; touch /run/pyfreeze", "Not a directory"),
        ("mount -t tmpfs none /run; mkdir /run/it; ln -s it /run/pyfreeze", "Not a directory"),
        ("mount -t tmpfs none /run; mkdir -m 777 /run/pyfreeze", "must belong to root"),
    ],
    ids=["read-only", "file", "symlink", "open-to-all"],
)
def test_run(script: str, says: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A state directory that cannot be used is one line with the reason, and no script has run."""
    prefix = in_namespace(script)
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    assert done.status == 1
    done.assert_one_line("/run/pyfreeze", "opening the state directory", says)
    assert not script_dir.exists("pre.ran")


def test_state_directory_that_is_missing_is_made(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    script = "mount -t tmpfs none /run"
    done = pyfreeze.run([ext4], ["stat", "-c%a", "/run/pyfreeze"], prefix=in_namespace(script))
    assert done.status == 0
    assert done.report["snapshot"]["output"] == "700\n"


# ---- descriptors, processes, memory --------------------------------------------------------------

#: Without CAP_SYS_RESOURCE, so that a hard limit is one.
_WITHOUT = ("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")


def test_twenty_descriptors(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Too few descriptors for a supervisor are one line, and no script has run."""
    prefix = ["prlimit", "--nofile=20", *_WITHOUT]
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    assert_nothing_begun(done, script_dir, "supervisor", "Too many open files")
    assert_next_run_works(pyfreeze, ext4)


def test_a_soft_limit_of_descriptors_is_for_scripts(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The supervisor has what it needs; what it runs has what the caller has."""
    config = script_dir.config(script_dir.script("pre", 'ulimit -n >"$D/pre.limit"'))
    command = ["sh", "-c", "ulimit -Sn; ulimit -Hn"]
    done = pyfreeze.run([ext4], command, config=config, prefix=["prlimit", "--nofile=25:500"])
    assert_facts(done, exit_status=0, consistency="application")
    assert done.report["snapshot"]["output"] == "25\n500\n"
    assert script_dir.read("pre.limit") == "25\n"


def no_forks(script_dir: ScriptDir, which: str) -> list[str]:
    """The supervisor forks once for each of its children; each thread's calls are counted."""
    log = str(script_dir.path("log"))
    inject = f"inject=clone:error=EAGAIN:when={which}"
    return ["strace", "-f", "-qq", "-o", log, "-e", "trace=clone", "-e", inject]


@pytest.mark.parametrize("which", ["2", "3", "3..12"])
def test_no_further_process_for_a_moment(
    which: str, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """EAGAIN of fork() is tried again for 0.2 s."""
    prefix = no_forks(script_dir, which)
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    assert_facts(done, exit_status=0, code=0)
    assert script_dir.outcomes == ["success"]


def test_no_further_process_for_the_snapshot(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The run fails and says why, and the post-script runs all the same."""
    prefix = no_forks(script_dir, "2..12")
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    done.assert_one_line(
        "snapshot command", "could not be executed: Resource temporarily unavailable"
    )
    assert_facts(done, exit_status=1, consistency="none")
    assert script_dir.outcomes == ["none"], "the post-script was pending all the same"


def test_no_further_process_for_a_post_script(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The snapshot is good, its code is 301, and one line says why."""
    prefix = no_forks(script_dir, "3+")
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    done.assert_one_line("post-script", "could not be executed: Resource temporarily unavailable")
    assert_facts(done, exit_status=0, code=301)
    assert script_dir.outcomes == []


@pytest.mark.parametrize("limit_kib", [0, 64, 2700, 4000])
def test_memory_that_cannot_be_locked(
    limit_kib: int, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Nothing, too little, and nearly what is needed: then it goes on without."""
    without = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]
    prefix = ["prlimit", f"--memlock={limit_kib * 1024}", *without]
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    assert_facts(done, exit_status=0, consistency="application")


def test_little_address_space(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """From what the bare command gets by with up to what a run needs."""
    told = []
    for limit in range(_least_address_space(), 512 * _MIB, _MIB):
        prefix = ["prlimit", f"--as={limit}"]
        done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
        wait_until(lambda: not helpers(), "what a client that died has left is done")
        assert script_dir.exists("pre.ran") == bool(script_dir.outcomes)
        if done.status == 0:
            break
        ext4.assert_writable()
        told.append(done.err.startswith("pyfreeze: "))
    # What the interpreter itself still manages to say at its last is not ours.
    assert any(told), "it was never too little"
    assert done.report["consistency"] == "application"


def _least_address_space() -> int:
    """What `pyfreeze explain` needs; below that it is the interpreter that fails to start."""
    words = [sys.executable, "-m", "pyfreeze", "explain", "0"]
    for limit in range(8 * _MIB, 512 * _MIB, _MIB):
        prefix = ["prlimit", f"--as={limit}"]
        # With too little, some interpreters never end.
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run([*prefix, *words], capture_output=True, timeout=5, check=False)
            if done.returncode == 0:
                return limit
    raise AssertionError("the command does not even explain")
