"""The demo from beginning to end: stage, shop, backup, proofs. Prints nothing."""

from __future__ import annotations

import errno
import itertools
import os
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze._backup.backup import Backup
from pyfreeze._backup.plan import make_plan
from pyfreeze._backup.report import events_of
from pyfreeze._backup.settings import Settings
from pyfreeze._demo import proof, writer
from pyfreeze._demo.shop import DATABASES, open_shop, read_witness, write_configuration
from pyfreeze._demo.stage import (
    SNAPSHOT_COMMAND,
    STAGE,
    VOLUMES,
    is_ours,
    mounted_image,
    run_tool,
    stage,
)
from pyfreeze._model.codes import Level
from pyfreeze._model.errors import FreezeError
from pyfreeze._model.states import FilesystemState
from pyfreeze._model.timeline import NS_PER_MS
from pyfreeze._view.spans import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyfreeze._backup.plan import Plan
    from pyfreeze._backup.report import Event
    from pyfreeze._demo.proof import Proof
    from pyfreeze._demo.shop import Order
    from pyfreeze._model.report import Report
    from pyfreeze._model.timeline import FilesystemTimes


class Pauses(NamedTuple):
    """What the shop felt: milliseconds from one order's commit to the next one's."""

    orders: int
    usual_ms: float
    """The median."""
    longest_ms: float
    snapshot_ms: float | None
    """The one around the window; None where there was no window."""


class Play(NamedTuple):
    """All that came of it."""

    report: Report
    proofs: tuple[Proof, ...]
    spans: tuple[Span, ...]
    pauses: Pauses
    kept: tuple[str, ...]
    """The images that were kept, as paths."""

    @property
    def holds(self) -> bool:
        """Whether the backup is application-consistent and every proof holds."""
        good = self.report.status == "success" and self.report.consistency == "application"
        return good and bool(self.proofs) and all(proof.holds for proof in self.proofs)


def play(tell: Callable[[str], None], keep: str | None = None, *, scripts: bool = True) -> Play:
    """Do it all, in a private mount namespace that this process does not leave again.

    Args:
        tell: is told what is being done, a few words at a time.
        keep: a directory that the snapshot's images are copied to.
        scripts: False leaves the pre-script and the post-script out: the proofs then fail.

    Raises:
        OSError, FreezeError: the stage could not be built, or the backup not begun.
    """
    tell("making an ext4 and an xfs filesystem, in memory")
    with stage():
        files = write_configuration()
        tell("opening a shop on them: every order goes into two SQLite databases")
        with open_shop() as shop:
            settings = Settings(
                snapshot=SNAPSHOT_COMMAND,
                mounts=tuple(volume.mount_point for volume in VOLUMES),
                require=Level.APPLICATION,
                scripts=scripts,
                **files,
            )
            plan = make_plan(settings)
            _refuse_anything_else(plan)
            tell("pausing the shop, freezing both filesystems, copying, thawing, going on")
            backup = Backup(plan)
            report = backup.perform()
            if scripts:
                shop.wait_for(writer.WENT_ON)
            shop.close()
        tell("mounting the copies, proving them")
        orders = read_witness()
        events = events_of(plan, backup.journal)
        ends = {event.what: event.end_ns for event in events}
        moments = proof.Moments(ends.get("pre-script", 0), ends.get("thaw", 0))
        proofs = [
            proof.equal("consistency level", "application", report.consistency),
            *_filesystem_proofs(report),
            *_database_proofs(orders, moments),
            proof.held_still(orders, moments),
            proof.went_on(orders, moments, writer.ORDERS_UNTIL_WENT_ON),
        ]
        kept: list[str] = []
        if keep is not None and report.snapshot is not None:
            os.makedirs(keep, exist_ok=True)
            run_tool("cp", "--sparse=always", "--", *(v.snapshot for v in VOLUMES), keep)
            kept = [os.path.join(keep, os.path.basename(v.snapshot)) for v in VOLUMES]
    spans = _spans(events, backup.journal.filesystems, orders, moments)
    return Play(report, tuple(proofs), tuple(spans), measure_pauses(orders, moments), tuple(kept))


def _refuse_anything_else(plan: Plan) -> None:
    """Make sure that nothing is frozen but the two filesystems that were just made."""
    chosen = {f.mount_point for f in plan.selection.filesystems}
    if chosen != {v.mount_point for v in VOLUMES} or not all(map(is_ours, VOLUMES)):
        raise FreezeError(
            errno.EPERM, f"the demo would freeze more than its own filesystems: {sorted(chosen)}"
        )


def _filesystem_proofs(report: Report) -> list[Proof]:
    thawed = {f.mount for f in report.window.filesystems if f.outcome == FilesystemState.THAWED}
    names = [v.name for v in VOLUMES if v.mount_point in thawed]
    due = ", ".join(v.name for v in VOLUMES)
    proofs = [proof.equal("frozen and thawed", due, ", ".join(names) or "none")]
    for volume in VOLUMES:
        if not os.path.exists(volume.snapshot):
            proofs.append(proof.Proof(f"copy of {volume.name}.img", "there", "missing", False))
        elif volume.fstype == "ext4":
            proofs += proof.ext4_clean(volume, volume.snapshot)
        else:
            proofs += proof.xfs_clean(volume, volume.snapshot, STAGE)
    return proofs


def _database_proofs(orders: Sequence[Order], moments: proof.Moments) -> list[Proof]:
    proofs: list[Proof] = []
    contents = []
    for volume in VOLUMES:
        said, where = "mounted", volume.snapshot_mount_point
        try:
            with mounted_image(volume.snapshot, where, volume.snapshot_options):
                database = os.path.join(where, DATABASES[volume.name])
                contents.append(proof.read_copy(database, STAGE))
        except FreezeError as error:
            said = str(error.strerror)
        proofs.append(proof.equal(f"mount -o {volume.snapshot_options}", "mounted", said))
    for one in contents:
        proofs.append(proof.intact(one))
        proofs.append(proof.complete(one, orders, moments))
        proofs.append(proof.nothing_later(one, orders, moments))
    if len(contents) == len(VOLUMES):
        proofs.append(proof.agree(*contents))
    return proofs


def measure_pauses(orders: Sequence[Order], moments: proof.Moments) -> Pauses:
    """What the shop's own account says of its pauses: pure."""
    gaps_ms = []
    snapshot_ms = None
    for a, b in itertools.pairwise(orders):
        gaps_ms.append((b.committed_ns - a.committed_ns) / NS_PER_MS)
        if a.committed_ns <= moments.thawed_ns < b.committed_ns:
            snapshot_ms = gaps_ms[-1]
    usual_ms = median(gaps_ms) if gaps_ms else 0.0
    return Pauses(len(orders), usual_ms, max(gaps_ms, default=0.0), snapshot_ms)


def _spans(
    events: Sequence[Event],
    filesystems: Sequence[FilesystemTimes],
    orders: Sequence[Order],
    moments: proof.Moments,
) -> list[Span]:
    spans = []
    before = [o.committed_ns for o in orders if o.committed_ns <= moments.paused_ns]
    after = [o.committed_ns for o in orders if o.committed_ns > moments.thawed_ns]
    if before and after and moments.thawed_ns:
        spans.append(Span("shop", "paused", before[-1], after[0]))
    told = [Span(e.what, e.what, e.begin_ns, e.end_ns) for e in events]
    spans += [span for span in told if span.phase in ("pre-script", "flush")]
    times = {f.mount: f for f in filesystems if f.thaw_return_ns}
    for volume in VOLUMES:
        if f := times.get(volume.mount_point):
            row = f"{volume.name} ({volume.fstype})"
            spans.append(Span(row, "freezing", f.freeze_enter_ns, f.freeze_return_ns))
            spans.append(Span(row, "frozen", f.freeze_return_ns, f.thaw_enter_ns))
            spans.append(Span(row, "thawing", f.thaw_enter_ns, f.thaw_return_ns))
    row = f"snapshot ({SNAPSHOT_COMMAND[0]})"
    spans += [span._replace(row=row) for span in told if span.phase == "snapshot"]
    return spans + [span for span in told if span.phase == "post-script"]
