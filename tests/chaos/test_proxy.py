"""The proxy breaks what it says it breaks, and nothing else: each kind of weather on a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from tests.chaos.proxy import FAIR, Proxy, Weather
from tests.e2e.fleet import until
from tests.servers import PostgresServer

SOON_S = 10.0  # two busy cores
AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[Proxy]:
    with Proxy(postgres.port, seed=1) as one:
        yield one


@pytest.fixture
async def straight(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection past the proxy: what the server really holds."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE kept (n int)")
    yield connection
    await connection.close()


@pytest.fixture
async def through(proxy: Proxy, straight: asyncpg.Connection, postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(proxy.url(postgres_url.rsplit("/", 1)[1]), timeout=SOON_S)
    yield connection
    connection.terminate()


async def kept(straight: asyncpg.Connection) -> list[int]:
    return [row[0] for row in await straight.fetch("SELECT n FROM kept ORDER BY n")]


async def test_in_fair_weather_everything_passes_as_it_came(proxy, through, straight):
    rows = await through.fetch("SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) AS n")
    assert [row[0] for row in rows] == list(range(1, 5001))
    await through.executemany("INSERT INTO kept VALUES ($1)", [(n,) for n in range(3)])
    assert await kept(straight) == [0, 1, 2]
    with pytest.raises(asyncpg.UndefinedTableError):
        await through.fetch("SELECT 1 FROM nowhere")
    assert proxy.done.keys() == {"connections", "completed"}


@pytest.mark.parametrize("values", [(), (7,)], ids=["simple", "extended"])
async def test_a_write_whose_answer_is_lost_has_happened(proxy, through, straight, values):
    proxy.change(Weather.losing(1.0))
    with pytest.raises(AWAY):
        await through.execute("INSERT INTO kept VALUES ($1)" if values else "INSERT INTO kept VALUES (7)", *values)
    assert await kept(straight) == [7]
    assert through.is_closed()
    assert (proxy.done["lost INSERT"], proxy.done["lost committed"], proxy.done["lost undone"]) == (1, 1, 0)


async def test_a_commit_whose_answer_is_lost_has_happened_and_a_write_before_it_has_not(
    proxy, through, straight, postgres_url
):
    proxy.change(Weather(lose={"COMMIT": 1.0}))
    with pytest.raises(AWAY):
        async with through.transaction():
            await through.execute("INSERT INTO kept VALUES (1)")
    assert await kept(straight) == [1]
    proxy.change(Weather(lose={"INSERT": 1.0}))
    again = await asyncpg.connect(proxy.url(postgres_url.rsplit("/", 1)[1]), timeout=SOON_S)
    with pytest.raises(AWAY):
        async with again.transaction():
            await again.execute("INSERT INTO kept VALUES (2)")
    assert await kept(straight) == [1]
    assert (proxy.done["lost committed"], proxy.done["lost undone"]) == (1, 1)


async def test_half_a_message_ends_the_conversation_and_is_no_answer(proxy, through):
    proxy.change(Weather(halve=1.0))
    with pytest.raises(AWAY):
        async with asyncio.timeout(SOON_S):
            await through.fetch("SELECT repeat('x', 1000)")
    assert proxy.done["halved"] == 1


async def test_frozen_bytes_arrive_when_they_thaw_and_only_that_way_is_frozen(proxy, through, straight):
    proxy.freeze("to_client")
    asked = asyncio.create_task(through.execute("INSERT INTO kept VALUES (1)"))

    async def written() -> bool:
        """The server has written the row."""
        return await kept(straight) == [1]

    await until(written)
    assert not asked.done()
    proxy.thaw()
    assert await asyncio.wait_for(asked, SOON_S) == "INSERT 0 1"


async def test_a_delay_is_waited_for_and_costs_no_answer(proxy, through):
    proxy.change(Weather(delay=1.0, delay_s=(0.0, 0.01)))
    assert await through.fetchval("SELECT 1") == 1
    assert proxy.done["delayed"] >= 2


async def test_what_is_severed_half_closed_or_refused_is_seen_by_the_client(proxy, through, postgres_url):
    proxy.half_close()
    with pytest.raises(AWAY):
        await asyncio.wait_for(through.fetch("SELECT 1"), SOON_S)
    proxy.refuse()
    with pytest.raises(AWAY):
        await asyncpg.connect(proxy.url(postgres_url.rsplit("/", 1)[1]), timeout=SOON_S)
    proxy.refuse(False)
    again = await asyncpg.connect(proxy.url(postgres_url.rsplit("/", 1)[1]), timeout=SOON_S)
    assert proxy.sever() >= 1
    with pytest.raises(AWAY):
        await asyncio.wait_for(again.fetch("SELECT 1"), SOON_S)
    assert proxy.done["refused"] == 1


async def test_a_hanging_connection_gives_no_answer_until_it_is_severed(proxy, through):
    proxy.change(Weather(hang=1.0))
    asked = asyncio.create_task(through.fetch("SELECT 1"))
    await until(lambda: proxy.done["hung"])
    proxy.change(FAIR)
    assert not asked.done()
    proxy.sever()
    with pytest.raises(AWAY):
        await asyncio.wait_for(asked, SOON_S)


async def test_the_same_seed_loses_the_same_answers(postgres, straight, postgres_url):
    async def lost(seed: int) -> list[int]:
        found = []
        with Proxy(postgres.port, seed=seed) as proxy:
            proxy.change(Weather(lose={"INSERT": 0.5}))
            for n in range(12):
                connection = await asyncpg.connect(proxy.url(postgres_url.rsplit("/", 1)[1]), timeout=SOON_S)
                try:
                    await connection.execute("INSERT INTO kept VALUES (0)")
                except AWAY:
                    found.append(n)
                connection.terminate()
        return found

    first = await lost(5)
    assert first == await lost(5)
    assert 0 < len(first) < 12
