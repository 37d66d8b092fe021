"""The units in the package: well-formed, as confined as can be, and a real systemd runs them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Pyfreeze, guard
from tests.support.disks import Disk, copy_command, opened_copy, tool
from tests.support.facts import assert_facts
from tests.support.needs import need_program
from tests.support.processes import is_alive, state_pages, supervisors_of
from tests.support.script_dir import ScriptDir
from tests.support.systemd import Systemd
from tests.support.units import PROGRAM, UNITS, Unit
from tests.support.waiting import wait_until

INSTANCE = "shop"
#: Ten times what `systemd-analyze security` says of them: 10 is without any confinement.
EXPOSURE = {"pyfreeze@.service": 67, "pyfreeze-thaw.service": 38, "pyfreeze-thaw@.service": 38}


@pytest.fixture(scope="module")
def analyze() -> str:
    return need_program("systemd-analyze")


def installed(pyfreeze: Pyfreeze, root: Path) -> list[Path]:
    """The units as they lie on a machine after `pyfreeze install`, and one instance of each."""
    done = pyfreeze("install", "--root", str(root), "--prefix", "/usr", "--program", PROGRAM)
    assert_facts(done, exit_status=0, err="")
    paths = []
    for unit in sorted(Path(root, "usr/lib/systemd/system").iterdir()):
        path = unit.with_name(unit.name.replace("@.", f"@{INSTANCE}."))
        path.write_bytes(unit.read_bytes())
        paths.append(path)
    return paths


def test_units_are_well_formed(analyze: str, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    paths = installed(pyfreeze, script_dir.directory)
    assert len(paths) == 4
    for path in paths:
        commands = re.findall(r"^Exec\w+=.*$", path.read_text("utf-8"), flags=re.MULTILINE)
        assert all(f"{PROGRAM} " in line for line in commands)
    assert tool(analyze, "verify", "--man=no", *map(str, paths)) == ""


@pytest.mark.parametrize("name", EXPOSURE)
def test_exposure_does_not_grow(analyze: str, name: str) -> None:
    threshold = f"--threshold={EXPOSURE[name]}"
    tool(analyze, "security", "--offline=true", "--no-pager", threshold, str(UNITS / name))


#: Where the unit is run; its own is asked for below.
SERVICE = f"pyfreeze@{INSTANCE}.service"
#: What is started when that fails.
THAW = f"pyfreeze-thaw@{INSTANCE}.service"


class Scheduled:
    """The units as `pyfreeze install` leaves them, under a systemd that is real."""

    def __init__(self, systemd: Systemd, script_dir: ScriptDir) -> None:
        self.systemd = systemd
        self._place = script_dir

    def boot(self, disks: Sequence[Disk], config: str, snapshot: Sequence[str]) -> None:
        """With the instance's file for these disks, and its output where it is seen."""
        mounts = " ".join(f"--mount '{disk.mount_point}'" for disk in disks)
        words = f"--json --max-window 30 --config '{config}' {mounts} -- {' '.join(snapshot)}"
        guard(shlex.split(words), "/", {})
        file = self._place.path(f"{INSTANCE}.conf")
        file.write_text(f'# A comment\nPYFREEZE_RUN="{words}"\n', encoding="utf-8")
        for unit, prefix in ((SERVICE, ""), (THAW, "thaw-")):
            where = "\n".join(
                f"Standard{stream}=append:{self._place.path(prefix + stream.lower())}"
                for stream in ("Output", "Error")
            )
            self.systemd.add(f"{unit}.d/output.conf", f"[Service]\n{where}\n")
        self.systemd.boot()
        self.systemd.sh(
            f"{PROGRAM} install; install -m 600 {file} /etc/pyfreeze; systemctl daemon-reload"
        )

    def start(self) -> int:
        """Start it and wait until its snapshot command stays in the window; returns the client."""
        self.systemd.do("start", "--no-block", SERVICE)
        wait_until(lambda: self._place.stays, "the snapshot command runs")
        return self.systemd.main_pid(SERVICE)

    def wait_for_end(self) -> None:
        wait_until(lambda: self.state in ("inactive", "failed"), "the unit ends")

    def wait_for_thaw(self) -> None:
        """Until the unit that failed, and what that has started, have ended."""
        wait_until(lambda: self.state == "failed", "the unit fails")
        wait_until(lambda: not self._thaw_job, "what has to thaw has done so")
        assert self.systemd.show(THAW, "Result") == "success"

    @property
    def state(self) -> str:
        return self.systemd.show(SERVICE, "ActiveState")

    @property
    def _thaw_job(self) -> str:
        """One that waits or goes on; empty: it has ended."""
        return self.systemd.ask("list-jobs", "--no-legend", THAW).stdout

    @property
    def thaw_state(self) -> str:
        """Of the unit that is started when this one fails."""
        return self.systemd.show(THAW, "ActiveState")

    @property
    def out(self) -> str:
        """What the client and `thaw` have printed."""
        return self._place.read("output")

    @property
    def err(self) -> str:
        return self._place.read("error")

    @property
    def thaw_err(self) -> str:
        """Of the unit that is started when this one fails."""
        return self._place.read("thaw-error") if self._place.exists("thaw-error") else ""

    @property
    def report(self) -> dict[str, Any]:
        """The client's."""
        report, _ = json.JSONDecoder().raw_decode(self.out)
        assert isinstance(report, dict)
        return report


@pytest.fixture
def scheduled(systemd: Systemd, script_dir: ScriptDir) -> Scheduled:
    return Scheduled(systemd, script_dir)


def test_main_job(disk: Disk, script_dir: ScriptDir, scheduled: Scheduled) -> None:
    """With a pre-script that becomes somebody else, as databases' do."""
    become = script_dir.script("pre", 'setpriv --reuid=65534 --clear-groups id -u >"$D/pre.ran"')
    copy = script_dir.path("copy")
    scheduled.boot([disk], script_dir.config(become), copy_command(disk, copy))
    scheduled.systemd.do("start", SERVICE)  # it is a oneshot: until the end
    assert_facts(scheduled, state="inactive", err="")
    report = scheduled.report
    assert report["consistency"] == "application"
    assert not report["window"]["expired"]
    assert script_dir.read("pre.ran") == "65534\n"
    with opened_copy(disk.fstype, copy):
        pass
    assert scheduled.out.endswith("}\nnothing to thaw\n")


def protection_of(supervisor: int) -> tuple[str, bool]:
    """A supervisor's OOM score, and whether its memory is locked."""
    proc = Path("/proc", str(supervisor))
    score = (proc / "oom_score_adj").read_text(encoding="ascii")
    locked = re.search(r"^VmLck:\s+(\d+)", (proc / "status").read_text("utf-8"), re.MULTILINE)
    assert locked is not None
    return score, int(locked[1]) > 0


def supervisor_of(client: int) -> int:
    (supervisor,) = supervisors_of(client)
    return supervisor


def test_supervisor_is_protected_as_without_the_unit(
    ext4: Disk, script_dir: ScriptDir, scheduled: Scheduled, pyfreeze: Pyfreeze
) -> None:
    config = script_dir.config()
    scheduled.boot([ext4], config, script_dir.blocking_command())
    confined = protection_of(supervisor_of(scheduled.start()))
    scheduled.systemd.do("stop", SERVICE)
    script_dir.path("stay.pid").unlink()
    running = pyfreeze.start_run([ext4], script_dir.blocking_command(), config=config)
    wait_until(lambda: script_dir.stays, "the snapshot command runs")
    free = protection_of(running.supervisor)
    running.process.terminate()
    assert running.finish().status == 128 + signal.SIGTERM
    assert confined == free
    assert confined[1]


def test_stopped_it_thaws_and_runs_the_post_script(
    disk: Disk, script_dir: ScriptDir, scheduled: Scheduled
) -> None:
    """The client alone is asked to end; all that it needs for that still lives."""
    scheduled.boot([disk], script_dir.config(), script_dir.blocking_command())
    scheduled.start()
    scheduled.systemd.do("stop", SERVICE)
    disk.assert_writable()
    assert script_dir.outcomes == ["interrupted"]
    assert "SIGTERM" in scheduled.report["message"]
    assert scheduled.systemd.show(SERVICE, "ExecMainStatus") == str(128 + signal.SIGTERM)
    assert not state_pages()


def test_client_and_supervisor_killed(
    disk: Disk, script_dir: ScriptDir, scheduled: Scheduled
) -> None:
    """The unit's ExecStopPost thaws."""
    scheduled.boot([disk], script_dir.config(), script_dir.blocking_command())
    client = scheduled.start()
    supervisor = supervisor_of(client)
    os.kill(client, signal.SIGSTOP)  # it must not see the supervisor die, and thaw
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not is_alive(supervisor), "the supervisor is dead")
    assert disk.is_frozen()
    os.kill(client, signal.SIGKILL)
    scheduled.wait_for_end()
    assert_facts(scheduled, state="failed", err="")
    assert scheduled.out.startswith(f"thawed {disk.mount_point} ")
    disk.assert_writable()


def kill_by_systemd(scheduled: Scheduled) -> None:
    """As an administrator does."""
    scheduled.systemd.do("kill", "--signal=SIGKILL", SERVICE)


def kill_by_kernel(scheduled: Scheduled) -> None:
    """As systemd-oomd and container managers do."""
    (scheduled.systemd.group(SERVICE) / "cgroup.kill").write_text("1", encoding="ascii")


def stop_in_vain(scheduled: Scheduled) -> None:
    """As one whose client does not end in its time: see the drop-in below."""
    scheduled.systemd.do("stop", SERVICE)


KILLS: dict[str, Callable[[Scheduled], None]] = {
    "systemctl kill": kill_by_systemd,
    "cgroup.kill": kill_by_kernel,
    "stop": stop_in_vain,
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_all_of_it_killed_at_once(
    disk: Disk, script_dir: ScriptDir, scheduled: Scheduled, kill: Callable[[Scheduled], None]
) -> None:
    """What newer kernels start into a control group that was killed dies at once."""
    # With an administrator's mode a stop can end so; with ours, only the client is killed.
    lines = "KillMode=mixed\nKillSignal=SIGURG\nTimeoutStopSec=1"
    scheduled.systemd.add(f"{SERVICE}.d/stop.conf", f"[Service]\n{lines}\n")
    scheduled.boot([disk], script_dir.config(), script_dir.blocking_command())
    scheduled.start()
    assert disk.is_frozen()
    kill(scheduled)
    scheduled.wait_for_thaw()
    disk.assert_writable()
    assert not state_pages()


def test_killed_at_once_again_and_again(
    ext4: Disk, script_dir: ScriptDir, scheduled: Scheduled
) -> None:
    """More often than systemd starts a unit by default: five times in ten seconds."""
    scheduled.systemd.add(f"{SERVICE}.d/often.conf", "[Unit]\nStartLimitIntervalSec=0\n")
    scheduled.boot([ext4], script_dir.config(), script_dir.blocking_command())
    for _ in range(7):
        script_dir.blocking_command()
        scheduled.start()
        kill_by_kernel(scheduled)
        scheduled.wait_for_thaw()
        ext4.assert_writable()
        script_dir.path("stay.pid").unlink()
        script_dir.path("detached.pid").unlink()


def test_stop_whose_time_passes(ext4: Disk, script_dir: ScriptDir, scheduled: Scheduled) -> None:
    """The client alone is killed; the post-script that it waited for goes on."""
    script_dir.waiting_script()
    post = script_dir.script("post", '. "$D/held"; touch "$D/whole"')
    scheduled.systemd.add(f"{SERVICE}.d/stop.conf", "[Service]\nTimeoutStopSec=1\n")
    scheduled.boot([ext4], script_dir.config(None, post), script_dir.blocking_command())
    scheduled.start()
    scheduled.systemd.do("stop", SERVICE)
    assert scheduled.state == "failed"
    assert script_dir.holds, "the post-script was begun"
    ext4.assert_writable()
    wait_until(lambda: "another run" in scheduled.thaw_err, "`thaw` is told of the run")
    assert scheduled.thaw_state == "activating"
    script_dir.release()
    scheduled.wait_for_thaw()
    assert script_dir.exists("whole")
    assert not state_pages()


def test_client_killed(ext4: Disk, script_dir: ScriptDir, scheduled: Scheduled) -> None:
    """The unit ends, and all that is in it, only when the post-script has."""
    script_dir.waiting_script()
    post = script_dir.script("post", '. "$D/held"; touch "$D/whole"')
    scheduled.boot([ext4], script_dir.config(None, post), script_dir.blocking_command())
    os.kill(scheduled.start(), signal.SIGKILL)
    wait_until(lambda: script_dir.holds, "the supervisor runs the post-script")
    assert not ext4.is_frozen()
    wait_until(lambda: "another run" in scheduled.err, "`thaw` has been told of the run")
    assert scheduled.state == "deactivating"
    script_dir.release()
    scheduled.wait_for_end()
    assert script_dir.exists("whole")


def test_one_that_the_lock_refused_waits_for_nobody(
    ext4: Disk, script_dir: ScriptDir, scheduled: Scheduled, pyfreeze: Pyfreeze
) -> None:
    running = pyfreeze.start_run([ext4], [script_dir.waiting_script()])
    wait_until(lambda: script_dir.holds, "another run's snapshot is being taken")
    scheduled.boot([ext4], script_dir.config(), ["true"])
    assert scheduled.systemd.ask("start", SERVICE).returncode != 0
    assert scheduled.systemd.show(SERVICE, "ExecMainStatus") == "4"
    assert scheduled.state == "failed"
    assert script_dir.outcomes == []
    scheduled.wait_for_thaw()
    assert "another run" in scheduled.thaw_err
    script_dir.release()
    assert running.finish().status == 0


def test_timer(ext4: Disk, script_dir: ScriptDir, scheduled: Scheduled) -> None:
    """Its own calendar would have us wait until midnight."""
    name = f"pyfreeze@{INSTANCE}.timer"
    soon = "OnCalendar=\nOnActiveSec=100ms\nAccuracySec=1ms\nRandomizedDelaySec=0"
    scheduled.systemd.add(f"{name}.d/soon.conf", f"[Timer]\n{soon}\nPersistent=no\n")
    scheduled.boot([ext4], script_dir.config(), ["true"])
    scheduled.systemd.do("start", name)
    wait_until(lambda: script_dir.outcomes == ["success"], "the backup has run")
    scheduled.wait_for_end()
    assert scheduled.report["consistency"] == "application"


def leave_frozen(disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A run whose client and supervisor are dead."""
    running = pyfreeze.start_run([disk], script_dir.blocking_command(), "--max-window", "300")
    wait_until(lambda: script_dir.stays, "the snapshot command runs")
    running.kill_with_supervisor()
    assert disk.is_frozen()


def test_thaw_at_boot(
    disk: Disk, script_dir: ScriptDir, systemd: Systemd, pyfreeze: Pyfreeze
) -> None:
    """The unit for the boot thaws what was left."""
    name = "pyfreeze-thaw.service"
    root = script_dir.path("root")
    root.mkdir()
    (unit,) = [path for path in installed(pyfreeze, root) if path.name == name]
    systemd.add(name, unit.read_text("utf-8"))
    systemd.add("sysinit.target.d/enabled.conf", f"[Unit]\nWants={name}\n")
    leave_frozen(disk, script_dir, pyfreeze)
    systemd.boot()
    assert systemd.show(name, "Result") == "success"
    disk.assert_writable()
    assert not state_pages()


def test_no_denied_call_in_a_thaw(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, analyze: str
) -> None:
    unit = Unit("pyfreeze-thaw.service")
    leave_frozen(ext4, script_dir, pyfreeze)
    log = script_dir.path("denied")
    traced = f"--trace={denied_calls(unit)},socket"
    prefix = ["strace", "-f", "-qq", "-o", str(log), traced, "--signal=none"]
    done = pyfreeze("thaw", prefix=prefix)
    assert done.out.startswith(f"thawed {ext4.mount_point} ")
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
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, analyze: str
) -> None:
    log = script_dir.path("denied")
    denied = denied_calls(Unit("pyfreeze@.service"))
    prefix = ["strace", "-f", "-qq", "-o", str(log), f"--trace={denied}", "--signal=none"]
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    assert_facts(done, exit_status=0, code=0)
    assert log.read_text(encoding="utf-8") == ""
