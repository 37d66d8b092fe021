"""A snapshot taken by a function of the embedding process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyfreeze._core.types import Step, StepKind
from pyfreeze._snapshot.provider import Call, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyfreeze._core.types import StepRecord
    from pyfreeze._model.options import WindowOptions
    from pyfreeze._model.states import Verdict
    from pyfreeze._model.timeline import FilesystemTimes


class CallableProvider:
    """The supervisor waits for it, in the window until the deadline."""

    kind = "callable"
    peer = None

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def frozen_step(self, window: WindowOptions, run_id: str) -> Step:
        """A window that waits."""
        return Step(StepKind.WINDOW, window=window, takes_snapshot=True)

    def unfrozen_step(self, run_id: str) -> Step:
        """A wait without a limit, as the function's own time is its own affair."""
        return Step(StepKind.WAIT, takes_snapshot=True)

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
        self,
        record: StepRecord,
        verdict: Verdict | None,
        call: Call | None,
        filesystems: Sequence[FilesystemTimes],
    ) -> SnapshotResult:
        """What the call came to."""
        begin_ns, end_ns, failure = call or Call(0, 0, "")
        return SnapshotResult(self.kind, verdict, failure, begin_ns, end_ns)
