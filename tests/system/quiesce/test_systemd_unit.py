"""The quiesce scripts of a systemd service: what is asked of systemd, in which order.

There is no systemd here that runs services, so a stand-in answers as systemctl and systemd-run do:
it keeps a unit's state in a file, and writes down what it was asked.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Pyfreeze
from tests.support.disks import Disk
from tests.support.place import Place
from tests.support.quiesce import QuiesceScripts, assert_application, failed_script, output_of

UNIT = "shop.service"
_STAND_IN = """\
state="$D/unit-state"
echo "${0##*/} $*" >>"$D/asked"
case "${0##*/} $1" in
"systemctl is-active") cat "$state"; grep -q '^active$' "$state" || exit 3 ;;
"systemctl show") if [ -e "$D/frozen" ]; then echo frozen; else echo running; fi ;;
"systemctl freeze") [ -e "$D/refuses" ] || : >"$D/frozen" ;;
"systemctl thaw") rm -f "$D/frozen" ;;
"systemctl stop") [ "$2" != shop.service ] || echo inactive >"$state" ;;
"systemctl start") echo active >"$state" ;;
esac
"""


@pytest.fixture
def systemd(place: Place) -> dict[str, str]:
    """The stand-ins' paths, as settings; the unit is running."""
    place.path("unit-state").write_text("active\n", encoding="ascii")
    names = {"systemctl": "systemctl", "systemd_run": "systemd-run"}
    return {key: place.script(name, _STAND_IN) for key, name in names.items()}


def asked(place: Place) -> list[str]:
    """What was asked, the guard's name and deadline left out."""
    lines = place.read("asked").splitlines() if place.exists("asked") else []
    words = [line.split() for line in lines]
    return [
        " ".join(word for word in line if not word.startswith(("--unit", "--on-", "--timer", "-q")))
        for line in words
    ]


def scripts_of(
    pyfreeze: Pyfreeze, place: Place, systemd: dict[str, str], **more: object
) -> QuiesceScripts:
    return QuiesceScripts(pyfreeze, place, "systemd", unit=UNIT, **systemd, **more)


@pytest.mark.parametrize(
    ("method", "hold", "go_on"), [("freeze", "freeze", "thaw"), ("stop", "stop", "start")]
)
def test_the_guard_is_set_before_and_taken_back_after(
    ext4: Disk,
    place: Place,
    pyfreeze: Pyfreeze,
    systemd: dict[str, str],
    method: str,
    hold: str,
    go_on: str,
) -> None:
    scripts = scripts_of(pyfreeze, place, systemd, method=method)
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert_application(report)
    acts = [line for line in asked(place) if "is-active" not in line and " show " not in line]
    guard, held, released, taken_back = acts
    assert guard.startswith("systemd-run ")
    assert guard.endswith(f"systemctl {go_on} {UNIT}")
    assert held == f"systemctl {hold} {UNIT}"
    assert released == f"systemctl {go_on} {UNIT}"
    assert taken_back.startswith("systemctl stop pyfreeze-release-")
    assert not place.exists("frozen")
    assert place.read("unit-state") == "active\n"


def test_one_that_is_not_running_stays_so(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, systemd: dict[str, str]
) -> None:
    place.path("unit-state").write_text("inactive\n", encoding="ascii")
    scripts = scripts_of(pyfreeze, place, systemd)
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert_application(report)
    assert "nothing to hold" in output_of(report, "pre")
    assert all("is-active" in line for line in asked(place))


def test_one_that_does_not_freeze(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, systemd: dict[str, str]
) -> None:
    place.path("refuses").touch()
    scripts = scripts_of(pyfreeze, place, systemd)
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert (report["consistency"], report["code"]) == ("filesystem", 300)
    line = failed_script(report, "pre")
    assert "found" not in line
    assert "it is running, expected frozen" in line
    assert asked(place)[-2] == f"systemctl thaw {UNIT}"


def test_one_that_somebody_else_let_go_on(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, systemd: dict[str, str]
) -> None:
    scripts = scripts_of(pyfreeze, place, systemd)
    frozen = str(place.path("frozen"))
    report = pyfreeze.run([ext4], ["rm", frozen], config=scripts.config).report
    assert (report["consistency"], report["code"]) == ("filesystem", 301)
    assert "somebody else let it go on" in failed_script(report, "post")


def test_at_its_deadline(
    ext4: Disk, place: Place, pyfreeze: Pyfreeze, systemd: dict[str, str]
) -> None:
    scripts = scripts_of(pyfreeze, place, systemd, hold_at_most_s="0.2")
    command = [place.script("snapshot", scripts.waiting_for("lost"))]
    report = pyfreeze.run([ext4], command, config=scripts.config).report
    assert (report["consistency"], report["code"]) == ("filesystem", 301)
    assert not Path(place.path("frozen")).exists()


@pytest.mark.parametrize(
    ("setting", "value"), [("unit", ""), ("unit", "-shop"), ("method", "sleep")]
)
def test_settings_that_are_wrong(
    ext4: Disk,
    place: Place,
    pyfreeze: Pyfreeze,
    systemd: dict[str, str],
    setting: str,
    value: str,
) -> None:
    scripts = scripts_of(pyfreeze, place, systemd)
    scripts.set(**{setting: value})
    report = pyfreeze.run([ext4], ["true"], config=scripts.config).report
    assert report["code"] == 300
    assert f"setting {setting}: found {value!r}, expected" in failed_script(report, "pre")
    assert asked(place) == []
