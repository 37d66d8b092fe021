"""Which kill is tried: drawn from a seed and a number alone, so that one command repeats it."""

from __future__ import annotations

import random
import signal
from typing import NamedTuple

CLIENT, SUPERVISOR, REAPER, COMMAND, SCRIPT = VICTIMS = (
    "client",
    "supervisor",
    "reaper",
    "command",
    "script",
)
_SIGNALS = {signal.SIGKILL: 6, signal.SIGTERM: 2, signal.SIGSTOP: 1}

#: Boundaries of a run, in their order; a strike comes at one of them, or a moment after.
EVENTS = (
    "page",
    "supervisor",
    "open",
    "pre-script",
    "pre-script ended",
    "freezing",
    "one frozen",
    "all frozen",
    "command",
    "thawing",
    "one thawed",
    "all thawed",
    "post-script",
    "post-script ended",
)
_BEFORE_THE_END_OF_A_HELD_ONE = EVENTS[: EVENTS.index("thawing")]
_WITH_A_COMMAND = ("freezing", "one frozen", "all frozen", "command")
_DELAYS_NS = (0, 20_000, 100_000, 500_000, 3_000_000)

#: Long enough to freeze three filesystems under load, short enough to wait for its end often.
SHORT_WINDOW_S = 0.5
#: Nobody waits for that: what is thawed in time was thawed at once.
HELD_WINDOW_S = 300.0


class Strike(NamedTuple):
    """One signal to one process."""

    victim: str
    signal: signal.Signals

    def __str__(self) -> str:
        return f"{self.signal.name} {self.victim}"


class Kill(NamedTuple):
    """One run, and what is done to it."""

    seed: int
    number: int
    client: str
    """"command": the command's own entry, with its handlers; "library": `backup()`, without."""
    event: str
    """The boundary that is waited for; empty: a part of a whole run's duration."""
    part: float
    delay_ns: int
    strikes: tuple[Strike, ...]
    gap_ns: int
    """Between two."""
    held: bool
    """The command stays for ever, and so does the window: only the strike can end it."""
    command_s: float
    wake: signal.Signals
    """What becomes in the end of those that were stopped: they go on, or are killed."""
    recovery: str
    """"run" or "thaw": what puts right what the loss of both has left."""

    @property
    def max_window_s(self) -> float:
        return HELD_WINDOW_S if self.held else SHORT_WINDOW_S

    @property
    def loses_both(self) -> bool:
        """Client and supervisor are both hit: nobody is left to thaw at once."""
        return {CLIENT, SUPERVISOR} <= {strike.victim for strike in self.strikes}

    @property
    def leaves_a_stopped_supervisor(self) -> bool:
        """Its client is dead: whoever comes next has to see to it."""
        stopped = Strike(SUPERVISOR, signal.SIGSTOP) in self.strikes
        dead = Strike(CLIENT, signal.SIGKILL) in self.strikes
        return stopped and dead and self.wake == signal.SIGCONT

    def hits(self, *victims: str) -> bool:
        return any(strike.victim in victims for strike in self.strikes)

    @property
    def name(self) -> str:
        """Without the order, which is the seed's to tell."""
        return " + ".join(sorted(str(strike) for strike in self.strikes))


def draw(seed: int, number: int) -> Kill:
    """The kill of that number."""
    dice = random.Random(f"{seed}:{number}")
    victims = [dice.choice(VICTIMS)]
    if dice.random() < 0.35:
        # The pair that nobody survives to thaw after, in every other case.
        other = dice.choice([victim for victim in VICTIMS if victim != victims[0]])
        victims = [*victims, other] if dice.random() < 0.5 else [CLIENT, SUPERVISOR]
        dice.shuffle(victims)
    strikes = tuple(Strike(victim, _draw_signal(dice)) for victim in victims)
    held = _may_hold(strikes) and dice.random() < 0.5
    events: tuple[str, ...] = EVENTS
    needs_command = held and strikes[0].victim in (REAPER, COMMAND)
    if held:
        events = _WITH_A_COMMAND if needs_command else _BEFORE_THE_END_OF_A_HELD_ONE
    by_event = dice.random() < 0.7 or needs_command
    return Kill(
        seed=seed,
        number=number,
        client=dice.choice(("command", "library")),
        event=dice.choice(events) if by_event else "",
        part=dice.random(),
        delay_ns=int(dice.random() * dice.choice(_DELAYS_NS)),
        strikes=strikes,
        gap_ns=int(dice.random() * dice.choice((0, 0, 300_000, 30_000_000, 400_000_000))),
        held=held,
        command_s=dice.choice((0.0, 0.0, 0.003, 0.02)),
        wake=dice.choice((signal.SIGCONT, signal.SIGKILL)),
        recovery=dice.choice(("run", "thaw")),
    )


def _draw_signal(dice: random.Random) -> signal.Signals:
    return dice.choices(list(_SIGNALS), list(_SIGNALS.values()))[0]


def _may_hold(strikes: tuple[Strike, ...]) -> bool:
    """Whether this strike alone has to end the window at once."""
    if len(strikes) > 1:
        return False
    victim, number = strikes[0]
    if number == signal.SIGKILL:
        return victim != SCRIPT
    # A reaper lets no SIGTERM near it; to the supervisor it says: thaw what is frozen now.
    return number == signal.SIGTERM and victim in (CLIENT, COMMAND)
