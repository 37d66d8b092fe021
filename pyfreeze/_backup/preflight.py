"""What `pyfreeze check` looks at: everything that a backup will need, and what may trouble it.

Each look returns rows; none of them freezes anything or runs a script.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyfreeze._backup.plan import make_plan, problems_of
from pyfreeze._backup.scripts import script_of
from pyfreeze._base.files import read_if_there
from pyfreeze._base.processes import has_cap_sys_admin
from pyfreeze._core import run as core
from pyfreeze._core.run import new_run_id
from pyfreeze._model.codes import OutcomeCode
from pyfreeze._model.errors import FreezeError, LockedError
from pyfreeze._recovery.recover import find_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyfreeze._backup.plan import Plan
    from pyfreeze._backup.settings import Settings

Grade = Literal["ok", "note", "warning", "problem"]

#: The topic of mounts that a run would not open.
LEFT_OUT = "left out"

_CPU_LATENCY = "/dev/cpu_dma_latency"
_RCU_EXPEDITED = "/sys/kernel/rcu_expedited"
_RCU_NORMAL = "/sys/kernel/rcu_normal"
# FAN_OPEN_PERM, FAN_ACCESS_PERM, FAN_OPEN_EXEC_PERM and FAN_PRE_ACCESS of linux/fanotify.h
_FANOTIFY_PERMISSION_MASK = 0x10000 | 0x20000 | 0x40000 | 0x100000


class Row(NamedTuple):
    """One thing that was looked at."""

    topic: str
    grade: Grade
    subject: str
    text: str
    code: OutcomeCode | None = None
    """The outcome code that a run would end with or surface."""


def _problem(
    topic: str, subject: str, text: str, code: OutcomeCode | None = OutcomeCode.ERROR
) -> Row:
    return Row(topic, "problem", subject, text, code)


def preflight(settings: Settings) -> tuple[Row, ...]:
    """Look at everything."""
    rows = [*_privileges(), *_kernel(), *_supervisor(settings)]
    try:
        plan = make_plan(settings)
    except FreezeError as error:
        subject = str(error.filename or "mounts")
        rows.append(_problem("filesystems", subject, error.strerror or str(error)))
    else:
        rows += [*_configuration(plan), *_filesystems(plan), *_outlook(plan)]
    rows += _listeners()
    return tuple(rows)


def _privileges() -> Iterator[Row]:
    if has_cap_sys_admin():
        yield Row("privileges", "ok", "CAP_SYS_ADMIN", "present")
    else:
        yield _problem("privileges", "CAP_SYS_ADMIN", "missing: run this as root")
    if os.geteuid() != 0:
        text = f"uid {os.geteuid()}, needed root: configuration and scripts must belong to root"
        yield _problem("privileges", "user", text)


def _kernel() -> Iterator[Row]:
    yield Row("kernel", "ok", "release", os.uname().release)
    if not os.access(_RCU_EXPEDITED, os.W_OK):
        text = "not writable: freezing works, but takes tens of milliseconds for each filesystem"
        yield Row("kernel", "warning", _RCU_EXPEDITED, text)
    elif read_if_there(_RCU_NORMAL).strip() == "1":
        text = "is 1, so expedited grace periods have no effect: freezing takes longer"
        yield Row("kernel", "warning", _RCU_NORMAL, text)
    else:
        now = read_if_there(_RCU_EXPEDITED).strip()
        yield Row("kernel", "ok", _RCU_EXPEDITED, f"can be raised (now {now})")
    if os.access(_CPU_LATENCY, os.W_OK):
        yield Row("kernel", "ok", _CPU_LATENCY, "can be held at 0 us")
    else:
        text = "not writable: processors that idle deeply make windows some tenths of a ms longer"
        yield Row("kernel", "note", _CPU_LATENCY, text)
    if _realtime_works():
        yield Row("kernel", "ok", "SCHED_FIFO", "allowed")
    else:
        text = "refused: on a busy machine some windows will be longer"
        yield Row("kernel", "warning", "SCHED_FIFO", text)


def _realtime_works() -> bool:
    # Asked of the scheduler itself, for this process, and put back: RLIMIT_RTPRIO, CAP_SYS_NICE
    # and a cgroup without a real-time budget all have a say.
    pid = os.getpid()
    before = os.sched_getscheduler(pid), os.sched_getparam(pid)
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(pid, *before)
    return True


def _supervisor(settings: Settings) -> Iterator[Row]:
    directory = settings.state_directory
    try:
        run = core.Run((), new_run_id(), directory)
    except LockedError:
        yield Row("supervisor", "warning", "lock", "another run is going on right now")
    except FreezeError as error:
        is_missing = error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC)
        code = OutcomeCode.SUPERVISOR_NOT_FOUND if is_missing else OutcomeCode.ERROR
        yield _problem("supervisor", str(error.filename), error.strerror or "", code)
    else:
        run.close()
        yield Row("supervisor", "ok", os.path.basename(core.PROGRAM), "starts and ends")
        for page in find_pages(directory):
            text = "was left by a run that died; the next run, or 'pyfreeze thaw', sees to it"
            yield Row("supervisor", "warning", page, text)


def _configuration(plan: Plan) -> Iterator[Row]:
    config = plan.config
    for problem in problems_of(config):
        grade: Grade = "note" if problem.is_note else "problem"
        yield Row("configuration", grade, "scripts", problem.message, problem.code)
    if (wrong := config.freeze_problem) is not None:
        yield _problem("configuration", "freeze configuration", wrong.message, wrong.code)
    for notice in config.notices:
        yield Row("configuration", "warning", "notice", notice)
    for plugin in plan.plugins:
        if plugin.problems:
            continue
        yield Row("configuration", "ok", plugin.config_path, f"plugin {plugin.name}")
        for one in (script_of(plugin, "pre"), script_of(plugin, "post")):
            limits = f"at most {one.timeout_s:g} s, {one.attempts - 1} retries"
            yield Row("scripts", "ok", one.path, f"{one.phase}-script of {plugin.name}: {limits}")


def _filesystems(plan: Plan) -> Iterator[Row]:
    for notice in plan.selection.notices:
        yield Row("filesystems", "warning", "notice", notice)
    for f in plan.selection.filesystems:
        text = f"{f.fstype} on {f.source}, frozen in level {f.level}"
        yield Row("filesystems", "ok", f.mount_point, text)
    for skipped in plan.selection.skipped:
        yield Row(LEFT_OUT, "note", skipped.mount, skipped.reason)


def _outlook(plan: Plan) -> Iterator[Row]:
    """What a run would come to, as far as that can be told beforehand."""
    if not plan.takes_snapshot:
        yield _problem("outlook", "run", "would fail without a snapshot", None)
    elif plan.runs_scripts:
        yield Row("outlook", "ok", "run", "can reach application consistency")
    else:
        level = "filesystem" if plan.policy.freeze else "crash"
        why = "scripts are kept from running" if plan.failures else "no scripts"
        yield Row("outlook", "note", "run", f"{why}: can reach {level} consistency")


# ---- who may answer permission events ------------------------------------------------------------


def _listeners() -> Iterator[Row]:
    """Processes that decide on every open or exec: if they write to what is frozen, all hangs."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            infos = os.listdir(f"/proc/{pid}/fdinfo")
        except OSError:
            continue  # gone, or not ours to see
        if any(asks_permission(read_if_there(f"/proc/{pid}/fdinfo/{fd}")) for fd in infos):
            name = read_if_there(f"/proc/{pid}/comm").strip()
            text = (
                "answers fanotify permission events; if it writes to a frozen filesystem, opens "
                "and execs hang until the window's deadline"
            )
            yield Row("listeners", "warning", f"{name} (process {pid})", text)


def asks_permission(fdinfo: str) -> bool:
    """Whether a /proc/PID/fdinfo text is of a fanotify group with permission events: pure.

    Source: show_mark_fhandle and fanotify_fdinfo in the kernel's fs/notify/fdinfo.c.
    """
    masks = re.findall(r"(?m)^fanotify .*? mask:([0-9a-f]+)", fdinfo)
    return any(int(mask, 16) & _FANOTIFY_PERMISSION_MASK for mask in masks)
