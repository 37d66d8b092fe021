"""What `pyfreeze run` shows on a terminal while it runs, and that no terminal can hold it up."""

from __future__ import annotations

import os
import re
import select
import signal
import termios
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command import Pyfreeze, Running
from tests.support.disks import Disk
from tests.support.script_dir import ScriptDir
from tests.support.waiting import wait_until

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Screen:
    """A terminal that somebody looks at, or not."""

    def __init__(self) -> None:
        self.leader, self.follower = os.openpty()
        termios.tcsetwinsize(self.follower, (24, 80))
        self.text = ""

    def options(self, **environment: str) -> dict[str, Any]:
        return {"stderr": self.follower, "environment": {"TERM": "xterm", **environment}}

    def look(self) -> str:
        """What has been drawn so far, without colours and movements."""
        while select.select([self.leader], [], [], 0)[0]:
            self.text += os.read(self.leader, 65536).decode(errors="replace")
        return _CONTROL.sub("", self.text)

    def shows(self, words: str) -> None:
        wait_until(lambda: words in self.look(), f"the terminal shows {words!r}")

    def block(self) -> None:
        """As Ctrl-S does: whoever writes to it waits."""
        termios.tcflow(self.follower, termios.TCOOFF)

    def close(self) -> None:
        termios.tcflow(self.follower, termios.TCOON)
        os.close(self.leader)
        os.close(self.follower)


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def start(
    pyfreeze: Pyfreeze, screen: Screen, disk: Disk, command: list[str], *words: str, **more: str
) -> Running:
    return pyfreeze.start(
        "run", "--mount", disk.mount_point, "--max-window", "60", *words, "--", *command,
        **screen.options(**more),
    )  # fmt: skip


def test_phases_and_what_a_script_says(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, screen: Screen
) -> None:
    """Each phase gets its line, and a script's last words are shown without escapes."""
    said = 'echo "first line"; printf "closing \\033[31mthe\\033[0m shop\\n"'
    pre = script_dir.script("pre", f'{said}\nwhile [ ! -e "$D/go" ]; do sleep 0.01; done')
    config = script_dir.config(pre)
    running = start(pyfreeze, screen, ext4, ["true"], "--config", config)
    screen.shows("pre-scripts")
    screen.shows("closing")
    script_dir.release()
    done = running.finish()
    assert done.status == 0
    drawn = screen.look()
    for phase in ("write dirty data", "freeze, snapshot, thaw", "post-scripts"):
        assert re.search(f"✔ {phase}.* \\d+\\.\\d s", drawn), drawn
    assert "\x1b[31m" not in screen.text
    assert "success: application-consistent" in done.out


def test_a_window_is_drawn_once(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, screen: Screen
) -> None:
    """And nothing else until it is over: no processor time is taken from the snapshot."""
    running = start(pyfreeze, screen, ext4, [script_dir.waiting_script()], "--no-scripts")
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    screen.shows("freeze, snapshot, thaw")
    before = screen.text
    assert not select.select([screen.leader], [], [], 0.5)[0], "drawn while it was open"
    script_dir.release()
    assert running.finish().status == 0
    assert len(screen.look()) > len(_CONTROL.sub("", before))


def test_a_terminal_that_blocks_holds_nothing_up(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, screen: Screen
) -> None:
    pre = script_dir.script("pre", 'while [ ! -e "$D/go" ]; do sleep 0.01; done')
    running = start(pyfreeze, screen, ext4, ["true"], "--config", script_dir.config(pre))
    screen.shows("pre-scripts")
    screen.block()
    script_dir.release()
    done = running.finish()
    assert done.status == 0
    assert "success: application-consistent" in done.out
    assert script_dir.outcomes == ["success"]


def test_ctrl_c_is_heard_beside_it(
    ext4: Disk, script_dir: ScriptDir, pyfreeze: Pyfreeze, screen: Screen
) -> None:
    """The thread that draws never takes a signal from the one that waits."""
    running = start(pyfreeze, screen, ext4, [script_dir.waiting_script()], "--no-scripts")
    wait_until(lambda: script_dir.holds, "the snapshot is being taken")
    running.signal(signal.SIGINT)
    assert running.finish().status == 128 + signal.SIGINT
    ext4.assert_writable()


@pytest.mark.parametrize(
    ("words", "environment"), [(["--quiet"], {}), ([], {"TERM": "dumb"}), ([], {"TERM": ""})]
)
def test_where_nothing_is_to_be_drawn(
    ext4: Disk,
    pyfreeze: Pyfreeze,
    screen: Screen,
    words: list[str],
    environment: dict[str, str],
) -> None:
    """--quiet and a dumb terminal get nothing."""
    running = start(pyfreeze, screen, ext4, ["true"], "--no-scripts", *words, **environment)
    assert running.finish().status == 0
    assert screen.look() == ""


def test_without_more_than_ascii(ext4: Disk, pyfreeze: Pyfreeze, screen: Screen) -> None:
    """In the C locale all that is drawn is ASCII."""
    running = start(
        pyfreeze, screen, ext4, ["true"], "--no-scripts",
        LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    done = running.finish()
    assert done.status == 0
    assert screen.look().isascii()
    assert done.out.isascii()
    assert "* freeze, snapshot, thaw" in screen.look()


def test_no_colour_where_none_is_wanted(ext4: Disk, pyfreeze: Pyfreeze, screen: Screen) -> None:
    running = start(pyfreeze, screen, ext4, ["true"], "--no-scripts", NO_COLOR="1")
    assert running.finish().status == 0
    screen.look()
    assert not re.search(r"\x1b\[(3|9)\d", screen.text)
