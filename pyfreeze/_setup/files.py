"""What `pyfreeze init` writes: a configuration that is valid as it stands, and two scripts.

The scripts are either empty ones to fill in, or those of an application that pyfreeze knows.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._base import trust
from pyfreeze._config.script_config import template
from pyfreeze._model.errors import FreezeError, NotPermittedError, UsageError
from pyfreeze._quiesce.catalogue import load
from pyfreeze._quiesce.errors import QuiesceError
from pyfreeze._setup.render import program, scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._quiesce.application import Quiescer

CONFIG_NAME = "VMSnapshotScriptPluginConfig.json"
PRE_SCRIPT_NAME = "pre-script.sh"
POST_SCRIPT_NAME = "post-script.sh"

_PRE_SCRIPT = """\
#!/bin/sh
# pre-script: runs before the filesystems are frozen.
#
# Make the application stop changing its files, and write to disk what it has in memory; then exit
# with status 0. Any other status, or no end within timeoutInSeconds, means that the snapshot will
# not be application-consistent. What this prints goes into the backup's report.
#
# Given as environment: PYFREEZE_PHASE (pre), PYFREEZE_RUN_ID, PYFREEZE_PLUGIN, PYFREEZE_ATTEMPT
# (counts from 1), PYFREEZE_TIMEOUT (seconds for all attempts). Given as arguments: preScriptParams.
#
# A process that this leaves running on purpose (a session that holds a lock) lives until the
# post-script has ended.
set -eu

# Example: systemctl stop my-application.service
"""
_POST_SCRIPT = """\
#!/bin/sh
# post-script: runs after the filesystems are thawed, whatever became of the snapshot.
#
# Undo what the pre-script did. It runs after every pre-script that was started, also one that
# failed, so it must cope with an application that was never stopped.
#
# Given as environment, beside what the pre-script gets: PYFREEZE_OUTCOME: success (the snapshot was
# taken), failed, none (it never came to one), interrupted, or abandoned (the backup was killed).
# Given as arguments: postScriptParams.
set -eu

# Example: systemctl start my-application.service
"""


class _File(NamedTuple):
    name: str
    mode: int
    content: str


def _files(directory: str, application: type[Quiescer] | None) -> tuple[_File, ...]:
    """The files, as plain data."""
    config = json.loads(template())
    config["preScriptLocation"] = os.path.join(directory, PRE_SCRIPT_NAME)
    config["postScriptLocation"] = os.path.join(directory, POST_SCRIPT_NAME)
    config["preScriptParams"] = config["postScriptParams"] = []
    pre, post = _PRE_SCRIPT, _POST_SCRIPT
    if application is not None:
        pre, post = scripts(application, directory)
        config |= {"timeoutInSeconds": application.timeout_s, "appName": application.title}
    return (
        _File(PRE_SCRIPT_NAME, 0o700, pre),
        _File(POST_SCRIPT_NAME, 0o700, post),
        _File(CONFIG_NAME, 0o600, json.dumps(config, indent=4) + "\n"),
    )


def write(directory: str, name: str | None) -> tuple[str, ...]:
    """Write the configuration and two scripts into a directory, made if need be.

    All or nothing: nothing is overwritten, and what was written before a failure is removed.

    Args:
        directory: where.
        name: of the application whose scripts they are; None: they are to be filled in.

    Returns:
        The paths written.

    Raises:
        UsageError: there is no such application, and the text lists those there are; the
            directory's path is not absolute, or one of the files exists.
        NotPermittedError: not root.
        FreezeError: the directory, or one above it, is not root's alone to write.
    """
    try:
        application = load(name) if name is not None else None
    except QuiesceError as error:
        raise UsageError(errno.EINVAL, str(error)) from None
    if not directory.startswith("/") or "\0" in directory:
        raise UsageError(errno.EINVAL, f"found {directory!r}, expected an absolute path")
    if os.geteuid() != 0:
        text = f"uid {os.geteuid()}, needed root: the files must belong to root"
        raise NotPermittedError(errno.EPERM, text)
    directory = os.path.normpath(directory)
    made = False
    try:
        trust.check_directory(os.path.dirname(directory))
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o755)
            made = True
            os.chmod(directory, 0o755)  # whatever the umask
        real = trust.check_directory(directory)
        return _write_all(real, _files(real, application))
    except trust.TrustError as error:
        raise FreezeError(errno.EPERM, str(error)) from error
    finally:
        if made and not os.listdir(directory):
            os.rmdir(directory)


def doubts_about_program() -> tuple[str, ...]:
    """What others than root may change of the program behind the applications' scripts.

    A line for each file or directory that is not root's alone, with what was found; they are run
    with root's power.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parts = [(path, trust.PROGRAM) for path in program()]
    for directory, _, names in os.walk(package):
        parts += [(os.path.join(directory, n), trust.PROGRAM) for n in names if n.endswith(".py")]
    doubts: dict[str, None] = {}
    for path, requirement in parts:
        try:
            trust.check(path, requirement)
        except trust.TrustError as error:
            doubts.setdefault(error.found if "directory" in error.found else str(error))
    try:
        trust.check_directory(os.path.dirname(os.__file__))
    except trust.TrustError as error:
        doubts.setdefault(error.found)
    return tuple(doubts)


def _write_all(directory: str, files: Sequence[_File]) -> tuple[str, ...]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    written: list[str] = []
    try:
        for file in files:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            own = os.open(file.name, flags, 0o600, dir_fd=fd)
            written.append(file.name)
            with open(own, "w", encoding="utf-8") as stream:
                stream.write(file.content)
                stream.flush()
                os.fchown(own, 0, 0)
                os.fchmod(own, file.mode)
                os.fsync(own)
    except BaseException as error:
        for name in written:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)
        if isinstance(error, FileExistsError):
            text = (
                "exists, expected no file of this name, as none is overwritten: "
                "move it away, or choose another directory"
            )
            raise UsageError(errno.EEXIST, text, os.path.join(directory, error.filename)) from None
        raise
    finally:
        os.close(fd)
    return tuple(os.path.join(directory, file.name) for file in files)
