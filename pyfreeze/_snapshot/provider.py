"""What all ways to take a snapshot have in common: the steps they give, and what those came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._core.types import Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._core.types import ChildEnd, ChildOptions, StepRecord
    from pyfreeze._model.options import WindowOptions
    from pyfreeze._model.states import Verdict
    from pyfreeze._model.timeline import FilesystemTimes


class Call(NamedTuple):
    """What this process did for the step that waited for it. Times are CLOCK_MONOTONIC ns."""

    begin_ns: int
    end_ns: int
    failure: str
    """Empty, or how it failed, in a sentence."""


class SnapshotResult(NamedTuple):
    """What became of the snapshot. Times are CLOCK_MONOTONIC ns, 0 where it never got there."""

    kind: str
    failure: str
    """Empty, or how the snapshot itself failed, in a sentence."""
    begin_ns: int
    end_ns: int
    end: ChildEnd | None = None
    """Of a command."""
    output: bytes = b""
    argv: tuple[str, ...] = ()
    verdict: Verdict | None = None
    """The window's; None where there was none."""


class Provider:
    """One way to take a snapshot. All but `call` is pure."""

    kind: str
    """As the report names it."""
    argv: tuple[str, ...] = ()
    """A command's words."""
    peer: tuple[int, int] | None = None
    """The descriptors of its steps' peer: to write on, and to read from."""
    limit_s = 0.0
    """How long it may take where no window limits it, and nothing else does; 0: without a limit."""

    def child(self, _run_id: str) -> ChildOptions | None:
        """What the supervisor is to run; None: it waits for this process or for the peer."""
        return None

    def frozen_step(self, window: WindowOptions, run_id: str) -> Step:
        """The step that freezes, takes the snapshot and thaws."""
        step = self.unfrozen_step(run_id)
        return step._replace(kind=StepKind.WINDOW, window=window, limit_s=0.0)

    def unfrozen_step(self, run_id: str) -> Step:
        """The step that takes the snapshot without freezing."""
        child = self.child(run_id)
        return Step(
            StepKind.WAIT if child is None else StepKind.CHILD,
            child=child,
            limit_s=self.limit_s,
            takes_snapshot=True,
            has_peer=self.peer is not None,
        )

    def call(self) -> Call | None:
        """Do what a step waits for in this process; None: somebody else does it."""
        return None

    def result(
        self, record: StepRecord, call: Call | None, filesystems: Sequence[FilesystemTimes]
    ) -> SnapshotResult:
        """What one of its steps came to, but for the window's verdict.

        Args:
            record: of the step.
            call: what `call()` returned, if it came to that.
            filesystems: what was frozen.
        """
        raise NotImplementedError
