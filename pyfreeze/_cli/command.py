"""What every command has: examples in its help, and options that variables can give, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pyfreeze._cli.types import YesOrNo

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "PYFREEZE_"
#: With it a shell asks for completion; click derives its name from the program's.
COMPLETION = "_PYFREEZE_COMPLETE"
#: Of every command that has it.
_ALWAYS = ("--json",)


class Example(NamedTuple):
    """A command line to copy."""

    purpose: str
    """A sentence without its full stop."""
    lines: str
    """What is typed: at least one call of pyfreeze."""


class Command(click.Command):
    """A command with examples, whose options have variables: --max-window is PYFREEZE_MAX_WINDOW.

    The order is option, variable, configuration file, default. A variable that is empty counts as
    not set.

    Args:
        examples: shown at the end of its help and in the manual page.
        variables: whether all options have one; else only --json. What an option of an act names,
            such as what is to be thawed by force, is typed and never lies about in an environment.
        keywords: click's.
    """

    def __init__(
        self, *, examples: Sequence[Example] = (), variables: bool = False, **keywords: Any
    ) -> None:
        super().__init__(**keywords)
        self.examples = tuple(examples)
        for option in self.params:
            if isinstance(option, click.Option):
                _complete(option, variables=variables)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, line by line as they are typed."""
        if not self.examples:
            return
        with formatter.section("Examples"):
            for number, example in enumerate(self.examples):
                if number:
                    formatter.write_paragraph()
                formatter.write_text(f"{example.purpose}:")
                indent = " " * (formatter.current_indent + 2)
                for line in example.lines.splitlines():
                    formatter.write(f"{indent}{line}\n")


def _complete(option: click.Option, *, variables: bool) -> None:
    long_name = next(name for name in option.opts if name.startswith("--"))
    if variables or long_name in _ALWAYS:
        option.envvar = variable_of(long_name)
        option.show_envvar = True
    if option.is_flag:
        option.type = YesOrNo()


def variable_of(option: str) -> str:
    """The variable for an option: --max-window is PYFREEZE_MAX_WINDOW."""
    return PREFIX + option.removeprefix("--").replace("-", "_").upper()
