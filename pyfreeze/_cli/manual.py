"""`pyfreeze manual`: the manual page, made of what --help is made of."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

import click

from pyfreeze import __version__
from pyfreeze._cli import exits
from pyfreeze._cli.command import Command, Example, declare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WIDTH = 70
_SUMMARY = "application-consistent snapshots with a short freeze window"

_SCRIPT_VARIABLES = {
    "PYFREEZE_PHASE": "pre or post.",
    "PYFREEZE_RUN_ID": "The run's id; status marks the run by it.",
    "PYFREEZE_PLUGIN": "The plugin's name.",
    "PYFREEZE_ATTEMPT": "Counts the script's attempts from 1.",
    "PYFREEZE_TIMEOUT": "Seconds for all of its attempts.",
    "PYFREEZE_OUTCOME": (
        "For the post-script: success, failed, none, interrupted or abandoned; what became of the "
        "snapshot."
    ),
}
_SEE_ALSO = ("syncfs(2)", "systemd.unit(5)", "fsfreeze(8)", "lvcreate(8)")


@declare(
    "manual",
    Example("Read it", "pyfreeze manual | man -l -"),
    Example("Install it, by hand", "pyfreeze manual >/usr/local/share/man/man1/pyfreeze.1"),
)
def command() -> None:
    """Print the manual page pyfreeze(1), in roff.

    pyfreeze install puts it where man looks.
    """
    root = click.get_current_context().find_root()
    assert isinstance(root.command, click.Group)
    click.echo(render(root.command), nl=False)


def render(group: click.Group) -> str:
    """The page: pure, but for importing the commands."""
    return "\n".join(_page(group)) + "\n"


def _page(group: click.Group) -> Iterator[str]:
    context = click.Context(group, info_name="pyfreeze")
    yield f'.TH PYFREEZE 1 "" "pyfreeze {_escape(__version__)}" "User Commands"'
    # Neither hyphenated nor stretched: what is read here is typed elsewhere.
    yield from (".nh", ".ad l", ".SH NAME", f"pyfreeze \\- {_escape(_SUMMARY)}")
    yield from (".SH SYNOPSIS", ".B pyfreeze", r".I command", "[options] [arguments]")
    yield ".SH DESCRIPTION"
    # The exit statuses have a section of their own.
    yield from _paragraphs((group.help or "").partition("\n\nExit status")[0])
    yield ".SH COMMANDS"
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        assert one is not None
        yield from _command(one, click.Context(one, parent=context, info_name=name))
    yield ".SH EXIT STATUS"
    yield from _list("B", {n: f"{text.capitalize()}." for n, text in exits.MEANINGS.items()})
    yield from _environment(group, context)
    yield from _files()
    yield ".SH SEE ALSO"
    yield ",\n".join(f".BR {name[:-3]} {name[-3:]}" for name in _SEE_ALSO)


def _command(one: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(one.collect_usage_pieces(context))
    yield f".SS {_escape(f'pyfreeze {context.info_name} {usage}')}"
    yield from _paragraphs(one.help or "")
    for param in one.get_params(context):
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None:
            yield from (".TP", _bold_names(record[0]), *_text(record[1]))
    for example in one.examples if isinstance(one, Command) else ():
        yield from (".PP", *_text(f"{example.purpose}:"), ".PP", ".in +4n", ".EX")
        yield from (_line(line) for line in example.lines.splitlines())
        yield from (".EE", ".in")


def _list(font: str, entries: Mapping[str, str]) -> Iterator[str]:
    for term, meaning in entries.items():
        yield from (".TP", f".{font} {_escape(term)}", *_text(meaning))


def _environment(group: click.Group, context: click.Context) -> Iterator[str]:
    yield ".SH ENVIRONMENT"
    yield from _paragraphs(
        "Options win over variables, variables over configuration files. An empty variable counts "
        "as not set. A flag's variable is 1 or 0 (or yes, true, on; no, false, off); several mount "
        "points are separated by colons, so one with a colon in its name takes the option."
    )
    users: dict[str, tuple[str, list[str]]] = {}
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        for param in one.params if one is not None else ():
            if isinstance(param.envvar, str):
                users.setdefault(param.envvar, (param.opts[-1], []))[1].append(name)
    used = {name: f"{one} of {', '.join(names)}." for name, (one, names) in sorted(users.items())}
    yield from _list("B", used)
    yield from (".PP", *_text("Pre-scripts and post-scripts are given:"))
    yield from _list("B", _SCRIPT_VARIABLES)


def _files() -> Iterator[str]:
    from pyfreeze._base.paths import STATE_DIRECTORY
    from pyfreeze._config.load import DEFAULT_PLACES

    yield ".SH FILES"
    files = {
        DEFAULT_PLACES.script_config: "Script configuration (JSON); root's, mode 600.",
        DEFAULT_PLACES.host_config: "Plugin host configuration (INI); root's, at most mode 644.",
        DEFAULT_PLACES.freeze_config: (
            "Freeze configuration (INI), section [SnapshotThread]: timeout, MountsToSkip, "
            "SafeFreezeWaitInSeconds; root's, at most mode 644."
        ),
        "/etc/pyfreeze/NAME.conf": "What pyfreeze@NAME.service runs; root's, mode 600.",
        STATE_DIRECTORY: "The lock, and a page for each run, which tells what it has frozen.",
    }
    yield from _list("I", files)


# ---- roff ----------------------------------------------------------------------------------------

_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}


def _escape(text: str) -> str:
    """Every character as itself, in ASCII: a hyphen as the minus sign that can be copied."""
    return "".join(_SPECIAL.get(c, c if ord(c) < 128 else f"\\[u{ord(c):04X}]") for c in text)


def _line(text: str) -> str:
    """A line of text, which is no request whatever it begins with."""
    escaped = _escape(text)
    return rf"\&{escaped}" if not escaped or escaped[0] in ".'" else escaped


def _text(paragraph: str) -> list[str]:
    """A paragraph, each sentence on a line of its own, as roff likes it for its spaces."""
    plain = " ".join(paragraph.split())
    sentences = re.split(r"(?<=[a-z)\]]\.) (?=[A-Z])", plain)
    wrap = textwrap.TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [line for sentence in sentences for line in wrap.wrap(sentence)]
    return [" ".join(_word(word) for word in _line(line).split(" ")) for line in lines]


def _word(escaped: str) -> str:
    r"""A word that is not hyphenated if it is a name; \% also keeps it from being a request."""
    return rf"\%{escaped}" if re.search(r"[_/]|\\-\\-", escaped) else escaped


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs right after a heading, which begins the first."""
    for number, paragraph in enumerate(textwrap.dedent(text).strip().split("\n\n")):
        if number:
            yield ".PP"
        yield from _text(paragraph)


def _bold_names(names: str) -> str:
    """An option's names in bold, what it takes as it is."""
    parts = re.split(r"([\s,]+)", names)
    return "".join(rf"\fB{_escape(p)}\fR" if p.startswith("-") else _escape(p) for p in parts)
