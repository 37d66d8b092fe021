"""A snapshot taken by a command, which the supervisor runs."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pyfreeze._base.programs import CLEAN_ENVIRONMENT, find_in_path
from pyfreeze._core.types import ChildEnd, ChildOptions, describe
from pyfreeze._model.errors import UsageError
from pyfreeze._snapshot.provider import Provider, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyfreeze._core.types import StepRecord
    from pyfreeze._model.timeline import FilesystemTimes


def find_program(name: str, environment: Mapping[str, str], directory: str) -> str:
    """The path to execute for a command's first word, looked up as a shell would.

    Raises:
        UsageError: there is no such program, or it cannot be executed.
    """
    if "/" in name:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
        if not os.path.exists(path):
            text = "found no such file, expected the snapshot command"
            raise UsageError(errno.ENOENT, text, name)
        text = "found no executable file, expected the snapshot command: is it mode 755?"
        raise UsageError(errno.EACCES, text, name)
    found = find_in_path(name, path=environment.get("PATH", CLEAN_ENVIRONMENT["PATH"]))
    if found is None:
        text = "found no such program in PATH, expected the snapshot command: give its path"
        raise UsageError(errno.ENOENT, text, name)
    return os.path.join(directory, found)


class CommandProvider(Provider):
    """The supervisor parks it before the freeze, lets it go in the window, and thaws at its end."""

    kind = "command"

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: str, timeout_s: float
    ) -> None:
        if isinstance(argv, str) or not argv:
            text = f"snapshot command: found {argv!r}, expected a program and arguments"
            raise UsageError(errno.EINVAL, text)
        self.argv = tuple(os.fspath(word) for word in argv)
        for word in self.argv:
            if "\0" in word:
                text = f"snapshot command: found a NUL in {word!r}, expected none"
                raise UsageError(errno.EINVAL, text)
        self._options = ChildOptions(
            argv=self.argv,
            path=find_program(self.argv[0], environment, directory),
            environment=environment,
            directory=directory,
            timeout_s=timeout_s,
            may_leave=True,
        )

    def child(self, run_id: str) -> ChildOptions:
        """The command, which is told the run's id."""
        environment = {**self._options.environment, "PYFREEZE_RUN_ID": run_id}
        return self._options._replace(environment=environment)

    def result(
        self, record: StepRecord, call: object, filesystems: Sequence[FilesystemTimes]
    ) -> SnapshotResult:
        """How it ended."""
        end = record.child
        assert isinstance(end, ChildEnd)
        return SnapshotResult(
            kind=self.kind,
            failure=describe(end, self._options.timeout_s),
            begin_ns=end.start_ns,
            end_ns=end.end_ns,
            end=end,
            output=record.output,
            argv=self.argv,
        )
