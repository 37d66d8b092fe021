"""How the demo's result is shown: pure, from data."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from pyfreeze._demo.proof import Proof
from pyfreeze._demo.show import proof_table


def text_of(what: RenderableType, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(what)
    return stream.getvalue()


def test_what_a_tool_said_is_shown_as_it_is() -> None:
    proofs = [Proof("a", "clean", "[red]bad[/red] block", False), Proof("b", "1", "1", True)]
    text = text_of(proof_table(proofs, unicode=False), 80)
    assert "[red]bad[/red] block" in text
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["NO", "ok"]
