"""The applications there are. A new one: a module with an `Application`, and a line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pyfreeze._base.text import did_you_mean, quoted
from pyfreeze._quiesce.errors import QuiesceError

if TYPE_CHECKING:
    from pyfreeze._quiesce.application import Quiescer

#: Name, which is the module's too, and what to say in a list of them.
SUMMARIES = {
    "postgresql": "PostgreSQL 12 and newer: checkpoint and backup mode, nobody waits",
    "mariadb": "MariaDB 10.4 and newer, MySQL: commits held back, by BACKUP STAGE or a read lock",
    "redis": "Redis: writes paused, its append-only file or a snapshot of its own written",
    "sqlite": "SQLite: all databases below a directory, checkpointed, their writers waiting",
    "systemd": "any service of systemd: frozen in its control group, or stopped",
}


def load(name: str) -> type[Quiescer]:
    """One application, by its name.

    Raises:
        QuiesceError: there is none of that name; the text lists those that are.
    """
    if name not in SUMMARIES:
        hint = did_you_mean(name, SUMMARIES)
        raise QuiesceError(f"no application {quoted(name)}: there are {', '.join(SUMMARIES)}{hint}")
    application: type[Quiescer] = import_module(f"pyfreeze._quiesce.apps.{name}").Application
    return application
