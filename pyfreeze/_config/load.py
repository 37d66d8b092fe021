"""Read and check everything that is configured, before anything is run.

No mistake of the operator raises here: each becomes a `Problem` with its outcome code, and all of
them are collected, so that one `pyfreeze check` shows everything there is to fix.
"""

from __future__ import annotations

from typing import NamedTuple

from pyfreeze._base import trust
from pyfreeze._base.text import shown
from pyfreeze._config.freeze_config import FreezeConfig, parse_freeze_config
from pyfreeze._config.host_config import HostConfig, PluginEntry, parse_host_config
from pyfreeze._config.problems import ConfigError
from pyfreeze._config.script_config import (
    DEFAULT_TIMEOUT_S,
    PLUGIN_NAME,
    ScriptConfig,
    parse_script_config,
)
from pyfreeze._model.codes import OutcomeCode


class Places(NamedTuple):
    """Where the configuration files are, unless others are named."""

    script_config: str = "/etc/azure/VMSnapshotScriptPluginConfig.json"
    host_config: str = "/etc/azure/VMSnapshotPluginHost.conf"
    freeze_config: str = "/etc/azure/vmbackup.conf"


DEFAULT_PLACES = Places()


class Problem(NamedTuple):
    """Something the operator must fix, or know of."""

    code: OutcomeCode
    message: str
    """One line naming the file."""
    is_note: bool = False
    """True where nothing is wrong: no scripts were ever configured."""


class Plugin(NamedTuple):
    """One plugin, ready to run if it has no problems."""

    name: str
    config_path: str
    """The script configuration as it was named."""
    config: ScriptConfig | None
    """None where it is absent, broken or not to be trusted."""
    pre_script: str | None
    """The real path to execute; None where the script is missing or not to be trusted."""
    post_script: str | None
    pre_timeout_s: float
    """Seconds: the least of the plugin's own, the host's and 1800."""
    post_timeout_s: float
    problems: tuple[Problem, ...]


class LoadedConfig(NamedTuple):
    """Everything that is configured, and everything that is wrong with it."""

    plugins: tuple[Plugin, ...]
    host_timeout_s: float
    """Seconds for each phase of scripts."""
    freeze: FreezeConfig
    freeze_problem: Problem | None
    """If there is one, `freeze` holds the defaults and the run must fail."""
    problems: tuple[Problem, ...]
    """What is wrong with the host file; then there are no plugins."""
    notices: tuple[str, ...]


def load(
    script_config: str | None,
    host_config: str | None,
    freeze_config: str | None,
    *,
    places: Places = DEFAULT_PLACES,
) -> LoadedConfig:
    """Read the configuration files and check them and the scripts; None means the default place.

    A script configuration that is named is the only plugin, whatever the host file lists; the host
    file's timeout holds nevertheless.
    """
    notices: list[str] = []
    problems: list[Problem] = []
    host = _load_host(host_config, places, problems, notices)
    freeze, freeze_problem = _load_freeze(freeze_config, places, notices)
    plugins: list[Plugin] = []
    if host is not None:
        entries = _entries(host, script_config, places, notices)
        # A machine on which scripts were never set up is no mistake; a named path that leads
        # nowhere is.
        may_be_absent = places.script_config if script_config is None else None
        plugins = [_load_plugin(entry, host.timeout_s, may_be_absent, notices) for entry in entries]
    return LoadedConfig(
        plugins=tuple(plugins),
        host_timeout_s=(host or HostConfig()).timeout_s,
        freeze=freeze,
        freeze_problem=freeze_problem,
        problems=tuple(problems),
        notices=tuple(dict.fromkeys(notices)),
    )


def _load_host(
    named: str | None, places: Places, problems: list[Problem], notices: list[str]
) -> HostConfig | None:
    """Return the host configuration, or None and a problem added."""
    path = places.host_config if named is None else named
    try:
        parsed = parse_host_config(trust.check(path, trust.HOST_CONFIG).content, path)
    except trust.TrustError as error:
        if error.problem == "missing" and named is None:
            only = PluginEntry(name=PLUGIN_NAME, config_path=places.script_config)
            return HostConfig(plugins=(only,))
        code = {
            "missing": OutcomeCode.HOST_CONFIG_NOT_FOUND,
            "mode": OutcomeCode.HOST_CONFIG_MODE,
            "owner": OutcomeCode.HOST_CONFIG_OWNER,
        }.get(error.problem, OutcomeCode.HOST_CONFIG_BROKEN)
        problems.append(Problem(code, f"plugin host configuration {error}"))
        return None
    except ConfigError as error:
        problems.append(
            Problem(OutcomeCode.HOST_CONFIG_BROKEN, f"plugin host configuration {error}")
        )
        return None
    notices += parsed.notices
    return parsed.value


def _load_freeze(
    named: str | None, places: Places, notices: list[str]
) -> tuple[FreezeConfig, Problem | None]:
    path = places.freeze_config if named is None else named
    try:
        content = trust.check(path, trust.FREEZE_CONFIG).content
        parsed = parse_freeze_config(content, path)
    except trust.TrustError as error:
        if error.problem == "missing" and named is None:
            return FreezeConfig(), None
        return FreezeConfig(), Problem(OutcomeCode.ERROR, f"freeze configuration {error}")
    except ConfigError as error:
        return FreezeConfig(), Problem(OutcomeCode.ERROR, f"freeze configuration {error}")
    notices += parsed.notices
    return parsed.value, None


def _entries(
    host: HostConfig, script_config: str | None, places: Places, notices: list[str]
) -> tuple[PluginEntry, ...]:
    """Return the plugins to load: the host's, unless one script configuration was named."""
    if script_config is None:
        return host.plugins
    # That the one at the usual place gives way is what naming another means.
    expected = (script_config, places.script_config)
    notices.extend(
        f"{shown(plugin.config_path)}: the plugin host configuration lists it, but another "
        "script configuration was named: its scripts will not run"
        for plugin in host.plugins
        if plugin.config_path not in expected
    )
    return (PluginEntry(name=PLUGIN_NAME, config_path=script_config),)


def _load_plugin(
    entry: PluginEntry, host_timeout_s: float, may_be_absent: str | None, notices: list[str]
) -> Plugin:
    problems: list[Problem] = []
    config = _load_script_config(entry.config_path, may_be_absent, problems, notices)
    pre_script = post_script = None
    timeout_s = min(DEFAULT_TIMEOUT_S, host_timeout_s)
    if config is not None:
        timeout_s = min(config.timeout_s, host_timeout_s)
        pre_script = _check_script(
            "pre-script",
            config.pre_script_location,
            (OutcomeCode.PRE_SCRIPT_NOT_FOUND, OutcomeCode.PRE_SCRIPT_INSECURE),
            problems,
        )
        post_script = _check_script(
            "post-script",
            config.post_script_location,
            (OutcomeCode.POST_SCRIPT_NOT_FOUND, OutcomeCode.POST_SCRIPT_INSECURE),
            problems,
        )
    return Plugin(
        name=entry.name,
        config_path=entry.config_path,
        config=config,
        pre_script=pre_script,
        post_script=post_script,
        pre_timeout_s=timeout_s,
        post_timeout_s=timeout_s,
        problems=tuple(problems),
    )


def _load_script_config(
    path: str, may_be_absent: str | None, problems: list[Problem], notices: list[str]
) -> ScriptConfig | None:
    """Return the script configuration, or None and a problem added."""
    try:
        parsed = parse_script_config(trust.check(path, trust.SCRIPT_CONFIG).content, path)
    except trust.TrustError as error:
        code = {
            "missing": OutcomeCode.SCRIPT_CONFIG_NOT_FOUND,
            "mode": OutcomeCode.SCRIPT_CONFIG_MODE,
            "owner": OutcomeCode.SCRIPT_CONFIG_OWNER,
        }.get(error.problem, OutcomeCode.SCRIPT_CONFIG_BROKEN)
        is_note = error.problem == "missing" and path == may_be_absent
        problems.append(Problem(code, f"script configuration {error}", is_note))
        return None
    except ConfigError as error:
        problems.append(Problem(OutcomeCode.SCRIPT_CONFIG_BROKEN, f"script configuration {error}"))
        return None
    notices += parsed.notices
    return parsed.value


def _check_script(
    which: str, path: str, codes: tuple[OutcomeCode, OutcomeCode], problems: list[Problem]
) -> str | None:
    """Return the real path to run, or None and a problem added."""
    not_found, insecure = codes
    try:
        return trust.check(path, trust.SCRIPT).path
    except trust.TrustError as error:
        code = not_found if error.problem == "missing" else insecure
        problems.append(Problem(code, f"{which} {error}"))
        return None
