"""Workers: waking, time limits, caps, queues, stops, catching up after an outage.

Always true: nothing here sleeps; the loop's clock moves by what is waited for, so an hour passes at once.

Not here: drains, lost leases and outages of the store (test_leaving), real processes and signals (tests/e2e).
"""

import asyncio

import pytest

from rota import Member, Retry, every
from rota.engine.pump import AT_ONCE
from rota.errors import BadInput
from tests.engine.conftest import START, ms
from tests.engine.virtual import World, virtual


@virtual
async def test_a_worker_runs_what_is_due_when_it_is_due(world: World) -> None:
    shops = world.rota.roster("shops")

    @world.rota.job(each=shops, schedule=every("1h"))
    async def sync(shop: Member) -> None:
        world.seen.append(world.clock.now_ms())

    await shops.join_many(["a", "b", "c"])
    dues = [ms((await sync.turn(key)).due_at) for key in "abc"]
    await world.worker()
    await asyncio.sleep(4 * 3600 + 1)
    assert sorted(world.seen) == sorted(due + k * 3_600_000 for due in dues for k in range(4))


@virtual
async def test_an_enqueue_in_the_same_process_wakes_the_worker_at_once(world: World) -> None:
    @world.rota.job
    async def greet() -> None:
        world.seen.append(world.loop.time())

    await world.worker()
    await asyncio.sleep(1000.3)
    await greet.enqueue()
    await asyncio.sleep(0.001)
    assert world.seen == [pytest.approx(1000.3, abs=0.001)]


@virtual
async def test_an_attempt_past_its_time_limit_is_cancelled_and_uses_a_try(world: World) -> None:
    @world.rota.job(timeout="30s", retry=Retry(delays=["10s"]))
    async def long() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            world.seen.append(world.loop.time())
            raise

    await long.enqueue()
    await world.worker()
    await asyncio.sleep(200)
    assert [round(at) for at in world.seen] == [30, 70]
    assert await world.journal("outcome", "reason") == [
        ("retry", "TimedOut: timed out after 30s"),
        ("dead", "TimedOut: timed out after 30s"),
    ]


@virtual
async def test_a_handler_that_swallows_its_cancellation_ends_all_the_same_and_keeps_its_place(world: World) -> None:
    @world.rota.job(timeout="30s", retry=Retry(tries=1))
    async def deaf() -> None:
        until = world.loop.time() + 100
        while world.loop.time() < until:
            try:
                await asyncio.sleep(until - world.loop.time())
            except asyncio.CancelledError:
                world.seen.append(world.loop.time())

    await deaf.enqueue_many([(), ()])
    await world.worker(concurrency=1)
    await asyncio.sleep(50)
    assert await world.journal() == ["dead"]  # the run has ended; its place is stuck until the handler gives up
    await asyncio.sleep(200)
    assert await world.journal() == ["dead", "dead"]


@virtual
async def test_a_cap_holds_over_two_workers(world: World) -> None:
    now, most = 0, 0

    @world.rota.job(cap=3)
    async def capped(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(1)
        now -= 1

    await capped.enqueue_many(list(range(30)))
    await world.worker(concurrency=8)
    await world.worker(concurrency=8)
    await asyncio.sleep(60)
    assert most == 3
    assert (await world.journal()).count("succeeded") == 30


@virtual
async def test_a_queue_cannot_take_the_places_of_another(world: World) -> None:
    @world.rota.job(queue="slow")
    async def slow(number: int) -> None:
        await asyncio.sleep(1000)

    @world.rota.job(queue="mail")
    async def mail() -> None:
        world.seen.append(world.loop.time())

    await slow.enqueue_many(list(range(50)))
    await world.worker(queues={"slow": 3, "mail": None}, concurrency=8)
    await asyncio.sleep(10)
    await mail.enqueue()
    await asyncio.sleep(1)
    assert await world.look("SELECT count(*) FROM rota.turn WHERE state = 'running'") == [(3,)]
    assert len(world.seen) == 1


@virtual
async def test_a_worker_serves_only_the_queues_it_was_told(world: World) -> None:
    @world.rota.job(queue="mail")
    async def mail() -> None:
        world.seen.append("mail")

    @world.rota.job
    async def other() -> None:
        world.seen.append("other")

    await mail.enqueue()
    await other.enqueue()
    await world.worker(queues={"mail": None})
    await asyncio.sleep(60)
    assert world.seen == ["mail"]
    with pytest.raises(BadInput, match="mail"):
        await world.worker(queues={"mial": None})


@virtual
async def test_after_an_emergency_stop_nothing_starts_until_the_resume(world: World) -> None:
    shops = world.rota.roster("shops")

    @world.rota.job(each=shops, schedule=every("1m"))
    async def sync(shop: Member) -> None:
        world.seen.append(world.loop.time())

    await shops.join_many([f"s{number}" for number in range(50)])
    await world.worker()
    await asyncio.sleep(100)
    await world.rota.stop_all("drill")
    stopped_at = world.loop.time()
    await asyncio.sleep(1000)
    assert max(world.seen) <= stopped_at
    await world.rota.resume_all()
    await asyncio.sleep(700)
    assert max(world.seen) > stopped_at + 1000


@virtual
async def test_a_stop_that_cancels_ends_what_runs_as_cancelled(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def long() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            world.seen.append(world.loop.time())
            raise

    await long.enqueue()
    await world.worker(lease_ms=15_000)
    await asyncio.sleep(20)
    stop = await world.rota.stop_all("drill", running="cancel", wait="1m")
    assert len(stop.running) == 0
    assert world.seen[0] - 20 <= 5.1  # a third of the lease
    assert await world.journal() == ["cancelled"]


@virtual
async def test_a_stop_that_lets_finish_names_what_still_runs(world: World) -> None:
    @world.rota.job(timeout="1h")
    async def long() -> None:
        await asyncio.sleep(100)

    await long.enqueue()
    await world.worker()
    await asyncio.sleep(20)
    stop = await world.rota.stop_all("drill")
    assert [one.job for one in stop.running] == ["long"]
    await asyncio.sleep(100)
    assert await world.journal() == ["succeeded"]


@virtual
async def test_a_run_cancelled_by_a_person_ends_and_its_turn_waits_for_the_next_slot(world: World) -> None:
    shops = world.rota.roster("shops")

    @world.rota.job(each=shops, schedule=every("1h"), timeout="50m")
    async def sync(shop: Member) -> None:
        await asyncio.sleep(1000)

    await shops.join("a")
    slot = (await sync.turn("a")).slot_at
    await world.worker()
    await asyncio.sleep((slot - START).total_seconds() + 10)
    done = await world.rota.cancel(member="shops/a", reason="wrong day")
    assert len(done.wished) == 1
    await asyncio.sleep(10)
    assert await world.journal() == ["cancelled"]
    assert (await sync.turn("a")).slot_at > slot


@virtual
async def test_catching_up_after_an_outage_is_spread_and_not_a_stampede(world: World) -> None:
    shops = world.rota.roster("shops")

    @world.rota.job(each=shops, schedule=every("24h"))
    async def sync(shop: Member) -> None:
        world.seen.append(world.loop.time())

    await shops.join_many([f"s{number}" for number in range(600)])
    worker, task = await world.worker()
    await asyncio.sleep(60)
    worker.stop()
    await task
    await asyncio.sleep(3 * 86_400)
    world.seen.clear()
    back_at = world.loop.time()
    await world.worker()
    await asyncio.sleep(660)
    late = [at - back_at for at in world.seen]
    assert 590 <= len(late) <= 620
    busiest = max(sum(1 for at in late if minute * 60 <= at < minute * 60 + 60) for minute in range(11))
    assert busiest <= 90  # 60 a minute, and what is due regularly
    runs = await world.look("SELECT member, slot_at FROM rota.journal WHERE outcome = 'succeeded'")
    assert len(set(runs)) == len(runs)


@virtual
async def test_after_a_stop_the_resume_says_over_which_time_what_was_missed_is_laid_out(world: World) -> None:
    shops = world.rota.roster("shops")

    @world.rota.job(each=shops, schedule=every("24h", slot="24h"))
    async def sync(shop: Member) -> None:
        world.seen.append(world.loop.time())

    await shops.join_many([f"s{number}" for number in range(120)])
    await world.worker()
    await world.rota.stop_all("maintenance")
    await asyncio.sleep(2 * 86_400)
    assert world.seen == []
    back_at = world.loop.time()
    await world.rota.resume_all(spread="2m")
    await asyncio.sleep(125)
    late = [at - back_at for at in world.seen]
    assert 118 <= len(late) <= 122
    assert max(sum(1 for at in late if tenth * 10 <= at < tenth * 10 + 10) for tenth in range(12)) <= 15


@virtual
async def test_a_hundred_workers_and_ticks_never_run_one_thing_twice(world: World) -> None:
    @world.rota.job
    async def step(number: int) -> None:
        world.seen.append(number)
        await asyncio.sleep(0.01)

    await step.enqueue_many(list(range(500)))
    for _ in range(10):
        await world.worker(concurrency=4)
    await asyncio.gather(*(world.rota.tick() for _ in range(5)))
    await asyncio.sleep(30)
    assert sorted(world.seen) == list(range(500))


@virtual
async def test_a_large_batch_begins_in_parts_so_that_the_store_is_heard_in_between(world: World) -> None:
    begun: list[int] = []

    @world.rota.job
    async def quick(number: int) -> None:
        begun.append(number)

    await quick.enqueue_many(range(200))
    await world.worker(concurrency=400)
    most = seen = 0
    while len(begun) < 200:
        await asyncio.sleep(0)
        most, seen = max(most, len(begun) - seen), len(begun)
    assert 0 < most <= AT_ONCE
