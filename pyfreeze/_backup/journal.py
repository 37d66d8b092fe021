"""What happened in a backup, noted as it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._core.types import describe, duration_ms
from pyfreeze._model.report import ScriptReport
from pyfreeze._model.timeline import window_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._backup.scripts import Script
    from pyfreeze._core.types import ChildEnd
    from pyfreeze._model.codes import OutcomeCode
    from pyfreeze._model.timeline import FilesystemTimes


class _Event(NamedTuple):
    begin_ns: int
    end_ns: int
    what: str
    detail: str


class Journal:
    """What a backup notes on its way, as it happens. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, run_id: str, begin_ns: int) -> None:
        self.run_id = run_id
        self.begin_ns = begin_ns
        self.notes: list[tuple[OutcomeCode | None, str]] = []
        self.failures: list[str] = []
        """What went wrong beside the codes, in sentences."""
        self.scripts: list[ScriptReport] = []
        self.events: list[_Event] = []
        self.filesystems: tuple[FilesystemTimes, ...] = ()
        self.frozen_mounts: tuple[str, ...] = ()

    def note(self, code: OutcomeCode | None, message: str) -> None:
        """Note a code with its particulars, or a notice."""
        self.notes.append((code, message))

    def fail(self, message: str) -> None:
        """Note what went wrong."""
        self.failures.append(message)

    def event(self, what: str, begin_ns: int, end_ns: int, detail: str = "") -> None:
        """Note one thing of the timeline."""
        self.events.append(_Event(begin_ns, end_ns, what, detail))

    def script(self, script: Script, end: ChildEnd, output: bytes, code: OutcomeCode) -> None:
        """Note a script's end."""
        message = describe(end, script.timeout_s)
        text, dropped = _output(output, end.output_total)
        self.scripts.append(
            ScriptReport(
                phase=script.phase,
                plugin=script.plugin,
                path=script.path,
                attempts=end.attempts,
                exit_status=end.exit_status,
                signal=end.signal,
                timed_out=end.timed_out,
                duration_ms=duration_ms(end),
                timeout_s=script.timeout_s,
                output=text,
                output_dropped_bytes=dropped,
                code=code,
                message=message,
                app_name=script.app_name,
            )
        )
        if code:
            self.note(code, f"{script.plugin}: {script.phase}-script {script.path} {message}")
        self.event(f"{script.phase}-script", end.start_ns, end.end_ns, script.plugin)

    def window(self, asked_ns: int, filesystems: Sequence[FilesystemTimes]) -> None:
        """Note a window's times, after its end; `asked_ns` is where its flush began."""
        self.filesystems = tuple(filesystems)
        times = window_times(filesystems)
        if not times.begin_ns:
            return
        count = len(self.filesystems)
        self.event("flush", asked_ns, times.begin_ns, f"{count} filesystems")
        self.event("freeze", times.begin_ns, times.frozen_ns, f"{count} filesystems")
        if times.thaw_ns:
            self.event("thaw", times.thaw_ns, times.end_ns, f"{count} filesystems")

    def still_frozen(self, filesystems: Sequence[FilesystemTimes]) -> None:
        """Note what may be frozen after all."""
        if filesystems:
            self.filesystems = tuple(filesystems)
            self.frozen_mounts = tuple(f.mount for f in filesystems if f.may_be_frozen)


def _output(kept: bytes, total: int) -> tuple[str, int]:
    """Output as text, and how many bytes before it were dropped."""
    return kept.decode("utf-8", errors="replace"), max(total - len(kept), 0)
