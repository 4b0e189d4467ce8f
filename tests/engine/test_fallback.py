"""Fallback chains in the whole engine: which link answers, what the journal says, what the run waits for.

Always true: nothing here sleeps; the loop's clock moves by what is waited for, or the test moves its own.

Not here: the chain by itself (tests/unit/test_chain), what a link may be (tests/unit/test_define_link).
"""

import asyncio
from collections import Counter

import pytest

from rota import Fail, Member, RateLimited, Retry, Retryable, Run, every
from rota.define.run import current
from tests.engine.conftest import HOUR, Held, ms
from tests.engine.virtual import World, virtual

LINKS = ("first", "second", "third", "fourth", "fifth")


class Services:
    """One job whose links are services: each does what it is told, and every call is noted."""

    def __init__(self, rota, clock, **options) -> None:
        self.clock = clock
        self.calls: list[tuple[str, int]] = []
        self.limited_until: dict[str, int] = {}
        self.raises: dict[str, Exception] = {}

        @rota.job("letter", scope="llm:first", **options)
        async def first(number: int) -> str | None:
            return self.answer("first")

        for name in LINKS[1:]:
            self.link(first, name)
        self.job = first

    def link(self, job, name: str) -> None:
        async def call(number: int) -> str | None:
            return self.answer(name)

        call.__name__ = name
        job.fallback(scope=f"llm:{name}")(call)

    def answer(self, name: str) -> str:
        now_ms = self.clock.now_ms()
        self.calls.append((name, now_ms))
        left_ms = self.limited_until.get(name, 0) - now_ms
        if left_ms > 0:
            raise RateLimited(f"llm:{name}", after=f"{left_ms}ms")
        if name in self.raises:
            raise self.raises[name]
        return name

    def counted(self) -> Counter[str]:
        """Calls by link since the last count."""
        calls, self.calls = self.calls, []
        return Counter(name for name, _ in calls)


@virtual
async def test_three_limited_links_cost_one_call_each_and_the_next_hundred_runs_begin_at_the_fourth(
    world: World,
) -> None:
    services = Services(world.rota, world.clock)
    for name, minutes in (("first", 10), ("second", 20), ("third", 30)):
        services.limited_until[name] = world.clock.now_ms() + minutes * 60_000
    await services.job.enqueue(0)
    await world.worker()
    await asyncio.sleep(5)
    assert services.counted() == Counter(LINKS[:4])
    await services.job.enqueue_many(range(100))
    await asyncio.sleep(5)
    assert services.counted() == {"fourth": 100}
    await asyncio.sleep(600)  # the first has cooled, and its service is well again
    await services.job.enqueue(0)
    await asyncio.sleep(1)
    await services.job.enqueue_many(range(100))
    await asyncio.sleep(5)
    assert services.counted() == {"first": 101}
    assert set(await world.journal("outcome")) == {"succeeded"}


@virtual
async def test_when_a_cool_down_has_ended_one_run_probes_and_the_others_follow_it_back(world: World) -> None:
    services = Services(world.rota, world.clock)
    services.limited_until["first"] = world.clock.now_ms() + 60_000
    await services.job.enqueue(0)
    await world.worker()
    await asyncio.sleep(30)
    await services.job.enqueue_many(range(10))
    await asyncio.sleep(31)
    assert services.counted() == {"first": 1, "second": 11}
    await services.job.enqueue(11)
    await asyncio.sleep(1)
    await services.job.enqueue_many(range(20))
    await asyncio.sleep(1)
    assert services.counted() == {"first": 21}


@virtual
async def test_another_worker_learns_of_a_cool_down_from_the_store(world: World) -> None:
    services = Services(world.rota, world.clock)
    for name in LINKS[:3]:
        services.limited_until[name] = world.clock.now_ms() + 3_600_000
    await services.job.enqueue(0)
    _, task = await world.worker()
    await asyncio.sleep(5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    services.counted()
    await world.worker()
    await services.job.enqueue_many(range(50))
    await asyncio.sleep(5)
    assert services.counted() == {"fourth": 50}


async def test_the_journal_says_which_link_answered_and_why_the_earlier_ones_did_not(t: Held) -> None:
    services = Services(t.rota, t.clock)
    await services.job.enqueue(0)
    await t.rota.tick()
    services.limited_until["first"] = t.clock.now_ms() + 120_000
    services.raises["second"] = Retryable("the model is down")
    for number in range(2):
        await services.job.enqueue(number)
        await t.rota.tick()
    # By turn: connections of PostgreSQL take the journal's numbers in blocks, so those of one instant tell no order.
    rows = sorted(await t.outcomes("turn", "outcome", "link", "reason"))
    assert [row[1:] for row in rows] == [
        ("succeeded", "first", None),
        ("succeeded", "third", "first: rate limited: llm:first; second: the model is down"),
        ("succeeded", "third", "first: cooling for 2m; second: the model is down"),
    ]


async def test_a_run_whose_links_all_cool_waits_for_the_soonest_without_a_try_and_without_a_call(t: Held) -> None:
    services = Services(t.rota, t.clock)
    for number, name in enumerate(LINKS):
        services.limited_until[name] = t.clock.now_ms() + (100 - 10 * number) * 1_000
    await services.job.enqueue(0)
    await t.rota.tick()
    assert services.counted() == Counter(LINKS)
    await services.job.enqueue(1)
    await t.rota.tick()
    assert services.counted() == {}
    due = t.clock.now_ms() + 60_000
    assert await t.look("SELECT state, due_at, tries FROM rota.turn") == [("waiting", due, 0)] * 2
    rows = await t.outcomes("outcome", "reason")
    assert [outcome for outcome, _ in rows] == ["rate_limited"] * 2
    assert rows[0][1].startswith("first: rate limited: llm:first; second: rate limited: llm:second")
    assert rows[1][1] == (
        "first: cooling for 100s; second: cooling for 90s; third: cooling for 80s; fourth: cooling for 70s; "
        "fifth: cooling for 60s"
    )
    t.clock.advance("60s")
    await t.rota.tick()
    assert services.counted() == {"fifth": 2}
    assert await t.outcomes() == ["rate_limited", "rate_limited", "succeeded", "succeeded"]


async def test_a_try_that_failed_along_the_chain_tells_the_whole_story_and_the_next_begins_at_the_first_open_link(
    t: Held,
) -> None:
    services = Services(t.rota, t.clock, retry=Retry(delays=["10s"]))
    services.limited_until["first"] = t.clock.now_ms() + 60_000
    for name in LINKS[1:]:
        services.raises[name] = Retryable("503")
    await services.job.enqueue(0)
    await t.rota.tick()
    assert services.counted() == Counter(LINKS)
    assert await t.look("SELECT due_at, tries FROM rota.turn") == [(t.clock.now_ms() + 10_000, 1)]
    assert await t.outcomes("outcome", "reason") == [
        ("retry", "first: rate limited: llm:first; second: 503; third: 503; fourth: 503; fifth: 503")
    ]
    del services.raises["second"]
    t.clock.advance("10s")
    await t.rota.tick()
    assert services.counted() == {"second": 1}
    assert (await t.outcomes())[-1] == "succeeded"


async def test_an_exception_at_the_end_of_a_chain_keeps_its_kind_and_its_cause_and_tells_the_story(t: Held) -> None:
    services = Services(t.rota, t.clock, retry=Retry(tries=1))
    services.raises = {"first": Retryable("503"), "second": KeyError("text")}
    await services.job.enqueue(0)
    await t.rota.tick()
    assert services.counted() == Counter(LINKS[:2])
    assert await t.outcomes("outcome", "reason") == [("dead", "first: 503; second: KeyError: 'text'")]
    ((kind, traceback),) = await t.look("SELECT kind, traceback FROM rota.error")
    assert kind == "KeyError"
    assert "links: first: 503; second: KeyError: 'text'" in traceback


async def test_an_outcome_that_no_link_stands_in_for_ends_the_chain(t: Held) -> None:
    services = Services(t.rota, t.clock)
    services.raises["first"] = Fail("the account is gone")
    await services.job.enqueue(0)
    await t.rota.tick()
    assert services.counted() == {"first": 1}
    assert await t.outcomes("outcome", "link", "reason") == [("dead", None, "the account is gone")]


async def test_the_result_that_is_kept_is_that_of_the_link_that_answered(t: Held) -> None:
    users = t.rota.roster("users")

    @t.rota.job("letter", each=users, schedule=every("1h"), keep="latest")
    async def big(user: Member) -> dict[str, str]:
        raise RateLimited("llm:big", after="10m")

    @big.fallback
    def rules(user: Member, run: Run) -> dict[str, str]:
        assert current() is run
        return {"by": "rules", "for": user.key, "name": user.data["name"]}

    await users.join("a", data={"name": "Ada"})
    t.clock.set((await big.turn("a")).due_at)
    await t.rota.tick()
    assert await big.latest("a") == {"by": "rules", "for": "a", "name": "Ada"}
    assert await t.outcomes("outcome", "link", "reason") == [("succeeded", "rules", "big: rate limited: llm:big")]


async def test_a_scope_with_holes_cools_for_its_own_region_alone(t: Held) -> None:
    calls: list[str] = []
    users = t.rota.roster("users")

    @t.rota.job("letter", each=users, schedule=every("1h"), scope="llm:{region}")
    async def big(user: Member) -> None:
        calls.append(f"big {user.key}")
        if user.data["region"] == "eu":
            raise RateLimited("llm:eu", after="10h")

    @big.fallback
    async def small(user: Member) -> None:
        calls.append(f"small {user.key}")

    await users.join("anna", data={"region": "eu"}, slot=1)
    await users.join("bill", data={"region": "us"}, slot=1)
    for _ in range(2):
        t.clock.advance(2 * HOUR)
        await t.rota.tick()
    assert Counter(calls) == {"big anna": 1, "small anna": 2, "big bill": 2}


async def test_a_link_without_a_scope_is_skipped_by_the_one_its_service_named(t: Held) -> None:
    calls: list[str] = []

    @t.rota.job
    async def big(number: int) -> None:
        calls.append("big")
        raise RateLimited("llm:big", after="10m")

    @big.fallback
    async def small(number: int) -> None:
        calls.append("small")

    for number in range(3):
        await big.enqueue(number)
        await t.rota.tick()
    assert calls == ["big", "small", "small", "small"]


@virtual
async def test_a_link_past_its_time_limit_is_cancelled_and_the_next_one_answers(world: World) -> None:
    @world.rota.job
    async def big() -> None:
        raise Retryable("503")

    @big.fallback(timeout="30s")
    async def slow() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            world.seen.append(world.loop.time())
            raise

    @big.fallback
    async def rules() -> None:
        world.seen.append(world.loop.time())

    await big.enqueue()
    await world.worker()
    await asyncio.sleep(100)
    assert [round(at) for at in world.seen] == [30, 30]
    assert await world.journal("outcome", "link", "reason") == [
        ("succeeded", "rules", "big: 503; slow: TimeoutError: the link slow took longer than 30s")
    ]


@virtual
async def test_the_timeout_of_the_job_is_the_deadline_of_the_whole_chain(world: World) -> None:
    @world.rota.job(timeout="50s", retry=Retry(tries=1))
    async def big() -> None:
        await asyncio.sleep(30)
        raise Retryable("503")

    @big.fallback
    async def slow() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            world.seen.append(world.loop.time())

    @big.fallback(on=Exception)
    async def rules() -> None:
        world.seen.append("never")

    await big.enqueue()
    await world.worker()
    await asyncio.sleep(100)
    assert [round(at) for at in world.seen] == [50]
    assert await world.journal("outcome", "reason") == [("dead", "TimedOut: timed out after 50s")]


@virtual
async def test_a_coroutine_behind_a_plain_handler_does_not_outlive_the_time_limit_by_much(world: World) -> None:
    @world.rota.job(timeout="30s", retry=Retry(tries=1))
    def plain() -> None:
        raise Retryable("503")

    @plain.fallback
    async def endless() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            world.seen.append(world.loop.time())

    @plain.fallback
    async def rules() -> None:
        world.seen.append("never")

    await plain.enqueue()
    await world.worker()
    await asyncio.sleep(100)
    assert [round(at) for at in world.seen] == [30]
    assert await world.journal() == ["dead"]


@virtual
async def test_an_attempt_that_was_called_off_calls_no_further_link_even_where_its_link_will_not_be_cancelled(
    world: World,
) -> None:
    @world.rota.job(timeout="30s", retry=Retry(tries=1))
    async def stubborn() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            world.seen.append("asked to end")
            raise Retryable("no") from None

    @stubborn.fallback
    async def rules() -> None:
        world.seen.append("never")

    await stubborn.enqueue()
    await world.worker()
    await asyncio.sleep(100)
    assert world.seen == ["asked to end"]
    assert await world.journal() == ["dead"]


@virtual
async def test_a_drain_gives_a_run_back_from_the_middle_of_its_chain(world: World) -> None:
    @world.rota.job
    async def big() -> None:
        raise Retryable("503")

    @big.fallback(on=Exception)
    async def slow() -> None:
        world.seen.append("slow")
        await asyncio.sleep(1000)

    @big.fallback(on=Exception)
    async def rules() -> None:
        world.seen.append("never")

    await big.enqueue()
    worker, task = await world.worker()
    await asyncio.sleep(5)
    worker.stop()
    worker.stop()
    await task
    assert world.seen == ["slow"]
    assert await world.journal() == ["released"]
    assert await world.look("SELECT tries FROM rota.turn") == [(0,)]


@virtual
async def test_a_scope_that_fails_again_and_again_opens_like_a_breaker_for_that_link_alone(world: World) -> None:
    services = Services(world.rota, world.clock)
    services.raises["first"] = Retryable("503")
    await world.worker(concurrency=1)
    for number in range(20):
        await services.job.enqueue(number)
        await asyncio.sleep(0.5)
    counted = services.counted()
    assert counted["second"] == 20
    assert counted["first"] == pytest.approx(5, abs=1)  # then it is open: nobody asks it for a minute


@virtual
async def test_a_chain_of_plain_functions_runs_as_one_of_coroutines_does(world: World) -> None:
    @world.rota.job(scope="llm:big")
    def big(name: str, tags: list[str]) -> None:
        tags.append("big")
        world.seen.append((name, tuple(tags)))
        raise RateLimited("llm:big", after="1h")

    @big.fallback
    async def small(name: str, tags: list[str]) -> None:
        world.seen.append((name, tuple(tags)))
        raise Retryable("503")

    @big.fallback
    def rules(tags: list[str]) -> RateLimited | None:
        world.seen.append(tuple(tags))

    await world.worker()
    for name in ("ada", "bob"):
        await big.enqueue(name, ["x"])
        await asyncio.sleep(1)
    assert world.seen == [("ada", ("x", "big")), ("ada", ("x",)), ("x",), ("bob", ("x",)), ("x",)]


@virtual
async def test_runs_at_once_ask_a_limited_link_at_most_once_for_each_place(world: World) -> None:
    calls: Counter[str] = Counter()

    @world.rota.job(scope="llm:big")
    async def big(number: int) -> None:
        calls["big"] += 1
        await asyncio.sleep(2)
        raise RateLimited("llm:big", after="1h")

    @big.fallback(scope="llm:small")
    async def small(number: int) -> None:
        calls["small"] += 1
        await asyncio.sleep(2)

    await big.enqueue_many(range(200))
    await world.worker(concurrency=10)
    await asyncio.sleep(300)
    assert calls["small"] == 200
    assert 1 <= calls["big"] <= 10
    assert Counter(await world.journal("outcome")) == {"succeeded": 200}


@virtual
async def test_a_run_that_waits_for_the_soonest_link_comes_when_that_is_open_and_not_before(world: World) -> None:
    services = Services(world.rota, world.clock)
    await world.worker()
    await asyncio.sleep(0.33337)
    for number, name in enumerate(LINKS):
        services.limited_until[name] = world.clock.now_ms() + 60_000 + 1_000 * number
    await services.job.enqueue(0)
    await asyncio.sleep(10.77773)
    await services.job.enqueue_many(range(5))
    await asyncio.sleep(120)
    assert Counter(await world.journal("outcome")) == {"rate_limited": 6, "succeeded": 6}


async def test_a_rate_limit_of_the_handler_does_not_keep_the_runs_of_a_job_with_fallbacks_waiting(t: Held) -> None:
    services = Services(t.rota, t.clock)
    services.limited_until["first"] = t.clock.now_ms() + 3_600_000
    await services.job.enqueue_many(range(10))
    summary = await t.rota.tick(concurrency=1)
    assert (summary.succeeded, summary.left) == (10, 0)
    assert services.counted() == {"first": 1, "second": 10}
    assert ms(t.clock.now()) == t.clock.now_ms()
