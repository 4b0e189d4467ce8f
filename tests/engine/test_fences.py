"""Attempts that are not the ones the store means: a worker lets go of them, and of none that it should keep.

Always true: nothing here sleeps; the loop's clock moves by what is waited for.

Not here: leases that go to another worker (test_leaving), the statements themselves (tests/store/test_fences).
"""

import asyncio
import gc

from rota import Retry, Rota
from rota.testing import ManualClock
from tests.engine.conftest import START, Held
from tests.engine.virtual import World, virtual


@virtual
async def test_a_worker_that_holds_a_later_attempt_without_knowing_it_lets_go_of_the_earlier_one(world: World) -> None:
    """A claim whose answer was lost gave it the turn anew: what it runs is no longer what it holds."""

    @world.rota.job(timeout="1h")
    async def long() -> None:
        world.seen.append("start")
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            world.seen.append("cancelled")
            raise

    await long.enqueue()
    worker, _ = await world.worker(lease_ms=15_000)
    await asyncio.sleep(1)
    await world.look("UPDATE rota.turn SET attempt = attempt + 1 RETURNING id")
    await asyncio.sleep(10)
    assert world.seen[:2] == ["start", "cancelled"]
    assert worker.pump.fenced == 1
    assert await world.journal() == []


@virtual
async def test_an_attempt_that_waits_for_something_nobody_else_knows_is_kept_until_its_time_is_over(
    world: World,
) -> None:
    """A loop knows its tasks only weakly: what waits in a circle of its own is garbage unless somebody holds it."""

    @world.rota.job(timeout="10s", retry=Retry(tries=1))
    async def forgotten() -> None:
        world.seen.append("start")
        await asyncio.get_running_loop().create_future()

    await forgotten.enqueue()
    await world.worker()
    await asyncio.sleep(1)
    gc.collect()
    await asyncio.sleep(20)
    assert world.seen == ["start"]
    assert await world.journal() == ["dead"]
    assert await world.look("SELECT error FROM rota.dead_letter WHERE reason LIKE 'TimedOut%'") != []


async def test_a_lost_run_of_a_job_that_nobody_here_knows_waits_for_somebody_who_does(store_url: str) -> None:
    """G-9: it is never failed or dropped."""
    clock = ManualClock(START)
    old, new = Rota(store_url, clock=clock), Rota(store_url, clock=clock)
    ran: list[str] = []

    @old.job
    async def known() -> None:
        ran.append("known")

    @new.job
    async def news(number: int) -> None:
        ran.append(f"news {number}")

    async with new, old:
        await news.enqueue(1)
        held = Held(new, clock)
        await held.look(
            "UPDATE rota.turn SET state = 'running', worker = 'gone', attempt = 1, tries = 1, leased_until = 1"
            " RETURNING id"
        )
        assert (await old.tick()).ok
        assert await held.look("SELECT state, tries, losses FROM rota.turn") == [("waiting", 0, 1)]
        assert await held.look("SELECT outcome FROM rota.journal") == [("lost",)]
        await new.tick()
        assert await held.look("SELECT outcome FROM rota.journal ORDER BY id") == [("lost",), ("succeeded",)]
    assert ran == ["news 1"]
