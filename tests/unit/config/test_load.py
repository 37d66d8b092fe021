"""Everything together: which mistake leads to which code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyfreeze._config.freeze_config import FreezeConfig
from pyfreeze._config.load import DEFAULT_PLACES, LoadedConfig, Places, Problem, load
from pyfreeze._model.codes import OutcomeCode
from tests.support.facts import assert_facts

NOBODY = 65534


class Machine:
    """The configuration files and scripts of a made-up machine, all good to begin with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.json = root / "script.json"
        self.host = root / "host.conf"
        self.freeze = root / "freeze.conf"
        self.pre = root / "pre.sh"
        self.post = root / "post.sh"
        self.places = Places(str(self.json), str(self.host), str(self.freeze))
        for script in (self.pre, self.post):
            script.write_text("#!/bin/sh\n")
            script.chmod(0o700)
        self.write_json(self.json)

    def write_json(self, path: Path, **keys: Any) -> Path:
        locations = {"preScriptLocation": str(self.pre), "postScriptLocation": str(self.post)}
        path.write_text(json.dumps(locations | keys))
        path.chmod(0o600)
        return path

    def write_host(self, *paths: Path, extra: str = "") -> Path:
        lines = [f"pluginConfigPath{i} = {path}\n" for i, path in enumerate(paths)]
        lines += [f"pluginName{i} = plugin{i}\n" for i, _ in enumerate(paths)]
        self.host.write_text(f"[pre_post]\nnumberOfPlugins = {len(paths)}\n{''.join(lines)}{extra}")
        self.host.chmod(0o644)
        return self.host

    def write_freeze(self, text: str) -> Path:
        self.freeze.write_text(text)
        self.freeze.chmod(0o644)
        return self.freeze

    def load(
        self,
        script_config: Path | str | None = None,
        host_config: Path | str | None = None,
        freeze_config: Path | str | None = None,
    ) -> LoadedConfig:
        named = [
            None if path is None else str(path)
            for path in (script_config, host_config, freeze_config)
        ]
        open_before = set(os.listdir("/proc/self/fd"))
        loaded = load(*named, places=self.places)
        assert set(os.listdir("/proc/self/fd")) == open_before
        for problem in all_problems(loaded):
            assert problem.message.isprintable()
            assert not problem.is_note or problem.code == OutcomeCode.SCRIPT_CONFIG_NOT_FOUND
        return loaded


@pytest.fixture
def machine(root_dir: Path) -> Machine:
    return Machine(root_dir)


def all_problems(loaded: LoadedConfig) -> list[Problem]:
    problems = list(loaded.problems)
    for plugin in loaded.plugins:
        problems += plugin.problems
    return problems + ([loaded.freeze_problem] if loaded.freeze_problem else [])


def codes(loaded: LoadedConfig) -> list[int]:
    return [problem.code for problem in all_problems(loaded)]


def test_the_default_places_are_the_documented_ones() -> None:
    assert DEFAULT_PLACES == (
        "/etc/azure/VMSnapshotScriptPluginConfig.json",
        "/etc/azure/VMSnapshotPluginHost.conf",
        "/etc/azure/vmbackup.conf",
    )


def test_a_script_configuration_alone(machine: Machine) -> None:
    """One plugin, with the defaults of the two other files."""
    loaded = machine.load()
    assert all_problems(loaded) == []
    assert loaded.notices == ()
    assert loaded.host_timeout_s == 1800.0
    assert loaded.freeze == FreezeConfig()
    (plugin,) = loaded.plugins
    assert plugin.name == "ScriptRunner"
    assert plugin.config_path == str(machine.json)
    assert plugin.config is not None
    assert_facts(plugin, pre_script=str(machine.pre), post_script=str(machine.post))
    assert plugin.timeout_s == 30.0


def test_the_real_path_of_a_script_is_what_will_run(machine: Machine) -> None:
    link = machine.root / "link.sh"
    link.symlink_to(machine.pre)
    machine.write_json(machine.json, preScriptLocation=str(link))
    (plugin,) = machine.load().plugins
    assert plugin.config is not None
    assert plugin.config.pre_script_location == str(link)
    assert plugin.pre_script == str(machine.pre)


def test_nothing_configured_is_a_note(machine: Machine) -> None:
    machine.json.unlink()
    loaded = machine.load()
    (problem,) = all_problems(loaded)
    assert_facts(problem, code=OutcomeCode.SCRIPT_CONFIG_NOT_FOUND, is_note=True)
    (plugin,) = loaded.plugins
    assert plugin.config is None
    assert plugin.pre_script is plugin.post_script is None


def test_a_script_configuration_that_is_named_and_absent_is_a_problem(machine: Machine) -> None:
    machine.json.unlink()
    for named in (machine.root / "other.json", machine.json):
        (problem,) = all_problems(machine.load(script_config=named))
        assert_facts(problem, code=OutcomeCode.SCRIPT_CONFIG_NOT_FOUND, is_note=False)
    machine.write_host(machine.root / "other.json")
    (problem,) = all_problems(machine.load())
    assert_facts(problem, code=OutcomeCode.SCRIPT_CONFIG_NOT_FOUND, is_note=False)
    machine.write_host(machine.json)
    (problem,) = all_problems(machine.load())
    assert_facts(problem, code=OutcomeCode.SCRIPT_CONFIG_NOT_FOUND, is_note=True)


def break_mode(path: Path) -> None:
    path.chmod(0o666)


def break_owner(path: Path) -> None:
    os.chown(path, NOBODY, 0)


def break_directory_mode(path: Path) -> None:
    path.parent.chmod(0o777)


def break_directory_owner(path: Path) -> None:
    os.chown(path.parent, NOBODY, 0)


def break_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def break_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def break_size(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate((1 << 20) + 1)


def break_content(path: Path) -> None:
    path.write_bytes(b"\xff")


def break_by_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("harm", "host_code", "script_code"),
    [
        (break_mode, OutcomeCode.HOST_CONFIG_MODE, OutcomeCode.SCRIPT_CONFIG_MODE),
        (break_owner, OutcomeCode.HOST_CONFIG_OWNER, OutcomeCode.SCRIPT_CONFIG_OWNER),
        (break_directory_mode, OutcomeCode.HOST_CONFIG_MODE, OutcomeCode.SCRIPT_CONFIG_MODE),
        (break_directory_owner, OutcomeCode.HOST_CONFIG_OWNER, OutcomeCode.SCRIPT_CONFIG_OWNER),
        (break_by_fifo, OutcomeCode.HOST_CONFIG_BROKEN, OutcomeCode.SCRIPT_CONFIG_BROKEN),
        (break_by_directory, OutcomeCode.HOST_CONFIG_BROKEN, OutcomeCode.SCRIPT_CONFIG_BROKEN),
        (break_size, OutcomeCode.HOST_CONFIG_BROKEN, OutcomeCode.SCRIPT_CONFIG_BROKEN),
        (break_content, OutcomeCode.HOST_CONFIG_BROKEN, OutcomeCode.SCRIPT_CONFIG_BROKEN),
        (break_by_loop, OutcomeCode.HOST_CONFIG_BROKEN, OutcomeCode.SCRIPT_CONFIG_BROKEN),
        (remove, OutcomeCode.HOST_CONFIG_NOT_FOUND, OutcomeCode.SCRIPT_CONFIG_NOT_FOUND),
    ],
)
def test_each_mistake_has_its_code(
    machine: Machine, harm: Any, host_code: OutcomeCode, script_code: OutcomeCode
) -> None:
    directory = machine.root / "own"
    directory.mkdir()
    host = machine.write_host(machine.json).rename(directory / "host.conf")
    harm(host)
    loaded = machine.load(host_config=host)
    assert codes(loaded) == [host_code]
    assert str(directory) in loaded.problems[0].message
    assert loaded.plugins == ()

    directory = machine.root / "own2"
    directory.mkdir()
    script_config = machine.write_json(directory / "script.json")
    harm(script_config)
    loaded = machine.load(script_config=script_config)
    assert codes(loaded) == [script_code]
    assert str(directory) in loaded.plugins[0].problems[0].message
    assert loaded.plugins[0].config is None

    directory = machine.root / "own3"
    directory.mkdir()
    freeze = machine.write_freeze("[SnapshotThread]\n").rename(directory / "freeze.conf")
    harm(freeze)
    loaded = machine.load(freeze_config=freeze)
    assert codes(loaded) == [OutcomeCode.ERROR]
    assert loaded.freeze_problem is not None
    assert str(directory) in loaded.freeze_problem.message
    assert loaded.freeze == FreezeConfig()


@pytest.mark.parametrize("path", ["", "relative", "/a\0b", "/\ud800", "/" + "x" * 300])
def test_what_no_file_can_be_called(machine: Machine, path: str) -> None:
    """A path that is none has the code of the file it was meant for."""
    assert codes(machine.load(path, None, None)) == [OutcomeCode.SCRIPT_CONFIG_BROKEN]
    assert codes(machine.load(None, path, None)) == [OutcomeCode.HOST_CONFIG_BROKEN]
    assert codes(machine.load(None, None, path)) == [OutcomeCode.ERROR]


def insecure_set_id(path: Path) -> None:
    path.chmod(0o4700)


def insecure_not_executable(path: Path) -> None:
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("harm", "missing"),
    [
        (remove, True),
        (break_mode, False),
        (break_owner, False),
        (break_directory_mode, False),
        (break_directory_owner, False),
        (break_by_fifo, False),
        (break_by_directory, False),
        (break_by_loop, False),
        (insecure_set_id, False),
        (insecure_not_executable, False),
    ],
)
def test_each_mistake_with_a_script(machine: Machine, harm: Any, missing: bool) -> None:
    """A missing script and an insecure one differ by code, for either phase."""
    directory = machine.root / "own"
    directory.mkdir()
    script = machine.pre.rename(directory / "script.sh")
    machine.pre.write_text("")
    machine.pre.chmod(0o700)
    harm(script)
    machine.write_json(machine.json, preScriptLocation=str(script))
    loaded = machine.load()
    assert codes(loaded) == [
        OutcomeCode.PRE_SCRIPT_NOT_FOUND if missing else OutcomeCode.PRE_SCRIPT_INSECURE
    ]
    (plugin,) = loaded.plugins
    assert_facts(plugin, pre_script=None, post_script=str(machine.post))
    assert plugin.problems[0].message.startswith(f"pre-script {script}: ")

    machine.write_json(machine.json, postScriptLocation=str(script))
    loaded = machine.load()
    assert codes(loaded) == [
        OutcomeCode.POST_SCRIPT_NOT_FOUND if missing else OutcomeCode.POST_SCRIPT_INSECURE
    ]
    (plugin,) = loaded.plugins
    assert_facts(plugin, pre_script=str(machine.pre), post_script=None)
    assert plugin.problems[0].message.startswith(f"post-script {script}: ")


def test_all_problems_are_collected(machine: Machine) -> None:
    other = machine.write_json(machine.root / "other.json")
    other.chmod(0o644)
    machine.write_host(machine.json, other)
    machine.write_freeze("[SnapshotThread]\ntimeout = never\n")
    machine.pre.unlink()
    machine.post.chmod(0o755)
    loaded = machine.load()
    assert codes(loaded) == [
        OutcomeCode.PRE_SCRIPT_NOT_FOUND,
        OutcomeCode.POST_SCRIPT_INSECURE,
        OutcomeCode.SCRIPT_CONFIG_MODE,
        OutcomeCode.ERROR,
    ]
    assert [plugin.name for plugin in loaded.plugins] == ["plugin0", "plugin1"]


@pytest.mark.parametrize(
    ("own", "host", "effective"), [(20, 10, 10.0), (20, 1800, 20.0), (9999, 9999, 1800.0)]
)
def test_the_least_timeout_holds(machine: Machine, own: int, host: int, effective: float) -> None:
    machine.write_json(machine.json, timeoutInSeconds=own)
    machine.write_host(machine.json, extra=f"timeoutInSeconds = {host}\n")
    loaded = machine.load()
    (plugin,) = loaded.plugins
    assert plugin.timeout_s == effective
    assert loaded.host_timeout_s == min(host, 1800)


def test_a_named_script_configuration_is_the_only_plugin(machine: Machine) -> None:
    other = machine.write_json(machine.root / "other.json", appName="other")
    listed = machine.write_json(machine.root / "listed.json")
    machine.write_host(machine.json, other, listed, extra="timeoutInSeconds = 5\n")
    loaded = machine.load(script_config=other)
    (plugin,) = loaded.plugins
    assert plugin.config is not None
    assert plugin.config.app_name == "other"
    assert plugin.timeout_s == 5.0
    assert len(loaded.notices) == 1
    assert str(listed) in loaded.notices[0]


def test_a_broken_host_file_stops_a_named_script_configuration_too(machine: Machine) -> None:
    machine.host.write_text("nonsense")
    machine.host.chmod(0o644)
    loaded = machine.load(script_config=machine.json)
    assert codes(loaded) == [OutcomeCode.HOST_CONFIG_BROKEN]
    assert loaded.plugins == ()


def test_the_freeze_configuration(machine: Machine) -> None:
    """Its values are loaded, and an unknown key is a notice."""
    machine.write_freeze("[SnapshotThread]\ntimeout = 3\nMountsToSkip = /data\ntimeoutt = 1\n")
    loaded = machine.load()
    assert loaded.freeze == FreezeConfig(timeout_s=3.0, mounts_to_skip=("/data",))
    assert loaded.freeze_problem is None
    assert len(loaded.notices) == 1


def test_notices_of_all_files_are_given_once(machine: Machine) -> None:
    machine.write_json(machine.json, unknown=1)
    machine.write_host(machine.json, machine.json)
    loaded = machine.load()
    assert len(loaded.notices) == 2
    assert len(loaded.plugins) == 2
