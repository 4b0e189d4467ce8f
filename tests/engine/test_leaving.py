"""Workers that leave, freeze, lose their lease or their store: what runs ends once, and no try is used.

Always true: nothing here sleeps; the loop's clock moves by what is waited for, so an hour passes at once.

Not here: workers that are well (test_workers), real processes and signals (tests/e2e).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rota import Retry
from rota.engine.pump import Lane
from rota.engine.worker import Settings, Worker
from rota.errors import StoreUnavailable
from rota.store import pauses
from rota.store.operators import Deed
from rota.store.port import query
from rota.turn.records import Claim
from tests.engine.conftest import START, ms
from tests.engine.virtual import World, virtual


@virtual
async def test_a_drain_lets_what_runs_end_and_claims_nothing_more(world: World) -> None:
    @world.rota.job
    async def step(number: int) -> None:
        await asyncio.sleep(10)
        world.seen.append(number)

    await step.enqueue_many(list(range(10)))
    worker, task = await world.worker(concurrency=2)
    await asyncio.sleep(5)
    began = world.loop.time()
    worker.stop()
    await task
    assert world.loop.time() - began < 6
    assert sorted(world.seen) == [0, 1]
    assert await world.journal() == ["succeeded", "succeeded"]
    assert await world.look("SELECT count(*) FROM rota.worker") == [(0,)]


@virtual
async def test_what_does_not_end_within_the_grace_is_given_back_without_a_try(world: World) -> None:
    @world.rota.job(timeout="1h", retry=Retry(tries=1))
    async def long() -> None:
        world.seen.append("start")
        await asyncio.sleep(1000)

    await long.enqueue()
    worker, task = await world.worker(grace_ms=20_000)
    await asyncio.sleep(5)
    began = world.loop.time()
    worker.stop()
    await task
    assert 20 <= world.loop.time() - began <= 22
    assert await world.journal() == ["released"]
    assert await world.look("SELECT state, tries, losses, attempt FROM rota.turn") == [("waiting", 0, 0, 1)]
    await world.worker()
    await asyncio.sleep(1100)
    assert await world.journal() == ["released", "succeeded"]


@virtual
async def test_a_second_stop_ends_the_grace(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def long() -> None:
        await asyncio.sleep(1000)

    await long.enqueue()
    worker, task = await world.worker()
    await asyncio.sleep(5)
    worker.stop()
    await asyncio.sleep(1)
    began = world.loop.time()
    worker.stop()
    await task
    assert world.loop.time() - began <= 2
    assert await world.journal() == ["released"]


async def _never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


@virtual
async def test_a_worker_leaves_within_its_grace_though_the_store_does_not_answer(world: World) -> None:
    """G-18, P-7: a table that somebody has locked keeps no process, whether it has begun or not."""

    @world.rota.job(timeout="1h")
    async def long() -> None:
        await asyncio.sleep(1_000)

    await long.enqueue()
    store = await world.rota.opened()
    working, begun = await world.worker(grace_ms=3_000)
    await asyncio.sleep(5)
    fresh = await world.rota.worker(Settings(grace_ms=3_000))
    answers = store.db.write, store.db.read
    store.db.write = store.db.read = _never
    beginning = asyncio.create_task(fresh.run())
    await asyncio.sleep(5)
    began = world.loop.time()
    working.stop()
    fresh.stop()
    await asyncio.gather(begun, beginning)
    assert world.loop.time() - began <= 5
    store.db.write, store.db.read = answers


@virtual
async def test_a_handler_that_swallows_the_drain_is_given_back_all_the_same(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def deaf() -> None:
        for _ in range(50):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                world.seen.append("deaf")

    await deaf.enqueue()
    worker, task = await world.worker(grace_ms=0)
    await asyncio.sleep(5)
    began = world.loop.time()
    worker.stop()
    await task
    assert world.loop.time() - began <= 2
    assert await world.look("SELECT state, tries, losses FROM rota.turn") == [("waiting", 0, 0)]


@virtual
async def test_a_stop_between_claim_and_start_gives_back_what_never_began(world: World) -> None:
    @world.rota.job
    async def quick(number: int) -> None:
        world.seen.append(number)

    await quick.enqueue_many(list(range(5)))
    worker, task = await world.worker(grace_ms=0)
    start, worker.pump.start = worker.pump.start, None

    def start_and_stop(*arguments: Any) -> None:
        start(*arguments)
        worker.stop()
        worker.stop()
        worker.pump.release_all("now")

    worker.pump.start = start_and_stop
    await task
    assert world.seen == []
    assert await world.look("SELECT DISTINCT state, tries, losses FROM rota.turn") == [("waiting", 0, 0)]


@virtual
async def test_cancelling_work_drains_it(world: World) -> None:
    @world.rota.job
    async def step(number: int) -> None:
        await asyncio.sleep(10)
        world.seen.append(number)

    await step.enqueue_many(list(range(4)))
    task = asyncio.create_task(world.rota.work(concurrency=2))
    await asyncio.sleep(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(world.seen) == [0, 1]
    assert await world.journal() == ["succeeded", "succeeded"]
    assert await world.look("SELECT DISTINCT state, losses FROM rota.turn") == [("waiting", 0)]


@virtual
async def test_a_worker_whose_lease_was_taken_can_end_nothing_and_is_told(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def long() -> None:
        world.seen.append("start")
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            world.seen.append("cancelled")
            raise
        world.seen.append("end")

    await long.enqueue()
    first, _ = await world.worker(lease_ms=15_000)
    await asyncio.sleep(1)
    await world.look("UPDATE rota.turn SET worker = 'thief', attempt = attempt + 1 RETURNING id")
    await world.look(
        "INSERT INTO rota.worker"
        " (incarnation, name, kind, version, started_at, beat_at, lease_until, concurrency, queues)"
        " VALUES ('thief', 'thief', 'worker', '0', 0, 0, :far, 1, '*') RETURNING incarnation",
        far=ms(START) + 10_000_000,
    )
    await asyncio.sleep(10)  # within a third of the lease the worker compares
    assert world.seen == ["start", "cancelled"]
    assert await world.journal() == []
    assert first.pump.fenced == 1
    assert await world.look("SELECT worker, attempt FROM rota.turn") == [("thief", 2)]


@virtual
async def test_an_end_under_a_lease_that_was_taken_is_refused_and_heard_of(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def short() -> None:
        await asyncio.sleep(2)

    await short.enqueue()
    first, _ = await world.worker()
    await asyncio.sleep(1)
    await world.look("UPDATE rota.turn SET attempt = attempt + 1, leased_until = leased_until + 1 RETURNING id")
    await asyncio.sleep(2)
    assert await world.journal() == []
    assert first.pump.fenced == 1
    assert "run.fenced" in world.heard


def frozen_before_the_start(world: World, worker: Worker, meanwhile: Callable[[], object]) -> None:
    """Let five seconds, and something else, happen between the claim and the start of each attempt."""
    start = worker.pump.start

    def late(claim: Claim, lane: Lane, began_s: float) -> None:
        meanwhile()
        start(claim, lane, began_s - 5)

    worker.pump.start = late


@virtual
async def test_a_worker_frozen_between_claim_and_start_asks_and_starts_nothing_after_a_stop(world: World) -> None:
    @world.rota.job(retry=Retry(tries=1))
    async def step() -> None:
        world.seen.append("start")

    store = await world.rota.opened()
    await step.enqueue()
    worker, _ = await world.worker()
    deed = Deed("ada", "stop", "all", "drill")
    frozen_before_the_start(
        world, worker, lambda: store.db.write_from_thread(lambda: pauses.stop(deed, cancel=False, most=10))
    )
    await asyncio.sleep(10)
    assert world.seen == []
    assert await world.journal() == ["released"]
    assert await world.look("SELECT state, tries, losses FROM rota.turn") == [("waiting", 0, 0)]


@virtual
async def test_a_worker_frozen_between_claim_and_start_starts_nothing_that_was_given_to_another(world: World) -> None:
    @world.rota.job
    async def step() -> None:
        world.seen.append("start")

    store = await world.rota.opened()
    await step.enqueue()
    worker, _ = await world.worker()
    taken = "UPDATE rota.turn SET attempt = attempt + 1 RETURNING id"
    store.db.dictionary._compiled["taken"] = store.db.dictionary.compile("taken", taken)
    frozen_before_the_start(world, worker, lambda: store.db.write_from_thread(lambda: query("taken")))
    await asyncio.sleep(3)
    assert world.seen == []
    assert await world.journal() == []


@virtual
async def test_a_worker_that_was_only_slow_to_start_asks_and_starts(world: World) -> None:
    @world.rota.job
    async def step() -> None:
        world.seen.append("start")

    await step.enqueue()
    worker, _ = await world.worker()
    frozen_before_the_start(world, worker, lambda: None)
    await asyncio.sleep(3)
    assert world.seen == ["start"]
    assert await world.journal() == ["succeeded"]


@virtual
async def test_a_worker_leaves_within_its_grace_and_two_seconds_while_the_store_is_gone(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def long() -> None:
        await asyncio.sleep(1000)

    store = await world.rota.opened()
    await long.enqueue()
    worker, task = await world.worker(grace_ms=5_000)
    await asyncio.sleep(1)
    whole = store.db.write, store.db.read

    async def gone(*_: object, **__: object) -> None:
        message = "the store is away"
        raise StoreUnavailable(message)

    store.db.write = store.db.read = gone
    await asyncio.sleep(20)
    began = world.loop.time()
    worker.stop()
    await task
    store.db.write, store.db.read = whole
    assert world.loop.time() - began <= 7
    assert "store.lost" in world.heard
    assert world.heard[-1] == "worker.drained"


@virtual
async def test_a_store_that_comes_back_is_worked_on_again_and_what_ended_meanwhile_is_settled(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def step(number: int) -> None:
        await asyncio.sleep(5)
        world.seen.append(number)

    store = await world.rota.opened()
    await step.enqueue_many(list(range(4)))
    await world.worker(concurrency=2, lease_ms=15_000)
    await asyncio.sleep(1)
    whole = store.db.write, store.db.read

    async def gone(*_: object, **__: object) -> None:
        message = "the store is away"
        raise StoreUnavailable(message)

    store.db.write = store.db.read = gone
    await asyncio.sleep(8)
    store.db.write, store.db.read = whole
    await asyncio.sleep(30)
    assert sorted(world.seen) == [0, 1, 2, 3]
    assert await world.journal() == ["succeeded"] * 4
    assert {"store.lost", "store.back"} <= set(world.heard)


@virtual
async def test_without_the_store_handlers_are_cancelled_before_their_lease_ends(world: World) -> None:
    @world.rota.job(timeout="1h", retry=Retry(tries=1))
    async def long() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            world.seen.append(world.loop.time())
            raise

    store = await world.rota.opened()
    await long.enqueue()
    await world.worker(lease_ms=15_000)
    await asyncio.sleep(20)
    whole = store.db.write, store.db.read

    async def gone(*_: object, **__: object) -> None:
        message = "the store is away"
        raise StoreUnavailable(message)

    store.db.write = store.db.read = gone
    await asyncio.sleep(40)
    store.db.write, store.db.read = whole
    assert len(world.seen) == 1
    assert 15 + 15 * 0.75 <= world.seen[0] <= 20 + 15  # the last beat that arrived was at 15 or 20
