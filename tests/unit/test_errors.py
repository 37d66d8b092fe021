"""One family of errors, each naming its thing."""

from __future__ import annotations

import errno
import math

import pytest

import pyfreeze
from pyfreeze._api.window import verdict_error
from pyfreeze._core.faults import from_fault
from pyfreeze._model.errors import FreezeError
from pyfreeze._model.options import check_seconds
from pyfreeze._model.states import FilesystemState, Verdict
from pyfreeze._model.timeline import FilesystemTimes, window_times
from pyfreeze._native import ffi, lib
from tests.support.facts import assert_facts


@pytest.mark.parametrize(
    ("step", "number", "kind"),
    [
        ("LOCK", errno.EWOULDBLOCK, pyfreeze.LockedError),
        ("LOCK", errno.EROFS, pyfreeze.FreezeError),
        ("DIRECTORY", errno.EACCES, pyfreeze.NotPermittedError),
        ("DIRECTORY", errno.EPERM, pyfreeze.NotPermittedError),
        ("PAGE", errno.ENOSPC, pyfreeze.FreezeError),
        ("SPAWN", errno.ENOENT, pyfreeze.SupervisorError),
        ("READY", errno.EPIPE, pyfreeze.SupervisorError),
        ("SETUP", errno.EMFILE, pyfreeze.SupervisorError),
        ("OPEN", errno.ENOENT, pyfreeze.FreezeFailedError),
        ("OPEN", errno.ETIMEDOUT, pyfreeze.FreezeTimeoutError),
        ("VERIFY", errno.ESTALE, pyfreeze.FreezeFailedError),
        ("FLUSH", errno.EIO, pyfreeze.FreezeFailedError),
        ("FREEZE", errno.EBUSY, pyfreeze.FreezeFailedError),
        ("FREEZE", errno.EPERM, pyfreeze.NotPermittedError),
        ("FREEZE", errno.ETIMEDOUT, pyfreeze.FreezeTimeoutError),
        ("SEND", errno.EMSGSIZE, pyfreeze.FreezeError),
    ],
)
def test_each_fault_becomes_its_exception(step: str, number: int, kind: type[FreezeError]) -> None:
    value = getattr(lib, f"PF_OP_{step}")
    text = ffi.string(lib.pf_op_text(value)).decode()
    error = from_fault(value, text, number, "/mnt/x")
    assert type(error) is kind
    assert error.errno == number
    assert error.filename == "/mnt/x"
    assert isinstance(error, FreezeError)
    assert isinstance(error, OSError)


def test_a_supervisor_that_is_gone_is_no_broken_pipe_of_the_caller() -> None:
    error = from_fault(lib.PF_OP_SEND, "sending", errno.EPIPE, None)
    assert isinstance(error, pyfreeze.SupervisorError)
    assert error.errno == errno.ESRCH


def test_every_operation_has_its_own_words() -> None:
    texts = [ffi.string(lib.pf_op_text(op)).decode() for op in range(lib.PF_OP_COUNT)]
    assert len(set(texts)) == lib.PF_OP_COUNT
    assert "an unknown operation" not in texts
    for beyond in (-1, lib.PF_OP_COUNT):
        assert ffi.string(lib.pf_op_text(beyond)) == b"an unknown operation"


def test_the_foreign_freeze_is_named_as_such() -> None:
    error = from_fault(lib.PF_OP_FREEZE, "freezing (FIFREEZE)", errno.EBUSY, "/mnt/x")
    assert "somebody else has frozen it" in str(error)


@pytest.mark.parametrize(
    ("verdict", "state", "number"),
    [
        (Verdict.EXPIRED, FilesystemState.THAWED, errno.ETIMEDOUT),
        (Verdict.ABORTED, FilesystemState.THAWED, errno.EINTR),
        (Verdict.RESCUED, FilesystemState.THAWED, errno.ESRCH),
        (Verdict.BROKEN, FilesystemState.FOREIGN_THAW, errno.ESTALE),
        (Verdict.BROKEN, FilesystemState.THAWED, errno.EIO),
    ],
)
def test_the_number_of_a_window_that_did_not_hold(
    verdict: Verdict, state: FilesystemState, number: int
) -> None:
    """As `InconsistentError` promises; who thawed what is named."""
    times = window_times([FilesystemTimes("/a", (7, 0), 0, state, 0, 1, 1, 1, 2, 3, 4)])
    error = verdict_error(verdict, None, times)
    assert type(error) is pyfreeze.InconsistentError
    assert_facts(error, errno=number, times=times)
    assert ("/a" in str(error)) == (number == errno.ESTALE)


def test_all_public_errors_are_one_family() -> None:
    errors = [name for name in pyfreeze.__all__ if name.endswith("Error")]
    assert len(errors) == 10
    for name in errors:
        assert issubclass(getattr(pyfreeze, name), pyfreeze.FreezeError)


def test_everything_public_can_be_imported() -> None:
    for name in pyfreeze.__all__:
        assert getattr(pyfreeze, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pyfreeze.nothing  # type: ignore[attr-defined]  # noqa: B018 - the look-up is the test


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, -math.inf, 86401])
def test_seconds_out_of_range_are_refused(seconds: float) -> None:
    with pytest.raises(pyfreeze.UsageError, match="max_window: found"):
        check_seconds("max_window", seconds)


@pytest.mark.parametrize("seconds", [None, 0.001, 1, 86400])
def test_seconds_in_range_pass(seconds: float | None) -> None:
    check_seconds("max_window", seconds)
