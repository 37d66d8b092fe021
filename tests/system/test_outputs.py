"""The files that a run writes about itself: a picture, a trace, metrics."""

from __future__ import annotations

import json
import stat
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.command import Done, Pyfreeze
from tests.support.disks import Disk
from tests.support.facts import assert_facts
from tests.support.needs import need_program
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_SUCCESS = "pyfreeze_last_success_timestamp_seconds"


def metrics_of(path: Path) -> dict[tuple[str, ...], float]:
    """By name and the labels' values, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8"))
        for sample in family.samples
    }


def check_metrics(path: Path) -> None:
    """By Prometheus' own judge."""
    promtool = need_program("promtool")
    with path.open("rb") as file:
        done = subprocess.run(
            [promtool, "check", "metrics"], stdin=file, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    assert_facts(done, returncode=0, stdout="", stderr="")


def run_with_all(
    pyfreeze: Pyfreeze, script_dir: ScriptDir, disks: list[Disk], command: list[str], **options: Any
) -> Done:
    words = [
        f"--report={script_dir.path('page.html')}",
        f"--trace={script_dir.path('trace.json')}",
        f"--metrics={script_dir.path('metrics.prom')}",
    ]
    return pyfreeze.run(disks, command, *words, **options)


def test_all_three_say_what_the_report_says(
    disk: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    done = run_with_all(pyfreeze, script_dir, [disk], ["true"], config=script_dir.config())
    assert_facts(done, exit_status=0, err="")
    report = done.report
    (filesystem,) = report["window"]["filesystems"]

    page = script_dir.read("page.html")
    assert report["run_id"] in page
    assert f"{disk.mount_point} ({disk.fstype})" in page

    trace = json.loads(script_dir.read("trace.json"))
    assert trace["otherData"]["run_id"] == report["run_id"]
    (frozen,) = [event for event in trace["traceEvents"] if event["name"] == "frozen"]
    first = next(e for e in trace["traceEvents"] if e["ph"] == "X" and e["pid"] == frozen["pid"])
    last = max(
        e["ts"] + e["dur"]
        for e in trace["traceEvents"]
        if e["ph"] == "X" and e["pid"] == frozen["pid"] and e["tid"] == frozen["tid"]
    )
    assert first["ts"] == pytest.approx(filesystem["freeze_t_ms"] * 1000, abs=1)
    assert last - first["ts"] == pytest.approx(filesystem["frozen_ms"] * 1000, abs=2)

    path = script_dir.path("metrics.prom")
    check_metrics(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    metrics = metrics_of(path)
    labels = (filesystem["device"], disk.fstype, disk.mount_point)
    frozen_s = filesystem["frozen_ms"] / 1000
    assert metrics["pyfreeze_filesystem_frozen_seconds", *labels] == pytest.approx(frozen_s)
    for name in ("flush", "freeze", "thaw"):
        row = (f"pyfreeze_filesystem_{name}_seconds", *labels)
        assert metrics[row] == pytest.approx(filesystem[f"{name}_ms"] / 1000)
    for name, of_window in (
        ("window", "window_ms"),
        ("window_overhead", "overhead_ms"),
        ("window_frozen_together", "frozen_together_ms"),
    ):
        took_s = report["window"][of_window] / 1000
        assert metrics[f"pyfreeze_{name}_seconds",] == pytest.approx(took_s)
    assert metrics["pyfreeze_run_consistency", "application"] == 1
    for script in report["scripts"]:
        key = ("pyfreeze_script_duration_seconds", script["path"], script["phase"])
        assert metrics[(*key, script["plugin"])] == pytest.approx(script["duration_ms"] / 1000)


def test_a_failure_is_told_and_the_last_success_remembered(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    assert run_with_all(pyfreeze, script_dir, [ext4], ["true"]).status == 0
    path = script_dir.path("metrics.prom")
    before = metrics_of(path)
    done = run_with_all(pyfreeze, script_dir, [ext4], ["false"])
    assert done.status == 1
    check_metrics(path)
    after = metrics_of(path)
    assert after["pyfreeze_run_success",] == 0
    assert after["pyfreeze_run_code",] == done.report["code"] == 2
    assert after[_SUCCESS,] == before[_SUCCESS,]
    assert after["pyfreeze_last_run_timestamp_seconds",] > before[_SUCCESS,]
    assert "exited with status 1" in script_dir.read("page.html")


@pytest.mark.parametrize("why", ["usage", "locked"])
def test_a_run_that_was_refused_is_no_success(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, why: str
) -> None:
    """A timer's run that is refused every night: its metrics are all that anybody looks at."""
    path = script_dir.path("metrics.prom")
    good = pyfreeze.run([ext4], ["true"], "--metrics", str(path))
    assert good.status == 0
    before = metrics_of(path)
    if why == "locked":
        running = pyfreeze.start_run([ext4], [script_dir.waiting_script()])
        wait_until(lambda: script_dir.holds, "another run's snapshot is being taken")
        done = pyfreeze.run([ext4], ["true"], "--metrics", str(path))
        script_dir.release()
        assert running.finish().status == 0
    else:
        done = pyfreeze.run([ext4], ["/no/such/program"], "--metrics", str(path))
    assert done.status == {"usage": 2, "locked": 4}[why]
    assert list(done.report) == list(good.report)
    check_metrics(path)
    after = metrics_of(path)
    assert after["pyfreeze_run_success",] == 0
    assert after["pyfreeze_run_code",] == 2
    assert after[_SUCCESS,] == before[_SUCCESS,]
    assert after["pyfreeze_last_run_timestamp_seconds",] > before[_SUCCESS,]


def test_a_picture(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The SVG is well-formed XML and shows the filesystem."""
    assert pyfreeze.run([ext4], ["true"], "--report", str(script_dir.path("a.svg"))).status == 0
    root = ET.fromstring(script_dir.read("a.svg"))
    text = "".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert f"{ext4.mount_point} (ext4)" in text


@pytest.mark.parametrize("option", ["--report", "--trace", "--metrics"])
def test_what_cannot_be_written_is_refused_before_anything_runs(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, option: str
) -> None:
    path = str(script_dir.path("missing") / "a.svg")
    done = pyfreeze.run([ext4], ["true"], option, path, config=script_dir.config())
    assert done.status == 2
    done.assert_one_line(option, path, "directory does not exist")
    assert script_dir.outcomes == []


def test_a_name_that_says_no_format(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """The file's ending has to be one that is known."""
    done = pyfreeze.run([ext4], ["true"], "--report", str(script_dir.path("report.pdf")))
    assert done.status == 2
    done.assert_one_line("--report", "report.pdf", ".html or .svg")


def test_one_that_can_no_longer_be_written(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze
) -> None:
    """The backup is good and says so; the exit status tells that something is missing."""
    directory = script_dir.path("reports")
    directory.mkdir()
    gone = ["rmdir", str(directory)]
    trace = str(directory / "trace.json")
    done = pyfreeze.run([ext4], gone, "--trace", trace)
    assert_facts(done, exit_status=1, status="success")
    done.assert_one_line(trace, "not written")


def test_on_a_frozen_filesystem(ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze) -> None:
    """Written after the thaw."""
    path = ext4.path("last.html")
    assert pyfreeze.run([ext4], ["true"], "--report", str(path)).status == 0
    assert path.exists()


def test_quiet(ext4: Disk, pyfreeze: Pyfreeze) -> None:
    """A success says nothing; an error is told all the same."""
    words = ("run", "--no-scripts", "--quiet", "--mount", ext4.mount_point, "--")
    done = pyfreeze(*words, "true")
    assert_facts(done, exit_status=0, out="", err="")
    done = pyfreeze(*words, "false")
    assert done.status == 1
    assert "error (code 2 error)" in done.out
