"""`pyfreeze completion`: what a shell needs to complete our command lines."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from pyfreeze._cli.command import COMPLETION, Example, declare
from pyfreeze._cli.types import OneOf

PROGRAM = "pyfreeze"
SHELLS = ("bash", "zsh", "fish")


def script_for(shell: str, group: click.Command) -> str:
    """The script that a shell reads once; at each completion it asks the program itself."""
    kind = get_completion_class(shell)
    assert kind is not None
    # The base class's: bash's own first runs the bash that is installed, to see how old it is.
    script = ShellComplete.source(kind(group, {}, PROGRAM, COMPLETION))
    # As a file of $fpath click's is a function that completes at its first call only; its second
    # registers another. Called by that name it is to complete always.
    script = script.replace("$zsh_eval_context[-1] == loadautofunc", f"$funcstack[1] == _{PROGRAM}")
    return script + "\n"


@declare(
    "completion",
    Example(
        "bash, now and in each new shell",
        "source <(pyfreeze completion bash)\n"
        "pyfreeze completion bash >~/.local/share/bash-completion/completions/pyfreeze",
    ),
    Example("zsh, into a directory of $fpath", "pyfreeze completion zsh >~/.zfunc/_pyfreeze"),
    Example("fish", "pyfreeze completion fish >~/.config/fish/completions/pyfreeze.fish"),
)
@click.argument("shell", type=OneOf(SHELLS))
def command(shell: str) -> None:
    """Print the completion script for a shell: bash 4.4 or newer, zsh or fish.

    Completed are commands, options, their values, files, mount points and outcome codes. pyfreeze
    install puts the scripts of all three where the shells look for them.
    """
    group = click.get_current_context().find_root().command
    click.echo(script_for(shell, group), nl=False)
