"""The table of outcome codes and the look-ups in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyfreeze._model.codes import CODES, Code, OutcomeCode, find
from pyfreeze._model.errors import UsageError

# The published contract, spelled out again: a changed row must fail here.
DOCUMENTED = {
    0: ("success_appconsistent", ""),
    1: ("success", ""),
    2: ("error", ""),
    121: ("FailedRetryableFsFreezeFailed", ""),
    122: ("FailedRetryableFsFreezeTimeout", ""),
    123: ("FailedRetryableUnableToOpenMount", ""),
    124: ("FailedSafeFreezeBinaryNotFound", ""),
    300: ("FailedPrepostPreScriptFailed", "Pre-ScriptExecutionFailed"),
    301: ("FailedPrepostPostScriptFailed", "Post-ScriptExecutionFailed"),
    302: ("FailedPrepostPreScriptNotFound", "Pre-ScriptNotFound"),
    303: ("FailedPrepostPostScriptNotFound", "Post-ScriptNotFound"),
    304: ("FailedPrepostPluginhostConfigParsing", "IncorrectPluginhostFile"),
    305: ("FailedPrepostPluginConfigParsing", "IncorrectJSONConfigFile"),
    306: ("FailedPrepostPreScriptPermissionError", "InsufficientPermissionforPre-Script"),
    307: ("FailedPrepostPostScriptPermissionError", "InsufficientPermissionforPost-Script"),
    308: ("FailedPrepostPreScriptTimeout", "Pre-ScriptTimeout"),
    309: ("FailedPrepostPostScriptTimeout", "Post-ScriptTimeout"),
    310: ("FailedPrepostPluginhostPreTimeout", ""),
    311: ("FailedPrepostPluginhostPostTimeout", ""),
    312: ("FailedPrepostCheckSumMismatch", ""),
    313: ("FailedPrepostPluginhostConfigNotFound", "IncorrectPluginhostFile"),
    314: ("FailedPrepostPluginhostConfigPermissionError", "IncorrectPluginhostFile"),
    315: ("FailedPrepostPluginhostConfigOwnershipError", "IncorrectPluginhostFile"),
    316: ("FailedPrepostPluginConfigNotFound", "IncorrectJSONConfigFile"),
    317: ("FailedPrepostPluginConfigPermissionError", ""),
    318: ("FailedPrepostPluginConfigOwnershipError", ""),
}


def test_the_table_holds_the_documented_codes() -> None:
    assert {row.number: (row.name, row.documented_name) for row in CODES.values()} == DOCUMENTED


def test_every_constant_has_a_row_and_every_row_a_constant() -> None:
    assert {int(code) for code in OutcomeCode} == set(CODES)


@pytest.mark.parametrize("row", CODES.values(), ids=lambda row: row.name)
def test_every_row_says_something(row: Code) -> None:
    assert type(row.number) is int
    assert CODES[row.number] is row
    for sentence in (row.message, row.action):
        assert sentence.isprintable()
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "{" not in sentence


def test_messages_and_names_are_unique() -> None:
    assert len({row.message for row in CODES.values()}) == len(CODES)
    assert len({row.name.lower() for row in CODES.values()}) == len(CODES)


@pytest.mark.parametrize("row", CODES.values(), ids=lambda row: row.name)
def test_found_by_number_and_by_name_in_any_case(row: Code) -> None:
    for text in (str(row.number), f" {row.number} ", row.name):
        assert find(text) == (row,)
    assert find(row.name.upper()) == (row,)
    assert find(row.name.lower()) == (row,)


@pytest.mark.parametrize(
    "text", ["Pre-ScriptTimeout", "pre-scripttimeout", "PreScriptTimeout", "pre-script timeout"]
)
def test_found_by_documented_name(text: str) -> None:
    assert [row.number for row in find(text)] == [OutcomeCode.PRE_SCRIPT_TIMED_OUT]


def test_find_returns_all_codes_that_share_a_name() -> None:
    assert [row.number for row in find("incorrectpluginhostfile")] == [304, 313, 314, 315]
    assert [row.number for row in find("IncorrectJSONConfigFile")] == [305, 316]


def test_a_typo_gets_the_nearest_names() -> None:
    with pytest.raises(UsageError, match=r"perhaps .*\bPre-ScriptTimeout\b"):
        find("Pre-ScriptTimeot")


def test_a_part_of_a_name_gets_the_names_with_it() -> None:
    with pytest.raises(UsageError, match=r"perhaps .*\bPre-ScriptTimeout\b"):
        find("timeout")


@pytest.mark.parametrize("text", ["", " ", "-", "9" * 10_000, "-1", "\n", "\ud800"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"CODE: found .*, expected a code's number or name"):
        find(text)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CODES[0] = CODES[1]  # type: ignore[index]


def test_importing_the_table_imports_nothing_heavy() -> None:
    program = (
        "import sys; import pyfreeze._model.codes; "
        "print(*{'json', 'difflib', 'msgspec', 'dataclasses', 'logging'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
