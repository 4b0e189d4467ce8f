"""Cool-downs: one refused call teaches the fleet, runs of the scope wait without starting, one probe opens it again."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from rota import Limit, Member, RateLimited, Retry, Retryable, every
from rota.clock import give_way
from rota.engine.scopes import CROWD, Scopes
from rota.engine.worker import Settings
from tests.engine.conftest import START, Held, ms
from tests.engine.test_limits import seconds
from tests.engine.virtual import World, virtual


class Service:
    """A service that refuses between two instants (seconds after the start), and who called it when."""

    def __init__(self, t: Held, since: float, until: float, after: str | None = "10s") -> None:
        self.t, self.since, self.until, self.after = t, since, until, after
        self.calls: list[tuple[str, float]] = []

    async def call(self, who: str, scope: str = "service") -> None:
        now = seconds([self.t.clock.now_ms()])[0]
        self.calls.append((who, now))
        if self.since <= now < self.until:
            raise RateLimited(scope, after=self.after)


async def test_runs_of_a_job_whose_scope_cools_are_not_started(t: Held) -> None:
    service = Service(t, 0, 5)

    @t.rota.job
    async def send(n: int) -> None:
        await service.call(str(n))

    await send.enqueue_many(list(range(20)))
    summary = await t.rota.tick(concurrency=1)
    assert len(service.calls) == 1
    assert (summary.postponed, summary.left, summary.ok) == (20, 0, True)
    assert await t.look("SELECT max(tries), count(*) FROM rota.turn") == [(0, 20)]
    t.clock.advance("9s")
    await t.rota.tick()
    assert len(service.calls) == 1
    t.clock.advance("1s")
    assert (await t.rota.tick()).succeeded == 20
    assert len(service.calls) == 21


async def test_one_probe_goes_first_and_the_others_follow_when_it_has_shown_that_the_scope_works(t: Held) -> None:
    service = Service(t, 0, 25)

    @t.rota.job
    async def send(n: int) -> None:
        await service.call(str(n))

    await send.enqueue_many(list(range(5)))
    await t.drain(START + timedelta(minutes=5))
    times = [at for _, at in service.calls]
    assert [times.count(at) for at in (10, 20, 30)] == [1, 1, 5]
    assert (await t.outcomes()).count("succeeded") == 5


async def test_a_scope_that_does_not_say_for_how_long_cools_longer_each_time(t: Held) -> None:
    service = Service(t, 0, 100_000, after=None)

    @t.rota.job
    async def send() -> None:
        await service.call("one")

    await send.enqueue()
    await t.drain(START + timedelta(hours=1))
    times = [at for _, at in service.calls]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[:5] == [60, 120, 240, 480, 900]


async def test_a_scope_of_one_member_keeps_no_other_from_running(t: Held) -> None:
    feeds = t.rota.roster("feeds")
    seen: list[str] = []

    @t.rota.job(each=feeds, schedule=every("1h"))
    async def fetch(feed: Member) -> None:
        seen.append(feed.key)
        if feed.key == "dead":
            raise RateLimited(f"feed:{feed.key}", after="30m")

    await feeds.join_many(["a", "dead", "z"])
    for key in ("dead", "a", "z"):
        await fetch.run_now(key)
    await t.rota.tick(concurrency=1)
    assert sorted(seen) == ["a", "dead", "z"]


async def test_a_declared_scope_is_shared_by_those_with_the_same_value_and_no_others(t: Held) -> None:
    shops = t.rota.roster("shops")
    seen: list[str] = []

    @t.rota.job(each=shops, schedule=every("1h"), limit=Limit("ads:{region}", "100/s"))
    async def sync(shop: Member) -> None:
        seen.append(shop.key)
        if shop.data["region"] == "eu":
            raise RateLimited("ads:{region}", after="10m")

    members = [{"key": f"{region}{n}", "data": {"region": region}} for n in range(5) for region in ("eu", "us")]
    await shops.join_many(members)
    for member in ("eu0", "us0", "eu1", "us1", "eu2", "us2", "eu3", "us3", "eu4", "us4"):
        await sync.run_now(member)
    summary = await t.rota.tick(concurrency=1)
    assert len([key for key in seen if key.startswith("eu")]) == 1
    assert len([key for key in seen if key.startswith("us")]) == 5
    assert (summary.succeeded, summary.postponed) == (5, 5)
    rows = await t.look("SELECT DISTINCT due_at FROM rota.turn WHERE member LIKE 'eu%'")
    assert rows == [(ms(START) + 600_000,)]


async def test_jobs_that_were_refused_under_one_scope_cool_together(t: Held) -> None:
    service = Service(t, 0, 5, after="1m")
    for name in ("one", "two"):

        @t.rota.job(name, scope="llm")
        async def work(n: int, name: str = name) -> None:
            await service.call(name, "llm")

    jobs = [t.rota.catalog.jobs[name] for name in ("one", "two")]
    assert [job.scope for job in jobs] == ["llm", "llm"]


async def test_failures_in_a_row_open_a_declared_scope_like_a_breaker(t: Held) -> None:
    calls: list[float] = []

    @t.rota.job(scope="host", retry=Retry(tries=50, first="1s", factor=1, jitter=0))
    async def fetch(n: int) -> None:
        now = seconds([t.clock.now_ms()])[0]
        calls.append(now)
        if now < 200:
            raise Retryable("503")

    await fetch.enqueue_many(list(range(30)))
    await t.rota.tick(concurrency=1)
    assert len(calls) == 5
    t.clock.advance("59s")
    await t.rota.tick(concurrency=1)
    assert len(calls) == 5
    await t.drain(START + timedelta(minutes=20))
    outcomes = await t.outcomes()
    assert outcomes.count("succeeded") == 30
    assert len([at for at in calls if at < 200]) <= 8


@pytest.mark.parametrize("scope", ["service", "calls"])
async def test_cool_downs_are_visible_and_can_be_cleared(t: Held, scope: str) -> None:
    service = Service(t, 0, 5, after="1h")

    @t.rota.job(limit=Limit("calls", "1000/s"))
    async def send(n: int) -> None:
        await service.call(str(n), scope)

    await send.enqueue_many(list(range(3)))
    await t.rota.tick(concurrency=1)
    (cooling,) = await t.rota.cooldowns()
    assert (cooling.scope, cooling.until) == (scope, START + timedelta(hours=1))
    t.clock.advance("1m")
    assert await t.rota.clear_cooldown(scope, by="ada") == 1
    assert (await t.rota.tick()).succeeded >= 2
    assert await t.rota.cooldowns() == []


async def test_a_cool_down_that_a_person_has_cleared_is_over_for_the_worker_that_learnt_it(t: Held) -> None:
    service = Service(t, 0, 5, after="1h")

    @t.rota.job
    async def send(n: int) -> None:
        await service.call(str(n))

    await send.enqueue_many(list(range(3)))
    worker = await t.rota.worker(Settings())
    await worker._begin()
    lane = worker.pump.lanes[0]
    lane.share = 1
    await worker.pump.turn_over(lane)
    while worker.pump.running:
        await give_way()
    await worker.pump.turn_over(lane)
    assert len(service.calls) == 1
    t.clock.advance("1m")
    await t.rota.clear_cooldown("service")
    await worker.pump.turn_over(lane)
    while worker.pump.running:
        await give_way()
    assert len(service.calls) == 2
    await worker.pump.turn_over(None)
    await worker._keeper.stop()


async def test_a_crowd_under_a_limit_gets_new_places_in_line_when_the_limit_has_cooled(t: Held) -> None:
    """Kept, the places that passed while it cooled would all be wanted at one instant, and written at each start."""
    refused: list[int] = []

    @t.rota.job(limit=Limit("ads:{region}", "1/m", burst=1))
    async def call(n: int, region: str) -> None:
        if not refused:
            refused.append(n)
            raise RateLimited("ads:{region}", "10m")

    await call.enqueue_many([(n, "eu") for n in range(30)])
    await t.rota.tick()
    for _ in range(11):  # those whose room comes while it cools wait for its end
        t.clock.advance("1m")
        await t.rota.tick()
    due = await t.look("SELECT due_at FROM rota.turn WHERE waits_for IS NOT NULL ORDER BY due_at")
    gaps = [after[0] - before[0] for before, after in pairwise(due)]
    assert len(due) >= 27
    assert gaps == [60_000] * (len(due) - 1)


@virtual
async def test_a_run_that_waits_for_its_instant_is_not_started_when_its_scope_was_closed_after_its_claim(
    world: World,
) -> None:
    @world.rota.job
    async def send(n: int) -> None:
        world.seen.append(n)
        raise RateLimited("service", after="1h")

    await send.enqueue_many([0, 1])
    worker = await world.rota.worker(Settings())
    await worker._begin()
    pump = worker.pump
    await pump.turn_over(pump.lanes[0])
    _, second = pump.running.values()
    second.from_s = pump.store.clock.monotonic() + 0.04  # as under a limit: claimed a moment before its instant
    await asyncio.sleep(0.01)
    await pump.turn_over(None)
    assert not pump.scopes.untold
    await asyncio.sleep(0.1)
    await pump.turn_over(None)
    await worker._keeper.stop()
    assert world.seen == [0]
    assert await world.journal() == ["rate_limited", "released"]


async def test_scopes_that_have_cooled_are_forgotten_when_there_are_too_many(m: Held) -> None:
    store = await m.rota.opened()
    scopes = Scopes(store)
    for number in range(CROWD):
        scopes.note(f"user:{number}", 1_000)
    scopes.acknowledged(f"user:{number}" for number in range(CROWD))
    m.clock.advance("2s")
    for number in range(3):
        scopes.note(f"shop:{number}", 60_000)
    assert len(scopes._until_s) == len(scopes._half_open) == 3
    assert scopes._told_s == {}
