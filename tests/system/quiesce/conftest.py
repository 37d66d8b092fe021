"""Fixtures of the quiesce scripts' tests: servers of their own, and what writes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import mariadb, mysql, postgresql
from tests.support.disks import Disks
from tests.support.load import Writers
from tests.support.needs import give_up


@pytest.fixture(scope="module")
def postgresqls(disks: Disks) -> Iterator[Callable[..., postgresql.Database]]:
    """Makes servers, each layout's once: data and WAL on "one" filesystem, or on "two"."""
    made: dict[tuple[str, int | None], postgresql.Database] = {}

    def make(layout: str, major: int | None = None) -> postgresql.Database:
        if postgresql.find_programs(major) is None:
            give_up(f"missing: the server programs of PostgreSQL {major or ''}")
        if (layout, major) not in made:
            made[layout, major] = postgresql.Database.make(disks, layout, major)
        return made[layout, major]

    yield make
    for one in made.values():
        one.server.stop()


@pytest.fixture(scope="module")
def kind_of() -> Callable[[str], type[mariadb.Server]]:
    """What makes a server of MariaDB, or of MySQL."""

    def kind_of(name: str) -> type[mariadb.Server]:
        programs, kind = {
            "MariaDB": (mariadb.find_programs, mariadb.Server),
            "MySQL": (mysql.find_programs, mysql.Server),
        }[name]
        if programs() is None:
            give_up(f"missing: the programs of {name}")
        return kind

    return kind_of


@pytest.fixture(scope="module")
def mariadbs(
    disks: Disks, kind_of: Callable[[str], type[mariadb.Server]]
) -> Iterator[Callable[..., mariadb.Database]]:
    """Makes servers of either, each layout's once: data and logs."""
    made: dict[tuple[str, str], mariadb.Database] = {}

    def make(layout: str, name: str = "MariaDB") -> mariadb.Database:
        kind = kind_of(name)
        if (layout, name) not in made:
            made[layout, name] = mariadb.Database.make(disks, layout, kind=kind)
        return made[layout, name]

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
