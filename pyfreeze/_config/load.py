"""Read and check everything that is configured, before anything is run.

No mistake of the operator raises here: each becomes a `Problem` with its outcome code, and all of
them are collected, so that one `pyfreeze check` shows everything there is to fix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pyfreeze._base import trust
from pyfreeze._base.text import shown
from pyfreeze._config.freeze_config import FreezeConfig, parse_freeze_config
from pyfreeze._config.host_config import HostConfig, PluginEntry, parse_host_config
from pyfreeze._config.problems import ConfigError, Parsed
from pyfreeze._config.script_config import (
    DEFAULT_TIMEOUT_S,
    PLUGIN_NAME,
    ScriptConfig,
    parse_script_config,
)
from pyfreeze._model.codes import OutcomeCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


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
    timeout_s: float
    """Seconds for each script: the least of the plugin's own, the host's and 1800."""
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
    only = PluginEntry(name=PLUGIN_NAME, config_path=places.script_config)
    if_absent = HostConfig(plugins=(only,))
    host = _read(_HOST, host_config, places.host_config, if_absent, notices)
    freeze = _read(_FREEZE, freeze_config, places.freeze_config, FreezeConfig(), notices)
    plugins: list[Plugin] = []
    problems: tuple[Problem, ...] = ()
    if isinstance(host, Problem):
        problems, host = (host,), HostConfig()
    else:
        # A machine on which scripts were never set up is no mistake; a named path that leads
        # nowhere is.
        may_be_absent = places.script_config if script_config is None else None
        entries = _entries(host, script_config, places, notices)
        plugins = [_load_plugin(entry, host.timeout_s, may_be_absent, notices) for entry in entries]
    return LoadedConfig(
        plugins=tuple(plugins),
        host_timeout_s=host.timeout_s,
        freeze=FreezeConfig() if isinstance(freeze, Problem) else freeze,
        freeze_problem=freeze if isinstance(freeze, Problem) else None,
        problems=problems,
        notices=tuple(dict.fromkeys(notices)),
    )


class _Kind(NamedTuple, Generic[T]):
    """One kind of configuration file."""

    requirement: trust.Requirement
    parse: Callable[[bytes, str], Parsed[T]]
    broken: OutcomeCode
    codes: Mapping[trust.Trouble, OutcomeCode]
    """By the trouble with it; `broken` is for every other one."""


_HOST = _Kind(
    trust.HOST_CONFIG,
    parse_host_config,
    OutcomeCode.HOST_CONFIG_BROKEN,
    {
        "missing": OutcomeCode.HOST_CONFIG_NOT_FOUND,
        "mode": OutcomeCode.HOST_CONFIG_MODE,
        "owner": OutcomeCode.HOST_CONFIG_OWNER,
    },
)
_FREEZE = _Kind(trust.FREEZE_CONFIG, parse_freeze_config, OutcomeCode.ERROR, {})
_SCRIPT = _Kind(
    trust.SCRIPT_CONFIG,
    parse_script_config,
    OutcomeCode.SCRIPT_CONFIG_BROKEN,
    {
        "missing": OutcomeCode.SCRIPT_CONFIG_NOT_FOUND,
        "mode": OutcomeCode.SCRIPT_CONFIG_MODE,
        "owner": OutcomeCode.SCRIPT_CONFIG_OWNER,
    },
)

#: Of each script: that it is missing, and that it may not be trusted.
_SCRIPT_CODES = {
    "pre-script": (OutcomeCode.PRE_SCRIPT_NOT_FOUND, OutcomeCode.PRE_SCRIPT_INSECURE),
    "post-script": (OutcomeCode.POST_SCRIPT_NOT_FOUND, OutcomeCode.POST_SCRIPT_INSECURE),
}


def _read(
    kind: _Kind[T], named: str | None, usual: str, if_absent: T | None, notices: list[str]
) -> T | Problem:
    """Return what a file says, the one that was named or the usual one, which may be absent."""
    path = usual if named is None else named
    try:
        parsed = kind.parse(trust.check(path, kind.requirement).content, path)
    except (trust.TrustError, ConfigError) as error:
        trouble = error.problem if isinstance(error, trust.TrustError) else None
        is_note = trouble == "missing" and named is None
        if is_note and if_absent is not None:
            return if_absent
        code = kind.codes.get(trouble, kind.broken) if trouble else kind.broken
        return Problem(code, f"{kind.requirement.name} {error}", is_note)
    notices += parsed.notices
    return parsed.value


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
    path = entry.config_path
    named = None if path == may_be_absent else path
    config = _read(_SCRIPT, named, path, None, notices)
    if isinstance(config, Problem):
        timeout_s = min(DEFAULT_TIMEOUT_S, host_timeout_s)
        return Plugin(entry.name, path, None, None, None, timeout_s, (config,))
    timeout_s = min(config.timeout_s, host_timeout_s)
    real: dict[str, str] = {}
    problems: list[Problem] = []
    locations = config.pre_script_location, config.post_script_location
    for (which, (missing, insecure)), location in zip(
        _SCRIPT_CODES.items(), locations, strict=True
    ):
        try:
            real[which] = trust.check(location, trust.SCRIPT).path
        except trust.TrustError as error:
            code = missing if error.problem == "missing" else insecure
            problems.append(Problem(code, f"{which} {error}"))
    scripts = real.get("pre-script"), real.get("post-script")
    return Plugin(entry.name, path, config, *scripts, timeout_s, tuple(problems))
