"""The rhythm of a limited backlog: starts at the exact instants, few looks at the store, two writes a run."""

import asyncio
from itertools import pairwise

from rota import Limit
from tests.engine.virtual import World, virtual

RUNS = 300


async def _starts(world: World, limit: Limit, *, workers: int) -> list[float]:
    """Instants of the starts, in ms after the first."""
    at: list[float] = []

    @world.rota.job("call", limit=limit)
    async def call(number: int) -> None:
        at.append(world.clock.monotonic() * 1000)

    await call.enqueue_many([(number,) for number in range(RUNS)])
    for _ in range(workers):
        await world.worker()
    await asyncio.sleep(10)
    assert len(at) == RUNS
    return [one - min(at) for one in sorted(at)]


@virtual
async def test_a_rate_without_a_burst_is_kept_to_the_millisecond(world: World) -> None:
    starts = await _starts(world, Limit("even", "200/s", burst=1), workers=2)
    gaps = [after - before for before, after in pairwise(starts)]
    assert all(4 <= gap <= 6 for gap in gaps), gaps
    assert abs(starts[-1] - (RUNS - 1) * 5) <= 2


@virtual
async def test_a_backlog_waits_as_it_is_and_is_never_written_while_it_waits(world: World) -> None:
    limit = Limit("brisk", "100/s", burst=10)

    @world.rota.job("call", limit=limit)
    async def call(number: int) -> None:
        await asyncio.sleep(0)

    await call.enqueue_many([(number,) for number in range(RUNS)])
    await world.worker()
    for _ in range(20):
        await asyncio.sleep(0.1)
        assert await world.look("SELECT count(*) FROM rota.turn WHERE waits_for IS NOT NULL") == [(0,)]
    await asyncio.sleep(2)
    assert await world.look("SELECT count(*) FROM rota.turn") == [(0,)]
