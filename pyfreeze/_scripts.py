"""Pre-scripts and post-scripts: what each is given, and what its end means."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from pyfreeze import _client
from pyfreeze._codes import C
from pyfreeze._exchange import ChildOptions

if TYPE_CHECKING:
    from pyfreeze._config.load import Plugin
    from pyfreeze._exchange import ChildEnd

#: All that a script inherits: nothing of the caller's environment reaches it.
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
_MS_PER_NS = 1e-6


class Script(NamedTuple):
    """One script to run."""

    phase: str
    """"pre" or "post"."""
    plugin: str
    path: str
    params: tuple[str, ...]
    attempts: int
    timeout_s: float
    """Over all attempts."""
    own_timeout_s: float
    """As its plugin asks; more than `timeout_s` where the host's phase timeout is shorter."""
    app_name: str | None


def pre_script(plugin: Plugin) -> Script:
    """The pre-script of a plugin without problems."""
    assert plugin.config is not None
    config = plugin.config
    return _script(
        plugin, "pre", plugin.pre_script, config.pre_script_params, config.pre_script_retries
    )


def post_script(plugin: Plugin) -> Script:
    """The post-script of a plugin without problems."""
    assert plugin.config is not None
    config = plugin.config
    return _script(
        plugin, "post", plugin.post_script, config.post_script_params, config.post_script_retries
    )


def _script(
    plugin: Plugin, phase: str, path: str | None, params: tuple[str, ...], retries: int
) -> Script:
    assert plugin.config is not None
    assert path is not None
    return Script(
        phase=phase,
        plugin=plugin.name,
        path=path,
        params=params,
        attempts=retries + 1,
        timeout_s=plugin.pre_timeout_s if phase == "pre" else plugin.post_timeout_s,
        own_timeout_s=plugin.config.timeout_s,
        app_name=plugin.config.app_name,
    )


def child_options(
    script: Script, run_id: str, *, outcome: str = "", staged: bool = False, replaces: int = -1
) -> ChildOptions:
    """How the supervisor is to run a script.

    Args:
        script: the script.
        run_id: goes into its environment.
        outcome: for a post-script: what became of the snapshot, as PYFREEZE_OUTCOME.
        staged: keep it, and run it when the run ends without having replaced it.
        replaces: the staged child that this one makes superfluous.
    """
    environment = {
        **CLEAN_ENVIRONMENT,
        "PYFREEZE_PHASE": script.phase,
        "PYFREEZE_RUN_ID": run_id,
        "PYFREEZE_PLUGIN": script.plugin,
        "PYFREEZE_TIMEOUT": f"{script.timeout_s:g}",
    }
    flags = _client.NUMBERED | _client.UMASK_077
    if script.phase == "post":
        environment["PYFREEZE_OUTCOME"] = outcome
        # A post-script may have started a service; and it is owed to its application.
        flags |= _client.LEAVE | _client.OUTLIVE
    if staged:
        flags |= _client.STAGED
    return ChildOptions(
        argv=(script.path, *script.params),
        environment=environment,
        directory="/",
        timeout_s=script.timeout_s,
        attempts=script.attempts,
        flags=flags,
        replaces=replaces,
    )


def succeeded(end: ChildEnd) -> bool:
    """Whether a child did what it was asked to."""
    return end.ended and end.exit_status == 0 and not end.timed_out and not end.ended_early


def script_code(script: Script, end: ChildEnd) -> C:
    """The outcome code of a script's end: pure."""
    pre = script.phase == "pre"
    if succeeded(end):
        return C.APPLICATION_CONSISTENT
    if not end.timed_out:
        return C.PRE_SCRIPT_FAILED if pre else C.POST_SCRIPT_FAILED
    if script.timeout_s < script.own_timeout_s:
        return C.HOST_PRE_TIMED_OUT if pre else C.HOST_POST_TIMED_OUT
    return C.PRE_SCRIPT_TIMED_OUT if pre else C.POST_SCRIPT_TIMED_OUT


def describe(end: ChildEnd, timeout_s: float) -> str:
    """Say in a sentence how a child failed; empty where it did not: pure."""
    if succeeded(end):
        return ""
    if end.exec_error:
        text = f"could not be executed: {os.strerror(end.exec_error)}"
        if end.exec_error == _NOEXEC:
            text += " (a script needs a #! line)"
    elif end.timed_out:
        text = f"did not end within {timeout_s:g} s"
    elif end.ended_early:
        text = "was ended early"
    elif end.signal is not None:
        text = f"was ended by {_signal_name(end.signal)}"
    elif end.exit_status is None:
        text = "was lost with its supervisor"
    else:
        text = f"exited with status {end.exit_status}"
        if end.exit_status == 126:
            text += " (a command that it found could not be executed)"
        elif end.exit_status == 127:
            text += " (a command was not found)"
    if end.unkillable:
        text += "; some of its processes could not be killed"
    return text


_NOEXEC = 8  # ENOEXEC: neither a known binary format nor a #! line


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def duration_ms(end: ChildEnd) -> float:
    """Milliseconds from a child's start, or release, until its end was noticed."""
    return max(end.end_ns - end.start_ns, 0) * _MS_PER_NS if end.start_ns else 0.0
