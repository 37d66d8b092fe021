"""Seeing to what a dead run left: its state page says what it froze, and only that is thawed."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._model.errors import FreezeError, LockedError, StillFrozenError
from pyfreeze._model.transitions import transition_lines
from pyfreeze._mounts.mountinfo import by_mount_point, read_mounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyfreeze._core.pages import Candidate
    from pyfreeze._model.timeline import FilesystemTimes
    from pyfreeze._mounts.mountinfo import Mount

_SUFFIX = ".state"
_JOURNAL_SUFFIX = ".journal"


class Recovered(NamedTuple):
    """What was found of one dead run."""

    run_id: str
    thawed: tuple[str, ...]
    """Mount points that may have been frozen and no longer are."""
    failed: tuple[str, ...]
    """Mount points that may still be frozen, with the reason."""
    others: tuple[str, ...] = ()
    """Mount points that may still be frozen, since they were not asked for."""
    history: tuple[str, ...] = ()
    """What the run and its recovery did last, a line each."""


def find_pages(state_directory: str) -> tuple[str, ...]:
    """The state pages there are, of live and dead runs."""
    return _find(state_directory, _SUFFIX)


def _find(state_directory: str, suffix: str) -> tuple[str, ...]:
    try:
        names = os.listdir(state_directory)
    except OSError:
        return ()
    return tuple(
        os.path.join(state_directory, name) for name in sorted(names) if name.endswith(suffix)
    )


def _journal_of(page: str) -> str:
    return page.removesuffix(_SUFFIX) + _JOURNAL_SUFFIX


def _remove(page: str) -> None:
    """Remove what is left of a run, if it is still there; the page last, as a run does."""
    for path in (_journal_of(page), page):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _remove_lone_journals(state_directory: str) -> None:
    """Remove the journals without a state page: no live run has one.

    A run makes its page before its journal and removes it after, so the journals are listed first.
    """
    journals = _find(state_directory, _JOURNAL_SUFFIX)
    owned = {_journal_of(page) for page in find_pages(state_directory)}
    for journal in journals:
        if journal not in owned:
            with contextlib.suppress(FileNotFoundError):  # another recovery was faster
                os.unlink(journal)


def recover(state_directory: str, only: Sequence[str] | None = None) -> tuple[Recovered, ...]:
    """Thaw what dead runs left frozen, put rcu_expedited back, remove their pages.

    Args:
        state_directory: where the pages are.
        only: mount points to thaw, by whichever mount of the filesystem; None: everything. A page
            stays until nothing that it tells of may be frozen.

    Raises:
        LockedError: a run is alive; nothing was touched.
    """
    _remove_lone_journals(state_directory)
    if not find_pages(state_directory):
        return ()
    lock = _take_lock(state_directory)
    try:
        # Listed again: what was there before the lock may have ended in order meanwhile.
        mounts = tuple(by_mount_point(read_mounts()).values())
        recovered = tuple(
            _recover_page(path, mounts, only, state_directory, lock)
            for path in find_pages(state_directory)
        )
    finally:
        os.close(lock)
    _log(recovered)
    return recovered


def _log(recovered: Sequence[Recovered]) -> None:
    seen_to = [found for found in recovered if found.thawed or found.failed]
    if not seen_to:
        return
    import logging  # not on the way to frozen() where there is nothing to tell

    log = logging.getLogger("pyfreeze")
    for found in seen_to:
        log.info("run %s, which is dead: %s", found.run_id, describe_recovered(found))
        for line in found.history:
            log.info("run %s: %s", found.run_id, line.strip())


def describe_recovered(found: Recovered) -> str:
    """What became of what a dead run left, in words: pure."""
    texts = []
    if found.thawed:
        texts.append(f"had left {', '.join(found.thawed)} frozen, thawed now")
    if found.failed:
        texts.append(f"still frozen: {'; '.join(found.failed)}")
    return "; ".join(texts)


def _take_lock(state_directory: str) -> int:
    from pyfreeze._core.pages import take_lock

    try:
        return take_lock(state_directory)
    except LockedError:
        from pyfreeze._recovery.wake import wake

        if not any(wake(path) for path in find_pages(state_directory)):
            raise
        return take_lock(state_directory)


def recover_or_refuse(state_directory: str) -> list[str]:
    """Recover before a new run; what cannot be thawed stops it.

    Returns:
        What was thawed, and of which run, a sentence for each.

    Raises:
        StillFrozenError: something that an earlier run froze cannot be thawed.
    """
    recovered = recover(state_directory)
    failed = [text for found in recovered for text in found.failed]
    if failed:
        error = StillFrozenError(
            errno.EBUSY,
            f"an earlier run left something that cannot be thawed: {failed[0]}; fix that, then "
            "'pyfreeze thaw'",
        )
        error.mounts = tuple(text.partition(": ")[0] for text in failed)
        raise error
    return [
        f"run {found.run_id}, which was killed, {describe_recovered(found)}"
        for found in recovered
        if found.thawed
    ]


def _recover_page(
    path: str, mounts: Sequence[Mount], only: Sequence[str] | None, state_directory: str, lock: int
) -> Recovered:
    from pyfreeze._core.pages import Record

    try:
        record = Record(path)
    except FreezeError as error:
        if error.errno != errno.EBADMSG:
            raise
        # Cut short while it was made: the run had no supervisor yet, so it froze nothing.
        _remove(path)
        return Recovered(os.path.basename(path), (), ())
    with contextlib.closing(record):
        slots = record.filesystems()
        candidates, failed, others = _choose(slots if record.same_boot else (), mounts, only)
        # Without candidates, too: rcu_expedited is put back.
        reasons = record.recover(candidates, state_directory, lock) if record.same_boot else ()
        tried = [slots[one.slot].mount for one in candidates]
        failed += [f"{mount}: {why}" for mount, why in zip(tried, reasons, strict=True) if why]
        thawed = tuple(mount for mount, why in zip(tried, reasons, strict=True) if not why)
        if not failed and not others:
            _remove(path)
        history = tuple(transition_lines(record.transitions(), [slot.mount for slot in slots]))
        return Recovered(record.run_id, thawed, tuple(failed), tuple(others), history)


def _choose(
    slots: Sequence[FilesystemTimes], mounts: Sequence[Mount], only: Sequence[str] | None
) -> tuple[list[Candidate], list[str], list[str]]:
    """What to thaw, what cannot be thawed, with the reason, and what nobody asked for: pure."""
    from pyfreeze._core.pages import Candidate

    devices = {mount.device for mount in mounts if only is not None and mount.mount_point in only}
    candidates: list[Candidate] = []
    failed: list[str] = []
    others: list[str] = []
    for index, slot in enumerate(slots):
        if not slot.may_be_frozen:
            continue
        # Its mount may be gone, or be somebody else's by now: any mount of that superblock will do.
        found = [m for m in mounts if m.device == slot.device]
        found.sort(key=lambda mount: mount.mount_point != slot.mount)
        if only is not None and slot.mount not in only and slot.device not in devices:
            others.append(slot.mount)
        elif found:
            candidates.append(Candidate(index, found[0].mount_point, found[0].mount_id))
        else:
            failed.append(f"{slot.mount}: no mount of it is left to thaw it by")
    return candidates, failed, others
