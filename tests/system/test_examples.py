"""The programs of docs/examples, as processes of their own on filesystems of the tests."""

from __future__ import annotations

import http.server
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Done, Running
from tests.support.disks import Disk, opened_copy
from tests.support.facts import assert_facts
from tests.support.namespace import assert_ours
from tests.support.script_dir import ScriptDir

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(name: str, *words: str, mount: str) -> Done:
    """Run an example; `mount` is what it freezes."""
    assert_ours(mount)
    return Running([sys.executable, str(EXAMPLES / name), *words], cwd="/").finish()


def assert_holds(disk: Disk, copy: Path) -> None:
    """A copy is undamaged, and has what had been written."""
    with opened_copy(disk.fstype, copy) as mounted:
        assert (mounted / "data").read_text(encoding="utf-8") == "important\n"


@pytest.fixture
def data(ext4: Disk) -> Disk:
    ext4.path("data").write_text("important\n", encoding="utf-8")
    return ext4


def test_every_example_is_here() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    text = Path(__file__).read_text(encoding="utf-8")
    assert names
    assert [name for name in names if not re.search(rf'\brun\(\s*"{name}"', text)] == []


def test_callable(data: Disk, script_dir: ScriptDir) -> None:
    """The example's copy is whole, and its scripts have run."""
    copy = script_dir.path("copy")
    done = run(
        "callable_snapshot.py",
        *(script_dir.config(), data.mount_point, str(data.image), str(copy)),
        mount=data.mount_point,
    )
    assert done.status == 0, done.err
    assert done.out.startswith("success: consistency application, code 0 success_appconsistent\n")
    assert script_dir.outcomes == ["success"]
    assert_holds(data, copy)


def test_callable_that_fails(data: Disk, script_dir: ScriptDir) -> None:
    """The example ends with 1, and its post-script learns of the failure."""
    done = run(
        "callable_snapshot.py",
        *(
            script_dir.config(),
            data.mount_point,
            str(script_dir.path("nothing")),
            str(script_dir.path("copy")),
        ),
        mount=data.mount_point,
    )
    assert done.status == 1
    assert "FileNotFoundError" in done.err
    assert script_dir.outcomes == ["failed"]


def test_without_scripts(data: Disk, script_dir: ScriptDir) -> None:
    """The example's copy is whole."""
    copy = script_dir.path("copy")
    done = run(
        "no_scripts.py", data.mount_point, str(data.image), str(copy), mount=data.mount_point
    )
    assert done.status == 0, done.err
    assert done.out.startswith("frozen for ")
    assert_holds(data, copy)


def test_without_scripts_on_what_somebody_else_has_frozen(
    data: Disk, script_dir: ScriptDir
) -> None:
    """The example ends with 1, says so, and copies nothing."""
    data.freeze()
    try:
        done = run(
            "no_scripts.py",
            *(data.mount_point, str(data.image), str(script_dir.path("copy"))),
            mount=data.mount_point,
        )
    finally:
        data.thaw()
    assert done.status == 1
    assert "somebody else has frozen it already" in done.err
    assert not script_dir.exists("copy")


def test_asyncio(data: Disk, script_dir: ScriptDir) -> None:
    """The example's copy is whole."""
    copy = script_dir.path("copy")
    done = run(
        "asyncio_window.py", data.mount_point, str(data.image), str(copy), mount=data.mount_point
    )
    assert_facts(done, exit_status=0, err="")
    assert done.out == "success: consistency filesystem, code 1 success\n"
    assert_holds(data, copy)


def test_asyncio_when_the_snapshot_or_the_freeze_fails(data: Disk, script_dir: ScriptDir) -> None:
    """The example ends with 1, says which failed, and has thawed."""
    words = (data.mount_point, str(script_dir.path("nothing")), str(script_dir.path("copy")))
    done = run("asyncio_window.py", *words, mount=data.mount_point)
    assert done.status == 1
    assert "exited with status 1" in done.err
    data.assert_writable()
    data.freeze()
    try:
        done = run("asyncio_window.py", *words, mount=data.mount_point)
    finally:
        data.thaw()
    assert done.status == 1
    assert done.out == "error: consistency none, code 121 FailedRetryableFsFreezeFailed\n"


class _Server(http.server.ThreadingHTTPServer):
    """Takes reports, or refuses them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []
        self.refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/reports"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.refuses:
            self.server.received.append(json.loads(body))
        self.send_response(503 if self.server.refuses else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    made = _Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_pipeline(data: Disk, script_dir: ScriptDir, server: _Server) -> None:
    """Reports that could not be shipped go with the next; a failed backup's goes as well."""
    spool, copy = script_dir.path("spool"), script_dir.path("copy")
    spool.mkdir()
    config = script_dir.config()

    def back_up(*command: str) -> Done:
        return run(
            "pipeline.py",
            *(config, data.mount_point, str(spool), server.url, "--", *command),
            mount=data.mount_point,
        )

    server.refuses = True
    done = back_up("cp", "--sparse=always", str(data.image), str(copy))
    assert done.status == 75, done.err
    assert server.received == []
    assert len(os.listdir(spool)) == 1
    assert_holds(data, copy)
    server.refuses = False
    assert back_up("false").status == 1
    assert os.listdir(spool) == []
    assert [r["consistency"] for r in server.received] == ["application", "none"]
    assert script_dir.outcomes == ["success", "failed"]
    assert back_up("true").status == 0
    assert len({r["run_id"] for r in server.received}) == 3
