"""One backup, from the configuration to the report: the order of things.

Decisions are `_outcome`'s, what a script is given is `_scripts`', how a snapshot is taken is
`_snapshot`'s, what the report says is `_reporting`'s. Here is only what comes after what, and that
a post-script follows every pre-script that was started, whatever happens in between.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._backup.journal import Journal
from pyfreeze._backup.observer import Observer
from pyfreeze._backup.outcome import (
    Facts,
    ScriptFailure,
    decide_outcome,
    decide_snapshot,
    may_fall_back,
)
from pyfreeze._backup.plan import Plan, continues, problems_of
from pyfreeze._backup.report import make_report
from pyfreeze._backup.scripts import Script, child_options, post_script, pre_script, script_code
from pyfreeze._core import run as core
from pyfreeze._core.run import new_run_id, open_all, wait_for
from pyfreeze._model.codes import OutcomeCode
from pyfreeze._model.errors import (
    FreezeError,
    FreezeTimeoutError,
    LockedError,
    NotPermittedError,
    StillFrozenError,
    SupervisorError,
)
from pyfreeze._mounts.choose import targets
from pyfreeze._recovery.recover import recover_or_refuse
from pyfreeze._snapshot.take import take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._config.load import Plugin
    from pyfreeze._core.run import Run
    from pyfreeze._core.types import ChildEnd
    from pyfreeze._model.report import Report
    from pyfreeze._snapshot.provider import SnapshotResult

_log = logging.getLogger("pyfreeze")

#: How much of what a running script has written is looked at.
_LIVE_BYTES = 2048


class Started(NamedTuple):
    """A script that was started."""

    script: Script
    child: int


class Ended(NamedTuple):
    """A script that is over, with its code."""

    script: Script
    end: ChildEnd
    output: bytes
    code: OutcomeCode


def _names(plugins: Sequence[Plugin]) -> str:
    return ", ".join(plugin.name for plugin in plugins)


class Backup:
    """One backup. `perform()` once; `report` is there even when it raises after its beginning."""

    def __init__(self, plan: Plan, observer: Observer | None = None) -> None:
        self.plan = plan
        self._observer = observer or Observer()
        self.settings = plan.settings
        self.policy = plan.policy
        self.report: Report | None = None
        self.journal = Journal(run_id=new_run_id(), begin_ns=time.monotonic_ns())
        self._run: Run | None = None
        self._deferred: dict[str, int] = {}
        self._owed: list[Plugin] = []
        self._failures = list(plan.failures)
        self._taken: SnapshotResult | None = None
        self._freeze_code: OutcomeCode | None = None
        self._error: OutcomeCode | None = None
        self._interruption: BaseException | None = None
        self._interrupted = False

    # ---- the order of things -----------------------------------------------------------------

    def perform(self) -> Report:
        """Do it all and report.

        Raises:
            LockedError, NotPermittedError: nothing was run.
            StillFrozenError: an earlier run left something that cannot be thawed.
            BaseException: what interrupted it (KeyboardInterrupt, a signal handler's own), after
                everything was thawed and the post-scripts have run.
        """
        self._note_plan()
        if self.plan.takes_snapshot:
            recover_or_refuse(self.settings.state_directory)
            try:
                self._work()
            except (LockedError, NotPermittedError, StillFrozenError):
                raise
            except FreezeError as error:
                self._fail(error)
            except BaseException as error:  # noqa: BLE001 - raised again below, after the clean-up
                self._interrupt(error)
            finally:
                self._finish()
        self.report = self._settle()
        if self._interruption is not None:
            raise self._interruption
        return self.report

    def _note_plan(self) -> None:
        config = self.plan.config
        for problem in problems_of(config):
            self.journal.note(problem.code, problem.message)
        for notice in (*config.notices, *self.plan.selection.notices):
            self.journal.note(None, notice)
        if config.freeze_problem is not None:
            self._error = OutcomeCode.ERROR
            self.journal.fail(config.freeze_problem.message)

    def _interrupt(self, error: BaseException) -> None:
        self._interruption = error
        self._interrupted = self._taken is None
        self.journal.fail(f"interrupted by {str(error) or type(error).__name__}")

    def _work(self) -> None:
        targets_ = targets(self.plan.selection)
        self._run = core.Run(targets_, self.journal.run_id, self.settings.state_directory)
        run = self._run
        if not self._ready_to_freeze(run) and not may_fall_back(self.policy):
            return
        self._run_pre_scripts(run)
        plan = decide_snapshot(tuple(self._failures), self.policy)
        if plan.snapshot:
            self._take_snapshot(run, freeze=plan.freeze and self._freeze_code is None)

    def _ready_to_freeze(self, run: Run) -> bool:
        """Open everything and write the bulk of what is dirty, before an application waits."""
        if not self.policy.freeze:
            return True
        try:
            open_all(run)
        except FreezeTimeoutError as error:
            return self._freeze_failed(OutcomeCode.FREEZE_TIMED_OUT, error)
        except SupervisorError:
            raise
        except FreezeError as error:
            return self._freeze_failed(OutcomeCode.MOUNT_NOT_OPENED, error)
        begin_ns = time.monotonic_ns()
        self._observer.begins("flush", self._filesystems)
        run.request_flush(self.plan.writeback)
        event = wait_for(run, core.FLUSHED)
        self.journal.event("writeback", begin_ns, time.monotonic_ns())
        if event.error is not None:
            timed_out = isinstance(event.error, FreezeTimeoutError)
            code = OutcomeCode.FREEZE_TIMED_OUT if timed_out else OutcomeCode.FREEZE_FAILED
            return self._freeze_failed(code, event.error)
        return True

    @property
    def _filesystems(self) -> str:
        count = len(self.plan.selection.filesystems)
        return f"{count} filesystem{'' if count == 1 else 's'}"

    def _freeze_failed(self, code: OutcomeCode, error: FreezeError | None) -> bool:
        self._freeze_code = code
        self.journal.note(code, str(error) if error else "")
        return False

    def _fail(self, error: FreezeError) -> None:
        cannot_start = self._run is None and isinstance(error, SupervisorError)
        self._error = OutcomeCode.SUPERVISOR_NOT_FOUND if cannot_start else OutcomeCode.ERROR
        self.journal.fail(str(error))

    # ---- scripts -----------------------------------------------------------------------------

    def _run_pre_scripts(self, run: Run) -> None:
        if not self.plan.runs_scripts:
            return
        started = []
        self._observer.begins("pre-scripts", _names(self.plan.plugins))
        for plugin in self.plan.plugins:
            # Owed from before its pre-script is asked for: were this process killed in between,
            # a superfluous post-script is the lesser evil.
            post = post_script(plugin)
            options = child_options(post, run.run_id, outcome="abandoned", deferred=True)
            self._deferred[plugin.config_path] = run.request_child(options)
            self._owed.append(plugin)
            script = pre_script(plugin)
            started.append(Started(script, run.request_child(child_options(script, run.run_id))))
        self._wait_for_scripts(run, started)
        self._note_failures(self.plan.plugins, [self._end_of(run, one) for one in started])
        if self._interruption is not None:
            raise self._interruption

    def _run_post_scripts(self, run: Run) -> None:
        started = []
        if self._owed:
            self._observer.begins("post-scripts", _names(self._owed))
        for plugin in self._owed:
            script = post_script(plugin)
            deferred = self._deferred.get(plugin.config_path, -1)
            options = child_options(
                script, run.run_id, outcome=self._snapshot_outcome(), cancels=deferred
            )
            started.append(Started(script, run.request_child(options)))
        owed = self._owed
        try:
            self._wait_for_scripts(run, started)
        finally:
            # Were the supervisor lost, those that had not ended are still owed.
            self._observer.ends()
            over = [run.child_end(one.child).ended for one in started]
            self._owed = [plugin for plugin, ended in zip(owed, over, strict=True) if not ended]
        self._note_failures(owed, [self._end_of(run, one) for one in started])

    def _note_failures(self, plugins: Sequence[Plugin], ended: Sequence[Ended]) -> None:
        for plugin, one in zip(plugins, ended, strict=True):
            if one.code:
                self._failures.append(ScriptFailure(one.code, continues(plugin)))

    def _wait_for_scripts(self, run: Run, started: Sequence[Started]) -> None:
        """Wait until all are over. An interruption ends pre-scripts; post-scripts are owed.

        A second interruption leaves at once: the supervisor sees to the rest.
        """
        while not all(run.child_end(one.child).ended for one in started):
            try:
                wait_for(run, core.CHILD, timeout_s=self._observer.poll_s)
                self._tell_output(run, started)
            except SupervisorError:
                raise
            except BaseException as error:
                if self._interruption is not None:
                    raise
                self._interrupt(error)
                for one in started:
                    if one.script.phase == "pre":
                        run.request_end(one.child)

    def _tell_output(self, run: Run, started: Sequence[Started]) -> None:
        if self._observer.poll_s is None:
            return
        for one in started:
            if not run.child_end(one.child).ended:
                output = run.child_output(one.child, _LIVE_BYTES)
                self._observer.says(output.decode("utf-8", errors="replace"))

    def _end_of(self, run: Run, started: Started) -> Ended:
        end = run.child_end(started.child)
        code = script_code(started.script, end)
        ended = Ended(started.script, end, run.child_output(started.child), code)
        self.journal.script(ended.script, end, ended.output, code)
        _log.info("%s-script of %s: code %d", started.script.phase, started.script.plugin, code)
        return ended

    def _snapshot_outcome(self) -> str:
        """PYFREEZE_OUTCOME: what became of the snapshot."""
        if self._interrupted:
            return "interrupted"
        if self._taken is None or not self._taken.begin_ns:
            return "none"
        good = self._taken.verdict in ("good", "unfrozen") and not self._taken.failure
        return "success" if good else "failed"

    # ---- the snapshot ------------------------------------------------------------------------

    def _take_snapshot(self, run: Run, *, freeze: bool) -> None:
        if freeze:
            self._observer.begins("window", self._filesystems)
        else:
            self._observer.begins("snapshot")
        asked_ns = time.monotonic_ns()
        try:
            taken = take(run, self.settings, self.plan.window if freeze else None)
        finally:
            self._observer.ends()
            if freeze:
                self.journal.window(asked_ns, run.filesystems())
        if taken.verdict in ("freeze-failed", "freeze-timeout"):
            timed_out = taken.verdict == "freeze-timeout"
            code = OutcomeCode.FREEZE_TIMED_OUT if timed_out else OutcomeCode.FREEZE_FAILED
            self._freeze_failed(code, taken.window_error)
            if not may_fall_back(self.policy):
                return
            taken = take(run, self.settings, None)
        self._taken = taken

    # ---- the end -----------------------------------------------------------------------------

    def _finish(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run = self._thaw_and_post(run)
        finally:
            # Also on a second interruption: the supervisor thaws, and runs what is deferred.
            run.close()

    def _thaw_and_post(self, run: Run) -> Run:
        try:
            self._run_post_scripts(run)
        except SupervisorError as error:
            if not self._owed:
                raise
            # The supervisor is gone, and with it everything below it; what is owed is still owed.
            self.journal.fail(str(error))
            self._error = OutcomeCode.ERROR
            self.journal.still_frozen(run.filesystems())
            run.close()
            # Without the lock: a thread of the lost one that hangs in FIFREEZE still holds it.
            run_id = self.journal.run_id + "-post"
            run = core.Run((), run_id, self.settings.state_directory, unlocked=True)
            self._deferred = {}
            self._run_post_scripts(run)
        else:
            self.journal.still_frozen(run.filesystems())
        return run

    def _settle(self) -> Report:
        taken = self._taken
        broken = taken is not None and taken.verdict not in ("good", "unfrozen")
        facts = Facts(
            scripts_configured=bool(self.plan.plugins),
            script_failures=tuple(self._failures),
            freeze_code=self._freeze_code,
            # What may be frozen after a freeze that failed is the freeze's own failure.
            window_broken=broken
            or (self._freeze_code is None and bool(self.journal.frozen_mounts)),
            snapshot_failed=taken is not None and bool(taken.failure),
            snapshot_taken=taken is not None,
            interrupted=self._interrupted,
            error=self._error,
            notes=tuple(p.code for p in problems_of(self.plan.config) if p.is_note),
        )
        outcome = decide_outcome(facts, self.policy)
        return make_report(self.journal, outcome, taken, self.plan)
