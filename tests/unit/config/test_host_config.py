"""The plugin host configuration."""

from __future__ import annotations

import pytest

from pyfreeze._config.host_config import HostConfig, PluginEntry, parse_host_config
from pyfreeze._config.problems import ConfigError, Parsed
from tests.support.facts import assert_facts

ONE = "numberOfPlugins = 1\npluginConfigPath0 = /etc/a.json\n"


def parse(keys: str, section: str = "pre_post") -> Parsed[HostConfig]:
    return parse_host_config(f"[{section}]\n{keys}".encode(), "/etc/h.conf")


def refused(keys: str, section: str = "pre_post") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(keys, section)
    assert str(caught.value).isprintable()
    return caught.value


def test_the_usual_file() -> None:
    """The file as the framework's documentation has it."""
    config, notices = parse(
        "timeoutInSeconds = 1800\nnumberOfPlugins = 1\npluginName0 = ScriptRunner\n"
        "pluginPath0 = /usr/lib/plugins\npluginConfigPath0 = /etc/azure/c.json\n"
    )
    only = PluginEntry(name="ScriptRunner", config_path="/etc/azure/c.json")
    assert config == HostConfig(timeout_s=1800.0, plugins=(only,))
    assert notices == ()


def test_a_key_that_became_part_of_a_value_that_nothing_uses() -> None:
    """An indented line belongs to the key above it, and that key is what the refusal names."""
    error = refused(ONE + "pluginPath0 = /x\n timeoutInSeconds = 60\n")
    assert "pluginPath0" in str(error)
    assert "a value of one line" in str(error)


def test_defaults() -> None:
    """Without the other keys each value is the documented default."""
    config, notices = parse(ONE)
    only = PluginEntry(name="ScriptRunner", config_path="/etc/a.json")
    assert config == HostConfig(timeout_s=1800.0, plugins=(only,))
    assert notices == ()


def test_it_cannot_be_changed() -> None:
    config = parse(ONE).value
    with pytest.raises(AttributeError):
        config.timeout_s = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.plugins[0].name = "other"  # type: ignore[misc]


def test_keys_in_any_case() -> None:
    """Keys are the same in any case."""
    config, notices = parse("NUMBEROFPLUGINS=1\nPLUGINCONFIGPATH0=/a\nTimeoutInSeconds=60\n")
    assert config.timeout_s == 60.0
    assert len(config.plugins) == 1
    assert notices == ()


def test_a_timeout_above_the_cap() -> None:
    """It is lowered to 1800 s, with a notice."""
    config, notices = parse(ONE + "timeoutInSeconds = 3600")
    assert config.timeout_s == 1800.0
    assert len(notices) == 1
    assert "3600" in notices[0]


@pytest.mark.parametrize("bad", ["0", "-1", "soon", "nan", "", "0.0001"])
def test_bad_timeouts(bad: str) -> None:
    """A timeout that is none is refused with its key."""
    assert refused(ONE + f"timeoutInSeconds = {bad}").where == "[pre_post] timeoutInSeconds"


def test_no_section() -> None:
    """Without [pre_post] the file is refused, with the sections that it has."""
    with pytest.raises(ConfigError, match=r"\[pre_post\]: found no such section"):
        parse_host_config(b"", "x")
    assert refused(ONE, "prepost").found == 'only "prepost"'


@pytest.mark.parametrize("count", ["-1", "65", "many", "1.0", "", "9" * 5000])
def test_bad_counts(count: str) -> None:
    """A number of plugins out of its bounds is refused with the bounds."""
    error = refused(f"numberOfPlugins = {count}")
    assert error.where == "[pre_post] numberOfPlugins"
    assert error.expected == "a whole number from 0 to 64"


def test_no_count() -> None:
    """The number of plugins is required."""
    assert refused("pluginConfigPath0 = /a").found == "nothing"


def test_no_plugins_is_noticed() -> None:
    config, notices = parse("numberOfPlugins = 0")
    assert config.plugins == ()
    assert "no script will run" in notices[0]


def test_the_most_plugins() -> None:
    """64 plugins are accepted, in their order."""
    keys = "".join(f"pluginConfigPath{i} = /{i}\npluginName{i} = p{i}\n" for i in range(64))
    config, notices = parse("numberOfPlugins = 64\n" + keys)
    assert [plugin.config_path for plugin in config.plugins] == [f"/{i}" for i in range(64)]
    assert [plugin.name for plugin in config.plugins] == [f"p{i}" for i in range(64)]
    assert notices == ()


@pytest.mark.parametrize("path", ["", "relative.json", "\n  /continued"])
def test_bad_config_paths(path: str) -> None:
    """A configuration's path that is not absolute is refused with its key."""
    keys = f"numberOfPlugins = 2\npluginConfigPath0 = /a\npluginConfigPath1 = {path}\n"
    assert refused(keys).where == "[pre_post] pluginConfigPath1"


def test_a_missing_config_path() -> None:
    """Each plugin's configuration is required."""
    error = refused("numberOfPlugins = 2\npluginConfigPath0 = /a\n")
    assert_facts(error, where="[pre_post] pluginConfigPath1", found="nothing")


def test_alike_names_are_told_apart() -> None:
    keys = "".join(f"pluginConfigPath{i} = /{i}\n" for i in range(3))
    config, notices = parse("numberOfPlugins = 3\npluginName1 = ScriptRunner#0\n" + keys)
    assert [plugin.name for plugin in config.plugins] == [
        "ScriptRunner#0",
        "ScriptRunner#0#1",
        "ScriptRunner#2",
    ]
    assert notices == ()


def test_the_same_configuration_twice_is_noticed() -> None:
    keys = "pluginConfigPath0 = /a\npluginConfigPath1 = /a\npluginConfigPath2 = /b\n"
    _, notices = parse("numberOfPlugins = 3\n" + keys)
    assert len(notices) == 1
    assert "pluginConfigPath1 is the same as pluginConfigPath0" in notices[0]


def test_unused_and_unknown_keys_are_noticed() -> None:
    _, notices = parse(
        ONE + "pluginName1 = x\npluginConfigPath00 = /x\ntimeoutInSecond = 3\nzzz = 1\n[other]\n"
    )
    assert len(notices) == 5
    assert "[other]" in notices[0]
    assert "pluginname1 is ignored: numberOfPlugins is 1" in notices[1]
    assert "did you mean pluginConfigPath0?" in notices[2]
    assert "did you mean timeoutInSeconds?" in notices[3]
    assert "did you mean" not in notices[4]
