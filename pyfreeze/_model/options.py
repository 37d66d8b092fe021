"""The options of a window: declared here, once, for the library, the commands and the core.

A new one takes a line in `WindowKeywords`, and its use in the C core: a flag PF_WINDOW_NAME, or a
field of pf_window_options. `run` and `freeze`, their variables, help, manual page and
completion, the plan of a dry run, `frozen()`, `backup()` and their documentation have it then.
"""

import errno as _errno
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict, TypeVar

from pyfreeze._model.errors import UsageError

#: Beyond any use, and far from what a nanosecond counter can hold.
DAY_S = 86400.0


def check_seconds(name: str, seconds: float | None) -> None:
    """Refuse what is no number of seconds above 0 and within a day; None is none."""
    if seconds is not None and not 0 < seconds <= DAY_S:  # refuses NaN too
        raise UsageError(
            _errno.EINVAL, f"{name}: found {seconds!r}, expected seconds above 0, at most a day"
        )


class Target(NamedTuple):
    """A filesystem to open, by the mount that was chosen for it."""

    mount_point: str
    mount_id: int
    device: tuple[int, int]
    level: int


class Flush(NamedTuple):
    """How to flush before a freeze."""

    rounds: int
    """The most rounds of syncfs. No further one begins when they no longer get shorter."""
    spend_s: float = 5.0
    """No further round begins after this."""
    limit_s: float = 10.0
    """A round that has not ended by then fails the flush."""


class Duration(NamedTuple):
    """An option in seconds, above 0 and within a day: `name_ns` of pf_window_options."""

    default: float
    doc: str
    """A sentence, for the library's documentation and the commands' help."""


class Count(NamedTuple):
    """An option that is a whole number, from 0 on: a field of pf_window_options."""

    default: int
    doc: str
    most: int
    """The commands take no more."""
    field: str
    """Of pf_window_options, with a dot for one of a struct in it."""


class Switch(NamedTuple):
    """An option that is on or off: PF_WINDOW_NAME of pf_window_options' flags."""

    default: bool
    doc: str
    """For the library."""
    help: str
    """For the commands, whose option is --no-name where the default is True, else --name."""
    old_name: str = ""
    """By which the commands know it, too, without showing it."""


class WindowKeywords(TypedDict, total=False):
    """The options of a window, each by keyword; one that is None counts as not given.

    A function that hands them on takes `**options: Unpack[WindowKeywords]`, as `frozen()` and
    `backup()` do.
    """

    max_window: Annotated[
        float | None,
        Duration(10.0, "Seconds from the first FIFREEZE until everything is thawed regardless."),
    ]
    freeze_timeout: Annotated[
        float | None,
        Duration(10.0, "Seconds that freezing may take, and the flush right before it."),
    ]
    expedite: Annotated[
        bool,
        Switch(
            True,
            "Raise rcu_expedited while freezing: freezes in tenths of a millisecond instead of "
            "tens of milliseconds, and interrupts every processor for a moment.",
            "Leave rcu_expedited alone: freezing takes far longer.",
        ),
    ]
    realtime: Annotated[
        bool,
        Switch(
            True,
            "Run the supervisor's threads under SCHED_FIFO meanwhile, when there are fewer "
            "processors than threads that want one.",
            "Never use SCHED_FIFO while freezing.",
        ),
    ]
    cpu_latency: Annotated[
        bool,
        Switch(
            True,
            "Keep the processors out of idle states meanwhile (PM QoS), and for at most 20 ms of "
            "the snapshot: a wake-up takes microseconds then.",
            "Let processors idle deeply while freezing (see PM QoS).",
            old_name="--no-wakeful",
        ),
    ]
    parallel: Annotated[
        bool,
        Switch(
            True,
            "Freeze and thaw all filesystems of a level at once.",
            "Freeze one filesystem after another.",
        ),
    ]
    flush_rounds: Annotated[
        int | None,
        Count(
            8,
            "How often at most to flush right before freezing; it ends when rounds get no shorter.",
            most=100,
            field="flush.rounds",
        ),
    ]


Option = Duration | Count | Switch

#: Every option of a window by its keyword.
WINDOW: dict[str, Option] = {
    name: hint.__metadata__[0] for name, hint in WindowKeywords.__annotations__.items()
}


class WindowOptions(NamedTuple):
    """The options of a window, all of them, as the core is asked for them."""

    values: dict[str, float]

    @property
    def max_window_s(self) -> float:
        """From the first FIFREEZE until everything is thawed regardless."""
        return self.values["max_window"]

    @property
    def freeze_timeout_s(self) -> float:
        """What all FIFREEZEs together may take."""
        return self.values["freeze_timeout"]

    def as_data(self) -> dict[str, float]:
        """By names that end in their unit."""
        return {
            f"{name}_s" if isinstance(WINDOW[name], Duration) else name: value
            for name, value in self.values.items()
        }


def check_window(function: str, options: WindowKeywords) -> None:
    """Check what a function was given as options of a window.

    Raises:
        TypeError: there is no such option; in Python's own words.
        UsageError: a time that is none.
    """
    plain: dict[str, Any] = dict(options)
    for name, value in plain.items():
        if name not in WINDOW:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        if isinstance(WINDOW[name], Duration):
            check_seconds(name, value)


def resolve(*layers: WindowKeywords) -> WindowOptions:
    """Every option: as the last of the layers has it that gives it, else its default."""
    values = {name: option.default for name, option in WINDOW.items()}
    for layer in layers:
        plain: dict[str, Any] = dict(layer)
        values |= {name: value for name, value in plain.items() if value is not None}
    return WindowOptions(values)


_Function = TypeVar("_Function", bound=Callable[..., object])


def tells_options(function: _Function) -> _Function:
    """Let help() name each option: a decorator for what takes WindowKeywords."""
    before, mark, after = (function.__doc__ or "").partition("**options:")
    if mark:  # not with python -OO, which leaves docstrings out
        indent = before[before.rindex("\n") :]
        told = (f"{name}: {o.doc} Default: {o.default}." for name, o in WINDOW.items())
        function.__doc__ = f"{before}{indent.join(told)}{indent}{mark}{after}"
    return function
