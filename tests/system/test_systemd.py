"""The units in the package: well-formed, as confined as can be, and their commands work."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze, Running, guard
from tests.support.disks import Disk, copy_command, opened_copy, tool
from tests.support.place import Place
from tests.support.processes import helpers, is_alive, state_pages
from tests.support.units import PROGRAM, UNITS, Unit, environment_file
from tests.support.waiting import wait_until

INSTANCE = "shop"
SERVICES = ("pyfreeze@.service", "pyfreeze-thaw.service")
#: Ten times what `systemd-analyze security` says of them: 10 is without any confinement.
EXPOSURE = {"pyfreeze@.service": 67, "pyfreeze-thaw.service": 38}


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None and os.environ.get("PYFREEZE_MUST_WORK") == "1":
        pytest.fail("missing: systemd-analyze")
    if found is None:
        pytest.skip("missing: systemd-analyze")
    return found


def installed(pyfreeze: Pyfreeze, root: Path) -> list[Path]:
    """The units as they lie on a machine after `pyfreeze install`, and one instance of each."""
    done = pyfreeze("install", "--root", str(root), "--prefix", "/usr", "--program", PROGRAM)
    assert (done.status, done.err) == (0, "")
    paths = []
    for unit in sorted(Path(root, "usr/lib/systemd/system").iterdir()):
        path = unit.with_name(unit.name.replace("@.", f"@{INSTANCE}."))
        path.write_bytes(unit.read_bytes())
        paths.append(path)
    return paths


def test_units_are_well_formed(analyze: str, place: Place, pyfreeze: Pyfreeze) -> None:
    paths = installed(pyfreeze, place.directory)
    assert len(paths) == 3
    for path in paths:
        commands = re.findall(r"^Exec\w+=.*$", path.read_text("utf-8"), flags=re.MULTILINE)
        assert all(f"{PROGRAM} " in line for line in commands)
    assert tool(analyze, "verify", "--man=no", *map(str, paths)) == ""


@pytest.mark.parametrize("name", SERVICES)
def test_exposure_does_not_grow(analyze: str, name: str) -> None:
    threshold = f"--threshold={EXPOSURE[name]}"
    tool(analyze, "security", "--offline=true", "--no-pager", threshold, str(UNITS / name))


class Manager:
    """Runs a unit's commands as systemd would, with no more capabilities than it grants."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.unit = Unit("pyfreeze@.service", INSTANCE)

    def start(self, disks: Sequence[Disk], config: str, snapshot: Sequence[str]) -> Running:
        """ExecStart=, with an EnvironmentFile= for these disks."""
        path = self.unit.value("EnvironmentFile")
        assert path == f"/etc/pyfreeze/{INSTANCE}.conf"
        mounts = " ".join(f"--mount '{disk.mount_point}'" for disk in disks)
        options = f"--json --max-window 30 --config '{config}' {mounts}"
        own = self.place.path(os.path.basename(path))
        own.write_text(
            f'# A comment\nPYFREEZE_RUN="{options} -- {" ".join(snapshot)}"\n', encoding="utf-8"
        )
        environment = environment_file(own)
        words = self.unit.command("ExecStart", environment)
        guard(words, "/", environment)
        return self._execute(words, environment)

    def stop_post(self, exit_code: str) -> Running:
        """ExecStopPost=, after a main process that ended so."""
        return self._execute(self.unit.command("ExecStopPost"), {"EXIT_CODE": exit_code})

    def _execute(self, words: Sequence[str], environment: dict[str, str]) -> Running:
        granted = ",".join(f"+{name}" for name in self.unit.capabilities())
        path = os.path.dirname(PROGRAM) + ":/usr/bin:/bin:/usr/sbin:/sbin"
        return Running(
            ["setpriv", f"--bounding-set=-all,{granted}", *words],
            cwd="/",
            env={"PATH": path, "LANG": "C.UTF-8", **environment},
        )


@pytest.fixture
def manager(place: Place) -> Manager:
    return Manager(place)


def test_main_job(disk: Disk, place: Place, manager: Manager) -> None:
    """With a pre-script that becomes somebody else, as databases' do."""
    become = place.script("pre", 'setpriv --reuid=65534 --clear-groups id -u >"$D/pre.ran"')
    copy = place.path("copy")
    done = manager.start([disk], place.config(become), copy_command(disk, copy)).finish()
    assert (done.status, done.report["consistency"]) == (0, "application"), done.err
    assert place.read("pre.ran") == "65534\n"
    assert done.report["window"]["expired"] is False
    with opened_copy(disk.fstype, copy):
        pass
    after = manager.stop_post("exited").finish()
    assert (after.status, after.out, after.err) == (0, "nothing to thaw\n", "")


def protection_of(running: Running, place: Place) -> tuple[str, bool]:
    """A run's supervisor: its OOM score, and whether its memory is locked."""
    wait_until(lambda: place.stays, "the snapshot command runs")
    proc = Path("/proc", str(running.supervisor))
    score = (proc / "oom_score_adj").read_text(encoding="ascii")
    locked = re.search(r"^VmLck:\s+(\d+)", (proc / "status").read_text("utf-8"), re.MULTILINE)
    assert locked is not None
    running.process.terminate()
    assert running.finish().status == 128 + signal.SIGTERM
    place.path("stay.pid").unlink()
    return score, int(locked[1]) > 0


def test_supervisor_is_protected_as_without_the_unit(
    ext4: Disk, place: Place, manager: Manager, pyfreeze: Pyfreeze
) -> None:
    config = place.config()
    confined = protection_of(manager.start([ext4], config, place.staying()), place)
    free = protection_of(pyfreeze.start_run([ext4], place.staying(), config=config), place)
    assert confined == free
    assert confined[1]
    assert place.outcomes == ["interrupted"] * 2


def test_client_and_supervisor_killed(disk: Disk, place: Place, manager: Manager) -> None:
    running = manager.start([disk], place.config(), place.staying())
    wait_until(lambda: place.stays, "the snapshot command runs")
    supervisor = running.supervisor
    running.signal(signal.SIGSTOP)  # SIGSTOP: it must not see the supervisor die, and thaw
    os.kill(supervisor, signal.SIGKILL)
    running.kill()
    wait_until(lambda: not is_alive(supervisor), "the supervisor is dead")
    assert disk.is_frozen()
    assert state_pages()
    done = manager.stop_post("killed").finish()
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"thawed {disk.mount_point} ")
    disk.assert_writable()


def children_of(pid: int) -> list[str]:
    """The names of a process's children."""
    names = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append(Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip())
    return names


def test_client_killed(ext4: Disk, place: Place, manager: Manager) -> None:
    """The unit ends, and all that is in it, only when the post-script has."""
    place.held()
    post = place.script("post", '. "$D/held"; touch "$D/whole"')
    running = manager.start([ext4], place.config(None, post), place.staying())
    wait_until(lambda: place.stays, "the snapshot command runs")
    running.kill()
    wait_until(lambda: place.holds, "the supervisor runs the post-script")
    assert not ext4.is_frozen()
    # Another unit's, of a run that the lock has refused, waits for nothing.
    assert manager.stop_post("exited").finish().status == 0
    stopping = manager.stop_post("killed")
    wait_until(lambda: "sleep" in children_of(stopping.pid), "it is about to ask again")
    place.go()
    done = stopping.finish()
    assert (done.status, place.exists("whole")) == (0, True), done.err
    wait_until(lambda: not helpers(), "the supervisor ends")


def test_thaw_at_boot(ext4: Disk, place: Place, pyfreeze: Pyfreeze) -> None:
    unit = Unit("pyfreeze-thaw.service")
    assert unit.command("ExecStart") == [PROGRAM, "thaw"]
    granted = ",".join(f"+{name}" for name in unit.capabilities())
    denied = denied_calls(unit)
    running = pyfreeze.start_run([ext4], place.staying(), "--max-window", "300")
    wait_until(lambda: place.stays, "the snapshot command runs")
    supervisor = running.supervisor
    running.signal(signal.SIGSTOP)
    os.kill(supervisor, signal.SIGKILL)
    running.kill()
    wait_until(lambda: not is_alive(supervisor), "the supervisor is dead")
    log = place.path("denied")
    strace = ["strace", "-f", "-qq", "-o", str(log), f"--trace={denied},socket"]
    confined = ["setpriv", "--no-new-privs", f"--bounding-set=-all,{granted}"]
    out = tool(*strace, *confined, *unit.command("ExecStart"))
    assert out.startswith(f"thawed {ext4.mount_point} ")
    assert log.read_text(encoding="utf-8") == ""
    ext4.assert_writable()


def denied_calls(unit: Unit) -> str:
    """What a unit's SystemCallFilter= denies, for strace; the question mark: if it knows them."""
    groups = unit.value("SystemCallFilter").removeprefix("~").split()
    listed = tool("systemd-analyze", "syscall-filter", "--no-pager", *groups)
    calls = re.findall(r"^    (\w+)$", listed, flags=re.MULTILINE)
    assert len(calls) > len(groups)
    return ",".join(f"?{call}" for call in calls)


def test_no_denied_call_in_a_run(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, analyze: str
) -> None:
    log = place.path("denied")
    denied = denied_calls(Unit("pyfreeze@.service"))
    prefix = ["strace", "-f", "-qq", "-o", str(log), f"--trace={denied}", "--signal=none"]
    done = pyfreeze.run([ext4], ["true"], config=place.config(), prefix=prefix)
    assert (done.status, done.report["code"]) == (0, 0), done.err
    assert log.read_text(encoding="utf-8") == ""
