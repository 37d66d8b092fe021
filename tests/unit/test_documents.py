"""What the documents say of files and of each other: it must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, all_blocks
from tests.support.parts import PARTS

_LINK = re.compile(r"\]\(([^)\s]+)\)")
#: Files of the tree, in backquotes.
_NAMED = re.compile(r"`((?:csrc|pyfreeze|tests|docs|bench|packaging)/[\w./-]*)`")


def headings(document: Path) -> set[str]:
    """The anchors that a forge makes of a document's headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.name))
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.name))
def test_files_that_are_named_exist(document: Path) -> None:
    for name in _NAMED.findall(document.read_text(encoding="utf-8")):
        if name != "bench/results/":  # made by the benchmarks
            assert (ROOT / name).exists(), name


def test_a_newcomer_is_told_of_every_room_and_every_part() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = [*ROOT.glob("csrc/[a-z]*/"), *ROOT.glob("pyfreeze/_[a-z]*/")]
    assert len(rooms) > 20
    for room in rooms:
        assert f"`{room.relative_to(ROOT)}/`" in text
    assert tuple(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == PARTS


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for path in ROOT.glob("docs/*.md"):
        assert path.name == "README.md" or f"({path.name})" in index


def test_options_that_are_named_exist() -> None:
    """Each `--option` of the documents is one of pyfreeze's, unless it is in another's command."""
    from click import Context

    from pyfreeze._cli.main import pyfreeze as group

    # qemu-ga's, gcloud's, lvcreate's, systemctl's
    known = {"--fsfreeze-hook", "--async", "--snapshot", "--signal", "--"}
    for name in group.list_commands(Context(group)):
        command = group.get_command(Context(group), name)
        assert command is not None
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for path in ROOT.glob("docs/*.md"):
        for option in re.findall(r"`[^`\n]*?(--[a-z-]*)", path.read_text(encoding="utf-8")):
            assert option in known, f"{path.name}: {option}"


def test_there_is_something_of_each_kind() -> None:
    """Else the tests of the documents' blocks would look at nothing, and pass."""
    for language in ("sh", "python", "json", "ini", "text"):
        assert all_blocks(language)
