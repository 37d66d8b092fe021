"""A snapshot taken by a function of the embedding process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyfreeze._core import run as core
from pyfreeze._snapshot.provider import OpenWindow, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyfreeze._core.run import Run
    from pyfreeze._model.options import WindowOptions


def by_callable(
    run: Run, snapshot: Callable[[], object], options: WindowOptions | None
) -> SnapshotResult:
    if options is None:
        begin_ns, end_ns, failure = _call(snapshot)
        return SnapshotResult("callable", "unfrozen", None, failure, begin_ns, end_ns)
    begin_ns, end_ns, failure = 0, 0, ""
    with OpenWindow(run, options) as window:
        event = window.wait(core.FROZEN)
        if event.kind == core.FROZEN:
            begin_ns, end_ns, failure = _call(snapshot)
            run.request_thaw()
            event = window.wait()
    return SnapshotResult("callable", event.verdict, event.error, failure, begin_ns, end_ns)


def _call(snapshot: Callable[[], object]) -> tuple[int, int, str]:
    failure = ""
    begin_ns = time.monotonic_ns()
    try:
        snapshot()
    except Exception as error:  # noqa: BLE001 - the caller's code: whatever it raises is reported
        failure = f"raised {type(error).__name__}: {error}"
    return begin_ns, time.monotonic_ns(), failure
