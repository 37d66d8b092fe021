"""Pre-scripts and post-scripts: how they are run, and how they end."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.processes import is_alive, is_asleep, peak_kib
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

PYTHON = f"#!{sys.executable} -I\n"

# Written to the script's directory: what the script finds itself in.
SURROUNDINGS = """
import json, os, stat, sys
links = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        links[fd] = os.readlink("/proc/self/fd/" + fd)
    except FileNotFoundError:
        pass  # the one that listed them
umask = os.umask(0)
with open("/proc/self/environ") as file:
    environment = sorted(line for line in file.read().split("\\0") if line)
with open("/proc/self/status") as file:
    status = dict(line.split(":\\t") for line in file.read().splitlines() if ":\\t" in line)
found = {"argv": sys.argv, "environment": environment, "cwd": os.getcwd(), "umask": umask,
         "stdin": sys.stdin.read(), "links": links, "session": os.getsid(0) == os.getpid(),
         "blocked": status["SigBlk"], "ignored": status["SigIgn"]}
name = os.environ["PYFREEZE_PHASE"] + ".found"
with open(os.path.join(os.path.dirname(sys.argv[0]), name), "w") as file:
    json.dump(found, file)
"""


def script_of(report: dict[str, Any], phase: str) -> dict[str, Any]:
    (found,) = [script for script in report["scripts"] if script["phase"] == phase]
    return dict(found)


def surroundings(script_dir: ScriptDir, phase: str) -> dict[str, Any]:
    return dict(json.loads(script_dir.read(f"{phase}.found")))


# ---- what a script is given ----------------------------------------------------------------------


def test_surroundings(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Environment, directory, descriptors and signals are clean, whatever the caller's are."""
    pre = script_dir.script("pre", SURROUNDINGS, PYTHON)
    post = script_dir.script("post", SURROUNDINGS, PYTHON)
    config = script_dir.config(pre, post, timeoutInSeconds=20)
    leak = os.open("/dev/zero", os.O_RDONLY)
    try:
        done = pyfreeze.run(
            [ext4],
            ["true"],
            config=config,
            pass_fds=[leak],
            environment={"LEAK": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            prefix=["sh", "-c", "umask 0; trap '' HUP PIPE; exec \"$@\"", "sh"],
        )
    finally:
        os.close(leak)
    assert_facts(done, exit_status=0, code=0)
    for phase in ("pre", "post"):
        found = surroundings(script_dir, phase)
        assert found["environment"] == sorted(
            [
                "HOME=/root",
                "LANG=C.UTF-8",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "PYFREEZE_ATTEMPT=1",
                f"PYFREEZE_PHASE={phase}",
                "PYFREEZE_PLUGIN=ScriptRunner",
                f"PYFREEZE_RUN_ID={done.report['run_id']}",
                "PYFREEZE_TIMEOUT=20",
                *(["PYFREEZE_OUTCOME=success"] if phase == "post" else []),
            ]
        )
        assert sorted(found["links"]) == ["0", "1", "2"]
        assert found["links"]["0"] == "/dev/null"
        assert_facts(found, cwd="/", umask=0o077, stdin="")
        assert found["session"]
        assert int(found["blocked"], 16) == 0
        # Python itself ignores SIGPIPE and SIGXFSZ.
        assert int(found["ignored"], 16) & ~(1 << 12 | 1 << 24) == 0


def test_parameters_are_passed_one_to_one(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    words = ["", "a b", "'\"$HOME`id`\\", "*", "größe ☃", "-x", "new\nline", "$(touch /tmp/no)"]
    pre = script_dir.script("pre", SURROUNDINGS, PYTHON)
    post = script_dir.script("post", SURROUNDINGS, PYTHON)
    config = script_dir.config(
        pre, post, preScriptParams=words, postScriptParams=[7, 2.5], preScriptNoOfRetries=0
    )
    done = pyfreeze.run([ext4], ["true"], config=config)
    assert_facts(done, exit_status=0, code=0)
    assert surroundings(script_dir, "pre")["argv"] == [pre, *words]
    assert surroundings(script_dir, "post")["argv"] == [post, "7", "2.5"]


# ---- how it ends ---------------------------------------------------------------------------------

ENDS = {
    "status": ("exit 3", "#!/bin/sh\n", 3, None, "exited with status 3"),
    "kill": ("kill -KILL $$", "#!/bin/sh\n", None, 9, "SIGKILL"),
    "term": ("kill -TERM $$", "#!/bin/sh\n", None, 15, "SIGTERM"),
    "126": ("exec /dev/null", "#!/bin/sh\n", 126, None, "could not be executed"),
    "127": ("exec no-such-command", "#!/bin/sh\n", 127, None, "not found"),
    "no-shebang": ("exit 0", "", None, None, "Exec format error"),
    "no-interpreter": ("exit 0", "#!/no/such\n", None, None, "could not be executed: No such file"),
}


@pytest.mark.parametrize("phase", ["pre", "post"])
@pytest.mark.parametrize("end", ENDS)
def test_failure_is_told_apart_and_lowers_the_level(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, end: str, phase: str
) -> None:
    body, first_line, status, signal, words = ENDS[end]
    failing = script_dir.script("failing", body, first_line)
    config = script_dir.config(failing) if phase == "pre" else script_dir.config(None, failing)
    done = pyfreeze.run([ext4], ["true"], config=config)
    report = done.report
    code = 300 if phase == "pre" else 301
    assert_facts(done, exit_status=0, status="success", consistency="filesystem")
    assert report["code"] == code
    script = script_of(report, phase)
    assert_facts(script, exit_status=status, signal=signal)
    assert words in script["message"]
    assert_facts(script, attempts=1, timed_out=False, code=code)
    assert failing in done.err
    if phase == "pre":
        assert script_dir.outcomes == ["success"]


def test_failed_pre_script_without_continue(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """There is no snapshot, and the post-script runs."""
    config = script_dir.config(
        script_dir.script("failing", "exit 1"), continueBackupOnFailure=False
    )
    command = [script_dir.script("snapshot", 'touch "$D/snapshot.ran"')]
    done = pyfreeze.run([ext4], command, "--several-disks", config=config)
    report = done.report
    assert_facts(done, exit_status=1, consistency="none", code=300)
    assert report["snapshot"] is None
    assert not script_dir.exists("snapshot.ran")
    assert script_dir.outcomes == ["none"]


def test_failed_pre_script_without_continue_on_a_single_disk(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The snapshot is taken without a freeze, crash-consistent."""
    config = script_dir.config(
        script_dir.script("failing", "exit 1"), continueBackupOnFailure=False
    )
    done = pyfreeze.run([ext4], ["true"], "--single-disk", config=config)
    report = done.report
    assert_facts(done, exit_status=0, consistency="crash", code=300)
    assert all(f["freeze_ms"] is None for f in report["window"]["filesystems"])


# ---- timeouts ------------------------------------------------------------------------------------


def test_nothing_of_a_timed_out_script_is_left_when_the_run_goes_on(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """Neither what ignores SIGTERM, nor what has left session, group and parent behind."""
    stubborn = "trap '' TERM; echo $$ >\"$D/$1.pid\"; while :; do sleep 1; done"
    script_dir.script("stubborn", stubborn)
    pre = script_dir.script(
        "pre",
        "trap '' TERM\n"
        '(setsid sh -c "(setsid $D/stubborn daemon >/dev/null 2>&1 &)" &)\n'
        'while [ ! -s "$D/daemon.pid" ]; do sleep 0.01; done\n'
        'echo $$ >"$D/pre.pid"; while :; do sleep 1; done',
    )
    look = (
        'for p in pre daemon; do kill -0 "$(cat "$D/$p.pid")" 2>/dev/null && echo "$p lives"; done'
    )
    command = [script_dir.script("snapshot", f"{look}\nexit 0")]
    done = pyfreeze.run([disk], command, config=script_dir.config(pre, timeoutInSeconds=1.5))
    report = done.report
    assert script_dir.exists("pre.pid")
    assert report["snapshot"]["output"] == ""
    assert_facts(done, exit_status=0, consistency="filesystem", code=308)
    assert script_of(report, "pre")["timed_out"] is True
    assert script_of(report, "pre")["timeout_s"] == 1.5
    assert script_dir.outcomes == ["success"]


def test_post_script_timeout(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """It is killed with all it started, and the level is the freeze's."""
    post = script_dir.script("post", 'sleep 600 & echo $! >"$D/child.pid"; wait')
    config = script_dir.config(None, post, timeoutInSeconds=1)
    done = pyfreeze.run([ext4], ["true"], config=config)
    assert_facts(done, exit_status=0, code=309)
    assert done.report["consistency"] == "filesystem"
    assert not is_alive(int(script_dir.read("child.pid")))


def test_retries_run_it_again(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    body = 'echo "$PYFREEZE_ATTEMPT" >>"$D/attempts"; echo "try"; [ "$PYFREEZE_ATTEMPT" = 3 ]'
    config = script_dir.config(script_dir.script("pre", body), preScriptNoOfRetries=5)
    done = pyfreeze.run([ext4], ["true"], config=config)
    assert_facts(done, exit_status=0, code=0)
    assert script_dir.read("attempts").split() == ["1", "2", "3"]
    assert script_of(done.report, "pre")["attempts"] == 3
    assert script_of(done.report, "pre")["output"] == "try\n" * 3


def test_attempts_are_bounded(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    config = script_dir.config(script_dir.script("pre", "exit 1"), preScriptNoOfRetries=2)
    done = pyfreeze.run([ext4], ["true"], config=config)
    assert done.report["code"] == 300
    assert script_of(done.report, "pre")["attempts"] == 3


def test_attempts_share_one_timeout(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    pre = script_dir.script("pre", "sleep 0.3; exit 1")
    config = script_dir.config(pre, preScriptNoOfRetries=1000, timeoutInSeconds=1)
    done = pyfreeze.run([ext4], ["true"], config=config)
    script = script_of(done.report, "pre")
    assert done.report["code"] == 308
    assert script["timed_out"]
    assert script["attempts"] <= 4


# ---- output --------------------------------------------------------------------------------------


def test_much_output_blocks_nothing_and_costs_no_memory(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    total = 100_000_000
    pre = script_dir.script("pre", f"head -c {total} /dev/zero | tr '\\0' x; echo end >&2")
    config = script_dir.config(pre, timeoutInSeconds=60)
    running = pyfreeze.start_run(
        [ext4], [script_dir.waiting_script()], "--max-window", "30", config=config
    )
    wait_until(lambda: script_dir.holds, "the snapshot command runs", 60)
    supervisor_kib, client_kib = peak_kib(running.supervisor), peak_kib(running.pid)
    script_dir.release()
    done = running.finish()
    assert_facts(done, exit_status=0, code=0)
    script = script_of(done.report, "pre")
    assert script["output"] == "x" * (65536 - 4) + "end\n"
    assert script["output_dropped_bytes"] == total + 4 - 65536
    assert supervisor_kib < 8 << 10
    assert client_kib < 80 << 10


def test_a_command_that_closes_its_output_costs_no_processor(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The reaper holds the pipe, too: its end would be told to the supervisor again and again."""
    closed, go = script_dir.path("closed"), script_dir.path("go")
    command = f"exec >&- 2>&-; : >{closed}; until [ -e {go} ]; do sleep 0.02; done"
    running = pyfreeze.start_run([ext4], ["sh", "-c", command], "--max-window", "60")
    supervisor = running.supervisor
    wait_until(closed.exists, "the command has closed its output")
    wait_until(lambda: is_asleep(supervisor), "the supervisor waits for something to happen")
    go.touch()
    assert running.finish().status == 0


def test_output_that_is_no_text(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Bytes that are no UTF-8 are replaced in the report."""
    config = script_dir.config(script_dir.script("pre", r"printf '\377\001ok'"))
    done = pyfreeze.run([ext4], ["true"], config=config)
    assert script_of(done.report, "pre")["output"] == "\ufffd\x01ok"


# ---- what a script leaves running ----------------------------------------------------------------


def test_what_a_pre_script_left_lives_until_the_post_script_has_ended(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    look = 'kill -0 "$(cat "$D/session.pid")" && echo lives'
    pre = script_dir.script("pre", 'setsid sleep 600 & echo $! >"$D/session.pid"')
    config = script_dir.config(pre, script_dir.script("post", look))
    done = pyfreeze.run([ext4], [script_dir.script("snapshot", look)], config=config)
    assert done.report["code"] == 0
    assert done.report["snapshot"]["output"] == "lives\n"
    assert script_of(done.report, "post")["output"] == "lives\n"
    assert not is_alive(int(script_dir.read("session.pid")))


def test_what_a_post_script_started_goes_on(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """And may go on writing to the output that it was given."""
    service = 'while [ ! -e "$D/go" ]; do echo working; sleep 0.01; done; echo bye; touch "$D/bye"'
    script_dir.script("service", service)
    post = script_dir.script("post", '"$D/service" & echo $! >"$D/service.pid"')
    done = pyfreeze.run([ext4], ["true"], config=script_dir.config(None, post))
    assert done.report["code"] == 0
    assert is_alive(int(script_dir.read("service.pid")))
    script_dir.release()
    wait_until(lambda: script_dir.exists("bye"), "the service ends by itself")


# ---- when post-scripts run -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options"),
    [(["false"], []), (["sleep", "600"], ["--max-window", "0.3"])],
    ids=["failed", "expired"],
)
def test_post_script_runs_after_a_bad_snapshot(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, command: list[str], options: list[str]
) -> None:
    done = pyfreeze.run([ext4], command, *options, config=script_dir.config())
    assert_facts(done, exit_status=1, consistency="none", code=2)
    assert script_dir.outcomes == ["failed"]


def test_plugins_run_side_by_side(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Each waits for the other; one that fails does not hide the other."""
    configs = []
    for own, other in (("a", "b"), ("b", "a")):
        meet = f'touch "$D/{own}.$PYFREEZE_PHASE"; while [ ! -e "$D/{other}.$PYFREEZE_PHASE" ]'
        body = f"{meet}; do sleep 0.01; done"
        pre = script_dir.script(f"{own}-pre", body + ("; exit 1" if own == "b" else ""))
        post = script_dir.script(f"{own}-post", body)
        configs.append(script_dir.config(pre, post, name=f"{own}.json"))
    host = script_dir.path("host.conf")
    rows = [
        f"pluginName{i} = ScriptRunner\npluginConfigPath{i} = {c}" for i, c in enumerate(configs)
    ]
    host.write_text("[pre_post]\nnumberOfPlugins = 2\n" + "\n".join(rows) + "\n", encoding="utf-8")
    host.chmod(0o600)
    done = pyfreeze.run([ext4], ["true"], "--no-expedite", "--no-realtime", host_config=str(host))
    scripts = done.report["scripts"]
    assert_facts(done, exit_status=0, code=300)
    assert [(s["phase"], s["code"]) for s in scripts] == [
        ("pre", 0),
        ("pre", 300),
        ("post", 0),
        ("post", 0),
    ]
