"""What a backup reports: the object that `--json` prints and `backup()` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pyfreeze._model.codes import CODES, LevelName, OutcomeCode

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoteReport(msgspec.Struct, frozen=True, kw_only=True):
    """Something beside the code: a further code, or a notice without one."""

    code: int | None
    """An outcome code, or None: a notice."""
    name: str
    """The code's name, or "notice"."""
    message: str
    """What happened, with the particulars."""


class ScriptReport(msgspec.Struct, frozen=True, kw_only=True):
    """One script, over all its attempts. Milliseconds and seconds as the names say."""

    phase: str
    """"pre" or "post"."""
    plugin: str
    """The plugin's name."""
    path: str
    """The script that was run, symlinks resolved."""
    attempts: int
    """How often it was started."""
    exit_status: int | None
    """Of the last attempt; None where a signal ended it or nothing could be executed."""
    signal: int | None
    """The signal that ended the last attempt."""
    timed_out: bool
    """It did not end within timeout_s, and was killed with all that it had started."""
    duration_ms: float
    """Milliseconds from its start until its end was noticed, over all attempts."""
    timeout_s: float
    """The effective one: the least of the plugin's, the host's and 1800."""
    output: str
    """The last 64 KiB of stdout and stderr."""
    output_dropped_bytes: int
    """How much came before that."""
    code: int
    """0, or why it counts as failed."""
    message: str
    """Empty, or what went wrong, in a sentence."""
    app_name: str | None = None
    """appName of its configuration."""


class FilesystemReport(msgspec.Struct, frozen=True, kw_only=True):
    """One filesystem; times are None where it never got there."""

    mount: str
    """Its mount point."""
    device: str
    """"major:minor"."""
    fstype: str
    """As the mount table names it: "ext4" or "xfs"."""
    level: int
    """0 is frozen first and thawed last."""
    flush_ms: float
    """Milliseconds in syncfs right before the freeze, all rounds."""
    flush_rounds: int
    """How many rounds that were."""
    freeze_t_ms: float | None
    """Milliseconds from the run's begin to FIFREEZE's entry."""
    freeze_ms: float | None
    """Milliseconds in FIFREEZE."""
    frozen_ms: float | None
    """Milliseconds from FIFREEZE's entry, when writers begin to wait, to FITHAW's return."""
    thaw_ms: float | None
    """Milliseconds in FITHAW."""
    outcome: str
    """"thawed", or how far it got; "pending": a FIFREEZE that still hangs."""


class SkippedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A mount that was not opened."""

    mount: str
    """Its mount point."""
    reason: str
    """Why it was left out, in words."""


class WindowReport(msgspec.Struct, frozen=True, kw_only=True):
    """The freeze window."""

    window_ms: float | None
    """Milliseconds from the first FIFREEZE's entry to the last FITHAW's return."""
    overhead_ms: float | None
    """The window less the snapshot's own time, in milliseconds: what pyfreeze answers for."""
    frozen_together_ms: float | None
    """Milliseconds from the last FIFREEZE's return to the first FITHAW's entry."""
    max_window_s: float
    """The window's deadline in seconds, from the first FIFREEZE."""
    freeze_timeout_s: float
    """Seconds that freezing might have taken."""
    expired: bool
    """The deadline came before the snapshot's end: the snapshot is worth nothing."""
    filesystems: list[FilesystemReport]
    """What was chosen to be frozen, in that order."""
    skipped: list[SkippedReport]
    """Every other mount."""


class SnapshotReport(msgspec.Struct, frozen=True, kw_only=True):
    """What took the snapshot."""

    kind: str
    """"command", "callable" or "peer"."""
    argv: list[str]
    """A command's words; empty for the others."""
    exit_status: int | None
    """A command's; None where a signal ended it."""
    signal: int | None
    """The signal that ended a command."""
    timed_out: bool
    """A command did not end within snapshot_timeout seconds."""
    duration_ms: float | None
    """Milliseconds that it took; a peer's are all of the time that everything was frozen."""
    output: str
    """The last 64 KiB of a command's stdout and stderr."""
    output_dropped_bytes: int
    """How much came before that."""
    message: str
    """Empty, or what went wrong."""


class EventReport(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of the timeline, in the order of the beginnings."""

    t_ms: float
    """Milliseconds since the run's begin."""
    what: str
    """"writeback", "pre-script", "flush", "freeze", "snapshot", "thaw", "post-script"."""
    duration_ms: float
    """Milliseconds that it took."""
    detail: str
    """Which plugin, how many filesystems, what kind of snapshot."""


class TransitionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the run's black box: something that the supervisor, or the client, noted."""

    t_ms: float
    """Milliseconds since the run's begin."""
    kind: str
    """What it is, in one word: "frozen", "window-thawing", "child-ended"."""
    text: str
    """The same in words, with the mount point, child or error that it concerns."""


class PluginReport(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin as it was configured, after defaults and caps. Timeouts in seconds."""

    plugin: str
    """Its name."""
    config_path: str
    """Its script configuration."""
    pre_script: str | None
    """The real path; None where the script is missing or not to be trusted."""
    post_script: str | None
    """The same of the post-script."""
    pre_timeout_s: float
    """Seconds for the pre-script, over all its attempts."""
    post_timeout_s: float
    """Seconds for the post-script, over all its attempts."""
    pre_retries: int
    """How often a failed pre-script is run again."""
    post_retries: int
    """How often a failed post-script is run again."""
    continue_on_failure: bool
    """continueBackupOnFailure."""
    fs_freeze_enabled: bool
    """fsFreezeEnabled."""
    app_name: str | None
    """appName."""


class EffectiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """The values that held, after defaults, caps and options. Timeouts in seconds."""

    freeze: bool
    """Whether filesystems were to be frozen."""
    single_disk: bool
    """Whether the machine counted as one with a single disk."""
    crash_fallback: bool
    """Whether a failing freeze was to mean a crash-consistent snapshot."""
    require: LevelName
    """The lowest level that counts as success; "none": any."""
    host_timeout_s: float
    """Seconds for all pre-scripts together, and for all post-scripts together."""
    snapshot_timeout_s: float
    """Seconds for a snapshot command."""
    plugins: list[PluginReport]
    """Each plugin that was configured, also one whose files could not be used."""


class AnyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints, whatever came of it: also of a run that was refused.

    A run is refused before anything is run or frozen: for wrong usage, another run's lock, a signal
    that came too early. What is then not known yet is None.
    """

    version: int = 1
    """Of this form; a new field does not change it."""
    run_id: str | None
    """None where the run was refused."""
    status: Literal["success", "error"]
    """Whether the backup is one, as strong as was required."""
    consistency: LevelName
    """With "none" there is no usable snapshot."""
    code: int
    """The outcome code; docs/troubleshooting.md has all of them."""
    name: str
    """The code's name."""
    message: str
    """What happened, with the particulars, in a paragraph."""
    action: str
    """What the operator should do about it."""
    notes: list[NoteReport]
    """Further codes, and notices."""
    scripts: list[ScriptReport]
    """Each script that was started, in the order of their starts."""
    window: WindowReport | None
    """None where the run was refused."""
    snapshot: SnapshotReport | None
    """What took the snapshot; None where it did not come to that."""
    events: list[EventReport]
    """The timeline."""
    effective: EffectiveReport | None
    """None where the run was refused."""
    below_required: bool = False
    """A lower level than the one that was required; False where the run was refused."""
    still_frozen: list[str] = []
    """Mount points that may still be frozen."""
    transitions: list[TransitionReport] = []
    """The last things that happened, the oldest first; empty where all went well."""

    def to_json(self) -> bytes:
        """The report as one JSON object, indented: UTF-8 bytes without a newline at the end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    def to_builtins(self) -> dict[str, Any]:
        """The report as plain dicts and lists, with the keys of `to_json()`."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


class Report(AnyReport, frozen=True, kw_only=True):
    """The whole backup, as `backup()` returns it and `pyfreeze run --json` prints it.

    Look at `status` first, then at `consistency` and `code`. A refusal of the command is printed
    with the same keys; there `run_id`, `window`, `snapshot` and `effective` are null.
    """

    run_id: str
    """Unique on the machine; scripts and snapshot commands have it as PYFREEZE_RUN_ID."""
    window: WindowReport
    """The freeze window; its times are None where nothing was frozen."""
    effective: EffectiveReport
    """The settings that held."""


def refused(code: OutcomeCode, message: str, still_frozen: Sequence[str] = ()) -> AnyReport:
    """The report of a run that was refused, or never began. The texts are printable already."""
    row = CODES[code]
    return AnyReport(
        run_id=None,
        status="error",
        consistency="none",
        code=code,
        name=row.name,
        message=message,
        action=row.action,
        notes=[],
        scripts=[],
        window=None,
        snapshot=None,
        events=[],
        effective=None,
        still_frozen=list(still_frozen),
    )
