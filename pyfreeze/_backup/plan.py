"""What a backup will do, found out and checked before any of it is done."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._backup.outcome import Policy, ScriptFailure, decide_snapshot
from pyfreeze._config.load import load
from pyfreeze._model.errors import UsageError
from pyfreeze._model.options import (
    Flush,
    WindowKeywords,
    WindowOptions,
    check_seconds,
    check_window,
    resolve,
)
from pyfreeze._mounts.choose import choose, has_single_disk
from pyfreeze._mounts.selection import Selection
from pyfreeze._snapshot.catalogue import provider_of

if TYPE_CHECKING:
    from pyfreeze._backup.settings import Settings
    from pyfreeze._config.load import LoadedConfig, Plugin, Problem
    from pyfreeze._snapshot.provider import Provider


class Plan(NamedTuple):
    """Everything a backup goes by."""

    settings: Settings
    provider: Provider
    """Takes the snapshot."""
    config: LoadedConfig
    plugins: tuple[Plugin, ...]
    """Those with a readable configuration."""
    failures: tuple[ScriptFailure, ...]
    """What of the configuration keeps scripts from running."""
    selection: Selection
    policy: Policy
    window: WindowOptions
    writeback: Flush
    """The flush at the beginning: it takes the bulk while the application still works."""

    @property
    def runs_scripts(self) -> bool:
        """Whether pre-scripts and post-scripts run: one that cannot stops all of them."""
        return bool(self.plugins) and not self.failures

    @property
    def takes_snapshot(self) -> bool:
        """Whether it comes to a snapshot, as far as the configuration decides that."""
        return (
            self.config.freeze_problem is None
            and decide_snapshot(self.failures, self.policy).snapshot
        )


def make_plan(settings: Settings) -> Plan:
    """Read and check everything; nothing is run, nothing is touched.

    Raises:
        UsageError: an argument is wrong (a time, a mount, the snapshot command); the text names
            it, what was found and what was expected.
        FreezeError: the state directory lies on what is to be frozen.
    """
    check_window("backup", settings.window)
    check_seconds("flush_timeout", settings.flush_timeout_s)
    check_seconds("snapshot_timeout", settings.snapshot_timeout_s)
    provider = provider_of(
        settings.snapshot, settings.environment, settings.directory, settings.snapshot_timeout_s
    )
    config = load(settings.config, settings.host_config, settings.freeze_config)
    if not settings.scripts:
        config = config._replace(plugins=(), problems=())
    plugins = tuple(plugin for plugin in config.plugins if plugin.config is not None)
    freeze = settings.freeze and all(
        plugin.config is None or plugin.config.fs_freeze_enabled for plugin in plugins
    )
    selection = _select(settings, config) if freeze else Selection((), ())
    all_continue = all(continues(plugin) for plugin in plugins)
    single_disk = settings.single_disk
    if single_disk is None:
        # Only a fatal script failure asks; block devices are not looked at for nothing.
        single_disk = not all_continue and has_single_disk()
    configured = WindowKeywords(
        max_window=config.freeze.timeout_s, freeze_timeout=config.freeze.safe_freeze_wait_s
    )
    window = resolve(configured, settings.window)
    return Plan(
        settings=settings,
        provider=provider,
        config=config,
        plugins=plugins,
        failures=failures_of(config),
        selection=selection,
        policy=Policy(
            freeze=freeze,
            single_disk=single_disk,
            continue_on_failure=all_continue,
            crash_fallback=settings.crash_fallback,
            require=settings.require,
        ),
        window=window,
        writeback=Flush(
            rounds=2, spend_s=60.0, limit_s=settings.flush_timeout_s or window.freeze_timeout_s
        ),
    )


def _select(settings: Settings, config: LoadedConfig) -> Selection:
    selection = choose(
        settings.state_directory,
        only=settings.mounts,
        # Options win: a mount that is named is frozen whatever MountsToSkip says.
        skip=settings.skip if settings.mounts else (*config.freeze.mounts_to_skip, *settings.skip),
    )
    if not selection.filesystems:
        raise UsageError(
            errno.ENODEV,
            "mounts: found no filesystem that can be frozen, expected at least one: skip fewer, or "
            "freeze nothing (--no-freeze)",
        )
    return selection


def problems_of(config: LoadedConfig) -> tuple[Problem, ...]:
    return (*config.problems, *(p for plugin in config.plugins for p in plugin.problems))


def continues(plugin: Plugin) -> bool:
    return plugin.config is None or plugin.config.continue_backup_on_failure


def failures_of(config: LoadedConfig) -> tuple[ScriptFailure, ...]:
    """What of the configuration keeps scripts from running."""
    found = [(problem, True) for problem in config.problems]
    found += [(problem, continues(one)) for one in config.plugins for problem in one.problems]
    return tuple(ScriptFailure(one.code, goes_on) for one, goes_on in found if not one.is_note)
