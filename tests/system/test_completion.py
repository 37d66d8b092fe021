"""Completion in real shells: a key is pressed, and what the shell makes of it is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.needs import need_program
from tests.support.script_dir import ScriptDir
from tests.support.terminal import Terminal

#: What begins a session, in a home directory without any settings; the last word tells its end.
_STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(pyfreeze completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "fpath=(~/zsh $fpath); autoload -U compinit; compinit -u -D"),
    "fish": (["fish", "--no-config", "-i"], "source ~/.config/fish/completions/pyfreeze.fish"),
}
_FILES = {"zsh": "zsh/_pyfreeze", "fish": ".config/fish/completions/pyfreeze.fish"}


@pytest.fixture(params=_STARTS)
def shell(
    request: pytest.FixtureRequest, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> Iterator[Terminal]:
    name = request.param
    need_program(name)
    words, begin = _STARTS[name]
    if name in _FILES:
        file = script_dir.path(_FILES[name])
        file.parent.mkdir(parents=True)
        file.write_text(pyfreeze("completion", name).out, encoding="utf-8")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(script_dir.directory), "LANG": "C.UTF-8"}
    terminal = Terminal(words, environment, str(script_dir.directory))
    terminal.type(f"{begin}; echo rea''dy\n")
    terminal.wait_for("ready")
    yield terminal
    terminal.close()


def test_commands_options_and_their_values(
    ext4: Disk, script_dir: ScriptDir, shell: Terminal, pyfreeze: Pyfreeze
) -> None:
    """Tab completes commands, options, mount points, codes and files, each in its place."""
    complete(shell, "pyfreeze stat", "us")
    complete(shell, "--js", "on")
    enter(shell, '"runs": []')
    complete(shell, "pyfreeze thaw --mou", "nt")
    complete(shell, ext4.mount_point[:-2], "t4")
    enter(shell, f"nothing to thaw on {ext4.mount_point}")
    complete(shell, "pyfreeze explain Pre-ScriptExec", "utionFailed")
    enter(shell, "300 FailedPrepostPreScriptFailed")
    script_dir.path("my-settings.conf").touch(mode=0o600)
    complete(shell, f"pyfreeze run --freeze-config {script_dir.path('my-set')}", "tings.conf")
    shell.type(" --dry-run --no-freeze -- true")
    enter(shell, "Take the snapshot: true")


def complete(shell: Terminal, typed: str, rest: str) -> None:
    """Type, press the key, and wait for the rest: shells may drop keys that come too early."""
    shell.type(typed)
    shell.wait_for(typed.rpartition(" ")[2])
    shell.type("\t")
    shell.wait_for(rest)


def enter(shell: Terminal, answer: str) -> None:
    shell.type("\n")
    shell.wait_for(answer)


@pytest.mark.parametrize("name", [*_STARTS, "csh"])
def test_script(pyfreeze: Pyfreeze, name: str) -> None:
    """The script for each shell is printed; a shell without one is refused with the names."""
    done = pyfreeze("completion", name)
    if name in _STARTS:
        assert_facts(done, exit_status=0, err="")
        assert "_PYFREEZE_COMPLETE" in done.out
    else:
        assert done.status == 2
        done.assert_one_line("found 'csh', expected one of bash, zsh, fish")
