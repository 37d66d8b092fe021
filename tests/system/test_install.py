"""`pyfreeze install`, and the manual page and completion scripts that it puts in their places."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from pyfreeze._cli.manual import _text
from tests.support.command import Pyfreeze
from tests.support.disks import tool
from tests.support.facts import assert_facts
from tests.support.processes import AS_NOBODY
from tests.support.script_dir import ScriptDir

PROGRAM = ["--program", "/usr/bin/pyfreeze"]
_SHARED = {
    "share/doc/pyfreeze/examples/example.conf",
    "share/man/man1/pyfreeze.1",
    "share/bash-completion/completions/pyfreeze",
    "share/fish/vendor_completions.d/pyfreeze.fish",
    "lib/systemd/system/pyfreeze@.service",
    "lib/systemd/system/pyfreeze@.timer",
    "lib/systemd/system/pyfreeze-thaw.service",
    "lib/systemd/system/pyfreeze-thaw@.service",
}


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    ("prefix", "zsh"),
    [("/usr", "vendor-completions"), ("/usr/local", "site-functions")],
)
def test_everything_in_its_place_and_gone_again(
    script_dir: ScriptDir, pyfreeze: Pyfreeze, prefix: str, zsh: str
) -> None:
    words = ["install", "--root", str(script_dir.directory), "--prefix", prefix, *PROGRAM]
    done = pyfreeze(*words, prefix=["sh", "-c", 'umask 077; exec "$@"', "-"])
    assert_facts(done, exit_status=0, err="")
    below = f"{prefix.lstrip('/')}/"
    expected = {below + name for name in (*_SHARED, f"share/zsh/{zsh}/_pyfreeze")}
    assert files_in(script_dir.directory) == expected
    printed = {line.removeprefix("installed ") for line in done.out.splitlines()}
    assert printed == {str(script_dir.path(name)) for name in expected}
    modes = {stat.S_IMODE(script_dir.path(name).stat().st_mode) for name in expected}
    assert modes == {0o644}, "whatever the umask"
    assert stat.S_IMODE(script_dir.path("etc/pyfreeze").stat().st_mode) == 0o700
    again = pyfreeze(*words)
    assert again.status == 0, "an upgrade"
    assert files_in(script_dir.directory) == expected, "after an upgrade"
    mine = script_dir.path("etc/pyfreeze/mine.conf")
    mine.touch()
    gone = pyfreeze(*words, "--uninstall")
    assert_facts(gone, exit_status=0, err="")
    assert files_in(script_dir.directory) == {"etc/pyfreeze/mine.conf"}
    assert not script_dir.exists(below + "share/doc/pyfreeze")
    mine.unlink()
    assert pyfreeze(*words, "--uninstall").out == ""
    assert not script_dir.exists("etc/pyfreeze")


def test_the_program_is_the_one_that_installs(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The units name the `pyfreeze` that ran `install`."""
    from tests.support.units import PROGRAM as OURS

    assert pyfreeze("install", "--root", str(script_dir.directory)).status == 0
    units = "usr/local/lib/systemd/system"
    unit = script_dir.read(f"{units}/pyfreeze@.service")
    assert f"\nExecStart={OURS} run $PYFREEZE_RUN\n" in unit
    for name in ("pyfreeze@.service", "pyfreeze-thaw@.service"):
        assert f"'while {OURS} thaw;" in script_dir.read(f"{units}/{name}")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--program", "/opt/my programs/pyfreeze"], "--program"),
        (["--program", "pyfreeze"], "--program"),
        (["--program", "/usr/bin/100%"], "--program"),
        (["--prefix", "usr"], "--prefix"),
    ],
)
def test_what_no_unit_can_name(
    script_dir: ScriptDir, pyfreeze: Pyfreeze, words: list[str], named: str
) -> None:
    """A path that a unit cannot hold is refused, and nothing is installed."""
    done = pyfreeze("install", "--root", str(script_dir.directory), *PROGRAM, *words)
    assert_facts(done, exit_status=2, out="")
    done.assert_one_line(named, f"found '{words[1]}'", "expected an absolute path")
    assert files_in(script_dir.directory) == set()


def test_unprivileged_user(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """One line names the place, and that root is needed."""
    words = ["install", "--root", str(script_dir.directory), *PROGRAM]
    done = pyfreeze(*words, prefix=AS_NOBODY)
    assert done.status == 1
    done.assert_one_line(str(script_dir.directory), "found", "expected", "run this as root")


# ---- the manual page -----------------------------------------------------------------------------


@pytest.fixture
def page(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> Path:
    done = pyfreeze("manual")
    assert_facts(done, exit_status=0, err="")
    path = script_dir.path("pyfreeze.1")
    path.write_text(done.out, encoding="ascii")
    return path


def rendered(page: Path) -> str:
    """As a reader sees it; every warning that groff has is an error."""
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", "-rHY=0", "-rLL=100n", "-ww", str(page)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert_facts(done, returncode=0, stderr="")
    return done.stdout


def test_manual_page_renders_without_a_warning(page: Path) -> None:
    text = rendered(page)
    found = re.findall(r"^[A-Z][A-Z ]+$", text, flags=re.MULTILINE)
    assert found == [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "SEE ALSO",
    ]


def test_manual_page_has_all_that_help_has(page: Path, pyfreeze: Pyfreeze) -> None:
    """Word by word: what is lost in roff, a leading dot or a backslash, is found here."""
    words = set(rendered(page).split())
    listed = pyfreeze("--help").out.partition("Commands:")[2]
    commands = re.findall(r"^  (\w+) ", listed, re.MULTILINE)
    assert len(commands) == 11
    for name in commands:
        text = pyfreeze(name, "--help").out.partition("\n")[2]
        lost = {word for word in text.replace("Options:", "").split() if word not in words}
        assert lost <= {"Examples:", "-h,"}, f"{name}: {lost}"
    assert {"128+n", "PYFREEZE_MAX_WINDOW", "PYFREEZE_OUTCOME", "/run/pyfreeze"} <= words


def test_every_character_is_itself(page: Path) -> None:
    """Also where roff would take it for a request, an escape, or for typography."""
    lines = [".SH no heading", "'br no break", r"a\nb \fB", "--a-b 'x' `y` ~/z ^c", '"q" %d /a_b']
    text = "\n.br\n".join(line for given in lines for line in _text(given))
    page.write_text(f'.TH X 1 "" "" ""\n.SH Y\n{text}\n', encoding="ascii")
    body = [line.strip() for line in rendered(page).splitlines()]
    assert [line for line in body if line in lines] == lines


def test_man_finds_it_where_it_is_installed(script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    pyfreeze("install", "--root", str(script_dir.directory), *PROGRAM)
    found = tool("man", "-M", str(script_dir.path("usr/local/share/man")), "-w", "pyfreeze")
    assert found == f"{script_dir.path('usr/local/share/man/man1/pyfreeze.1')}\n"
