"""A whole machine is backed up, `/` and all: its scripts, logs and reports are there, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.disks import Disks, opened_copy
from tests.support.facts import assert_facts
from tests.support.ownroot import OUTSIDE, OwnRoot, thawed_at_last
from tests.support.script_dir import ScriptDir


@pytest.fixture
def own_root(disks: Disks) -> Iterator[OwnRoot]:
    disk = disks.make("root", "ext4")
    with thawed_at_last(disk):
        yield OwnRoot(disk)
    disks.drop("root")


def configure(own_root: OwnRoot) -> None:
    """Everything at the place where a real machine has it."""
    own_root.path("/var/log").mkdir(parents=True)
    content = {
        "pluginName": "ScriptRunner",
        "preScriptLocation": own_root.script("/etc/azure/pre", "echo paused >>/var/log/app"),
        "postScriptLocation": own_root.script(
            "/etc/azure/post", 'echo "$PYFREEZE_OUTCOME" >>/var/log/app'
        ),
    }
    config = own_root.path("/etc/azure/VMSnapshotScriptPluginConfig.json")
    config.write_text(json.dumps(content), encoding="utf-8")
    config.chmod(0o600)


def assert_both_frozen(report: dict[str, Any]) -> None:
    found = [(f["mount"], f["level"], f["outcome"]) for f in report["window"]["filesystems"]]
    assert found == [("/srv", 0, "thawed"), ("/", 1, "thawed")]


def test_whole_machine(own_root: OwnRoot, script_dir: ScriptDir) -> None:
    """Report, messages and scripts' output go to `/`, and somebody writes there all the while."""
    configure(own_root)
    done = own_root.sh(
        "while :; do echo line >>/var/log/other; done & "
        f'"$@" run --json -- cp --sparse=always {OUTSIDE}/root.img {OUTSIDE}/root.copy '
        ">/var/log/report 2>/var/log/messages; status=$?; kill $!; "
        "ls /run/pyfreeze; exit $status"
    ).finish()
    report = json.loads(own_root.path("/var/log/report").read_text(encoding="utf-8"))
    assert done.status == 0, done.err
    assert_facts(report, consistency="application", code=0)
    assert own_root.path("/var/log/messages").read_text(encoding="utf-8") == ""
    assert done.out == "lock\n", "nothing else is left in the state directory"
    assert_both_frozen(report)
    log = own_root.path("/var/log/app").read_text(encoding="utf-8")
    assert log == "paused\nsuccess\n"
    copy = own_root.disk.image.with_suffix(".copy")
    with opened_copy("ext4", copy) as mounted:
        assert (mounted / "var/log/app").read_text(encoding="utf-8") == "paused\n"
        upper = script_dir.path("srv.copy")
        upper.write_bytes((mounted / "srv.img").read_bytes())
    with opened_copy("ext4", upper):
        pass
    copy.unlink()


_LOGGING = """
import logging, sys
import pyfreeze
logging.basicConfig(filename="/var/log/library", level=logging.DEBUG)
log = logging.getLogger("embedder")
log.info("begins")
report = pyfreeze.backup(["true"], config="/etc/azure/VMSnapshotScriptPluginConfig.json")
log.info("ends")
print(report.to_json().decode())
"""


def test_library_that_logs_to_what_is_frozen(own_root: OwnRoot) -> None:
    """What it logs in the window is written after the thaw."""
    configure(own_root)
    own_root.path("/program").write_text(_LOGGING, encoding="utf-8")
    done = own_root.sh('"$PYTHON" /program').finish()
    assert done.status == 0, done.err
    assert done.report["consistency"] == "application"
    assert not done.report["window"]["expired"]
    assert_both_frozen(done.report)
    log = own_root.path("/var/log/library").read_text(encoding="utf-8").splitlines()
    assert log[0] == "INFO:embedder:begins"
    assert log[-1] == "INFO:embedder:ends"
    assert any(line.startswith("INFO:pyfreeze:") for line in log)


# A snapshot command that says that it runs, and stays; /run is a tmpfs.
_STAY = "sh -c 'touch /run/holds; exec sleep 600'"
_START = f'"$@" run --max-window 300 -- {_STAY} >/run/report 2>&1 & client=$!; '
_INSIDE = "while [ ! -e /run/holds ]; do sleep 0.01; done; "
_SUPERVISOR = (
    'supervisor=$(grep -ls "^PPid:[[:space:]]*$client\\$" /proc/[0-9]*/status); '
    "supervisor=${supervisor#/proc/}; supervisor=${supervisor%/status}; "
)


def test_client_killed(own_root: OwnRoot) -> None:
    """The supervisor thaws `/`, and runs the post-script."""
    configure(own_root)
    done = own_root.sh(
        f"{_START}{_INSIDE} kill -9 $client; wait $client; echo thawed >/after; cat /after; "
        "until grep -qs abandoned /var/log/app; do sleep 0.01; done"
    ).finish()
    assert_facts(done, exit_status=0, out="thawed\n")


@pytest.mark.parametrize("recovery", ["thaw", "run --no-scripts -- true"])
def test_both_killed(recovery: str, own_root: OwnRoot) -> None:
    """Then whoever comes next has to come up with `/` frozen."""
    configure(own_root)
    done = own_root.sh(
        f"{_START}{_INSIDE}{_SUPERVISOR} kill -STOP $client; kill -9 $supervisor $client; "
        "wait $client; while grep -qs '^State:[[:space:]]*[^ZX]' /proc/$supervisor/status; "
        "do sleep 0.01; done; ! fsfreeze -f / || exit 70; "
        f'"$@" {recovery} && echo written >/after && cat /after'
    ).finish()
    assert done.status == 0, done.err
    assert done.out.endswith("written\n")


@pytest.mark.parametrize(
    ("before", "words", "says"),
    [
        ("umount -R /run", "", "/run/pyfreeze: found the state directory on /,"),
        ("umount -R /run; rmdir /run", "", "/run/pyfreeze: found the state directory on /,"),
        ("umount -R /run; rmdir /run", "--skip /", "opening the state directory: No such file"),
    ],
    ids=["on-root", "missing", "missing-and-root-skipped"],
)
def test_state_directory(before: str, words: str, says: str, own_root: OwnRoot) -> None:
    """It may be on no filesystem that is to be frozen."""
    configure(own_root)
    done = own_root.sh(f'{before}; "$@" run {words} --json -- touch /taken').finish()
    assert_facts(done, exit_status=1, consistency="none")
    done.assert_one_line(says)
    assert not own_root.path("/taken").exists()
    assert not own_root.path("/var/log/app").exists()


def test_state_directory_beside_what_is_frozen(own_root: OwnRoot) -> None:
    """With /run on `/`, `/` can be skipped and the rest be frozen."""
    done = own_root.sh('umount -R /run; "$@" run --skip / --json -- touch /taken').finish()
    assert_facts(done, exit_status=0, consistency="filesystem")
    assert [f["mount"] for f in done.report["window"]["filesystems"]] == ["/srv"]
    assert own_root.path("/taken").exists()
