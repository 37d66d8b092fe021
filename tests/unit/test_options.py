"""Every command's options, variables and examples: a table over all there are."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest

from pyfreeze._cli import types
from pyfreeze._cli.command import Command
from pyfreeze._cli.main import _COMMANDS, pyfreeze
from pyfreeze._cli.manual import _SCRIPT_VARIABLES

CONTEXT = click.Context(pyfreeze, info_name="pyfreeze")
CONFIGURED = ("check", "freeze", "run")
#: What a command must be given besides the option that is looked at.
_NEEDED = {"run": ["--", "true"], "freeze": ["--mount", "/needed", "--max-window", "9"]}


def command_of(name: str) -> Command:
    found = pyfreeze.get_command(CONTEXT, name)
    assert isinstance(found, Command)
    return found


def options_of(name: str) -> list[click.Option]:
    return [param for param in command_of(name).params if isinstance(param, click.Option)]


ALL = [(name, option) for name in sorted(_COMMANDS) for option in options_of(name)]
WITH_VARIABLE = [(name, option) for name, option in ALL if option.envvar]
#: Any text may name a file; its reader refuses it, by that name.
REFUSING = [pair for pair in WITH_VARIABLE if not isinstance(pair[1].type, types.File)]


def samples(option: click.Option) -> tuple[str, Any, str, Any]:
    """A value for the variable and what it means; the same for the command line."""
    if option.is_flag:
        return "1", True, "0", False
    if isinstance(option.type, types.MountPoint):
        return "/a b:/c", ("/a b", "/c"), "/d:e", ("/d:e",)
    if isinstance(option.type, click.Choice):
        first, second = list(option.type.choices)[:2]
        return first, first, second, second
    if isinstance(option.type, types.Seconds):
        return "2.5", 2.5, "3", 3.0
    if isinstance(option.type, types.Count):
        return "0", 0, "7", 7
    return "/etc/variable", "/etc/variable", "/etc/option", "/etc/option"


def parsed(name: str, option: click.Option, words: list[str]) -> Any:
    needed = _NEEDED.get(name, [])
    if needed[:1] != ["--"]:
        needed = [*needed] if option.opts[0] not in needed else [
            word for pair in zip(needed[::2], needed[1::2], strict=True)
            if pair[0] != option.opts[0] for word in pair
        ]  # fmt: skip
    with command_of(name).make_context(name, [*words, *needed], parent=CONTEXT) as context:
        return context.params[str(option.name)]


def label(pair: Any) -> str | None:
    return pair.opts[0] if isinstance(pair, click.Option) else None


@pytest.mark.parametrize(("name", "option"), WITH_VARIABLE, ids=label)
def test_option_before_variable_before_default(
    name: str, option: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = str(option.envvar)
    given, meant, typed, typed_means = samples(option)
    if not option.required:
        monkeypatch.delenv(variable, raising=False)
        default = parsed(name, option, [])
        assert default != meant
        monkeypatch.setenv(variable, "")
        assert parsed(name, option, []) == default, "an empty one is none"
    monkeypatch.setenv(variable, given)
    assert parsed(name, option, []) == meant
    if not option.is_flag:
        assert parsed(name, option, [f"{option.opts[0]}={typed}"]) == typed_means
    else:
        monkeypatch.setenv(variable, typed)
        assert parsed(name, option, []) == typed_means
        assert parsed(name, option, [option.opts[0]]) is True
        for other in option.secondary_opts:
            monkeypatch.setenv(variable, given)
            assert parsed(name, option, [other]) is False


@pytest.mark.parametrize(("name", "option"), REFUSING, ids=label)
def test_wrong_variable_is_named(
    name: str, option: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyfreeze._cli.main import message_of

    monkeypatch.setenv(str(option.envvar), "nonsense")
    with pytest.raises(click.BadParameter) as caught:
        parsed(name, option, [])
    text = message_of(caught.value)
    assert text.startswith(f"variable {option.envvar}: found 'nonsense', expected ")
    assert f"(see 'pyfreeze {name} --help')" in text


@pytest.mark.parametrize(("name", "option"), ALL, ids=label)
def test_which_options_have_a_variable(name: str, option: click.Option) -> None:
    """All of the commands that are configured, and --json of the others: help names each."""
    (long_name,) = (word for word in option.opts if word.startswith("--"))
    expected = "PYFREEZE_" + long_name.lstrip("-").upper().replace("-", "_")
    wanted = name in CONFIGURED or long_name == "--json"
    assert option.envvar == (expected if wanted else None)
    help_text = command_of(name).get_help(click.Context(command_of(name), parent=CONTEXT))
    assert (expected in re.sub(r"\s+", "", help_text)) == wanted


def test_no_variable_is_one_that_scripts_are_given() -> None:
    """A script that calls pyfreeze must not configure it by the way."""
    ours = {str(option.envvar) for _, option in WITH_VARIABLE}
    assert ours.isdisjoint(_SCRIPT_VARIABLES)
    assert "PYFREEZE_RUN" not in ours, "the units' own"


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_examples_are_shown_as_they_are_typed_and_are_right(name: str) -> None:
    examples = command_of(name).examples
    assert examples
    shown = command_of(name).get_help(click.Context(command_of(name), info_name=name))
    for example in examples:
        assert not example.purpose.endswith(".")
        for line in example.lines.splitlines():
            assert f"    {line}\n" in f"{shown}\n"
        lines = example.lines.replace("\\\n", " ").splitlines()
        calls = [call for line in lines for call in re.findall(r"pyfreeze [a-z][^|;&)>}]*", line)]
        assert calls, "it shows how to call us"
        for call in calls:
            words = shlex.split(call)[1:]
            command_of(words[0]).make_context(words[0], words[1:], parent=CONTEXT).close()
