"""Fixtures of the quiesce scripts' tests: servers of their own, and what writes to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support import mariadb, postgresql
from tests.support.database import Writers
from tests.support.disks import Disks

_MUST_WORK = os.environ.get("PYFREEZE_MUST_WORK") == "1"


def _need(programs: object, what: str) -> None:
    if programs is None:
        reason = f"missing: {what}"
        if _MUST_WORK:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def postgresqls(disks: Disks) -> Iterator[Callable[[str], postgresql.Database]]:
    """Makes servers, each layout's once: data and WAL on "one" filesystem, or on "two"."""
    _need(postgresql.find_programs(), "PostgreSQL's server programs")
    made: dict[str, postgresql.Database] = {}

    def make(layout: str) -> postgresql.Database:
        if layout not in made:
            made[layout] = postgresql.Database.make(disks, layout)
        return made[layout]

    yield make
    for one in made.values():
        one.server.stop()


@pytest.fixture(scope="module")
def mariadbs(disks: Disks) -> Iterator[Callable[[str], mariadb.Database]]:
    """The same for MariaDB: data and logs."""
    _need(mariadb.find_programs(), "MariaDB's programs")
    made: dict[str, mariadb.Database] = {}

    def make(layout: str) -> mariadb.Database:
        if layout not in made:
            made[layout] = mariadb.Database.make(disks, layout)
        return made[layout]

    yield make
    for one in made.values():
        one.server.stop()


@pytest.fixture
def writing() -> Iterator[Callable[[Writers], Writers]]:
    """Sees to it that writers stop."""
    started: list[Writers] = []

    def note(writers: Writers) -> Writers:
        started.append(writers)
        return writers

    yield note
    for writers in started:
        writers.stop()
