"""The black box in words: every kind of csrc/pyfreeze.h has some, which name what it concerns."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyfreeze._model.transitions import (
    ENDINGS,
    REQUESTS,
    STEPS,
    VERDICTS,
    Transition,
    TransitionKind,
    describe_transition,
    transition_lines,
)
from pyfreeze._native import ffi, lib

WIRE_H = Path(__file__).resolve().parents[2] / "csrc" / "protocol" / "wire.h"
MOUNTS = ("/srv", "/home")
EXPIRED = lib.PF_VERDICT_EXPIRED


def one(kind: TransitionKind, subject: int = -1, value: int = 0, ns: int = 0) -> Transition:
    return Transition(ns, kind, subject, value)


def test_kinds_are_those_of_the_c_core() -> None:
    names = {name.removeprefix("PF_TRANSITION_") for name in dir(lib) if "PF_TRANSITION_" in name}
    assert {kind.name for kind in TransitionKind} == names - {"NONE", "COUNT"}


@pytest.mark.parametrize(
    ("enum", "prefix", "words", "expected"),
    [
        ("pf_verdict", "PF_VERDICT_", VERDICTS, {
            "NONE": "no verdict",
            "GOOD": "good",
            "FREEZE_FAILED": "freezing failed",
            "FREEZE_TIMEOUT": "freezing timed out",
            "EXPIRED": "expired",
            "ABORTED": "ended early",
            "BROKEN": "broken",
            "RESCUED": "rescued",
        }),
        ("pf_step_kind", "PF_STEP_", STEPS, {
            "OPEN": "open", "FLUSH": "flush", "CHILD": "child", "WINDOW": "window", "WAIT": "wait",
        }),
        ("pf_step_status", "PF_STATUS_", ENDINGS, {
            "PENDING": "pending",
            "RUNNING": "running",
            "DONE": "done",
            "FAILED": "failed",
            "SKIPPED": "skipped",
        }),
    ],
)  # fmt: skip
def test_words_have_the_numbers_of_the_c_core(
    enum: str, prefix: str, words: Sequence[str], expected: dict[str, str]
) -> None:
    """Each name has its word, and no word is left over."""
    names: dict[int, str] = ffi.typeof(f"enum {enum}").elements
    assert {name.removeprefix(prefix): words[n] for n, name in names.items()} == expected
    assert [n for n, word in enumerate(words) if word] == sorted(names)


def test_words_for_requests_have_the_numbers_of_the_protocol() -> None:
    """The client's library does not show that enum: it is read in its header, numbered from 1."""
    kinds = re.search(r"enum pf_request_kind \{(.*?)\}", WIRE_H.read_text("ascii"), re.DOTALL)
    assert kinds is not None
    # At the beginnings of lines: comments name requests, too.
    names = re.findall(r"^ *PF_REQUEST_(\w+)", kinds[1], re.MULTILINE)
    assert "PF_REQUEST_PLAN = 1," in kinds[1]
    assert dict(zip(names, REQUESTS[1:], strict=True)) == {
        "PLAN": "carry out a plan", "PROCEED": "proceed", "ABORT": "abort", "BYE": "leave",
    }  # fmt: skip


@pytest.mark.parametrize("kind", TransitionKind, ids=lambda kind: kind.name)
def test_whatever_its_numbers_are_a_transition_has_words(kind: TransitionKind) -> None:
    """A page may be damaged, or of a supervisor that knows more requests and verdicts."""
    for subject in (-1, 0, 1, 2, -(2**31), 2**31 - 1):
        for value in (0, 1, 9, -1, -(2**31), 2**31 - 1):
            text = describe_transition(one(kind, subject, value), MOUNTS)
            assert text
            assert "{" not in text


@pytest.mark.parametrize(
    ("transition", "text"),
    [
        (one(TransitionKind.FREEZING, 1), "/home: FIFREEZE begins"),
        (one(TransitionKind.FROZEN, 2), "filesystem 2: frozen"),
        (one(TransitionKind.FAILED, 0, errno.EBUSY), "/srv: not frozen: Device or resource busy"),
        (one(TransitionKind.THAWED, 0), "/srv: thawed"),
        (one(TransitionKind.WINDOW_THAWING, -1, EXPIRED), "window: thawing (expired)"),
        (one(TransitionKind.SIGNAL, -1, signal.SIGTERM), "supervisor: SIGTERM"),
        (one(TransitionKind.REQUEST, -1, 3), "supervisor: asked to abort"),
        (one(TransitionKind.REQUEST, -1, 99), "supervisor: asked to number 99"),
        (one(TransitionKind.CHILD_ENDED, 3, 2 << 8), "step 3: child over, exit status 2"),
        (
            one(TransitionKind.CHILD_ENDED, 3, signal.SIGKILL),
            "step 3: child over, ended by SIGKILL",
        ),
    ],
)  # fmt: skip
def test_words(transition: Transition, text: str) -> None:
    """A line names what it concerns, and says in words what its value is: an error, a signal."""
    assert describe_transition(transition, MOUNTS) == text


def test_lines_have_the_time_since_the_first() -> None:
    transitions = [
        one(TransitionKind.FROZEN, 0, ns=5_000_000),
        one(TransitionKind.THAWED, 0, ns=17_250_000),
    ]
    assert [line.split(maxsplit=2) for line in transition_lines(transitions, MOUNTS)] == [
        ["+0.000", "ms", "/srv: frozen"],
        ["+12.250", "ms", "/srv: thawed"],
    ]
    assert transition_lines([], MOUNTS) == []
