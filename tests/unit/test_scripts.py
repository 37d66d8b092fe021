"""What a script is given, and what its end means."""

from __future__ import annotations

import errno

import pytest

from pyfreeze._backup.scripts import Script, child_options, script_code
from pyfreeze._core.types import ChildEnd, describe, duration_ms, succeeded

SCRIPT = Script("pre", "db", "/s/pre.sh", ("a b", ""), 3, 30.0, 30.0, None)
GOOD = ChildEnd(True, 1, 0, None, 0, False, False, False, 1_000_000, 3_500_000, 0)


@pytest.mark.parametrize(
    ("end", "timeout_s", "own_s", "codes"),
    [
        (GOOD, 30, 30, (0, 0)),
        (GOOD._replace(exit_status=3), 30, 30, (300, 301)),
        (GOOD._replace(exit_status=None, signal=9), 30, 30, (300, 301)),
        (GOOD._replace(exit_status=None, exec_error=errno.ENOEXEC), 30, 30, (300, 301)),
        (GOOD._replace(ended_early=True), 30, 30, (300, 301)),
        (GOOD._replace(ended=False, exit_status=None), 30, 30, (300, 301)),
        (GOOD._replace(exit_status=None, signal=15, timed_out=True), 30, 30, (308, 309)),
        (GOOD._replace(exit_status=0, timed_out=True), 30, 30, (308, 309)),
        (GOOD._replace(exit_status=None, signal=15, timed_out=True), 5, 30, (310, 311)),
    ],
)
def test_code_of_an_end(
    end: ChildEnd, timeout_s: float, own_s: float, codes: tuple[int, int]
) -> None:
    """Each end has its code, by phase and by whose timeout it was."""
    pre = SCRIPT._replace(timeout_s=timeout_s, own_timeout_s=own_s)
    pre_code, post_code = codes
    assert script_code(pre, end) == pre_code
    assert script_code(pre._replace(phase="post"), end) == post_code


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (GOOD, ""),
        (GOOD._replace(exit_status=3), "exited with status 3"),
        (
            GOOD._replace(exit_status=127),
            "exited with status 127 (a command was not found)",
        ),
        (
            GOOD._replace(exit_status=126),
            "exited with status 126 (a command that it found could not be executed)",
        ),
        (GOOD._replace(exit_status=None, signal=11), "was ended by SIGSEGV"),
        (GOOD._replace(exit_status=None, signal=35), "was ended by signal 35"),
        (
            GOOD._replace(exit_status=None, exec_error=errno.ENOEXEC),
            "could not be executed: Exec format error (a script needs a #! line)",
        ),
        (
            GOOD._replace(exit_status=None, exec_error=errno.ENOENT),
            "could not be executed: No such file or directory",
        ),
        (GOOD._replace(signal=9, timed_out=True), "did not end within 2.5 s"),
        (
            GOOD._replace(signal=9, timed_out=True, unkillable=True),
            "did not end within 2.5 s; some of its processes could not be killed",
        ),
        (GOOD._replace(signal=15, ended_early=True), "was ended early"),
        (
            GOOD._replace(ended=False, exit_status=None),
            "was lost with its supervisor",
        ),
    ],
)
def test_description_of_an_end(end: ChildEnd, text: str) -> None:
    """Each end has its words; only a success has none."""
    assert describe(end, 2.5) == text
    assert succeeded(end) == (text == "")


def test_a_pre_script_gets_its_arguments_and_a_clean_environment() -> None:
    options = child_options(SCRIPT, "run-1")
    assert options.argv == ("/s/pre.sh", "a b", "")
    assert options.directory == "/"
    assert options.attempts == 3
    assert set(options.environment) == {
        "PATH", "LANG", "HOME",
        "PYFREEZE_PHASE", "PYFREEZE_RUN_ID", "PYFREEZE_PLUGIN", "PYFREEZE_TIMEOUT",
    }  # fmt: skip
    assert options.environment["PYFREEZE_PHASE"] == "pre"
    assert options.environment["PYFREEZE_TIMEOUT"] == "30"
    assert options.is_numbered
    assert options.has_umask_077
    assert not options.is_told_outcome
    assert not options.outlives
    assert not options.may_leave


def test_a_post_script_outlives_its_run_and_learns_the_outcome() -> None:
    post = SCRIPT._replace(phase="post")
    options = child_options(post, "run-1")
    assert options.outlives
    assert options.may_leave
    assert options.is_told_outcome
    assert "PYFREEZE_OUTCOME" not in options.environment


def test_a_late_post_script_is_told_the_outcome_of_the_lost_run() -> None:
    options = child_options(SCRIPT._replace(phase="post"), "run-1", "failed")
    assert options.environment["PYFREEZE_OUTCOME"] == "failed"
    assert not options.is_told_outcome


def test_duration_is_milliseconds() -> None:
    assert duration_ms(GOOD) == 2.5
    assert duration_ms(GOOD._replace(start_ns=0, end_ns=0)) == 0
