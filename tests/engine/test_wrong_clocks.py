"""Workers whose own clock is wrong: what is due, leased and lost is decided by the store's clock alone (G-19).

Always true: the store's clock and the worker's are two clocks here, as on two machines.

Not here: clocks that step while everything runs (tests/sim, tests/chaos).
"""

import asyncio
from random import Random

import pytest

from rota.engine.worker import Settings, Worker
from rota.store.store import Store
from tests.engine.conftest import START, ms
from tests.engine.virtual import World, virtual
from tests.sim.loop import SimClock

LEASE_MS = 15_000
HOUR_MS = 3_600_000
WRONG_MS = [-24 * HOUR_MS, -20_000, 20_000, 24 * HOUR_MS]


async def _worker(world: World, wrong_ms: int, name: str) -> Worker:
    """A worker on a machine of its own, whose clock is wrong."""
    store = await world.rota.opened()
    clock = SimClock(world.loop, ms(START), Random(1), name)
    clock.skew_ms = wrong_ms
    there = Store(store.db, clock=clock, catalog=store.catalog, events=store.events)
    worker = Worker(there, Settings(lease_ms=LEASE_MS))
    world.workers.append((worker, asyncio.create_task(worker.run())))
    return worker


@pytest.mark.parametrize("wrong_ms", WRONG_MS)
def test_a_lease_is_kept_and_lasts_as_long_as_it_should(wrong_ms: int) -> None:
    @virtual
    async def scene(world: World) -> None:
        @world.rota.job(timeout="1h")
        async def long() -> None:
            world.seen.append("start")
            await asyncio.sleep(120)

        await long.enqueue()
        await _worker(world, wrong_ms, "wrong")
        for _ in range(12):
            await asyncio.sleep(7)
            assert await world.look("SELECT DISTINCT lease_until - beat_at FROM rota.worker") == [(LEASE_MS,)]
            store = await world.rota.opened()
            lease = await world.look("SELECT lease_until FROM rota.worker")
            assert 0 < lease[0][0] - store.clock.now_ms() <= LEASE_MS
        await asyncio.sleep(60)
        assert world.seen == ["start"]
        assert await world.journal() == ["succeeded"]

    scene()


@pytest.mark.parametrize("wrong_ms", WRONG_MS)
def test_a_live_lease_is_not_reaped_and_a_dead_one_is(wrong_ms: int) -> None:
    @virtual
    async def scene(world: World) -> None:
        @world.rota.job(timeout="1h")
        async def long() -> None:
            world.seen.append("start")
            await asyncio.sleep(60)

        await long.enqueue()
        right, task = await world.worker(lease_ms=LEASE_MS)
        await asyncio.sleep(2)
        await _worker(world, wrong_ms, "wrong")
        await asyncio.sleep(40)
        assert (await world.journal(), world.seen) == ([], ["start"])
        await right._keeper.stop()  # as if its machine had gone: nobody hears of it any more
        right.pump.claiming = False
        task.cancel()
        await asyncio.sleep(2 * LEASE_MS / 1000)
        assert "start" in world.seen[1:]

    scene()


@virtual
async def test_nothing_starts_before_it_is_due_however_far_ahead_a_worker_is(world: World) -> None:
    @world.rota.job
    async def later() -> None:
        world.seen.append(world.loop.time())

    began_s = world.loop.time()
    await later.options(delay="30s").enqueue()
    await _worker(world, 24 * HOUR_MS, "ahead")
    await asyncio.sleep(60)
    assert len(world.seen) == 1
    assert world.seen[0] - began_s >= 30
