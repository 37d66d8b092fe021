"""What a backup is asked to do."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._base.programs import CLEAN_ENVIRONMENT
from pyfreeze._model.codes import LEVEL_NAMES, Level
from pyfreeze._model.errors import UsageError
from pyfreeze._model.options import WindowKeywords

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyfreeze._snapshot.catalogue import Snapshot

DEFAULT_SNAPSHOT_TIMEOUT_S = 3600.0


class Settings(NamedTuple):
    """One backup's settings. None: as the configuration files say, or their defaults."""

    snapshot: Snapshot
    config: str | None = None
    host_config: str | None = None
    freeze_config: str | None = None
    mounts: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    window: WindowKeywords = WindowKeywords()
    """As far as it was asked for."""
    flush_timeout_s: float | None = None
    """For writing the bulk of dirty data at the beginning; None: as long as freezing may take."""
    snapshot_timeout_s: float = DEFAULT_SNAPSHOT_TIMEOUT_S
    scripts: bool = True
    freeze: bool = True
    require: Level = Level.NONE
    single_disk: bool | None = None
    crash_fallback: bool = False
    environment: Mapping[str, str] = CLEAN_ENVIRONMENT
    directory: str = "/"
    state_directory: str = STATE_DIRECTORY


def parse_level(text: str) -> Level:
    """A level by its name.

    Raises:
        UsageError: there is no such level.
    """
    if text not in LEVEL_NAMES:
        names = ", ".join(LEVEL_NAMES)
        raise UsageError(errno.EINVAL, f"require: found {text!r}, expected one of {names}")
    return Level(LEVEL_NAMES.index(text))
