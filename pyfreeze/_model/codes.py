"""The outcome codes: one table of number, names, message and recommended action.

The numbers and names are those of the pre-script/post-script framework for
application-consistent backups, so that whatever reads its codes today can read these.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pyfreeze._model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def _row(number: int, name: str, message: str, action: str, documented_name: str = "") -> Code:
    """A row; the documented name comes last, for many have none."""
    return Code(number, name, documented_name, message, action)


class OutcomeCode(IntEnum):
    """The codes by a name that says what happened, each with its row of the table."""

    row: Code

    def __new__(cls, *row: Any) -> OutcomeCode:
        """The number of a row, which it keeps."""
        code = int.__new__(cls, row[0])
        code._value_ = row[0]
        code.row = Code(*row)
        return code

    APPLICATION_CONSISTENT = _row(
        0,
        "success_appconsistent",
        "The backup is application-consistent: the scripts and the snapshot succeeded.",
        "Nothing to do.",
    )
    SUCCESS = _row(
        1,
        "success",
        "The snapshot succeeded without application scripts.",
        "Nothing to do; configure a pre-script and a post-script for application consistency.",
    )
    ERROR = _row(
        2,
        "error",
        "The backup failed: there is no consistent snapshot.",
        "Read the report's message and events, fix the cause and run the backup again.",
    )
    FREEZE_FAILED = _row(
        121,
        "FailedRetryableFsFreezeFailed",
        "A filesystem could not be frozen; everything frozen before it was thawed.",
        "Look at the mount that the report names: another tool may hold it frozen, or the kernel "
        "log may show an I/O error. Then run the backup again, or skip that mount.",
    )
    FREEZE_TIMED_OUT = _row(
        122,
        "FailedRetryableFsFreezeTimeout",
        "Freezing the filesystems took longer than allowed; everything was thawed.",
        "Run the backup again when less is being written, or raise SafeFreezeWaitInSeconds; "
        "'pyfreeze check' warns of programs that block a freeze.",
    )
    MOUNT_NOT_OPENED = _row(
        123,
        "FailedRetryableUnableToOpenMount",
        "A mount point could not be opened for freezing.",
        "Check that the mount the report names is still mounted and accessible, or skip it.",
    )
    SUPERVISOR_NOT_FOUND = _row(
        124,
        "FailedSafeFreezeBinaryNotFound",
        "The supervisor program that freezes and thaws is missing or cannot run.",
        "Install pyfreeze again, on a filesystem that allows execution.",
    )
    PRE_SCRIPT_FAILED = _row(
        300,
        "FailedPrepostPreScriptFailed",
        "The pre-script failed: the application may not have been quiesced.",
        _LOOK_AT_SCRIPT.format("pre-script"),
        "Pre-ScriptExecutionFailed",
    )
    POST_SCRIPT_FAILED = _row(
        301,
        "FailedPrepostPostScriptFailed",
        "The post-script failed: the application may still be quiesced.",
        _LOOK_AT_SCRIPT.format("post-script"),
        "Post-ScriptExecutionFailed",
    )
    PRE_SCRIPT_NOT_FOUND = _row(
        302,
        "FailedPrepostPreScriptNotFound",
        "The pre-script is not at the configured path.",
        _PUT_SCRIPT_THERE.format("pre"),
        "Pre-ScriptNotFound",
    )
    POST_SCRIPT_NOT_FOUND = _row(
        303,
        "FailedPrepostPostScriptNotFound",
        "The post-script is not at the configured path.",
        _PUT_SCRIPT_THERE.format("post"),
        "Post-ScriptNotFound",
    )
    HOST_CONFIG_BROKEN = _row(
        304,
        "FailedPrepostPluginhostConfigParsing",
        "The plugin host configuration cannot be read or is not valid.",
        _FIX_HOST_CONFIG,
        "IncorrectPluginhostFile",
    )
    SCRIPT_CONFIG_BROKEN = _row(
        305,
        "FailedPrepostPluginConfigParsing",
        "The script configuration cannot be read or is not valid.",
        "Restore the script configuration from its template ('pyfreeze init' writes one) "
        "and set it up again.",
        "IncorrectJSONConfigFile",
    )
    PRE_SCRIPT_INSECURE = _row(
        306,
        "FailedPrepostPreScriptPermissionError",
        "The pre-script's owner or permissions are not safe, or do not let it run.",
        _SECURE_SCRIPT.format("pre-script"),
        "InsufficientPermissionforPre-Script",
    )
    POST_SCRIPT_INSECURE = _row(
        307,
        "FailedPrepostPostScriptPermissionError",
        "The post-script's owner or permissions are not safe, or do not let it run.",
        _SECURE_SCRIPT.format("post-script"),
        "InsufficientPermissionforPost-Script",
    )
    PRE_SCRIPT_TIMED_OUT = _row(
        308,
        "FailedPrepostPreScriptTimeout",
        "The pre-script ran past its timeout and was killed.",
        _LOOK_AT_TIMEOUT.format("pre-script"),
        "Pre-ScriptTimeout",
    )
    POST_SCRIPT_TIMED_OUT = _row(
        309,
        "FailedPrepostPostScriptTimeout",
        "The post-script ran past its timeout and was killed.",
        _LOOK_AT_TIMEOUT.format("post-script"),
        "Post-ScriptTimeout",
    )
    HOST_PRE_TIMED_OUT = _row(
        310,
        "FailedPrepostPluginhostPreTimeout",
        "The plugins' pre-scripts together ran past the plugin host's timeout.",
        _RAISE_HOST_TIMEOUT.format("pre-script"),
    )
    HOST_POST_TIMED_OUT = _row(
        311,
        "FailedPrepostPluginhostPostTimeout",
        "The plugins' post-scripts together ran past the plugin host's timeout.",
        _RAISE_HOST_TIMEOUT.format("post-script"),
    )
    CHECKSUM_MISMATCH = _row(
        312,
        "FailedPrepostCheckSumMismatch",
        "Reserved: pyfreeze never reports a checksum mismatch.",
        "Nothing to do.",
    )
    HOST_CONFIG_NOT_FOUND = _row(
        313,
        "FailedPrepostPluginhostConfigNotFound",
        "There is no plugin host configuration at the path that was named.",
        "Correct the path, or leave it out to use the default place. " + _FIX_HOST_CONFIG,
        "IncorrectPluginhostFile",
    )
    HOST_CONFIG_MODE = _row(
        314,
        "FailedPrepostPluginhostConfigPermissionError",
        "Somebody other than root can change the plugin host configuration.",
        "Let root own the file and give group and other at most read (chmod 644); let nobody but "
        "root write to the directories above it.",
        "IncorrectPluginhostFile",
    )
    HOST_CONFIG_OWNER = _row(
        315,
        "FailedPrepostPluginhostConfigOwnershipError",
        "The plugin host configuration, or a directory above it, does not belong to root.",
        "Let root own the file and every directory above it (chown root).",
        "IncorrectPluginhostFile",
    )
    SCRIPT_CONFIG_NOT_FOUND = _row(
        316,
        "FailedPrepostPluginConfigNotFound",
        "There is no script configuration, so no script was run.",
        "For application consistency put a script configuration there ('pyfreeze init' writes a "
        "template), or correct the path that was named.",
        "IncorrectJSONConfigFile",
    )
    SCRIPT_CONFIG_MODE = _row(
        317,
        "FailedPrepostPluginConfigPermissionError",
        "The script configuration is open to others than root.",
        "Let root own the file and only root read and write it (chmod 600); let nobody but root "
        "write to the directories above it.",
    )
    SCRIPT_CONFIG_OWNER = _row(
        318,
        "FailedPrepostPluginConfigOwnershipError",
        "The script configuration, or a directory above it, does not belong to root.",
        "Let root own the file (chown root, chmod 600) and every directory above it.",
    )


CODES: Mapping[int, Code] = MappingProxyType({int(code): code.row for code in OutcomeCode})
"""Every code by its number."""

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
