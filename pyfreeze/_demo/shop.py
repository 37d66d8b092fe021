"""The shop's operator: its process, its scripts, and the configuration that names them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pyfreeze._base.files import replace
from pyfreeze._base.programs import CLEAN_ENVIRONMENT
from pyfreeze._config.script_config import template
from pyfreeze._demo import writer
from pyfreeze._demo.stage import AUDIT, ORDERS, STAGE
from pyfreeze._model.errors import FreezeError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL = os.path.join(STAGE, "control")
ANSWER = os.path.join(STAGE, "answer")
WITNESS = os.path.join(STAGE, "witness")
DATABASES = {ORDERS.name: "orders.db", AUDIT.name: "audit.db"}

# Patience, not a measure: a crowded or an emulated machine may be a hundred times slower.
_WRITER_TIMEOUT_S = 30.0

_PRE_SCRIPT = """\
#!/bin/sh
# Ask the shop to pause, and wait until it says that it has: its last order committed, both
# databases checkpointed. $1 is the FIFO that it listens to, $2 the one that it answers on.
set -eu
echo pause > "$1"
read -r answer < "$2"
echo "the shop: $answer"
case $answer in
    paused*) ;;
    *) exit 1 ;;
esac
"""
_POST_SCRIPT = """\
#!/bin/sh
# Let the shop go on, whatever became of the snapshot, if it is not closed. An answer to a
# pre-script that did not wait for it may come first.
set -eu
if [ ! -p "$1" ]; then
    echo "the shop: closed"
    exit 0
fi
echo resume > "$1"
answer=
while [ "${answer#resumed}" = "$answer" ]; do
    read -r answer < "$2"
done
echo "the shop: $answer"
"""


class Order(NamedTuple):
    """One order, as the shop itself witnessed it."""

    number: int
    committed_ns: int
    """CLOCK_MONOTONIC: when it was on disk in both databases."""


class Shop:
    """The running writer, and what it said."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait_for(self, word: str) -> bool:
        """Wait until it says its next word, but not for ever. Returns whether it is this one."""
        stdout = self._process.stdout
        assert stdout is not None
        is_said, _, _ = select.select([stdout], [], [], _WRITER_TIMEOUT_S)
        return bool(is_said) and stdout.readline() == f"{word}\n".encode()

    def close(self) -> None:
        """Let it end: the end of its stdin tells it to. One that does not is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_WRITER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextlib.contextmanager
def open_shop() -> Iterator[Shop]:
    """Start the writer and wait until it is warm.

    Raises:
        FreezeError: it died, or takes no orders.
    """
    for path in (CONTROL, ANSWER):
        os.mkfifo(path, 0o600)
    # A handler that raises before there is somebody to end the writer has to wait. The writer keeps
    # these signals blocked: it ends with its stdin.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        process = subprocess.Popen(
            [
                # Isolated, and by its path: the working directory has no say in what is run.
                *(sys.executable, "-I", writer.__file__),
                os.path.join(ORDERS.mount_point, DATABASES[ORDERS.name]),
                os.path.join(AUDIT.mount_point, DATABASES[AUDIT.name]),
                *(CONTROL, ANSWER, WITNESS),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=CLEAN_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        with process:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                shop = Shop(process)
                if not shop.wait_for(writer.WARM):
                    text = "the demo's writer takes no orders"
                    raise FreezeError(errno.EIO, text, writer.__file__)
                yield shop
            finally:
                process.kill()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def read_witness() -> tuple[Order, ...]:
    """All orders that the shop took, by its own account."""
    with open(WITNESS, encoding="ascii") as file:
        return tuple(Order(*map(int, line.split())) for line in file)


def write_configuration() -> dict[str, Any]:
    """Write scripts and configuration as an operator would, in a directory that is root's alone.

    All three files, so that the machine's own configuration has no say. Returns their paths, by
    their names in `Settings`.
    """
    config = json.loads(template()) | {
        "preScriptLocation": _write("pre-script.sh", _PRE_SCRIPT, 0o700),
        "postScriptLocation": _write("post-script.sh", _POST_SCRIPT, 0o700),
        "preScriptParams": [CONTROL, ANSWER],
        "postScriptParams": [CONTROL, ANSWER],
        "appName": "shop",
    }
    config_path = _write("config.json", json.dumps(config, indent=4) + "\n", 0o600)
    host = (
        "[pre_post]\ntimeoutInSeconds = 60\nnumberOfPlugins = 1\n"
        f"pluginName0 = ScriptRunner\npluginConfigPath0 = {config_path}\n"
    )
    freeze = "[SnapshotThread]\ntimeout = 30\nSafeFreezeWaitInSeconds = 30\n"
    return {
        "config": config_path,
        "host_config": _write("host.conf", host, 0o600),
        "freeze_config": _write("freeze.conf", freeze, 0o600),
    }


def _write(name: str, content: str, mode: int) -> str:
    path = os.path.join(STAGE, name)
    replace(path, content, mode=mode)
    return path
