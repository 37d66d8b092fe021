"""The whole report as one picture, for a file: HTML or SVG. It fetches nothing from elsewhere."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from pyfreeze._model.states import FilesystemState
from pyfreeze._view import words
from pyfreeze._view.spans import run_spans, window_spans
from pyfreeze._view.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from pyfreeze._model.report import Report

_WIDTH = 110
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_INDENT = (0, 0, 0, 2)

# Colours that can be read on their backgrounds: black, red, green, yellow, blue, magenta, cyan,
# white, and the bright ones.
_LIGHT = TerminalTheme(
    (255, 255, 255), (31, 35, 40),
    [(31, 35, 40), (180, 20, 30), (17, 110, 50), (135, 90, 0),
     (10, 80, 170), (130, 60, 180), (70, 145, 165), (90, 98, 108)],
    [(90, 98, 108), (180, 20, 30), (17, 110, 50), (135, 90, 0),
     (10, 80, 170), (130, 60, 180), (0, 110, 140), (31, 35, 40)],
)  # fmt: skip
_DARK = TerminalTheme(
    (16, 20, 26), (222, 228, 234),
    [(16, 20, 26), (255, 120, 112), (92, 200, 110), (222, 172, 60),
     (105, 165, 255), (205, 150, 250), (70, 150, 170), (160, 170, 180)],
    [(160, 170, 180), (255, 120, 112), (92, 200, 110), (222, 172, 60),
     (105, 165, 255), (205, 150, 250), (110, 215, 235), (222, 228, 234)],
)  # fmt: skip

_HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 2em auto; max-width: max-content; padding: 0 1em; }}
pre {{ font: 14px/1.35 "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-x: auto; }}
{light}
@media (prefers-color-scheme: dark) {{
{dark}
}}
</style>
</head>
<body>
<pre>{code}</pre>
</body>
</html>
"""
# rich fills in the names in single braces; CSS' own braces are doubled twice.
_HTML_PARTS = "{stylesheet}\nbody {{ color: {foreground}; background: {background}; }}\0{code}"

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{
    font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
<rect width="100%" height="100%" rx="8" fill="PAPER"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def as_html(report: Report) -> str:
    """A page of its own, light or dark as its reader has it."""
    console = _recorded(report)
    parts = {}
    for name, theme in (("light", _LIGHT), ("dark", _DARK)):
        text = console.export_html(theme=theme, clear=False, code_format=_HTML_PARTS)
        parts[name], _, code = text.partition("\0")
    return _without_controls(_HTML.format(title=escape(_title(report)), code=code, **parts))


def as_svg(report: Report) -> str:
    """A picture, on dark paper."""
    code_format = _SVG.replace("PAPER", _DARK.background_color.hex)
    picture = _recorded(report).export_svg(
        title=_title(report), theme=_DARK, code_format=code_format, unique_id="pyfreeze"
    )
    return _without_controls(picture)


def _without_controls(text: str) -> str:
    """Without the characters that XML does not know; a script may have written any."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _recorded(report: Report) -> Console:
    console = Console(
        record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True,
        color_system="standard", legacy_windows=False, highlight=False, _environ={},
    )  # fmt: skip
    console.print(document(report))
    return console


def _title(report: Report) -> str:
    return f"pyfreeze {report.run_id}: {words.verdict(report)}"


def document(report: Report) -> RenderableType:
    """All of the report that people want to look at."""
    parts: list[RenderableType] = [
        Text(words.verdict(report), style=f"bold {words.verdict_style(report)}"),
        Text(f"run {report.run_id}", style="dim"),
        Text(report.message),
    ]
    if report.code:
        parts.append(Text(f"What to do: {report.action}"))
    parts += [Text(note.message, style="yellow") for note in report.notes]
    if spans := run_spans(report):
        parts += [*_heading("The run"), Timeline(spans)]
    if spans := window_spans(report):
        parts += [*_heading(f"The {words.window(report) or 'window'}"), Timeline(spans)]
    if report.window.filesystems:
        parts += [*_heading("Filesystems"), _filesystems(report)]
    parts += _texts(report)
    skipped = words.left_out((one.mount, one.reason) for one in report.window.skipped)
    if skipped:
        parts += _heading("Left out")
        parts += [Padding(Text(line, style="dim"), _INDENT) for line in skipped]
    return Group(*parts)


def _heading(text: str) -> list[RenderableType]:
    return [Text(), Text(text, style="bold")]


def _filesystems(report: Report) -> RenderableType:
    figures = ("level", "flushes", "flush", "freeze", "frozen", "thaw")
    table = Table(
        Column("mount point", overflow="fold"), "type",
        *(Column(name, justify="right") for name in figures), "outcome",
        box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0),
    )  # fmt: skip
    for one in report.window.filesystems:
        good = one.outcome == FilesystemState.THAWED
        times = (one.flush_ms, one.freeze_ms, one.frozen_ms, one.thaw_ms)
        table.add_row(
            Text(one.mount), one.fstype, str(one.level), str(one.flush_rounds),
            *map(words.milliseconds, times),
            Text(one.outcome, style="" if good else "bold red"),
        )  # fmt: skip
    return Padding(table, _INDENT)


def _texts(report: Report) -> Iterator[RenderableType]:
    """What scripts and the snapshot command were, and what they said."""
    said = [(words.script(s), s.path, s.output, bool(s.code)) for s in report.scripts]
    if (one := report.snapshot) is not None:
        said.append((words.snapshot(one), " ".join(one.argv), one.output, bool(one.message)))
    for heading, what, output, bad in said:
        yield from (Text(), Text(heading, style="bold red" if bad else "bold"))
        if what:
            yield Padding(Text(what, style="dim"), _INDENT)
        if output.strip():
            yield Padding(Text(output.rstrip().expandtabs()), _INDENT)
