"""A snapshot taken by a function of the embedding process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyfreeze._snapshot.provider import Call, Provider, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyfreeze._core.types import StepRecord
    from pyfreeze._model.timeline import FilesystemTimes


class CallableProvider(Provider):
    """The supervisor waits for it, in the window until the deadline."""

    kind = "callable"

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def call(self) -> Call:
        """Call it; whatever ordinary exception it raises is a failed snapshot."""
        failure = ""
        begin_ns = time.monotonic_ns()
        try:
            self._function()
        except Exception as error:  # noqa: BLE001 - the caller's code: what it raises is reported
            failure = f"raised {type(error).__name__}: {error}"
        return Call(begin_ns, time.monotonic_ns(), failure)

    def result(
        self, record: StepRecord, call: Call | None, filesystems: Sequence[FilesystemTimes]
    ) -> SnapshotResult:
        """What the call came to."""
        begin_ns, end_ns, failure = call or Call(0, 0, "")
        return SnapshotResult(self.kind, failure, begin_ns, end_ns)
