"""The quiesce scripts of a service, with a real systemd and the kernel's cgroup.freeze."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk, tool
from tests.support.facts import assert_facts
from tests.support.quiesce import QuiesceScripts, assert_application, failed_script, output_of
from tests.support.script_dir import ScriptDir
from tests.support.systemd import Systemd
from tests.support.waiting import wait_until

UNIT = "shop.service"
#: It counts in a file, as fast as it can, and says when it has stopped in order.
_PROGRAM = """\
trap 'echo stopped >>"$D/ends"; exit' TERM
while :; do number=$((number + 1)); echo $number >"$D/count"; done
"""


@pytest.fixture
def shop(ext4: Disk, script_dir: ScriptDir, systemd: Systemd) -> Systemd:
    """The service runs."""
    systemd.add(UNIT, f"[Service]\nExecStart={script_dir.script('shop', _PROGRAM)}\n")
    systemd.boot()
    systemd.do("start", UNIT)
    wait_until(lambda: script_dir.exists("count"), "the service counts")
    return systemd


def scripts_of(pyfreeze: Pyfreeze, script_dir: ScriptDir, **settings: object) -> QuiesceScripts:
    return QuiesceScripts(pyfreeze, script_dir, "systemd", unit=UNIT, **settings)


def wait_for_more(script_dir: ScriptDir) -> None:
    before = script_dir.read("count")
    wait_until(lambda: script_dir.read("count") not in (before, ""), "the service goes on")


def release_timers(systemd: Systemd) -> list[str]:
    """The timers that would let it go on."""
    listed = systemd.ask("list-units", "--all", "--plain", "--no-legend", "pyfreeze-release-*")
    return listed.stdout.splitlines()


def test_frozen_it_stands_still_and_afterwards_goes_on(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, shop: Systemd
) -> None:
    scripts = scripts_of(pyfreeze, script_dir)
    look = f'systemctl show --property=FreezerState --value {UNIT} >"$D/state"'
    command = f'{look}\ncp "$D/count" "$D/first"; sleep 0.1; cp "$D/count" "$D/last"'
    main = shop.main_pid(UNIT)
    report = pyfreeze.run(
        [ext4], [script_dir.script("snapshot", command)], config=scripts.config, prefix=shop.words()
    ).report
    assert_application(report)
    assert f"{UNIT}: frozen" in output_of(report, "pre")
    assert script_dir.read("state") == "frozen\n"
    assert script_dir.read("first") == script_dir.read("last")
    wait_for_more(script_dir)
    assert shop.main_pid(UNIT) == main, "it was started anew"
    assert release_timers(shop) == []


def test_stopped_it_ends_in_order_and_is_started_again(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, shop: Systemd
) -> None:
    scripts = scripts_of(pyfreeze, script_dir, method="stop")
    look = f'! systemctl is-active {UNIT} >"$D/state"; cp "$D/ends" "$D/inside"'
    report = pyfreeze.run(
        [ext4], [script_dir.script("snapshot", look)], config=scripts.config, prefix=shop.words()
    ).report
    assert_application(report)
    assert script_dir.read("state") == "inactive\n"
    assert script_dir.read("inside") == "stopped\n"
    wait_for_more(script_dir)
    assert release_timers(shop) == []


def test_one_that_is_not_running_stays_so(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, shop: Systemd
) -> None:
    shop.do("stop", UNIT)
    scripts = scripts_of(pyfreeze, script_dir, method="stop")
    report = pyfreeze.run([ext4], ["true"], config=scripts.config, prefix=shop.words()).report
    assert_application(report)
    assert "nothing to hold" in output_of(report, "pre")
    assert shop.show(UNIT, "ActiveState") == "inactive"


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("shpo.service", "found a unit that is not-found, expected one loaded"),
        ("slow.service", "found it activating, expected active or inactive"),
    ],
)
def test_one_that_is_not_known_to_be_quiet(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, systemd: Systemd, unit: str, words: str
) -> None:
    """An unknown unit and one that is just starting fail the pre-script."""
    systemd.add("slow.service", "[Service]\nExecStartPre=sleep 600\nExecStart=sleep 600\n")
    systemd.boot()
    systemd.do("start", "--no-block", "slow.service")
    scripts = scripts_of(pyfreeze, script_dir)
    scripts.set(unit=unit)
    prefix = systemd.words()
    report = pyfreeze.run([ext4], ["true"], config=scripts.config, prefix=prefix).report
    assert_facts(report, consistency="filesystem", code=300)
    assert words in failed_script(report, "pre")


def test_one_that_cannot_be_asked_about(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """When systemctl fails, so does the pre-script, with systemctl's words."""
    refusing = script_dir.script("systemctl", "echo no bus >&2; exit 1")
    scripts = scripts_of(pyfreeze, script_dir, systemctl=refusing)
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert report["code"] == 300
    assert "no bus" in failed_script(report, "pre")


def test_one_that_cannot_be_frozen_in_time_goes_on(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, systemd: Systemd
) -> None:
    """It waits in the kernel for a filesystem that somebody else has frozen."""
    file = ext4.path("written")
    systemd.add(
        UNIT, f"[Service]\nExecStart={script_dir.script('writes', f'echo 1 >{file}; sleep 600')}\n"
    )
    systemd.boot()
    ext4.freeze()
    try:
        systemd.do("start", UNIT)
        stat = Path(f"/proc/{systemd.main_pid(UNIT)}/stat")
        wait_until(lambda: " D " in stat.read_text("utf-8"), "it waits in the kernel")
        scripts = scripts_of(pyfreeze, script_dir, wait_s="0.3")
        report = pyfreeze.run(
            [ext4], ["true"], "--no-freeze", config=scripts.config, prefix=systemd.words()
        ).report
    finally:
        ext4.thaw()
    assert_facts(report, consistency="crash", code=300)
    assert "did not end within 0.3 s (wait_s)" in failed_script(report, "pre")
    wait_until(lambda: systemd.show(UNIT, "FreezerState") == "running", "it goes on")
    file.unlink()


def test_one_that_somebody_else_let_go_on(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, shop: Systemd
) -> None:
    """A unit that somebody thawed in the window fails the post-script."""
    scripts = scripts_of(pyfreeze, script_dir)
    thaw = ["systemctl", "thaw", UNIT]
    report = pyfreeze.run([ext4], thaw, config=scripts.config, prefix=shop.words()).report
    assert_facts(report, consistency="filesystem", code=301)
    assert "somebody else let it go on" in failed_script(report, "post")


def test_at_its_deadline_the_holder_lets_go_and_the_post_script_fails(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, shop: Systemd
) -> None:
    scripts = scripts_of(pyfreeze, script_dir, hold_at_most_s="0.2")
    command = [script_dir.script("snapshot", scripts.waiting_for("lost"))]
    report = pyfreeze.run([ext4], command, config=scripts.config, prefix=shop.words()).report
    assert_facts(report, consistency="filesystem", code=301)
    wait_for_more(script_dir)
    assert release_timers(shop) == []


@pytest.mark.parametrize("method", ["freeze", "stop"])
def test_systemd_itself_lets_it_go_on_when_the_holder_was_killed(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, shop: Systemd, method: str
) -> None:
    scripts = scripts_of(pyfreeze, script_dir, method=method, hold_at_most_s="0.2", wait_s="2")
    running = pyfreeze.start_run(
        [ext4],
        [script_dir.waiting_script()],
        "--no-freeze",
        config=scripts.config,
        prefix=shop.words(),
    )
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    tool(*shop.words("kill", "-KILL", str(scripts.holder)))
    assert len(release_timers(shop)) > 0
    script_dir.release()
    report = running.finish().report
    assert report["code"] == 301
    assert "not application-consistent" in failed_script(report, "post")
    wait_for_more(script_dir)
    wait_until(lambda: release_timers(shop) == [], "the release timer has gone")


@pytest.mark.parametrize(
    ("setting", "value"), [("unit", ""), ("unit", "-shop"), ("method", "sleep")]
)
def test_settings_that_are_wrong(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, setting: str, value: str
) -> None:
    """The pre-script fails and names the setting, its value and what it expects."""
    scripts = QuiesceScripts(pyfreeze, script_dir, "systemd", unit=UNIT)
    scripts.set(**{setting: value})
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert report["code"] == 300
    assert f'setting {setting}: found "{value}", expected' in failed_script(report, "pre")
