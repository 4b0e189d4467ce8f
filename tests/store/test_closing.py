"""A store on PostgreSQL that is closed leaves no connection open, whatever was on its way.

Not here: what a process that is told to stop gives back (tests/e2e/test_crashes).
"""

import asyncio
from typing import Any

from rota.clock import Clock
from rota.store.postgres import Postgres


class Stuck:
    """A connection that gets no answer."""

    def __init__(self, real: Any, asked: asyncio.Event) -> None:
        self._real, self._asked = real, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def execute(self, _text: str) -> None:
        self._asked.set()
        await asyncio.Event().wait()


async def test_a_notification_that_is_on_its_way_is_given_up(postgres_url: str) -> None:
    db, asked, made = Postgres(postgres_url, clock=Clock()), asyncio.Event(), []
    connect = db._pool._connect

    async def stuck() -> Stuck:
        made.append(await connect())
        return Stuck(made[-1], asked)

    db._pool._connect = stuck
    await db.notify()
    async with asyncio.timeout(10):
        await asked.wait()
        await db.close()
    assert [one.is_closed() for one in made] == [True]


async def test_what_is_in_use_is_closed_when_it_comes_back(postgres_url: str) -> None:
    db = Postgres(postgres_url, clock=Clock())
    async with db._pool.connection() as connection:
        await db.close()
        assert not connection.is_closed()
    assert connection.is_closed()
