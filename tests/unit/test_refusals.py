"""A refusal is a report, too: whatever stops `pyfreeze run --json`, all keys are there."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable

import click
import pytest

from pyfreeze._backup import plan
from pyfreeze._cli import exits
from pyfreeze._cli.main import _run
from pyfreeze._model.codes import CODES, OutcomeCode
from pyfreeze._model.errors import (
    FreezeError,
    LockedError,
    NotPermittedError,
    StillFrozenError,
    SupervisorError,
    UsageError,
)
from pyfreeze._model.report import AnyReport, Report, refused
from pyfreeze._mounts.mountinfo import MountError
from pyfreeze._view.metrics import as_metrics
from tests.support.facts import assert_facts

Refused = Callable[[BaseException], tuple[int, dict[str, object], str]]


def still_frozen() -> StillFrozenError:
    error = StillFrozenError(errno.EBUSY, "may still be frozen (and /b\udcff)", "/a")
    error.mounts = ("/a", "/b\udcff")
    return error


#: What is raised, the exit status, the code, and what may still be frozen.
ERRORS: list[tuple[BaseException, int, OutcomeCode, list[str]]] = [
    (click.UsageError("wrong"), 2, OutcomeCode.ERROR, []),
    (UsageError(errno.EINVAL, "wrong"), 2, OutcomeCode.ERROR, []),
    (MountError("/x", "is not a mount point", "a mount point"), 2, OutcomeCode.ERROR, []),
    (LockedError(errno.EWOULDBLOCK, "locked"), 4, OutcomeCode.ERROR, []),
    (NotPermittedError(errno.EPERM, "not root"), 1, OutcomeCode.ERROR, []),
    (still_frozen(), 5, OutcomeCode.ERROR, ["/a", r"/b\udcff"]),
    (SupervisorError(errno.ENOENT, "no", "/s"), 1, OutcomeCode.SUPERVISOR_NOT_FOUND, []),
    (FreezeError(errno.EIO, "broken"), 1, OutcomeCode.ERROR, []),
    (PermissionError(errno.EACCES, "no", "/x"), 1, OutcomeCode.ERROR, []),
    (OSError(errno.EIO, "broken", "/x"), 1, OutcomeCode.ERROR, []),
    (ValueError("wrong"), 1, OutcomeCode.ERROR, []),
    (MemoryError(), 1, OutcomeCode.ERROR, []),
    (exits.EndedBySignal(signal.SIGTERM), 143, OutcomeCode.ERROR, []),
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """`pyfreeze run --json`, in which planning raises an error."""

    def run_with(error: BaseException) -> tuple[int, dict[str, object], str]:
        def failing(_settings: object) -> None:
            raise error

        monkeypatch.setattr(plan, "make_plan", failing)
        status = _run(["run", "--json", "--", "true"])
        out, err = capfd.readouterr()
        return status, json.loads(out), err

    return run_with


@pytest.mark.parametrize(
    ("error", "status", "code", "mounts"),
    ERRORS,
    ids=[f"{type(one[0]).__module__}.{type(one[0]).__name__}" for one in ERRORS],
)
def test_every_refusal_has_every_key(
    run: Refused,
    error: BaseException,
    status: int,
    code: OutcomeCode,
    mounts: list[str],
) -> None:
    ended, report, err = run(error)
    assert list(report) == list(Report.__struct_fields__)
    line = str(report["message"]).replace(r"\udcff", "?")  # as a terminal's encoding has it
    assert err == f"pyfreeze: {line}\n"
    assert ended == status
    row = CODES[code]
    assert_facts(
        report, version=1, run_id=None, status="error", consistency="none", code=code,
        name=row.name, action=row.action, notes=[], scripts=[], window=None, snapshot=None,
        events=[], effective=None, below_required=False, still_frozen=mounts,
    )  # fmt: skip


def test_wrong_options_are_refused_alike(capfd: pytest.CaptureFixture[str]) -> None:
    """Before the command itself begins."""
    assert _run(["run", "--json", "--frobnicate", "--", "true"]) == 2
    report = json.loads(capfd.readouterr().out)
    assert list(report) == list(Report.__struct_fields__)
    assert report["message"].startswith("--frobnicate: no such option")


def test_a_report_has_the_keys_of_a_refusal_in_the_same_order() -> None:
    assert Report.__struct_fields__ == AnyReport.__struct_fields__


def test_no_json_no_report(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where only a line is printed, nothing is made of it: it may be memory that is lacking."""
    monkeypatch.setattr(exits, "report_of_error", None)
    assert _run(["run", "--frobnicate", "--", "true"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_metrics_of_a_refusal() -> None:
    """What it knows and no more: no window, no duration; and the last success stays."""
    before = "pyfreeze_last_success_timestamp_seconds 7.0\n"
    report = refused(OutcomeCode.SUPERVISOR_NOT_FOUND, "gone", ["/a", "/b"])
    lines = as_metrics(report, now_s=9.0, before=before).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "pyfreeze_last_run_timestamp_seconds 9.0",
        "pyfreeze_last_success_timestamp_seconds 7.0",
        "pyfreeze_run_success 0.0",
        "pyfreeze_run_code 124.0",
        'pyfreeze_run_consistency{level="application"} 0.0',
        'pyfreeze_run_consistency{level="filesystem"} 0.0',
        'pyfreeze_run_consistency{level="crash"} 0.0',
        'pyfreeze_run_consistency{level="none"} 1.0',
        "pyfreeze_possibly_frozen_filesystems 2.0",
    ]
