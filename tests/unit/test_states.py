"""The enums and figures that stand for the C core's: name for name, number for number."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import pytest

from pyfreeze._core import structs
from pyfreeze._core.types import EventKind, Fact, StepKind, StepStatus
from pyfreeze._model.report import FilesystemReport
from pyfreeze._model.states import FilesystemState, Verdict
from pyfreeze._model.timeline import FilesystemTimes
from pyfreeze._native import ffi, lib

HEADER = Path(__file__).resolve().parents[2] / "csrc" / "pyfreeze.h"


def names_in_header(enum: str) -> list[str]:
    """The enumerators, in the order of their numbers: none of these enums gives one itself."""
    found = re.search(rf"enum {enum} \{{(.*?)\}};", HEADER.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return re.findall(r"PF_\w+", re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL))


@pytest.mark.parametrize(
    ("enum", "prefix", "kind", "by_number"),
    [
        ("pf_state", "PF_STATE_", FilesystemState, structs.STATES),
        ("pf_verdict", "PF_VERDICT_", Verdict, structs.VERDICTS),
        ("pf_event_kind", "PF_EVENT_", EventKind, structs.EVENT_KINDS),
        ("pf_step_status", "PF_STATUS_", StepStatus, structs.STATUSES),
    ],
)
def test_ours_and_the_header_agree(
    enum: str, prefix: str, kind: type[Enum], by_number: dict[int, Enum]
) -> None:
    names = names_in_header(enum)
    assert [prefix + member.name for member in kind] == names
    assert [prefix + by_number[number].name for number in range(len(names))] == names
    assert len(by_number) == len(names)


def test_a_state_is_the_word_that_reports_have() -> None:
    assert {f"{state}" for state in FilesystemState} == {
        "chosen", "open", "freezing", "frozen", "thawing", "thawed", "failed", "foreign-thaw",
        "stuck",
    }  # fmt: skip


def test_kinds_of_steps_and_facts_have_the_numbers_of_the_header() -> None:
    assert [structs.KINDS[number] for number in sorted(structs.KINDS)] == list(StepKind)
    assert {fact.name: fact.value for fact in Fact if fact.value < lib.PF_FACT_FIRST_FREE} == {
        "ABORTED": lib.PF_FACT_ABORTED,
        "INTERRUPTED": lib.PF_FACT_INTERRUPTED,
        "ABANDONED": lib.PF_FACT_ABANDONED,
    }


def test_every_figure_of_the_core_is_one_of_the_times() -> None:
    """And the reverse: what else the times have is what a filesystem is."""
    others = ("mount", "device", "level", "state", "error")
    assert sorted(FilesystemTimes._fields) == sorted(others + structs.FIGURES)


def test_a_figure_is_read_from_the_place_of_its_name() -> None:
    mount = ffi.new("char[]", b"/srv")
    wanted = {name: place + (1 << 40) for place, name in enumerate(structs.FIGURES)}
    out = ffi.new("pf_filesystem *", {"mount": mount, "figures": wanted})
    times = structs.filesystem_times(out)
    assert {name: getattr(times, name) for name in wanted} == wanted


def test_what_a_report_tells_of_a_filesystem_its_times_have() -> None:
    """But for what only the report knows, all of it is taken from there by its name."""
    own = {"device", "fstype", "freeze_t_ms"}
    assert all(
        hasattr(FilesystemTimes, name)
        for name in FilesystemReport.__struct_fields__
        if name not in own
    )
