"""The documents and their fenced blocks: what is to be run, and what cannot be run here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

#: The line before a block that is not run: everybody can read it, too.
_NOT_RUN = re.compile(r"^\*Not run by the tests: needs (.+)\.\*$")

_TIME = r"[\d.]+ m?s"
_VARYING = {
    "…": ".*?",
    "█": r"[▒█ ]+",
    "1 ms": _TIME,
    "1 s": _TIME,
    "1 times": r"\d+ times",
}


class Block(NamedTuple):
    """One fenced block."""

    document: Path
    line: int
    language: str
    text: str
    needs: str
    """What it needs that is not here; empty: it is run."""

    @property
    def place(self) -> str:
        """For messages, and the tests' names."""
        return f"{self.document.name}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document."""
    found: list[Block] = []
    before, begin, language = "", 0, ""
    content: list[str] = []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        fence = re.match(r"^\s*(```|~~~)(.*)$", line)
        if begin and fence:
            needs = _NOT_RUN.match(before)
            text = "".join(f"{one}\n" for one in content)
            found.append(Block(document, begin, language, text, needs[1] if needs else ""))
            before, begin = "", 0
        elif begin:
            content.append(line)
        elif fence:
            assert line.startswith("```"), f"{document.name}:{number}: an indented block, or tildes"
            begin, language, content = number, fence[2].strip(), []
        elif line:
            before = line
    assert not begin, f"{document.name}:{begin}: a block that does not end"
    return found


def all_blocks(language: str) -> list[Block]:
    """The blocks of one language in all documents."""
    return [block for one in DOCUMENTS for block in blocks(one) if block.language == language]


def shown_in(expected: str, output: str) -> bool:
    """Whether an output is as a document shows it.

    Times, counts of rounds, bars and blanks may differ. "…" stands for anything, on a line of its
    own for any lines.
    """
    lines = []
    for line in expected.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        pattern = "".join(
            _VARYING.get(re.sub(r"[▒█][▒█ ]*", "█", re.sub(r"[\d.]+", "1", part)), re.escape(part))
            for part in re.split(r"(…|\d+\.\d+ m?s|\d+ times|[▒█]+(?: *[▒█]+)*)", line.strip())
        )
        lines.append(r"[ \t]*" + re.sub(r"(?:\\[ \t])+", r"[ \\t]+", pattern) + r"[ \t]*\n")
    return re.search("".join(lines), output) is not None
