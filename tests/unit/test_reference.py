"""The API reference: complete, up to date, and good enough to embed by."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import griffe
import pytest

import pyfreeze
from pyfreeze._model.codes import CODES
from pyfreeze._model.options import WINDOW, Duration, Switch

DOCS = Path(__file__).resolve().parents[2] / "docs"
_UNIT = re.compile(r"_(ms|s|ns|bytes|fd)$")
_NUMBER = re.compile(r"\b(int|float)\b")
#: Numbers without a unit: they count, or stand for something.
_BARE = re.compile(
    r"code|version|level|error|exit_status|signal|attempts|flush_rounds|pre_retries|post_retries"
    r"|mount_id|device|runs"
)


def _import() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


reference = _import()
PACKAGE: griffe.Module = reference.load()
PATHS = [path for paths in reference.CHAPTERS.values() for path in paths]


def test_they_are_up_to_date() -> None:
    """The documents hold what would be written anew."""
    assert reference.main(["--check"]) == 0


def test_every_code_is_in_the_troubleshooting_table() -> None:
    """Read back from the document, apart from how it is made."""
    text = reference.TROUBLESHOOTING.read_text(encoding="utf-8")
    table = text.partition("| code | name |")[2].partition("<!--")[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in table.splitlines()[2:] if line]
    found = {int(number): (names, message, action) for number, names, message, action in rows}
    assert list(found) == list(CODES)
    for number, row in CODES.items():
        names, message, action = found[number]
        assert names.replace("`", "").split("<br>") == [
            name for name in (row.name, row.documented_name) if name
        ]
        assert message == row.message
        assert action == row.action


def test_every_public_name_is_in_it() -> None:
    assert {p for p in PATHS if "." not in p} == set(pyfreeze.__all__) - {"__version__"}


def test_what_the_names_lead_to_is_in_it() -> None:
    """Every class of the package that an annotation names is described, too."""
    described = {path.rpartition(".")[2] for path in PATHS}
    text = reference.REFERENCE.read_text(encoding="utf-8")
    for name in set(re.findall(r"`[^`\n]*?\b([A-Z]\w+(?:Report|Times|Window|Filesystem))\b", text)):
        assert name in described


@pytest.mark.parametrize("path", PATHS)
def test_docstring(path: str) -> None:
    """Every public name has a docstring that names its unit."""
    one = reference.resolve(PACKAGE, path)
    assert one.docstring is not None
    if isinstance(one, griffe.Class) and one.name != "WindowKeywords":
        for member in reference.public_members(one):
            if one.name not in ("Window", "MountError"):  # theirs are in the class's own
                assert member.docstring, f"{member.path} has no docstring"
            _assert_unit(member.name, str(getattr(member, "annotation", "")), member.docstring)


def _assert_unit(name: str, annotation: str, docstring: griffe.Docstring | None) -> None:
    """A number has its unit in its name, and a time in words, too, unless it is a timestamp."""
    if not _NUMBER.search(annotation) or _BARE.fullmatch(name):
        return
    assert _UNIT.search(name), f"{name}: a number of what?"
    if name.endswith(("_ms", "_s")):
        text = docstring.value if docstring else ""
        assert re.search(r"[Ss]econds|timeout|one:|window|FIFREEZE|snapshot's", text), name


@pytest.mark.parametrize("name", WINDOW)
def test_an_option_tells_of_itself(name: str) -> None:
    option = WINDOW[name]
    for text in (option.doc, *([option.help] if isinstance(option, Switch) else [])):
        assert text.endswith(".")
        assert "Default" not in text, "it is added"
    if isinstance(option, Duration):
        assert "second" in option.doc.casefold()


@pytest.mark.parametrize("name", ["backup", "frozen"])
def test_sections_of_a_function(name: str) -> None:
    """Every argument, result and error is in the docstring."""
    function = reference.resolve(PACKAGE, name)
    assert function.docstring is not None
    sections = {section.kind.value: section.value for section in function.docstring.parsed}
    documented = [parameter.name for parameter in sections["parameters"]]
    assert [name.lstrip("*") for name in documented] == [p.name for p in function.parameters]
    assert sections["returns"]
    raised = [str(raises.annotation) for raises in sections["raises"]]
    assert set(raised) <= set(pyfreeze.__all__)
    assert len(set(raised)) == len(raised)
    for parameter in sections["parameters"]:
        if "timeout" in parameter.name:
            assert "second" in parameter.description, parameter.name
