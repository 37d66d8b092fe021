"""Other runs' state pages: to thaw by, where the run is dead, and to look at, where it lives."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pyfreeze._core.faults import from_fault
from pyfreeze._core.run import PROGRAM
from pyfreeze._core.structs import KINDS, STATUSES, VERDICTS, filesystem_times, read_transitions
from pyfreeze._model.states import FilesystemState
from pyfreeze._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._core.types import StepKind, StepStatus
    from pyfreeze._model.states import Verdict
    from pyfreeze._model.timeline import FilesystemTimes
    from pyfreeze._model.transitions import Transition


class RecordedStep(NamedTuple):
    """A step of another run's plan, out of its journal. Times are CLOCK_MONOTONIC ns, 0: never."""

    kind: StepKind
    status: StepStatus
    verdict: Verdict
    """Of a window."""
    group: int
    takes_snapshot: bool
    begin_ns: int
    end_ns: int
    path: str | None = None
    """What its child executes; None: it has no child."""


class Candidate(NamedTuple):
    """A filesystem of a dead run, and a mount to thaw it by."""

    slot: int
    """Its place among the filesystems of the run."""
    mount_point: str
    mount_id: int


class Record:
    """The state page of another run.

    Args:
        path: its file.
        look_only: mapped for reading, so that a live run cannot be disturbed; what would change
            something is refused with EROFS.
    """

    def __init__(self, path: str, *, look_only: bool = False) -> None:
        self.path = path
        self._fault = ffi.new("pf_fault *")
        header = ffi.new("pf_record_header *")
        out = ffi.new("pf_record **")
        encoded = ffi.new("char[]", os.fsencode(path))
        self._check(lib.pf_record_open(out, encoded, look_only, header, self._fault))
        self._record = out[0]
        self.run_id: str = ffi.string(header.run_id).decode(errors="replace")
        self.same_boot = bool(header.same_boot)
        self.client_pid: int = header.client_pid
        self.supervisor_pid: int = header.supervisor_pid
        self._count: int = header.count
        self.deadline_ns: int = header.deadline_ns
        """Of the window that it was in, CLOCK_MONOTONIC; 0: in none."""
        self.thawed_limit_ns: int = header.thawed_limit_ns
        """What its supervisor is given from there until everything is thawed."""

    def _check(self, result: int) -> None:
        _checked(result, self._fault, self.path)

    def filesystems(self) -> tuple[FilesystemTimes, ...]:
        """The slots."""
        out = ffi.new("pf_filesystem *")
        rows = []
        for index in range(self._count):
            self._check(lib.pf_record_read(self._record, index, out, self._fault))
            rows.append(filesystem_times(out))
        return tuple(rows)

    def transitions(self) -> tuple[Transition, ...]:
        """The last transitions, the oldest first; a live run's, too."""
        return read_transitions(
            lambda after, out: lib.pf_record_transition(self._record, after, out)
        )

    def steps(self) -> tuple[RecordedStep, ...]:
        """The steps of the run's plan; none before it was handed over, or if it cannot be read."""
        return tuple(self._step(index) for index in range(lib.pf_record_step_count(self._record)))

    def _step(self, index: int) -> RecordedStep:
        out = ffi.new("pf_step_report *")
        self._check(lib.pf_record_step(self._record, index, out, self._fault))
        path, child = ffi.new("const char **"), ffi.new("pf_child_report *")
        result = lib.pf_record_child(self._record, index, path, child, self._fault)
        has_child = result != -errno.ENOENT
        if has_child:
            self._check(result)
        return RecordedStep(
            kind=KINDS[out.kind],
            status=STATUSES[out.status],
            verdict=VERDICTS[out.verdict],
            group=out.group,
            takes_snapshot=bool(out.flags & lib.PF_STEP_SNAPSHOT),
            begin_ns=out.begin_ns,
            end_ns=out.end_ns,
            path=os.fsdecode(ffi.string(path[0])) if has_child else None,
        )

    def recover(
        self, candidates: Sequence[Candidate], state_directory: str, lock: int
    ) -> tuple[str, ...]:
        """Thaw filesystems of a dead run, put rcu_expedited back, and remove the page if it may.

        A process of its own thaws, and goes on with what hangs; this waits for it with a limit.

        Args:
            candidates: what to thaw, and by which mounts.
            state_directory: where the page is.
            lock: its lock, held.

        Returns:
            For each candidate why it may still be frozen; empty: it is thawed.

        Raises:
            FreezeError: nothing could be tried, or rcu_expedited could not be put back.
        """
        table = ffi.new("pf_candidate[]", len(candidates))
        texts = [ffi.new("char[]", os.fsencode(one.mount_point)) for one in candidates]
        for row, one, text in zip(table, candidates, texts, strict=True):
            row.index, row.mount, row.mount_id = one.slot, text, one.mount_id
        options = ffi.new("pf_recover_options *")
        program = ffi.new("char[]", os.fsencode(PROGRAM))
        directory = ffi.new("char[]", os.fsencode(state_directory))
        options.program, options.directory, options.lock_fd = program, directory, lock
        options.candidates, options.count = table, len(candidates)
        self._check(lib.pf_record_recover(self._record, options, self._fault))
        slots = self.filesystems()
        return tuple(self._reason(row.fault, slots[row.index]) for row in table)

    def _reason(self, fault: Any, slot: FilesystemTimes) -> str:
        if not slot.may_be_frozen:
            return ""
        number, op = fault.error or slot.error, fault.op or lib.PF_OP_THAW
        if number == 0 or (slot.state is not FilesystemState.STUCK and not fault.error):
            return "FITHAW has not returned yet; a process waits for it"
        text = ffi.string(lib.pf_op_text(op)).decode()
        return from_fault(op, text, number, None).strerror or os.strerror(number)

    def close(self) -> None:
        """Unmap it; the file stays."""
        lib.pf_record_close(self._record)


def thaw_mount(mount_point: str, mount_id: int) -> bool:
    """FITHAW, also of what another program has frozen; returns whether it was frozen.

    Raises:
        FreezeError: it cannot be opened or thawed, or is another mount by now.
    """
    fault = ffi.new("pf_fault *")
    mount = ffi.new("char[]", os.fsencode(mount_point))
    return bool(_checked(lib.pf_thaw_mount(mount, mount_id, fault), fault, mount_point))


def take_lock(state_directory: str) -> int:
    """Take the state directory's lock; close the descriptor to let it go.

    Raises:
        LockedError: a run holds it.
    """
    fault = ffi.new("pf_fault *")
    directory = ffi.new("char[]", os.fsencode(state_directory))
    return _checked(lib.pf_lock(directory, fault), fault, state_directory)


def _checked(result: int, fault: Any, filename: str) -> int:
    if result < 0:
        text = ffi.string(lib.pf_op_text(fault.op)).decode()
        raise from_fault(fault.op, text, fault.error, filename)
    return result
