"""Several plugins side by side, under one host."""

from __future__ import annotations

from typing import Any

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir

# Each waits for the other: this ends only if both run at the same time.
MEETS = """
touch "$D/$PYFREEZE_PHASE.$PYFREEZE_PLUGIN"
while [ ! -e "$D/$PYFREEZE_PHASE.one" ] || [ ! -e "$D/$PYFREEZE_PHASE.two" ]; do sleep 0.01; done
echo "$PYFREEZE_PLUGIN"
"""


def host(
    script_dir: ScriptDir, *configs: str, timeout_s: float = 60, names: tuple[str, ...] = ()
) -> str:
    lines = ["[pre_post]", f"timeoutInSeconds = {timeout_s}", f"numberOfPlugins = {len(configs)}"]
    for i, (config, name) in enumerate(zip(configs, names or ("one", "two"), strict=False)):
        lines += [
            f"pluginName{i} = {name}",
            f"pluginPath{i} = /x",
            f"pluginConfigPath{i} = {config}",
        ]
    path = script_dir.path("host.conf")
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def by_plugin(report: dict[str, Any], phase: str) -> dict[str, dict[str, Any]]:
    return {s["plugin"]: s for s in report["scripts"] if s["phase"] == phase}


def test_plugins_run_side_by_side(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    script = script_dir.script("meets", MEETS)
    configs = [
        script_dir.config(script, script, name=f"{n}.json", timeoutInSeconds=20)
        for n in ("one", "two")
    ]
    done = pyfreeze.run([ext4], ["true"], host_config=host(script_dir, *configs))
    report = done.report
    assert_facts(done, exit_status=0, consistency="application", code=0)
    for phase in ("pre", "post"):
        scripts = by_plugin(report, phase)
        assert {name: s["output"] for name, s in scripts.items()} == {
            "one": "one\n",
            "two": "two\n",
        }


def test_one_failure_counts_and_hides_no_other(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    fails = script_dir.script("fails", "exit 7")
    slow = script_dir.script("slow", "exec sleep 600")
    configs = [
        script_dir.config(fails, name="one.json", timeoutInSeconds=20),
        script_dir.config(slow, name="two.json", timeoutInSeconds=1),
    ]
    report = pyfreeze.run([ext4], ["true"], host_config=host(script_dir, *configs)).report
    assert_facts(report, consistency="filesystem", code=300)
    assert {name: s["code"] for name, s in by_plugin(report, "pre").items()} == {
        "one": 300,
        "two": 308,
    }
    texts = [note["message"] for note in report["notes"]]
    assert any("one:" in text and "status 7" in text for text in texts), texts
    assert any("two:" in text and "1 s" in text for text in texts), texts
    assert len(by_plugin(report, "post")) == 2, "both pre-scripts were started"


def test_the_one_that_must_not_fail_decides(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    fails = script_dir.script("fails", "exit 7")
    configs = [
        script_dir.config(name="one.json", continueBackupOnFailure=False),
        script_dir.config(fails, name="two.json", continueBackupOnFailure=True),
    ]
    words = ("--several-disks",)
    host_file = host(script_dir, *configs)
    report = pyfreeze.run([ext4], ["true"], *words, host_config=host_file).report
    assert_facts(report, status="success", code=300)
    configs[1] = script_dir.config(fails, name="two.json", continueBackupOnFailure=False)
    report = pyfreeze.run([ext4], ["true"], *words, host_config=host_file).report
    assert_facts(report, status="error", code=300, snapshot=None)


def test_a_bad_plugin_keeps_all_scripts_from_running(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    broken = script_dir.path("two.json")
    broken.write_text("{", encoding="utf-8")
    broken.chmod(0o600)
    configs = [script_dir.config(name="one.json"), str(broken)]
    report = pyfreeze.run([ext4], ["true"], host_config=host(script_dir, *configs)).report
    assert_facts(report, consistency="filesystem", code=305)
    assert report["scripts"] == []
    assert not script_dir.exists("pre.ran")


def test_effective_values_are_told(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    config = script_dir.config(timeoutInSeconds=5000, preScriptNoOfRetries=2, appName="shop")
    report = pyfreeze.run(
        [ext4], ["true"], host_config=host(script_dir, config, timeout_s=40)
    ).report
    (plugin,) = report["effective"]["plugins"]
    assert_facts(plugin, pre_timeout_s=40, post_timeout_s=40)
    assert_facts(plugin, pre_retries=2, app_name="shop")
    assert report["effective"]["host_timeout_s"] == 40
    assert [s["timeout_s"] for s in report["scripts"]] == [40, 40]
    assert any("1800" in note["message"] for note in report["notes"]), "the cap is told"
