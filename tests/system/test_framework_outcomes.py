"""Each row of the framework's outcomes, and each of its codes, through the real command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import pyfreeze as package
from pyfreeze._model.codes import CODES
from tests.support.command import Done, Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.script_dir import ScriptDir

NOBODY = 65534
SLEEPS = "exec sleep 600"
FAILS = "exit 3"

# What a case sets up: the words that name its files, given whether to continue on failure.
Setup = Callable[[ScriptDir, bool], list[str]]


class Case(NamedTuple):
    """One code, and what a run with it comes to: its level with and without going on."""

    code: int
    what: str
    setup: Setup
    continued: str = "filesystem"
    refused: str | None = "none"
    """The level with continueBackupOnFailure false; None: the file cannot say."""
    scripts: tuple[str, ...] = ()
    """The phases of the scripts that ran."""


def config(
    script_dir: ScriptDir, go_on: bool, pre: str | None = None, post: str | None = None
) -> list[str]:
    path = script_dir.config(pre, post, continueBackupOnFailure=go_on, timeoutInSeconds=1)
    return ["--config", path]


def host(script_dir: ScriptDir, text: str) -> str:
    path = script_dir.path("host.conf")
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def hosted(script_dir: ScriptDir, go_on: bool, body: str, phase: str) -> list[str]:
    """A plugin whose own timeout is longer than its host's."""
    script = script_dir.script(phase, body)
    pre, post = (script, None) if phase == "pre" else (None, script)
    path = script_dir.config(pre, post, continueBackupOnFailure=go_on, timeoutInSeconds=20)
    text = (
        "[pre_post]\ntimeoutInSeconds = 1\nnumberOfPlugins = 1\npluginName0 = one\n"
        f"pluginPath0 = /nowhere\npluginConfigPath0 = {path}\n"
    )
    return ["--host-config", host(script_dir, text)]


def with_script(phase: str, body: str) -> Setup:
    def setup(script_dir: ScriptDir, go_on: bool) -> list[str]:
        script = script_dir.script(phase, body)
        return config(script_dir, go_on, **{phase: script})

    return setup


def with_bad_script(phase: str, spoil: Callable[[str], None]) -> Setup:
    def setup(script_dir: ScriptDir, go_on: bool) -> list[str]:
        script = script_dir.script(phase, "echo ran")
        spoil(script)
        return config(script_dir, go_on, **{phase: script})

    return setup


def with_bad_config(spoil: Callable[[str], None]) -> Setup:
    def setup(script_dir: ScriptDir, go_on: bool) -> list[str]:
        words = config(script_dir, go_on)
        spoil(words[1])
        return words

    return setup


def with_bad_host(spoil: Callable[[str], None]) -> Setup:
    def setup(script_dir: ScriptDir, go_on: bool) -> list[str]:
        path = host(script_dir, "[pre_post]\nnumberOfPlugins = 0\n")
        spoil(path)
        return ["--host-config", path]

    return setup


def to_nobody(path: str) -> None:
    os.chown(path, NOBODY, NOBODY)


def mode(bits: int) -> Callable[[str], None]:
    return lambda path: os.chmod(path, bits)


def break_text(path: str) -> None:
    Path(path).write_text("{ [nothing good", encoding="utf-8")


BOTH = ("pre", "post")
CASES = [
    Case(300, "pre-script fails", with_script("pre", FAILS), scripts=BOTH),
    Case(301, "post-script fails", with_script("post", FAILS), refused="filesystem", scripts=BOTH),
    Case(302, "pre-script missing", with_bad_script("pre", os.unlink)),
    Case(303, "post-script missing", with_bad_script("post", os.unlink)),
    Case(304, "host broken", with_bad_host(break_text), refused=None),
    Case(305, "JSON broken", with_bad_config(break_text), refused=None),
    Case(306, "pre-script's owner", with_bad_script("pre", to_nobody)),
    Case(306, "pre-script's mode", with_bad_script("pre", mode(0o755))),
    Case(306, "pre-script not executable", with_bad_script("pre", mode(0o600))),
    Case(306, "pre-script set-uid", with_bad_script("pre", mode(0o4700))),
    Case(307, "post-script's owner", with_bad_script("post", to_nobody)),
    Case(307, "post-script's mode", with_bad_script("post", mode(0o770))),
    Case(308, "pre-script too slow", with_script("pre", SLEEPS), scripts=BOTH),
    Case(
        309, "post-script too slow", with_script("post", SLEEPS), "filesystem", "filesystem", BOTH,
    ),
    Case(310, "host stops pre", lambda p, g: hosted(p, g, SLEEPS, "pre"), scripts=BOTH),
    Case(
        311, "host stops post", lambda p, g: hosted(p, g, SLEEPS, "post"),
        "filesystem", "filesystem", BOTH,
    ),
    Case(313, "host named and absent", with_bad_host(os.unlink), refused=None),
    Case(314, "host's mode", with_bad_host(mode(0o622)), refused=None),
    Case(315, "host's owner", with_bad_host(to_nobody), refused=None),
    Case(316, "JSON named and absent", with_bad_config(os.unlink), refused=None),
    Case(317, "JSON's mode", with_bad_config(mode(0o640)), refused=None),
    Case(317, "JSON executable", with_bad_config(mode(0o700)), refused=None),
    Case(318, "JSON's owner", with_bad_config(to_nobody), refused=None),
]  # fmt: skip
IDS = [f"{case.code} {case.what}" for case in CASES]


def run(pyfreeze: Pyfreeze, disk: Disk, words: list[str], *more: str) -> Done:
    return pyfreeze(
        "run", *words, "--mount", disk.mount_point, "--several-disks", *more, "--json",
        "--", "true",
    )  # fmt: skip


def check(done: Done, case: Case, level: str, *, success: bool) -> None:
    report = done.report
    status = "success" if success else "error"
    assert_facts(report, status=status, consistency=level, code=case.code)
    assert done.status == (0 if success else 1)
    row = CODES[case.code]
    assert_facts(report, name=row.name, action=row.action)
    assert done.err.startswith("pyfreeze: "), "surfaced loudly, also in a success"
    assert [script["phase"] for script in report["scripts"]] == list(case.scripts)
    ran_to_snapshot = success or case.code in (301, 309, 311)
    assert (report["snapshot"] is not None) == ran_to_snapshot
    named = f"The snapshot exists; it is {level}-consistent." in report["message"]
    assert named == (ran_to_snapshot and not success)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_going_on(case: Case, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """With continueBackupOnFailure each mistake lowers the level and keeps its code."""
    done = run(pyfreeze, ext4, case.setup(script_dir, True))
    check(done, case, case.continued, success=True)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_going_on_without_freezing(
    case: Case, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The same with --no-freeze is crash-consistent."""
    done = run(pyfreeze, ext4, case.setup(script_dir, True), "--no-freeze")
    check(done, case, "crash", success=True)
    assert done.report["window"]["filesystems"] == []


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_failing(case: Case, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Without continueBackupOnFailure a mistake that counts refuses the backup."""
    done = run(pyfreeze, ext4, case.setup(script_dir, False))
    if case.refused is None:
        check(done, case, case.continued, success=True)
    else:
        check(done, case, case.refused, success=False)


@pytest.mark.parametrize("case", [c for c in CASES if c.refused == "none"], ids=str)
def test_a_single_disk_is_saved_crash_consistent(
    case: Case, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    done = run(pyfreeze, ext4, case.setup(script_dir, False), "--single-disk")
    assert_facts(done, exit_status=0, consistency="crash", code=case.code)
    assert done.report["window"]["window_ms"] is None, "nothing was frozen"


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_requiring_more_than_there_is(
    case: Case, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """--require makes the lowered level an error, and the code stays the mistake's."""
    done = run(pyfreeze, ext4, case.setup(script_dir, True), "--require", "application")
    report = done.report
    assert_facts(done, exit_status=3, status="error", code=case.code)
    assert report["consistency"] == case.continued, "nothing else is done differently"
    assert report["snapshot"]["exit_status"] == 0


# ---- the rows that no script causes --------------------------------------------------------------


@pytest.mark.parametrize("freeze", [True, False])
def test_everything_worked(
    freeze: bool, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Both with and without freezing the backup is application-consistent."""
    path = script_dir.config(fsFreezeEnabled=freeze)
    done = run(pyfreeze, ext4, ["--config", path], "--require", "application")
    report = done.report
    assert_facts(done, exit_status=0, consistency="application", code=0)
    assert bool(report["window"]["filesystems"]) == freeze


@pytest.mark.parametrize(("words", "level"), [([], "filesystem"), (["--no-freeze"], "crash")])
def test_no_configuration_at_its_default_place(
    words: list[str], level: str, ext4: Disk, pyfreeze: Pyfreeze
) -> None:
    """No scripts are no mistake: a success, with a note."""
    done = run(pyfreeze, ext4, [], *words)
    report = done.report
    assert_facts(done, exit_status=0, consistency=level, code=1)
    assert [note["code"] for note in report["notes"]] == [316]


@pytest.mark.parametrize("go_on", [True, False])
@pytest.mark.parametrize("fallback", [True, False])
def test_freeze_failed(
    go_on: bool, fallback: bool, ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """A filesystem frozen by somebody else is an error, or crash-consistent where that may be."""
    ext4.freeze()
    try:
        more = ["--crash-fallback"] if fallback else []
        done = run(pyfreeze, ext4, config(script_dir, go_on), *more)
        assert ext4.is_frozen(), "another's freeze is left alone"
    finally:
        ext4.thaw()
    report = done.report
    falls_back = go_on and fallback
    assert report["code"] == 121
    assert report["consistency"] == ("crash" if falls_back else "none")
    assert done.status == (0 if falls_back else 1)
    assert (report["snapshot"] is not None) == falls_back
    assert ext4.mount_point in report["message"]


def test_mount_cannot_be_opened(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Code 123 names the mount, before any script has run."""
    strace = ["strace", "-f", "-o", "/dev/null", "-e", "inject=statx:error=EIO"]
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=strace)
    report = done.report
    assert_facts(done, exit_status=1, consistency="none", code=123)
    assert ext4.mount_point in report["message"]
    assert report["scripts"] == [], "the application was never asked to wait"


def test_supervisor_cannot_be_run(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Code 124, before any script has run."""
    program = Path(package.__file__).with_name("pyfreeze-supervisor")
    hide = 'mount --bind /dev/null "$0" && exec "$@"'
    prefix = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", hide, str(program)]
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(), prefix=prefix)
    report = done.report
    assert_facts(done, exit_status=1, consistency="none", code=124)
    assert report["scripts"] == []


@pytest.mark.parametrize("go_on", [True, False])
@pytest.mark.parametrize(
    ("words", "command", "says"),
    [
        ([], ["false"], "exited with status 1"),
        ([], ["sh", "-c", "kill -9 $$"], "SIGKILL"),
        (["--snapshot-timeout", "0.3"], ["sleep", "600"], "did not end within 0.3 s"),
        (["--max-window", "0.3"], ["sleep", "600"], "Snapshots are inconsistent"),
    ],
)
def test_a_ruined_snapshot(
    go_on: bool,
    words: list[str],
    command: list[str],
    says: str,
    ext4: Disk,
    script_dir: ScriptDir,
    pyfreeze: Pyfreeze,
) -> None:
    """A command that fails, is killed or is late is an error, and the post-script runs."""
    path = script_dir.config(continueBackupOnFailure=go_on)
    done = pyfreeze.run([ext4], command, *words, config=path)
    report = done.report
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert says in report["message"]
    assert script_dir.outcomes == ["failed"], "the application goes on all the same"


def test_thawed_by_another(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """A window that somebody else ended is an error, which names the mount."""
    done = pyfreeze.run([ext4], ["fsfreeze", "-u", ext4.mount_point], config=script_dir.config())
    report = done.report
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert f"somebody else thawed {ext4.mount_point}" in report["message"]
