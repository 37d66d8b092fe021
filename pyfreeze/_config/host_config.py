"""The plugin host configuration: the INI file that lists the plugins and bounds their phases."""

from __future__ import annotations

import re

import msgspec

from pyfreeze._base.text import nearest, quoted, shown
from pyfreeze._config.ini import Section, parse_ini
from pyfreeze._config.problems import (
    MAX_TIMEOUT_S,
    ConfigError,
    Parsed,
    notice_of_long_timeout,
    notice_of_unknown_key,
)
from pyfreeze._config.script_config import PLUGIN_NAME

SECTION = "pre_post"
MAX_PLUGINS = 64
"""More than this many plugins side by side is a slip of the keyboard."""

_PLUGIN_KEY = re.compile(r"(pluginname|pluginpath|pluginconfigpath)([0-9]{1,9})")
_KEYS = ("timeoutInSeconds", "numberOfPlugins", "pluginName0", "pluginPath0", "pluginConfigPath0")


class PluginEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin as the host file lists it."""

    name: str
    """Unlike every other plugin's."""
    config_path: str
    """Its script configuration: an absolute path."""


class HostConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The plugins and the time that each phase of their scripts may take."""

    timeout_s: float = MAX_TIMEOUT_S
    """Seconds for all pre-scripts, and again for all post-scripts; at most 1800."""
    plugins: tuple[PluginEntry, ...] = ()


def parse_host_config(content: bytes, origin: str) -> Parsed[HostConfig]:
    """Read a plugin host configuration; `origin` is the file's name for messages.

    Raises `ConfigError` and nothing else, whatever the bytes.
    """
    sections = parse_ini(content, origin)
    section = sections.get(SECTION)
    if section is None:
        like = nearest(SECTION, sections)
        found = f"only {quoted(like)}" if like else "no such section"
        raise ConfigError(origin, f"[{SECTION}]", found, f"a section [{SECTION}]")
    notices = [f"the unknown section [{name}] is ignored" for name in sections if name != SECTION]
    timeout_s = section.seconds("timeoutInSeconds", default_s=MAX_TIMEOUT_S)
    if timeout_s > MAX_TIMEOUT_S:
        notices.append(notice_of_long_timeout(f"{timeout_s:g}"))
    count = section.whole("numberOfPlugins", least=0, most=MAX_PLUGINS)
    if count == 0:
        notices.append("numberOfPlugins is 0, so no script will run")
    plugins = _distinguished([_plugin(section, i) for i in range(count)], notices)
    notices += _notices_of_unused_keys(section, count)
    config = HostConfig(timeout_s=min(timeout_s, MAX_TIMEOUT_S), plugins=plugins)
    return Parsed(config, tuple(shown(f"{origin}: {notice}") for notice in notices))


def _plugin(section: Section, i: int) -> PluginEntry:
    key = f"pluginConfigPath{i}"
    config_path = section.text(key)
    if config_path is None or not config_path.startswith("/"):
        section.fail(key, config_path, "the absolute path of the plugin's script configuration")
    # Nothing is ever imported from it. Read, it tells of a key that was indented by mistake.
    section.text(f"pluginPath{i}")
    return PluginEntry(name=section.text(f"pluginName{i}") or PLUGIN_NAME, config_path=config_path)


def _distinguished(plugins: list[PluginEntry], notices: list[str]) -> tuple[PluginEntry, ...]:
    """Add numbers to the names where two are alike: a report must tell the plugins apart.

    They often are, for `ScriptRunner` is the usual name. Two plugins with the same configuration
    are allowed as well, but run its scripts twice at the same time, so that is worth a notice.
    """
    first_with_path: dict[str, int] = {}
    for i, plugin in enumerate(plugins):
        first = first_with_path.setdefault(plugin.config_path, i)
        if first != i:
            notices.append(
                f"pluginConfigPath{i} is the same as pluginConfigPath{first}: "
                "its scripts will run twice, side by side"
            )
    if len({plugin.name for plugin in plugins}) == len(plugins):
        return tuple(plugins)
    return tuple(
        msgspec.structs.replace(plugin, name=f"{plugin.name}#{i}")
        for i, plugin in enumerate(plugins)
    )


def _notices_of_unused_keys(section: Section, count: int) -> list[str]:
    notices = []
    for key in section.values:
        match = _PLUGIN_KEY.fullmatch(key)
        if match and int(match[2]) >= count:
            notices.append(f"{key} is ignored: numberOfPlugins is {count}, counted from 0")
        # "pluginname01" looks right and would go unnoticed: the keys are spelled without zeros.
        elif match and match[2] == str(int(match[2])):
            continue
        elif key not in {known.lower() for known in _KEYS}:
            notices.append(notice_of_unknown_key(key, _KEYS))
    return notices
