"""Limits: GCRA buckets in the store, fleet-wide, with the exact instant for what finds no room; on both stores."""

from datetime import timedelta

import pytest

from rota import Limit, Member, Run, every
from rota.errors import BadInput
from tests.engine.conftest import START, Held, ms


def seconds(values: list[int]) -> list[float]:
    """Instants as seconds after the start."""
    return [(value - ms(START)) / 1000 for value in values]


class Calls:
    """A limited one-off job and when it was called."""

    def __init__(self, t: Held, *limits: Limit, **options: object) -> None:
        self.t = t
        self.at: list[float] = []
        self.names: list[str] = []

        @t.rota.job("call", limit=list(limits), **options)
        async def call(name: str, region: str = "eu") -> None:
            self.at.append(seconds([t.clock.now_ms()])[0])
            self.names.append(name)

        self.job = call

    async def due(self) -> list[float]:
        rows = await self.t.look("SELECT due_at FROM rota.turn ORDER BY due_at, id")
        return seconds([row[0] for row in rows])


async def test_what_finds_no_room_is_due_at_the_exact_instant_at_which_it_has(t: Held) -> None:
    calls = Calls(t, Limit("amazon", "1/m", burst=2))
    await calls.job.enqueue_many(["a", "b", "c", "d"])
    summary = await t.rota.tick()
    assert (summary.due, summary.succeeded, summary.postponed, summary.left) == (4, 2, 2, 0)
    assert calls.names == ["a", "b"]
    assert await calls.due() == [60.0, 120.0]
    assert await t.look("SELECT tries, attempt, waits_for FROM rota.turn") == [(0, 0, "limit amazon")] * 2


async def test_a_limited_backlog_runs_in_order_at_the_rate_and_not_before(t: Held) -> None:
    calls = Calls(t, Limit("amazon", "2/s", burst=1))
    await calls.job.enqueue_many([f"n{n:03}" for n in range(60)])
    await t.drain(START + timedelta(seconds=120))
    assert calls.names == [f"n{n:03}" for n in range(60)]
    assert calls.at == [n / 2 for n in range(60)]


async def test_a_large_backlog_is_not_touched_before_there_is_room(t: Held) -> None:
    calls = Calls(t, Limit("amazon", "10/s", burst=10))
    await calls.job.enqueue_many([str(n) for n in range(300)])
    summary = await t.rota.tick()
    assert (summary.succeeded, summary.postponed, summary.left) == (10, 290, 0)
    touched = "SELECT count(*) FROM rota.turn WHERE waits_for IS NOT NULL OR due_at > :at"
    assert await t.look(touched, at=ms(START)) == [(0,)]
    for second in range(1, 4):
        t.clock.advance("1s")
        await t.rota.tick()
        assert len(calls.at) == 10 + 10 * second
    assert calls.names == [str(n) for n in range(40)]


async def test_buckets_are_keyed_by_what_a_run_brings_and_do_not_keep_each_other_waiting(t: Held) -> None:
    calls = Calls(t, Limit("ads:{region}", "1/m", burst=1))
    await calls.job.enqueue_many([("a", "eu"), ("b", "eu"), ("c", "eu"), ("d", "us"), ("e", "us")])
    await t.rota.tick()
    assert calls.names == ["a", "d"]
    await t.drain(START + timedelta(minutes=3))
    assert list(zip(calls.names, calls.at, strict=True)) == [("a", 0), ("d", 0), ("b", 60), ("e", 60), ("c", 120)]


async def test_several_limits_on_one_job_must_all_have_room(t: Held) -> None:
    calls = Calls(t, Limit("second", "1/s", burst=1), Limit("minute", "3/m", burst=3))
    await calls.job.enqueue_many(["a", "b", "c", "d", "e"])
    await t.drain(START + timedelta(minutes=3))
    assert calls.at == [0, 1, 2, 20, 40]


async def test_jobs_that_name_the_same_limit_share_it(t: Held) -> None:
    shared = Limit("shared", "1/s", burst=1)
    seen: list[tuple[str, float]] = []

    @t.rota.job(limit=shared)
    async def one(n: int) -> None:
        seen.append(("one", seconds([t.clock.now_ms()])[0]))

    @t.rota.job(limit=shared)
    async def two(n: int) -> None:
        seen.append(("two", seconds([t.clock.now_ms()])[0]))

    await one.enqueue_many([1, 2])
    await two.enqueue_many([1, 2])
    await t.drain(START + timedelta(seconds=10))
    assert sorted(at for _, at in seen) == [0, 1, 2, 3]


async def test_a_member_of_a_roster_waits_for_room_without_using_a_try_or_moving_its_slot(t: Held) -> None:
    shops = t.rota.roster("shops")
    starts: list[tuple[str, float]] = []

    @t.rota.job("sync", each=shops, schedule=every("1h", slot="1h"), limit=Limit("x:{region}", "1/m", burst=1))
    async def sync(shop: Member) -> None:
        starts.append((shop.key, seconds([t.clock.now_ms()])[0]))

    await shops.join_many([{"key": key, "data": {"region": "eu"}} for key in "abc"])
    slots = {row[0]: row[1] for row in await t.look("SELECT member, slot_at FROM rota.turn")}
    for key in "abc":
        await sync.run_now(key)
    await t.drain(START + timedelta(minutes=5))
    assert [at for _, at in starts] == [0, 60, 120]
    assert {row[0]: row[1] for row in await t.look("SELECT member, slot_at FROM rota.turn")} == slots


async def test_calls_beyond_the_first_are_spent_inside_the_handler(t: Held) -> None:
    limit = Limit("calls", "1/m", burst=4)
    seen: list[float] = []

    @t.rota.job(limit=limit)
    async def many(run: Run) -> None:
        await run.spend(limit, 2)
        seen.append(seconds([t.clock.now_ms()])[0])

    await many.enqueue_many([(), (), ()])
    await t.drain(START + timedelta(minutes=30))
    assert len(seen) == 3
    outcomes = await t.outcomes()
    assert outcomes.count("succeeded") == 3
    assert set(outcomes) == {"succeeded", "snoozed"}


async def test_the_first_charge_is_the_one_that_the_claim_took(t: Held) -> None:
    limit = Limit("calls", "1/m", burst=2)

    @t.rota.job(limit=limit)
    async def two(run: Run) -> None:
        await run.charge(limit)
        await run.charge(limit)

    await two.enqueue()
    assert (await t.rota.tick()).succeeded == 1
    await two.enqueue()
    assert (await t.rota.tick()).postponed == 1


async def test_a_rate_may_be_said_by_a_handler_and_holds_for_everyone(t: Held) -> None:
    limit = Limit("calls", "1/m", burst=1)
    seen: list[float] = []

    @t.rota.job(limit=limit)
    async def one(run: Run) -> None:
        await run.adjust(limit, rate=0.1)
        seen.append(seconds([t.clock.now_ms()])[0])

    await one.enqueue_many([(), (), ()])
    await t.drain(START + timedelta(minutes=5))
    assert seen == [0, 10, 20]


async def test_a_crowd_that_waits_when_a_handler_says_a_rate_gets_instants_at_that_rate(t: Held) -> None:
    limit = Limit("ads:{region}", "1/m", burst=1)
    calls = Calls(t, limit)
    await calls.job.enqueue_many([(f"n{n:02}", "eu") for n in range(40)])
    await t.rota.tick()
    assert await calls.due() == [60.0 * n for n in range(1, 40)]

    @t.rota.job
    async def other(run: Run, region: str) -> None:
        await run.adjust(limit, rate="1/h")

    await other.enqueue("eu")
    await t.rota.tick()
    await t.rota.tick()
    assert await calls.due() == [3600.0 * n for n in range(1, 40)]


async def test_a_rate_that_another_process_has_said_already_moves_nobody(t: Held) -> None:
    limit = Limit("calls", "1/m", burst=1)

    @t.rota.job
    async def one(run: Run) -> None:
        await run.adjust(limit, rate=0.1, burst=3)

    written = "SELECT changed_at FROM rota.bucket WHERE scope = 'calls'"
    await one.enqueue()
    await t.rota.tick()
    first = await t.look(written)
    t.clock.advance("1m")
    await one.enqueue()
    await t.rota.tick()  # a tick is a process of its own
    assert await t.look(written) == first
    await t.rota.set_limit("calls", "2/s", for_="1h")
    await one.enqueue()
    await t.rota.tick()
    assert await t.look("SELECT rate, burst, rate_until FROM rota.bucket") == [("360/h", 3, None)]


async def test_a_limit_is_spent_by_name_inside_a_handler_and_nowhere_else(t: Held) -> None:
    limit = Limit("calls", "1/m", burst=3)

    @t.rota.job(limit=limit)
    async def three() -> None:
        await limit.spend(2)

    await three.enqueue()
    assert (await t.rota.tick()).succeeded == 1
    await three.enqueue()
    assert (await t.rota.tick()).postponed == 1
    with pytest.raises(BadInput, match="outside of a handler"):
        await limit.spend()
