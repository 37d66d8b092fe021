"""One backup: its plan is handed to a supervisor, and what that leaves is reported.

What is done in which order is `steps`', what it was worth is `outcome`'s, what the report says is
`report`'s. Here is only what cannot be decided beforehand: that the caller is interrupted, or that
the supervisor is lost.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pyfreeze._backup.journal import Journal, outcome_word, pending_posts, script_ends
from pyfreeze._backup.observer import Observer
from pyfreeze._backup.report import make_report
from pyfreeze._backup.steps import late_steps, route_of
from pyfreeze._base.text import counted
from pyfreeze._core.run import Run, new_run_id
from pyfreeze._core.types import EventKind, StepStatus
from pyfreeze._model.errors import FreezeError, LockedError, NotPermittedError, StillFrozenError
from pyfreeze._mounts.choose import targets
from pyfreeze._recovery.recover import recover_or_refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyfreeze._backup.plan import Plan
    from pyfreeze._core.types import Event
    from pyfreeze._model.report import Report

_log = logging.getLogger("pyfreeze")

#: How much of what a running script has written is looked at.
_LIVE_BYTES = 2048


class Backup:
    """One backup. `perform()` once; `report` is there even when it raises after its beginning."""

    def __init__(self, plan: Plan, observer: Observer | None = None) -> None:
        self.plan = plan
        self.report: Report | None = None
        self.journal = Journal(run_id=new_run_id(), begin_ns=time.monotonic_ns())
        self._observer = _Phases(observer or Observer(), plan)
        self._route = route_of(plan, self.journal.run_id)
        self._run: Run | None = None
        self._interruption: BaseException | None = None

    def perform(self) -> Report:
        """Do it all and report.

        Raises:
            LockedError, NotPermittedError: nothing was run.
            StillFrozenError: an earlier run left something that cannot be thawed.
            BaseException: what interrupted it (KeyboardInterrupt, a signal handler's own), after
                everything was thawed and the post-scripts have run.
        """
        acts: list[Callable[[], object]] = [self._make_report]
        if self.plan.takes_snapshot:
            found = recover_or_refuse(self.plan.settings.state_directory)
            self._note(recovered=tuple(found))
            acts = [self._start, self._follow, self._read, self._close, self._run_late_posts, *acts]
        try:
            self._do_despite_interruption(acts)
        finally:  # on a second interruption: the supervisor thaws, and runs what is pending
            self._close()
        for script, _, _, code, _ in script_ends(self.plan, self._route, self.journal):
            _log.info("%s-script of %s: code %d", script.phase, script.plugin, code)
        if self._interruption is not None:
            raise self._interruption
        assert self.report is not None
        return self.report

    def _note(self, **fields: object) -> None:
        self.journal = self.journal._replace(**fields)  # type: ignore[arg-type] # by name

    def _make_report(self) -> None:
        self.report = make_report(self.plan, self.journal)

    def _do_despite_interruption(self, acts: list[Callable[[], object]]) -> None:
        """Do one after another; that in which the first interruption comes is done once more."""
        try:
            _do(acts)
        except FreezeError:
            raise
        except BaseException as error:
            if self._interruption is not None:
                raise
            self._interruption = error
            self._note(interruption=str(error) or type(error).__name__)
            _do(acts)

    # ---- the run -----------------------------------------------------------------------------

    def _start(self) -> None:
        if self._interruption is not None:
            return
        try:
            self._run = Run(
                targets(self.plan.selection),
                self.journal.run_id,
                self.plan.settings.state_directory,
            )
        except (LockedError, NotPermittedError, StillFrozenError):
            raise
        except FreezeError as error:
            self._note(error=error)

    def _follow(self) -> None:
        """Hand the plan over, and stay until it is over or the supervisor is lost.

        After an interruption: give it up, and stay.
        """
        run = self._run
        if run is None:
            return
        if self._interruption is None:
            try:
                run.request_plan(
                    self._route.steps,
                    peer=self.plan.provider.peer,
                    tells_steps=self._observer.listens,
                )
            except FreezeError as error:
                self._note(error=error)
                return
        elif run.has_plan:
            run.request_abort()
        else:
            return  # no plan will ever be over
        kinds = (EventKind.STEP, EventKind.WAITING, EventKind.ENDED)
        while not self._is_over(event := run.wait_for(*kinds, timeout_s=self._observer.poll_s)):
            self._observer.look(run, self._route.phase_of, event)
            if event.kind is EventKind.WAITING:
                self._proceed(run)

    def _read(self) -> None:
        run = self._run
        if run is not None:
            self._note(
                was_started=True,
                steps=run.steps(),
                facts=run.facts,
                filesystems=run.filesystems(),
                transitions=run.transitions(),
            )

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()

    def _is_over(self, event: Event) -> bool:
        if event.kind is EventKind.LOST:
            self._note(is_lost=True)
        elif event.kind is EventKind.ENDED and event.error is not None:
            self._note(error=event.error)
        return event.kind in (EventKind.LOST, EventKind.ENDED)

    def _proceed(self, run: Run) -> None:
        call = self.plan.provider.call()
        if call is not None:
            self._note(call=call)
            run.request_proceed(failed=bool(call.failure))

    def _run_late_posts(self) -> None:
        """Everything below a lost supervisor is gone; its pending post-scripts are still to run."""
        pending = pending_posts(self._route, self.journal) if self.journal.is_lost else ()
        if not pending:
            return
        posts = [self._route.post[number] for number in pending]
        outcome = outcome_word(self._route, self.journal)
        run_id = self.journal.run_id + "-post"
        steps = late_steps([post.script for post in posts], self.journal.run_id, outcome)
        # Without the lock: a thread of the lost one that hangs in FIFREEZE still holds it.
        with Run((), run_id, self.plan.settings.state_directory, unlocked=True) as run:
            run.request_plan(steps)
            self._do_despite_interruption([lambda: run.wait_for(EventKind.ENDED)])
            records = list(self.journal.steps)
            for number, post in enumerate(posts):
                records[post.step] = run.step(number)
        self._note(steps=tuple(records))


def _do(acts: list[Callable[[], object]]) -> None:
    """Do them, and take each off the list when it is done."""
    while acts:
        acts[0]()
        del acts[0]


class _Phases:
    """Tells an observer of phases, out of what is told of steps."""

    def __init__(self, observer: Observer, plan: Plan) -> None:
        self._observer = observer
        names = ", ".join(plugin.name for plugin in plan.plugins)
        filesystems = counted(len(plan.selection.filesystems), "filesystem")
        self._details = {
            "flush": filesystems,
            "window": filesystems,
            "pre-scripts": names,
            "post-scripts": names,
        }
        self._seen: set[str] = set()
        self.listens = type(observer) is not Observer
        self.poll_s = observer.poll_s

    def look(self, run: Run, phase_of: Callable[[int], str], event: Event) -> None:
        """Tell what is new since the last look."""
        if event.kind is EventKind.STEP:
            phase = phase_of(event.step)
            if phase and phase not in self._seen:
                self._seen.add(phase)
                self._observer.begins(phase, self._details.get(phase, ""))
            elif phase and not self._is_running(run, phase_of, phase):
                self._observer.ends()
        elif event.kind is EventKind.TIMEOUT:
            self._tell_output(run, phase_of)

    def _running(self, run: Run, phase_of: Callable[[int], str]) -> list[tuple[int, str]]:
        records = enumerate(run.steps())
        return [(n, phase_of(n)) for n, one in records if one.status is StepStatus.RUNNING]

    def _is_running(self, run: Run, phase_of: Callable[[int], str], phase: str) -> bool:
        return any(one == phase for _, one in self._running(run, phase_of))

    def _tell_output(self, run: Run, phase_of: Callable[[int], str]) -> None:
        for step, phase in self._running(run, phase_of):
            if phase in ("pre-scripts", "post-scripts"):
                output = run.child_output(step, _LIVE_BYTES)
                self._observer.says(output.decode("utf-8", errors="replace"))
