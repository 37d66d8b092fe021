"""`backup()`: the library's way in, with everything it takes spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfreeze._backup.backup import Backup
from pyfreeze._backup.plan import make_plan
from pyfreeze._backup.settings import DEFAULT_SNAPSHOT_TIMEOUT_S, Settings, parse_level
from pyfreeze._base.paths import STATE_DIRECTORY
from pyfreeze._base.programs import CLEAN_ENVIRONMENT
from pyfreeze._model.options import tells_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from pyfreeze._model.codes import LevelName
    from pyfreeze._model.options import WindowKeywords
    from pyfreeze._model.report import Report
    from pyfreeze._snapshot.catalogue import Snapshot


@tells_options
def backup(  # noqa: PLR0913 - the options of a backup, all by keyword
    snapshot: Snapshot,
    *,
    config: str | None = None,
    host_config: str | None = None,
    freeze_config: str | None = None,
    mounts: Sequence[str] = (),
    skip: Sequence[str] = (),
    flush_timeout: float | None = None,
    snapshot_timeout: float = DEFAULT_SNAPSHOT_TIMEOUT_S,
    scripts: bool = True,
    freeze: bool = True,
    require: LevelName = "none",
    single_disk: bool | None = None,
    crash_fallback: bool = False,
    environment: Mapping[str, str] = CLEAN_ENVIRONMENT,
    directory: str = "/",
    state_directory: str = STATE_DIRECTORY,
    **options: Unpack[WindowKeywords],
) -> Report:
    """Take an application-consistent backup: pre-scripts, freeze, snapshot, thaw, post-scripts.

    Whatever goes wrong once something was run is told by the report, not by an exception. What
    ends the calling program (KeyboardInterrupt, an exception raised by a signal handler) passes
    through, after thawing and after the post-scripts.

    Everything on the chosen filesystems holds still while the snapshot is taken: a snapshot that
    writes to one of them waits for the deadline, and fails.

    Args:
        snapshot: a command as a list of words, run by the supervisor; a callable without
            arguments, called in this thread while everything is frozen, which failed if it
            raises; or a `Peer`, told through descriptors.
        config: the script configuration (JSON); None: its default place,
            /etc/azure/VMSnapshotScriptPluginConfig.json.
        host_config: the plugin host configuration (INI); None: its default place,
            /etc/azure/VMSnapshotPluginHost.conf, if it is there. With a config only its timeout
            holds.
        freeze_config: the freeze configuration (INI); None: its default place,
            /etc/azure/vmbackup.conf, if it is there.
        mounts: mount points to freeze; none: every local filesystem that can be frozen.
        skip: mount points to leave out.
        flush_timeout: seconds for writing dirty data at the beginning; None: as freeze_timeout.
        snapshot_timeout: seconds that the snapshot command may take.
        scripts: whether to run pre-scripts and post-scripts.
        freeze: whether to freeze; False also leaves out the flush.
        require: a lower outcome is an error.
        single_disk: whether the machine counts as one with a single disk; None: look.
        crash_fallback: take a crash-consistent snapshot when freezing fails.
        environment: of the snapshot command, beside PYFREEZE_RUN_ID.
        directory: its working directory.
        state_directory: where the state page lives; a tmpfs.
        **options: see `WindowKeywords`; max_window and freeze_timeout, where they are not given,
            are as the freeze configuration says.

    Returns:
        The report, also of a backup that failed: look at `status` and `consistency`.

    Raises:
        UsageError: an argument is wrong; nothing was run.
        MountError: one of mounts is none, or its filesystem cannot be frozen; nothing was run.
        LockedError: another run is freezing.
        NotPermittedError: not root.
        StillFrozenError: an earlier run left something that cannot be thawed.
        FreezeError: the state directory cannot be used, or lies on what is to be frozen.
    """
    settings = Settings(
        snapshot=snapshot,
        config=config,
        host_config=host_config,
        freeze_config=freeze_config,
        mounts=tuple(mounts),
        skip=tuple(skip),
        window=options,
        flush_timeout_s=flush_timeout,
        snapshot_timeout_s=snapshot_timeout,
        scripts=scripts,
        freeze=freeze,
        require=parse_level(require),
        single_disk=single_disk,
        crash_fallback=crash_fallback,
        environment=environment,
        directory=directory,
        state_directory=state_directory,
    )
    return Backup(make_plan(settings)).perform()
