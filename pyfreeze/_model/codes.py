"""The outcome codes: one table of number, names, message and recommended action.

The numbers and names are those of the pre-script/post-script framework for
application-consistent backups, so that whatever reads its codes today can read these.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyfreeze._model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class OutcomeCode(IntEnum):
    """The codes by a name that says what happened; each is a key of `CODES`."""

    APPLICATION_CONSISTENT = 0
    SUCCESS = 1
    ERROR = 2
    FREEZE_FAILED = 121
    FREEZE_TIMED_OUT = 122
    MOUNT_NOT_OPENED = 123
    SUPERVISOR_NOT_FOUND = 124
    PRE_SCRIPT_FAILED = 300
    POST_SCRIPT_FAILED = 301
    PRE_SCRIPT_NOT_FOUND = 302
    POST_SCRIPT_NOT_FOUND = 303
    HOST_CONFIG_BROKEN = 304
    SCRIPT_CONFIG_BROKEN = 305
    PRE_SCRIPT_INSECURE = 306
    POST_SCRIPT_INSECURE = 307
    PRE_SCRIPT_TIMED_OUT = 308
    POST_SCRIPT_TIMED_OUT = 309
    HOST_PRE_TIMED_OUT = 310
    HOST_POST_TIMED_OUT = 311
    CHECKSUM_MISMATCH = 312
    HOST_CONFIG_NOT_FOUND = 313
    HOST_CONFIG_MODE = 314
    HOST_CONFIG_OWNER = 315
    SCRIPT_CONFIG_NOT_FOUND = 316
    SCRIPT_CONFIG_MODE = 317
    SCRIPT_CONFIG_OWNER = 318


#: Codes that say that a file cannot be trusted to tell what its owner wants.
UNTRUSTED = frozenset(
    code for code in OutcomeCode if code.name.startswith(("HOST_CONFIG_", "SCRIPT_CONFIG_"))
)
#: Codes of a post-script that ran: the snapshot has been taken by then.
AFTERWARDS = frozenset(
    {
        OutcomeCode.POST_SCRIPT_FAILED,
        OutcomeCode.POST_SCRIPT_TIMED_OUT,
        OutcomeCode.HOST_POST_TIMED_OUT,
    }
)

#: A consistency level's name, in options and reports.
LevelName = Literal["none", "crash", "filesystem", "application"]
#: The weakest first, as `Level` counts them.
LEVEL_NAMES: tuple[LevelName, ...] = ("none", "crash", "filesystem", "application")


class Level(IntEnum):
    """Consistency levels, comparable: a higher one is stronger."""

    NONE = 0
    CRASH = 1
    FILESYSTEM = 2
    APPLICATION = 3

    @property
    def label(self) -> LevelName:
        """The name used in options and reports."""
        return LEVEL_NAMES[self]


class Code(NamedTuple):
    """One row of the table."""

    number: int
    name: str
    documented_name: str
    """The name the framework's documentation uses; empty where it has none."""
    message: str
    """What happened, in general; a report adds the particulars."""
    action: str
    """What the operator should do about it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name, and the documented one where there is one."""
        return (self.name, self.documented_name) if self.documented_name else (self.name,)


_LOOK_AT_SCRIPT = (
    "Read the output of the {} in the report and the script's own logs, check the application's "
    "state, and fix the cause of the failure."
)
_PUT_SCRIPT_THERE = (
    "Make sure the {0}-script exists at the path that {0}ScriptLocation names in the script "
    "configuration."
)
_SECURE_SCRIPT = (
    "Let root own the {} and leave permission bits to the owner alone (chown root, chmod 700); "
    "let root own every directory above it, writable by nobody else."
)
_LOOK_AT_TIMEOUT = (
    "Find out what the {} waits for, or raise timeoutInSeconds in the script configuration."
)
_RAISE_HOST_TIMEOUT = (
    "Find out which plugin's {} is slow, or raise timeoutInSeconds in the plugin host "
    "configuration."
)
_FIX_HOST_CONFIG = "Restore the plugin host configuration from its template and set it up again."
_FIX_SCRIPT_CONFIG = (
    "Restore the script configuration from its template ('pyfreeze init' writes one) "
    "and set it up again."
)

_ROWS = (
    Code(
        OutcomeCode.APPLICATION_CONSISTENT,
        "success_appconsistent",
        "",
        "The backup is application-consistent: the scripts and the snapshot succeeded.",
        "Nothing to do.",
    ),
    Code(
        OutcomeCode.SUCCESS,
        "success",
        "",
        "The snapshot succeeded without application scripts.",
        "Nothing to do; configure a pre-script and a post-script for application consistency.",
    ),
    Code(
        OutcomeCode.ERROR,
        "error",
        "",
        "The backup failed: there is no consistent snapshot.",
        "Read the report's message and events, fix the cause and run the backup again.",
    ),
    Code(
        OutcomeCode.FREEZE_FAILED,
        "FailedRetryableFsFreezeFailed",
        "",
        "A filesystem could not be frozen; everything frozen before it was thawed.",
        "Look at the mount that the report names: another tool may hold it frozen, or the kernel "
        "log may show an I/O error. Then run the backup again, or skip that mount.",
    ),
    Code(
        OutcomeCode.FREEZE_TIMED_OUT,
        "FailedRetryableFsFreezeTimeout",
        "",
        "Freezing the filesystems took longer than allowed; everything was thawed.",
        "Run the backup again when less is being written, or raise SafeFreezeWaitInSeconds; "
        "'pyfreeze check' warns of programs that block a freeze.",
    ),
    Code(
        OutcomeCode.MOUNT_NOT_OPENED,
        "FailedRetryableUnableToOpenMount",
        "",
        "A mount point could not be opened for freezing.",
        "Check that the mount the report names is still mounted and accessible, or skip it.",
    ),
    Code(
        OutcomeCode.SUPERVISOR_NOT_FOUND,
        "FailedSafeFreezeBinaryNotFound",
        "",
        "The supervisor program that freezes and thaws is missing or cannot run.",
        "Install pyfreeze again, on a filesystem that allows execution.",
    ),
    Code(
        OutcomeCode.PRE_SCRIPT_FAILED,
        "FailedPrepostPreScriptFailed",
        "Pre-ScriptExecutionFailed",
        "The pre-script failed: the application may not have been quiesced.",
        _LOOK_AT_SCRIPT.format("pre-script"),
    ),
    Code(
        OutcomeCode.POST_SCRIPT_FAILED,
        "FailedPrepostPostScriptFailed",
        "Post-ScriptExecutionFailed",
        "The post-script failed: the application may still be quiesced.",
        _LOOK_AT_SCRIPT.format("post-script"),
    ),
    Code(
        OutcomeCode.PRE_SCRIPT_NOT_FOUND,
        "FailedPrepostPreScriptNotFound",
        "Pre-ScriptNotFound",
        "The pre-script is not at the configured path.",
        _PUT_SCRIPT_THERE.format("pre"),
    ),
    Code(
        OutcomeCode.POST_SCRIPT_NOT_FOUND,
        "FailedPrepostPostScriptNotFound",
        "Post-ScriptNotFound",
        "The post-script is not at the configured path.",
        _PUT_SCRIPT_THERE.format("post"),
    ),
    Code(
        OutcomeCode.HOST_CONFIG_BROKEN,
        "FailedPrepostPluginhostConfigParsing",
        "IncorrectPluginhostFile",
        "The plugin host configuration cannot be read or is not valid.",
        _FIX_HOST_CONFIG,
    ),
    Code(
        OutcomeCode.SCRIPT_CONFIG_BROKEN,
        "FailedPrepostPluginConfigParsing",
        "IncorrectJSONConfigFile",
        "The script configuration cannot be read or is not valid.",
        _FIX_SCRIPT_CONFIG,
    ),
    Code(
        OutcomeCode.PRE_SCRIPT_INSECURE,
        "FailedPrepostPreScriptPermissionError",
        "InsufficientPermissionforPre-Script",
        "The pre-script's owner or permissions are not safe, or do not let it run.",
        _SECURE_SCRIPT.format("pre-script"),
    ),
    Code(
        OutcomeCode.POST_SCRIPT_INSECURE,
        "FailedPrepostPostScriptPermissionError",
        "InsufficientPermissionforPost-Script",
        "The post-script's owner or permissions are not safe, or do not let it run.",
        _SECURE_SCRIPT.format("post-script"),
    ),
    Code(
        OutcomeCode.PRE_SCRIPT_TIMED_OUT,
        "FailedPrepostPreScriptTimeout",
        "Pre-ScriptTimeout",
        "The pre-script ran past its timeout and was killed.",
        _LOOK_AT_TIMEOUT.format("pre-script"),
    ),
    Code(
        OutcomeCode.POST_SCRIPT_TIMED_OUT,
        "FailedPrepostPostScriptTimeout",
        "Post-ScriptTimeout",
        "The post-script ran past its timeout and was killed.",
        _LOOK_AT_TIMEOUT.format("post-script"),
    ),
    Code(
        OutcomeCode.HOST_PRE_TIMED_OUT,
        "FailedPrepostPluginhostPreTimeout",
        "",
        "The plugins' pre-scripts together ran past the plugin host's timeout.",
        _RAISE_HOST_TIMEOUT.format("pre-script"),
    ),
    Code(
        OutcomeCode.HOST_POST_TIMED_OUT,
        "FailedPrepostPluginhostPostTimeout",
        "",
        "The plugins' post-scripts together ran past the plugin host's timeout.",
        _RAISE_HOST_TIMEOUT.format("post-script"),
    ),
    Code(
        OutcomeCode.CHECKSUM_MISMATCH,
        "FailedPrepostCheckSumMismatch",
        "",
        "Reserved: pyfreeze never reports a checksum mismatch.",
        "Nothing to do.",
    ),
    Code(
        OutcomeCode.HOST_CONFIG_NOT_FOUND,
        "FailedPrepostPluginhostConfigNotFound",
        "IncorrectPluginhostFile",
        "There is no plugin host configuration at the path that was named.",
        "Correct the path, or leave it out to use the default place. " + _FIX_HOST_CONFIG,
    ),
    Code(
        OutcomeCode.HOST_CONFIG_MODE,
        "FailedPrepostPluginhostConfigPermissionError",
        "IncorrectPluginhostFile",
        "Somebody other than root can change the plugin host configuration.",
        "Let root own the file and give group and other at most read (chmod 644); let nobody but "
        "root write to the directories above it.",
    ),
    Code(
        OutcomeCode.HOST_CONFIG_OWNER,
        "FailedPrepostPluginhostConfigOwnershipError",
        "IncorrectPluginhostFile",
        "The plugin host configuration, or a directory above it, does not belong to root.",
        "Let root own the file and every directory above it (chown root).",
    ),
    Code(
        OutcomeCode.SCRIPT_CONFIG_NOT_FOUND,
        "FailedPrepostPluginConfigNotFound",
        "IncorrectJSONConfigFile",
        "There is no script configuration, so no script was run.",
        "For application consistency put a script configuration there ('pyfreeze init' writes a "
        "template), or correct the path that was named.",
    ),
    Code(
        OutcomeCode.SCRIPT_CONFIG_MODE,
        "FailedPrepostPluginConfigPermissionError",
        "",
        "The script configuration is open to others than root.",
        "Let root own the file and only root read and write it (chmod 600); let nobody but root "
        "write to the directories above it.",
    ),
    Code(
        OutcomeCode.SCRIPT_CONFIG_OWNER,
        "FailedPrepostPluginConfigOwnershipError",
        "",
        "The script configuration, or a directory above it, does not belong to root.",
        "Let root own the file (chown root, chmod 600) and every directory above it.",
    ),
)

CODES: Mapping[int, Code] = MappingProxyType(
    {int(row.number): row._replace(number=int(row.number)) for row in _ROWS}
)
"""Every code by its number."""


def find(text: str) -> tuple[Code, ...]:
    """Return every code that a number, a name or a documented name stands for, by number.

    Upper and lower case, hyphens, underscores and spaces make no difference.

    Raises:
        UsageError: there is none; the text has the names that come closest, the best first.
    """
    spelling = _plain(text)
    rows = tuple(
        row
        for row in CODES.values()
        # A number counts as it stands: "-1" is not 1.
        if text.strip() == str(row.number) or spelling in map(_plain, row.names)
    )
    if not rows:
        nearest = " or ".join(_nearest(spelling))
        perhaps = f", perhaps {nearest}" if nearest else ""
        found = f"found {text[:80]!r}, expected a code's number or name{perhaps}"
        raise UsageError(errno.EINVAL, found, "CODE")
    return rows


def _plain(text: str) -> str:
    return text.strip().casefold().translate({ord(mark): None for mark in "-_ "})


def _nearest(spelling: str) -> tuple[str, ...]:
    import difflib  # here, for it is slow to import and only a mistake needs it

    names = {_plain(name): name for row in CODES.values() for name in row.names}
    # Nearly all names begin alike, so a bare "timeout" is near to none of them by likeness.
    inside = [name for plain, name in names.items() if len(spelling) >= 4 and spelling in plain]
    alike = difflib.get_close_matches(spelling[:80], names, n=3, cutoff=0.6)
    return tuple(dict.fromkeys([*inside, *(names[plain] for plain in alike)]))[:5]
