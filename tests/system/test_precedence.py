"""Options before variables before files before defaults, as the plan of a dry run tells."""

from __future__ import annotations

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk, Disks
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir

#: Key of the file, option; where the plan has it, and its default.
_WINDOW = [
    ("timeout", "--max-window", "max_window_s", 10.0),
    ("SafeFreezeWaitInSeconds", "--freeze-timeout", "freeze_timeout_s", 10.0),
]


def freeze_config(script_dir: ScriptDir, text: str) -> str:
    path = script_dir.path("freeze.conf")
    path.write_text(f"[SnapshotThread]\n{text}\n", encoding="utf-8")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(("key", "option", "field", "default"), _WINDOW)
def test_seconds(
    ext4: Disk,
    script_dir: ScriptDir,
    pyfreeze: Pyfreeze,
    key: str,
    option: str,
    field: str,
    default: float,
) -> None:
    """Option before variable before file before default, for each time."""
    variable = "PYFREEZE_" + option[2:].upper().replace("-", "_")
    words = ["run", "--no-scripts", "--mount", ext4.mount_point, "--dry-run", "--json"]
    file = ["--freeze-config", freeze_config(script_dir, f"{key} = 4")]

    def planned(*more: str, environment: dict[str, str]) -> float:
        done = pyfreeze(*words, *more, "--", "true", environment=environment)
        assert done.status == 0, done.err
        return float(done.report["window"][field])

    assert planned(environment={}) == default
    assert planned(*file, environment={}) == 4
    assert planned(environment={"PYFREEZE_FREEZE_CONFIG": file[1]}) == 4
    assert planned(*file, environment={variable: "5"}) == 5
    assert planned(*file, option, "6", environment={variable: "5"}) == 6


def test_mounts(disks: Disks, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Naming mounts overrules what the file skips; what is skipped by name adds to the file's."""
    one, two, three = (disks[name] for name in ("ext4", "xfs", "btrfs"))
    config = freeze_config(script_dir, f"MountsToSkip = {one.mount_point}")
    words = ["run", "--no-scripts", "--freeze-config", config, "--dry-run", "--json"]

    def chosen(*more: str, **environment: str) -> set[str]:
        done = pyfreeze(*words, *more, "--", "true", environment=environment)
        assert done.status == 0, done.err
        frozen = {one["mount"] for one in done.report["filesystems"]}
        return frozen & {disk.mount_point for disk in (one, two, three)}

    assert chosen() == {two.mount_point, three.mount_point}
    assert chosen(PYFREEZE_SKIP=two.mount_point) == {three.mount_point}
    assert chosen("--skip", three.mount_point, PYFREEZE_SKIP=two.mount_point) == {two.mount_point}
    named = f"{one.mount_point}:{two.mount_point}"
    assert chosen(PYFREEZE_MOUNT=named) == {one.mount_point, two.mount_point}
    assert chosen("--mount", three.mount_point, PYFREEZE_MOUNT=named) == {three.mount_point}


def test_json_by_variable_holds_for_errors_too(pyfreeze: Pyfreeze) -> None:
    environment = {"PYFREEZE_JSON": "1"}
    done = pyfreeze("run", "--dry-run", "--frobnicate", "--", "true", environment=environment)
    assert_facts(done, exit_status=2, status="error")
    assert pyfreeze("thaw", "--frobnicate", environment=environment).out == "", "it has no --json"


def test_what_a_script_is_given_configures_no_pyfreeze(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    pre = script_dir.script("pre", 'env | grep ^PYFREEZE_ | cut -d= -f1 | sort >"$D/given"')
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(pre))
    assert_facts(done, exit_status=0, code=0)
    given = script_dir.read("given").split()
    assert given == [
        "PYFREEZE_ATTEMPT",
        "PYFREEZE_PHASE",
        "PYFREEZE_PLUGIN",
        "PYFREEZE_RUN_ID",
        "PYFREEZE_TIMEOUT",
    ]
