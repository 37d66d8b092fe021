"""What a backup reports: the object that `--json` prints and `backup()` returns."""

from __future__ import annotations

from typing import Any

import msgspec


class NoteReport(msgspec.Struct, frozen=True, kw_only=True):
    """Something beside the code: a further code, or a notice without one."""

    code: int | None
    name: str
    message: str


class ScriptReport(msgspec.Struct, frozen=True, kw_only=True):
    """One script, over all its attempts. Milliseconds and seconds as the names say."""

    phase: str
    """"pre" or "post"."""
    plugin: str
    path: str
    attempts: int
    exit_status: int | None
    """Of the last attempt; None where a signal ended it or nothing could be executed."""
    signal: int | None
    timed_out: bool
    duration_ms: float
    timeout_s: float
    """The effective one: the least of the plugin's, the host's and 1800."""
    output: str
    """The last 64 KiB of stdout and stderr."""
    output_dropped_bytes: int
    code: int
    """0, or why it counts as failed."""
    message: str
    """Empty, or what went wrong, in a sentence."""
    app_name: str | None = None


class FilesystemReport(msgspec.Struct, frozen=True, kw_only=True):
    """One filesystem; times are None where it never got there."""

    mount: str
    device: str
    fstype: str
    level: int
    """0 is frozen first and thawed last."""
    flush_ms: float
    flush_rounds: int
    freeze_t_ms: float | None
    """When FIFREEZE was entered, since the run's begin."""
    freeze_ms: float | None
    """In FIFREEZE."""
    frozen_ms: float | None
    """From FIFREEZE's entry, when writers begin to wait, to FITHAW's return."""
    thaw_ms: float | None
    """In FITHAW."""
    outcome: str
    """"thawed", or how far it got; "pending": a FIFREEZE that still hangs."""


class SkippedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A mount that was not opened."""

    mount: str
    reason: str


class WindowReport(msgspec.Struct, frozen=True, kw_only=True):
    """The freeze window."""

    window_ms: float | None
    overhead_ms: float | None
    frozen_together_ms: float | None
    max_window_s: float
    freeze_timeout_s: float
    expired: bool
    filesystems: list[FilesystemReport]
    skipped: list[SkippedReport]


class SnapshotReport(msgspec.Struct, frozen=True, kw_only=True):
    """What took the snapshot."""

    kind: str
    """"command", "callable" or "peer"."""
    argv: list[str]
    exit_status: int | None
    signal: int | None
    timed_out: bool
    duration_ms: float | None
    output: str
    output_dropped_bytes: int
    message: str
    """Empty, or what went wrong."""


class EventReport(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of the timeline, in the order of the beginnings."""

    t_ms: float
    """Since the run's begin."""
    what: str
    """"writeback", "pre-script", "flush", "freeze", "snapshot", "thaw", "post-script"."""
    duration_ms: float
    detail: str


class PluginReport(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin as it was configured, after defaults and caps. Timeouts in seconds."""

    plugin: str
    config_path: str
    pre_script: str | None
    """The real path; None where the script is missing or not to be trusted."""
    post_script: str | None
    pre_timeout_s: float
    post_timeout_s: float
    pre_retries: int
    post_retries: int
    continue_on_failure: bool
    fs_freeze_enabled: bool
    app_name: str | None


class EffectiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """The values that held, after defaults, caps and options. Timeouts in seconds."""

    freeze: bool
    single_disk: bool
    crash_fallback: bool
    require: str
    host_timeout_s: float
    snapshot_timeout_s: float
    plugins: list[PluginReport]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole backup."""

    version: int = 1
    run_id: str
    status: str
    """"success" or "error"."""
    consistency: str
    """"application", "filesystem", "crash" or "none"."""
    code: int
    name: str
    message: str
    action: str
    notes: list[NoteReport]
    scripts: list[ScriptReport]
    window: WindowReport
    snapshot: SnapshotReport | None
    events: list[EventReport]
    effective: EffectiveReport
    below_required: bool = False
    """A lower level than the one that was required."""
    still_frozen: list[str] = []
    """Mount points that may still be frozen."""

    def to_json(self) -> bytes:
        """The report as one JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    def to_builtins(self) -> dict[str, Any]:
        """The report as plain dicts and lists."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built
