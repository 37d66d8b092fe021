"""One declaration of a window's options, and everything that follows from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import click
import pytest

import pyfreeze
from pyfreeze._cli.main import pyfreeze as group
from pyfreeze._core import structs
from pyfreeze._model import options
from pyfreeze._model.options import WINDOW, Count, Duration, Switch, WindowOptions, resolve
from pyfreeze._native import ffi, lib
from tests.support.facts import assert_facts

#: The commands that open a window.
COMMANDS = ("freeze", "run")

#: Three options, one of each kind, that are nowhere but in the declaration.
ADDED = """
import sys
from pyfreeze._model import options
options.WINDOW |= {
    "patience": options.Duration(2.5, "Doc of patience."),
    "sparkle": options.Switch(True, "Doc of sparkle.", "Help of no sparkle."),
    "glow": options.Switch(False, "Doc of glow.", "Help of glow."),
    "turns": options.Count(3, "Doc of turns.", most=7, field="turns"),
}
"""
#: How the commands call them, and what help says of them.
SHOWN = {
    "--patience": "Doc of patience. Default: 2.5.",
    "--no-sparkle": "Help of no sparkle.",
    "--glow": "Help of glow.",
    "--turns": "Doc of turns. Default: 3.",
}
#: A window without them.
NEEDED = {"freeze": ["--mount", "/x", "--max-window", "1"], "run": ["--", "true"]}


def with_added(program: str, *words: str, **environment: str) -> str:
    """What a program prints, where there are three options more."""
    done = subprocess.run(
        [sys.executable, "-c", ADDED + program, *words],
        env={**os.environ, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_with_added(*words: str, **environment: str) -> str:
    program = "from pyfreeze._cli.main import run\nsys.exit(run(sys.argv[1:]))"
    return with_added(program, *words, **environment)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_it_and_its_variable(command: str) -> None:
    text = " ".join(command_with_added(command, "--help").split())
    for name, help_text in SHOWN.items():
        variable = "PYFREEZE_" + name[2:].upper().replace("-", "_")
        assert re.search(rf" {name} (\S+ )?{help_text} .env var: {variable}.", text), name


def test_the_manual_page_has_it() -> None:
    text = command_with_added("manual").replace("\\-", "-").replace("\\%", "")
    for name, help_text in SHOWN.items():
        assert text.count(rf"\fB{name}\fR") == len(COMMANDS)
        assert help_text.split(". ", maxsplit=1)[0] in text
        assert re.search(rf"\n{name} of freeze, run\.\n", text), "its variable is explained"


@pytest.mark.parametrize("command", COMMANDS)
def test_shells_complete_it(command: str) -> None:
    words = f"pyfreeze {command} --"
    said = command_with_added(_PYFREEZE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="2")
    assert {f"plain,{name}" for name in SHOWN} <= set(said.split())


@pytest.mark.parametrize(
    ("words", "environment", "planned"),
    [
        ((), {}, (2.5, True, False, 3)),
        (("--patience", "4", "--no-sparkle", "--glow", "--turns", "0"), {}, (4.0, False, True, 0)),
        ((), {"PYFREEZE_NO_SPARKLE": "1", "PYFREEZE_TURNS": "5"}, (2.5, False, False, 5)),
        (("--turns", "6"), {"PYFREEZE_TURNS": "5"}, (2.5, True, False, 6)),
    ],
)
def test_a_dry_run_tells_it(
    words: tuple[str, ...], environment: dict[str, str], planned: tuple[object, ...]
) -> None:
    said = command_with_added(
        "run", "--no-scripts", "--no-freeze", "--dry-run", "--json", *words, "--", "true",
        **environment,
    )  # fmt: skip
    window = json.loads(said)["window"]
    assert tuple(window[key] for key in ("patience_s", "sparkle", "glow", "turns")) == planned


def test_the_library_takes_and_tells_it() -> None:
    said = with_added("""
import pyfreeze
window = pyfreeze.frozen(["/x"], sparkle=False, patience=4, turns=None)
print([window._options.values[name] for name in ("patience", "sparkle", "glow", "turns")])
for function in pyfreeze.frozen, pyfreeze.backup:
    for text in "patience: Doc of patience. Default: 2.5.", "glow: Doc of glow. Default: False.":
        assert text in function.__doc__
try:
    pyfreeze.frozen(["/x"], patience=-1)
except pyfreeze.UsageError as error:
    print(error)
try:
    pyfreeze.backup(["/none"], mounts=["/x"], scripts=False, freeze=False, sparkle=False)
except pyfreeze.UsageError as error:  # of the command, so it has been past the options
    print(error)
""")
    values, seconds, command = said.splitlines()
    assert values == "[4, False, False, 3]"
    assert seconds == "patience: found -1, expected seconds above 0, at most a day"
    assert command == "/none: found no such file, expected the snapshot command"


def test_the_core_is_handed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name: PF_WINDOW_SPARKLE, patience_ns, and the field that it names."""

    class Native:
        PF_WINDOW_SPARKLE = 1 << 20
        PF_WINDOW_GLOW = 1 << 21

        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

    class Out:
        flags = 0
        flush = type("flush", (), {})()

    scope: dict[str, Any] = {}
    before = dict(WINDOW)
    try:
        exec(ADDED, scope)
        monkeypatch.setattr(structs, "lib", Native())
        out: Any = Out()
        structs.fill_options(out, resolve({"glow": True, "turns": 5}))  # type: ignore[typeddict-unknown-key]
    finally:
        WINDOW.clear()
        WINDOW.update(before)
    assert out.flags >> 20 == 3
    assert_facts(out, patience_ns=2_500_000_000, turns=5)


@pytest.mark.parametrize("name", sorted(WINDOW))
def test_each_option_reaches_the_core(name: str) -> None:
    option = WINDOW[name]
    other = not option.default if isinstance(option, Switch) else option.default + 1
    assert struct_of(resolve()) != struct_of(resolve({name: other}))  # type: ignore[misc]


def struct_of(window: WindowOptions) -> bytes:
    out = ffi.new("pf_window_options *")
    structs.fill_options(out, window)
    return bytes(ffi.buffer(out))


def test_each_flag_of_the_core_is_an_option() -> None:
    flags = set(ffi.typeof("enum pf_window_flag").elements.values())
    switches = {name for name, option in WINDOW.items() if isinstance(option, Switch)}
    assert {f"PF_WINDOW_{name.upper()}" for name in switches} == flags


def test_each_time_of_the_core_is_an_option() -> None:
    fields = {name for name, _ in ffi.typeof("pf_window_options").fields if name.endswith("_ns")}
    times = {name for name, option in WINDOW.items() if isinstance(option, Duration)}
    assert {f"{name}_ns" for name in times} == fields


# ---- the declaration itself ----------------------------------------------------------------------


def test_kinds_and_types_agree() -> None:
    kinds = {float: Duration, int: Count, bool: Switch}
    for name, hint in options.WindowKeywords.__annotations__.items():
        declared = getattr(hint.__origin__, "__args__", (hint.__origin__,))[0]
        assert type(WINDOW[name].default) is declared, name
        assert type(WINDOW[name]) is kinds[declared], name


def test_the_last_layer_that_gives_an_option_wins() -> None:
    defaults = resolve()
    assert defaults.values == {name: option.default for name, option in WINDOW.items()}
    window = resolve(
        {"max_window": 4.0, "freeze_timeout": 5.0, "parallel": False},
        {"max_window": 6.0, "freeze_timeout": None, "flush_rounds": 0},
    )
    assert window.as_data() == {
        "max_window_s": 6.0, "freeze_timeout_s": 5.0, "expedite": True, "realtime": True,
        "cpu_latency": True, "parallel": False, "flush_rounds": 0,
    }  # fmt: skip
    assert resolve() == defaults


@pytest.mark.parametrize("function", [pyfreeze.frozen, pyfreeze.backup])
def test_an_option_that_is_none(function: Any) -> None:
    """It is a TypeError that names the function and the option."""
    text = rf"{function.__name__}\(\) got an unexpected keyword argument 'max_windows'"
    with pytest.raises(TypeError, match=text):
        function(["true"], max_windows=2)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_old_name_of_cpu_latency(name: str) -> None:
    """--no-wakeful still means the same, but neither help nor completion offers it."""
    context = click.Context(group, info_name="pyfreeze")
    command = group.get_command(context, name)
    assert command is not None
    for words, given in ((["--no-wakeful"], True), (["--no-cpu-latency"], True), ([], False)):
        with command.make_context(name, [*words, *NEEDED[name]], parent=context) as parsed:
            assert parsed.params["no_cpu_latency"] is given
            assert "wakeful" not in command.get_help(parsed)
            assert "wakeful" not in str(command.shell_complete(parsed, "--no-"))
