"""Pre-scripts and post-scripts: what each is given, and what its end means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pyfreeze._base.programs import CLEAN_ENVIRONMENT
from pyfreeze._core.types import ChildOptions, succeeded
from pyfreeze._model.codes import OutcomeCode

if TYPE_CHECKING:
    from pyfreeze._config.load import Plugin
    from pyfreeze._core.types import ChildEnd

Phase = Literal["pre", "post"]


class Script(NamedTuple):
    """One script to run."""

    phase: Phase
    plugin: str
    path: str
    params: tuple[str, ...]
    attempts: int
    timeout_s: float
    """Over all attempts."""
    own_timeout_s: float
    """As its plugin asks; more than `timeout_s` where the host's phase timeout is shorter."""
    app_name: str | None


def script_of(plugin: Plugin, phase: Phase) -> Script:
    """The pre-script or post-script of a plugin without problems."""
    config = plugin.config
    assert config is not None
    if phase == "pre":
        path, params = plugin.pre_script, config.pre_script_params
        retries = config.pre_script_retries
    else:
        path, params = plugin.post_script, config.post_script_params
        retries = config.post_script_retries
    assert path is not None
    return Script(
        phase=phase,
        plugin=plugin.name,
        path=path,
        params=params,
        attempts=retries + 1,
        timeout_s=plugin.timeout_s,
        own_timeout_s=config.timeout_s,
        app_name=config.app_name,
    )


def child_options(script: Script, run_id: str, outcome: str | None = None) -> ChildOptions:
    """How the supervisor is to run a script.

    Args:
        script: the script.
        run_id: goes into its environment.
        outcome: what a post-script is told of the snapshot, as PYFREEZE_OUTCOME; None: the
            supervisor knows when it comes to that.
    """
    is_post = script.phase == "post"
    environment = {
        **CLEAN_ENVIRONMENT,
        "PYFREEZE_PHASE": script.phase,
        "PYFREEZE_RUN_ID": run_id,
        "PYFREEZE_PLUGIN": script.plugin,
        "PYFREEZE_TIMEOUT": f"{script.timeout_s:g}",
    }
    if outcome is not None:
        environment["PYFREEZE_OUTCOME"] = outcome
    return ChildOptions(
        argv=(script.path, *script.params),
        environment=environment,
        directory="/",
        timeout_s=script.timeout_s,
        attempts=script.attempts,
        is_numbered=True,
        is_told_outcome=is_post and outcome is None,
        has_umask_077=True,
        # A post-script may start a service; and its application waits for it.
        may_leave=is_post,
        outlives=is_post,
    )


def script_code(script: Script, end: ChildEnd) -> OutcomeCode:
    """The outcome code of a script's end: pure."""
    pre = script.phase == "pre"
    if succeeded(end):
        return OutcomeCode.APPLICATION_CONSISTENT
    if not end.timed_out:
        return OutcomeCode.PRE_SCRIPT_FAILED if pre else OutcomeCode.POST_SCRIPT_FAILED
    if script.timeout_s < script.own_timeout_s:
        return OutcomeCode.HOST_PRE_TIMED_OUT if pre else OutcomeCode.HOST_POST_TIMED_OUT
    return OutcomeCode.PRE_SCRIPT_TIMED_OUT if pre else OutcomeCode.POST_SCRIPT_TIMED_OUT
