"""Doors to the databases for the tests of the store.

Always true: a door stands on an empty store with the application declared; with both databases asked for, they share
one clock.

Not here: the doors themselves (world), servers (tests/conftest).
"""

import asyncio
from collections.abc import Iterator

import pytest

from rota.store.postgres import Postgres
from rota.store.sqlite import Sqlite

pytest.register_assert_rewrite("tests.store.machine", "tests.store.acts")  # their assertions are where a script fails

from tests.store.world import Door, HeldClock  # noqa: E402 -- after the line above, which must be first


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for plain code."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def clock() -> HeldClock:
    """The clock of the test."""
    return HeldClock()


@pytest.fixture
def sqlite_door(clock: HeldClock, runner: asyncio.Runner) -> Iterator[Door]:
    """An empty store in memory."""
    door = Door(Sqlite(":memory:", clock=clock), clock, runner)
    door.open()
    yield door
    door.close()


@pytest.fixture
def postgres_door(clock: HeldClock, runner: asyncio.Runner, postgres_url: str) -> Iterator[Door]:
    """An empty store on PostgreSQL."""
    door = Door(Postgres(postgres_url, clock=clock), clock, runner)
    door.open()
    yield door
    door.close()


@pytest.fixture
def door(store_kind: str, request: pytest.FixtureRequest) -> Door:
    """An empty store: the test runs once on each database."""
    found = request.getfixturevalue(f"{store_kind}_door")
    assert isinstance(found, Door)
    return found
