"""Any service of systemd: frozen in its control group, or stopped and started again."""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess

from pyfreeze._base.text import quoted
from pyfreeze._quiesce.application import PROMPT_S, SECONDS, Quiescer, Setting, one_of
from pyfreeze._quiesce.errors import QuiesceError
from pyfreeze._quiesce.rendezvous import own_run_id

#: How long after the holder's deadline, and what letting go may take, the release timer comes.
_GRACE_S = 2.0
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]+\.(service|slice|scope)")

_ABOUT = """\
For services that have no way of their own to become quiet (setting method):

freeze   systemctl freeze: the kernel stops all processes of the unit's control group where they
         are (cgroup.freeze), and lets them go on afterwards. Takes milliseconds, and no
         connection is lost. The service does not hear of it, so what it has in its memory only
         is not in the snapshot: it is as after a power failure of this service alone, and
         application-consistent only if the service makes do with that. Needs systemd 246 and
         control groups of version 2.
stop     systemctl stop, and start afterwards. What a service writes when it stops is in the
         snapshot. It is away for as long as stopping, flush, freeze, snapshot and starting take.

A service that is not running stays so, and the snapshot is good.

systemd itself lets the service go on when the holder does not: a timer (systemd-run --on-active)
is set before anything is frozen or stopped, and taken back afterwards."""

_SETTINGS = (
    Setting("unit", "", "The service, as systemctl names it: shop.service. To be given."),
    Setting("method", "freeze", "freeze or stop; see above.", one_of("freeze", "stop")),
    Setting("wait_s", "30", "How long freezing, or stopping, may take.", SECONDS),
    Setting("systemctl", "", "The program. Empty: systemctl, wherever it is in PATH."),
    Setting("systemd_run", "", "The program. Empty: systemd-run, wherever it is in PATH."),
)


class Application(Quiescer):
    """One unit that is frozen or stopped."""

    name = "systemd"
    title = "a service of systemd"
    about = _ABOUT
    settings = _SETTINGS
    hold_at_most_s = 60.0  # users of the service wait all the while
    timeout_s = 60.0

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self._unit = values["unit"]
        self._freezes = values["method"] == "freeze"
        self._wanted, self._go_on = ("frozen", "thaw") if self._freezes else ("inactive", "start")
        self._systemctl = self._systemd_run = ""
        self._is_held = False
        digest = hashlib.sha256(f"{self._unit} {own_run_id()}".encode()).hexdigest()[:12]
        self._release_timer = f"pyfreeze-release-{digest}"

    def quiesce(self) -> str:
        """Set the release timer, then freeze or stop."""
        if not _UNIT.fullmatch(self._unit):
            found = quoted(self._unit)
            raise QuiesceError(
                f"setting unit: found {found}, expected a unit's name as shop.service"
            )
        # Debian's package systemd has both; without it there is no unit to hold either.
        otherwise = "install systemd"
        self._systemctl = self._program("systemctl", "systemctl", otherwise=otherwise)
        self._systemd_run = self._program("systemd_run", "systemd-run", otherwise=otherwise)
        loaded, active = self._show("LoadState"), self._show("ActiveState")
        if loaded != "loaded":
            raise QuiesceError(f"{self._unit}: found a unit that is {loaded}, expected one loaded")
        if active in ("inactive", "failed"):
            return f"{self._unit} is not running: nothing to hold"
        if active != "active":
            raise QuiesceError(
                f"{self._unit}: found it {active}, expected active or inactive: try again later"
            )
        after_s = float(self._values["hold_at_most_s"]) + float(self._values["wait_s"])
        timer = [self._systemd_run, "--quiet", "--collect", f"--unit={self._release_timer}"]
        timer += [f"--on-active={after_s + _GRACE_S:g}s", "--timer-property=AccuracySec=100ms"]
        _run([*timer, self._systemctl, self._go_on, self._unit], PROMPT_S)
        self._is_held = True
        verb = "freeze" if self._freezes else "stop"
        self._ask(verb, self._unit, timeout_s=float(self._values["wait_s"]))
        if (state := self._state()) != self._wanted:
            raise QuiesceError(
                f"{self._unit}: after systemctl {verb} it is {state}, expected {self._wanted}"
            )
        return f"{self._unit}: {self._wanted}"

    def _state(self) -> str:
        if self._freezes:
            return self._show("FreezerState")
        state = self._show("ActiveState")
        return "inactive" if state == "failed" else state

    def _show(self, key: str) -> str:
        return self._ask("show", f"--property={key}", "--value", self._unit)

    def release(self) -> str:
        """Let it go on, after a look whether it was held until now."""
        if not self._is_held:
            return ""
        state = self._state()
        wrong = f"{self._unit}: somebody else let it go on: found {state}, expected {self._wanted}"
        try:
            self._let_go(float(self._values["wait_s"]))
        except QuiesceError as error:
            if state == self._wanted:
                raise
            raise QuiesceError(f"{wrong}; and now {error}") from None
        if state != self._wanted:
            raise QuiesceError(wrong)
        return ""

    def _let_go(self, timeout_s: float) -> None:
        self._is_held = False
        self._ask(self._go_on, self._unit, timeout_s=timeout_s)
        self._ask("stop", f"{self._release_timer}.timer", may_fail=True)

    def abandon(self) -> None:
        """Let it go on at once; if that fails, the release timer does."""
        if self._is_held:
            with contextlib.suppress(QuiesceError, OSError):
                self._let_go(PROMPT_S)

    def _ask(self, *words: str, may_fail: bool = False, timeout_s: float = PROMPT_S) -> str:
        return _run([self._systemctl, *words], timeout_s, may_fail=may_fail)


def _run(words: list[str], timeout_s: float, *, may_fail: bool = False) -> str:
    what = " ".join(words[:2])
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise QuiesceError(f"{what} did not end within {timeout_s:g} s (wait_s)") from None
    except OSError as error:
        raise QuiesceError(f"{what}: {error.strerror}") from None
    if done.returncode != 0 and not may_fail:
        text = " ".join(done.stderr.split()) or f"exited with status {done.returncode}"
        raise QuiesceError(f"{what}: {text}")
    return done.stdout.strip()
