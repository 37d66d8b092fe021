"""Writes what is made from the sources: the API reference, and the table of codes.

    python docs/reference.py            writes docs/api.md, and a part of docs/troubleshooting.md
    python docs/reference.py --check    fails if they are not up to date

The reference is of what `pyfreeze.__all__` names, and of what that leads to. griffe reads the
sources without importing them: so it also sees the docstrings below fields.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import griffe

from pyfreeze._model.codes import CODES, LEVEL_NAMES
from pyfreeze._model.options import WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "api.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"

#: The headings, and what stands under each; a path is of a module where `__all__` lacks the name.
CHAPTERS = {
    "Functions": ("frozen", "backup", "WindowKeywords"),
    "The window": ("Window", "_mounts.selection.Filesystem", "WindowTimes", "FilesystemTimes"),
    "The snapshot": ("Peer",),
    "The report": (
        "Report",
        "_model.report.NoteReport",
        "_model.report.ScriptReport",
        "_model.report.WindowReport",
        "_model.report.FilesystemReport",
        "_model.report.SkippedReport",
        "_model.report.SnapshotReport",
        "_model.report.EventReport",
        "_model.report.TransitionReport",
        "_model.report.EffectiveReport",
        "_model.report.PluginReport",
    ),
    "Errors": (
        "FreezeError",
        "UsageError",
        "MountError",
        "LockedError",
        "NotPermittedError",
        "SupervisorError",
        "FreezeFailedError",
        "FreezeTimeoutError",
        "InconsistentError",
        "StillFrozenError",
    ),
}

HEAD = """\
# API reference

Made from the docstrings by `make docs`; a test keeps it up to date. [embedding.md](embedding.md)
has programs that use it.

Everything is imported from `pyfreeze`; what is only a part of something else (`NoteReport`) has no
name there, and is never made by a caller. Names end in their unit: `_s` seconds, `_ms`
milliseconds, `_ns` nanoseconds; arguments without one (`max_window`) are seconds. Arguments with a
default are given by keyword. Timestamps are of CLOCK_MONOTONIC, as `time.monotonic_ns()`. The
logger is `pyfreeze`; nothing is logged inside a window. `__version__` is the version, a string.
"""


def load() -> griffe.Module:
    """The package, read from the tree."""
    module = griffe.load("pyfreeze", search_paths=[str(ROOT)], docstring_parser="google")
    assert isinstance(module, griffe.Module)
    return module


def public_names(package: griffe.Module) -> list[str]:
    """What `__all__` lists, `__version__` aside."""
    return [str(name) for name in package.exports or () if str(name) != "__version__"]


def resolve(package: griffe.Module, path: str) -> griffe.Class | griffe.Function:
    """A class or a function by its path in the package."""
    found = package[path]
    if isinstance(found, griffe.Alias):
        found = found.final_target
    assert isinstance(found, griffe.Class | griffe.Function), path
    return found


def public_members(one: griffe.Class) -> Iterator[griffe.Attribute | griffe.Function]:
    """A class's fields, properties and methods, inherited ones too, but none that Python calls."""
    members: dict[str, griffe.Object | griffe.Alias] = {}
    for base in (*reversed(one.mro()), one):
        members |= base.members
    for name, member in members.items():
        if not name.startswith("_") and isinstance(member, griffe.Attribute | griffe.Function):
            yield member


def reference() -> str:
    """The whole document."""
    package = load()
    parts = [HEAD]
    for chapter, paths in CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        for path in paths:
            one = resolve(package, path)
            parts += _function(one) if isinstance(one, griffe.Function) else _class(one)
    return "\n".join(parts)


def _function(one: griffe.Function) -> list[str]:
    return [f"### {one.name}()\n", *_sections(one)]


def _class(one: griffe.Class) -> list[str]:
    if "TypedDict" in map(str, one.bases):
        return [f"### {one.name}\n", *_sections(one), *_keywords(one)]
    made = "immutable, made by pyfreeze alone"
    kind = {"NamedTuple": "a named tuple", "msgspec.Struct": made, "AnyReport": made}
    said = ", ".join(kind.get(base, f"`{base}`") for base in map(str, one.bases))
    parts = [f"### {one.name}\n", *([f"Is: {said}.\n"] if said else []), *_sections(one)]
    members = list(public_members(one))
    fields = [m for m in members if m.docstring and not isinstance(m, griffe.Function)]
    if fields:
        parts.append("| field | type | |\n|---|---|---|")
        parts += [f"| `{m.name}` | {_type(m.annotation)} | {_cell(_text(m))} |" for m in fields]
        parts.append("")
    for method in members:
        if isinstance(method, griffe.Function):
            parts.append(f"- `{method.name}()` → {_type(method.returns)}: {_cell(_text(method))}")
    if isinstance(members[-1] if members else None, griffe.Function):
        parts.append("")
    return parts


def _keywords(one: griffe.Class) -> list[str]:
    """The options of a window, which document themselves."""
    parts = ["| argument | type | default | |\n|---|---|---|---|"]
    for name, option in WINDOW.items():
        member = one.members[name]
        assert isinstance(member, griffe.Attribute)
        annotation = member.annotation
        assert isinstance(annotation, griffe.ExprSubscript)
        assert isinstance(annotation.slice, griffe.ExprTuple)
        kind = _type(annotation.slice.elements[0])
        parts.append(f"| `{name}` | {kind} | `{option.default}` | {_cell(option.doc)} |")
    return [*parts, ""]


def _text(one: griffe.Object) -> str:
    return one.docstring.value if one.docstring else ""


def _sections(one: griffe.Class | griffe.Function) -> list[str]:
    parts: list[str] = []
    assert one.docstring, one.path
    for section in one.docstring.parsed:
        if isinstance(section, griffe.DocstringSectionText):
            parts.append(section.value + "\n")
        elif isinstance(section, griffe.DocstringSectionParameters):
            assert isinstance(one, griffe.Function)
            parts.append("| argument | type | default | |\n|---|---|---|---|")
            for item in section.value:
                parameter = one.parameters[item.name.lstrip("*")]
                is_given = parameter.required or item.name.startswith("*")
                default = "" if is_given else f"`{_default(parameter.default)}`"
                kind = _type(parameter.annotation)
                parts.append(f"| `{item.name}` | {kind} | {default} | {_cell(item.description)} |")
            parts.append("")
        elif isinstance(section, griffe.DocstringSectionAttributes):
            parts.append("| attribute | type | |\n|---|---|---|")
            for attribute in section.value:
                kind = _type(_annotation_in_init(one, attribute.name))
                parts.append(f"| `{attribute.name}` | {kind} | {_cell(attribute.description)} |")
            parts.append("")
        elif isinstance(section, griffe.DocstringSectionReturns):
            assert isinstance(one, griffe.Function)
            parts += [
                f"Returns {_type(one.returns)}: {' '.join(item.description.split())}\n"
                for item in section.value
            ]
        elif isinstance(section, griffe.DocstringSectionRaises):
            parts.append("| raises | when |\n|---|---|")
            parts += [f"| `{r.annotation}` | {_cell(r.description)} |" for r in section.value]
            parts.append("")
        else:
            raise TypeError(f"{one.path}: a section of kind {section.kind.value}")
    return parts


def _annotation_in_init(one: griffe.Object, name: str) -> object:
    member = one.members.get(name)
    return member.annotation if isinstance(member, griffe.Attribute) else None


#: Names that stand for something else in the sources.
_SPELLED = {
    "STATE_DIRECTORY": '"/run/pyfreeze"',
    "DEFAULT_SNAPSHOT_TIMEOUT_S": "3600.0",
    "CLEAN_ENVIRONMENT": "PATH, LANG and HOME",
    "Snapshot": "Sequence[str] | Callable[[], object] | Peer",
    "LevelName": " | ".join(f'"{name}"' for name in reversed(LEVEL_NAMES)),
    "Literal['success', 'error']": '"success" | "error"',
    "FilesystemState": "str",
    "Device": "tuple[int, int]",
}


def _default(value: object) -> str:
    return _SPELLED.get(str(value), str(value))


def _type(annotation: object) -> str:
    text = re.sub(r"\bos\.PathLike\b", "PathLike", str(annotation))
    return f"`{_SPELLED.get(text, text)}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def codes() -> str:
    """The table of the outcome codes."""
    lines = ["| code | name | what happened | what to do |", "|---|---|---|---|"]
    for row in CODES.values():
        names = f"`{row.name}`" + (f"<br>`{row.documented_name}`" if row.documented_name else "")
        lines.append(f"| {row.number} | {names} | {_cell(row.message)} | {_cell(row.action)} |")
    return "\n".join(lines)


def troubleshooting() -> str:
    """The document as it is, with its table of codes anew."""
    return re.sub(
        r"(?<=_model/codes.py by `make docs` -->\n).*(?=<!-- end of codes -->)",
        lambda _: f"\n{codes()}\n\n",
        TROUBLESHOOTING.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )


def main(arguments: list[str]) -> int:
    """Write what is made, or check it; returns the exit status."""
    made = {REFERENCE: reference(), TROUBLESHOOTING: troubleshooting()}
    stale = [path for path in made if path.read_text(encoding="utf-8") != made[path]]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path} is not up to date: make docs\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
