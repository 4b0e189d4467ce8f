"""`tick`: order, limits, time, overlap, dry runs, what it counts, and what it never does; on both stores."""

import asyncio
from datetime import datetime, timedelta

import pytest

from rota import Fail, Hold, Member, Retry, Rota, Skip, Snooze, every
from rota.errors import NotFound
from tests.engine.conftest import START, Held


def call(t: Held, name: str, seen: list[str], **options: object):
    """A one-off that notes its argument and fails for what begins with "bad"."""
    options = {"retry": Retry(tries=1)} | options

    @t.rota.job(name, **options)
    async def handler(what: str = "") -> None:
        seen.append(f"{name} {what}".strip())
        if what.startswith("bad"):
            raise Fail(what)

    return handler


async def test_jobs_go_one_after_the_other_in_the_order_of_declaration(t: Held) -> None:
    seen: list[str] = []
    last, first = call(t, "zeta", seen), call(t, "alpha", seen)
    await first.enqueue_many(["1", "2"])
    await last.enqueue_many(["1", "2"])
    summary = await t.rota.tick()
    assert seen == ["zeta 1", "zeta 2", "alpha 1", "alpha 2"]
    assert [count.job for count in summary.jobs] == ["zeta", "alpha"]
    assert (summary.due, summary.succeeded, summary.left, summary.ok) == (4, 4, 0, True)


async def test_what_an_earlier_job_of_the_tick_enqueues_is_included(t: Held) -> None:
    seen: list[str] = []

    @t.rota.job("first")
    async def first() -> None:
        await second.enqueue("from first")

    second = call(t, "second", seen)
    await first.enqueue()
    summary = await t.rota.tick()
    assert seen == ["second from first"]
    assert summary.due == 2


async def test_what_a_later_job_enqueues_for_an_earlier_one_waits_for_the_next_tick(t: Held) -> None:
    seen: list[str] = []
    first = call(t, "first", seen)

    @t.rota.job("second")
    async def second() -> None:
        await first.enqueue("from second")

    await second.enqueue()
    await t.rota.tick()
    assert seen == []
    await t.rota.tick()
    assert seen == ["first from second"]


async def test_a_retry_caused_by_the_tick_is_never_part_of_it(t: Held) -> None:
    seen: list[str] = []

    @t.rota.job("frail", retry=Retry(delays=["0s", "0s", "0s"]))
    async def frail() -> None:
        seen.append("try")
        raise ValueError("x")

    await frail.enqueue()
    summary = await t.rota.tick()
    assert seen == ["try"]
    assert (summary.due, summary.retrying, summary.ok) == (1, 1, False)
    assert summary.jobs[0].error == "ValueError: x"


async def test_a_limit_bounds_a_job_and_says_what_is_left(t: Held) -> None:
    seen: list[str] = []
    job, other = call(t, "limited", seen), call(t, "free", seen)
    await job.enqueue_many([str(number) for number in range(10)])
    await other.enqueue_many(["a", "b"])
    summary = await t.rota.tick(limits={"limited": 3})
    assert len(seen) == 5
    assert (summary.jobs[0].succeeded, summary.jobs[0].left, summary.jobs[1].succeeded) == (3, 7, 2)
    assert (await t.rota.tick(limits={"limited": 3})).jobs[0].left == 4


async def test_with_a_limit_of_n_broken_ones_in_front_the_next_one_still_runs(t: Held) -> None:
    seen: list[str] = []
    job = call(t, "limited", seen)
    await job.enqueue_many([f"bad{number}" for number in range(10)] + ["good1", "good2"])
    summary = await t.rota.tick(limits={"limited": 10}, concurrency=4)
    assert "limited good1" in seen
    assert (summary.dead, summary.succeeded) == (10, 2)


async def test_a_limit_of_n_stops_at_the_first_failure_after_n(t: Held) -> None:
    seen: list[str] = []
    job = call(t, "limited", seen)
    await job.enqueue_many([f"bad{number}" for number in range(10)])
    summary = await t.rota.tick(limits={"limited": 3}, concurrency=4)
    assert (summary.dead, summary.left) == (4, 6)  # one more is tried, or n broken ones would stop run n + 1 (G-11)


async def test_max_bounds_the_whole_tick(t: Held) -> None:
    seen: list[str] = []
    first, second = call(t, "first", seen), call(t, "second", seen)
    await first.enqueue_many(["1", "2", "3"])
    await second.enqueue_many(["1", "2", "3"])
    summary = await t.rota.tick(max=4)
    assert seen == ["first 1", "first 2", "first 3", "second 1"]
    assert summary.left == 2


async def test_after_its_time_a_tick_starts_nothing_more(t: Held) -> None:
    seen: list[str] = []

    @t.rota.job("slow")
    async def slow(number: int) -> None:
        seen.append(str(number))
        t.clock.advance("20s")

    late = call(t, "late", seen)
    await slow.enqueue_many(list(range(6)))
    await late.enqueue("x")
    summary = await t.rota.tick(time="1m", concurrency=1)
    assert seen == ["0", "1", "2"]
    assert summary.left == 4
    assert summary.ok


async def test_a_dry_run_counts_what_is_due_and_changes_nothing(t: Held) -> None:
    seen: list[str] = []
    job = call(t, "greet", seen)
    await job.enqueue_many(["1", "2"])
    summary = await t.rota.tick(dry_run=True)
    assert (summary.dry_run, summary.due, summary.left) == (True, 2, 2)
    assert seen == []
    assert await t.look("SELECT state, attempt FROM rota.turn") == [("waiting", 0)] * 2
    assert await t.journal() == []


async def test_now_runs_what_is_scheduled_and_slots_stay(t: Held) -> None:
    shops = t.rota.roster("shops")
    ran: list[str] = []

    @t.rota.job("sync", each=shops, schedule=every("6h"))
    async def sync(shop: Member) -> None:
        ran.append(shop.key)

    await shops.join_many(["a", "b"])
    before = [(await sync.turn(key)).slot_at for key in "ab"]
    summary = await t.rota.tick(now=True)
    assert sorted(ran) == ["a", "b"]
    assert summary.succeeded == 2
    assert [(await sync.turn(key)).slot_at for key in "ab"] == before


async def test_only_the_jobs_and_rosters_asked_for_are_run(t: Held) -> None:
    seen: list[str] = []
    first, second = call(t, "first", seen), call(t, "second", seen)
    await first.enqueue("1")
    await second.enqueue("1")
    assert [count.job for count in (await t.rota.tick(jobs=["second"])).jobs] == ["second"]
    assert seen == ["second 1"]
    assert (await t.rota.tick(rosters=[])).jobs == ()


@pytest.mark.parametrize("wrong", [{"jobs": ["sink"]}, {"limits": {"sink": 3}}, {"rosters": ["sink"]}])
async def test_an_unknown_name_is_refused_before_anything_runs(m: Held, wrong: dict) -> None:
    seen: list[str] = []
    job = call(m, "sync", seen)
    await job.enqueue("1")
    with pytest.raises(NotFound, match="sink"):
        await m.rota.tick(**wrong)
    assert seen == []


async def test_two_ticks_at_once_one_works_and_the_other_says_that_it_is_busy(t: Held) -> None:
    summaries = []

    @t.rota.job("outer")
    async def outer() -> None:
        summaries.append(await t.rota.tick())

    await outer.enqueue()
    summary = await t.rota.tick()
    assert (summary.busy, summary.succeeded) == (False, 1)
    (inner,) = summaries
    assert (inner.busy, inner.due, inner.ok) == (True, 0, True)
    assert not (await t.rota.tick()).busy


async def test_the_lease_of_a_tick_that_died_is_over_by_itself(t: Held) -> None:
    call(t, "greet", [])
    await t.rota.opened()
    await t.look(
        "INSERT INTO rota.lease (name, holder, until) VALUES ('tick', 'dead', :until) RETURNING name",
        until=int(START.timestamp() * 1000) + 15_000,
    )
    assert (await t.rota.tick()).busy
    t.clock.advance("16s")
    assert not (await t.rota.tick()).busy


async def test_while_everything_is_stopped_a_tick_says_who_and_why(t: Held) -> None:
    seen: list[str] = []
    job = call(t, "greet", seen)
    await job.enqueue("1")
    await t.rota.stop_all("bad deploy", by="ada")
    summary = await t.rota.tick()
    stopped = summary.as_json()["stopped"]
    assert (stopped["by"], stopped["reason"], stopped["until"]) == ("ada", "bad deploy", None)
    assert datetime.fromisoformat(stopped["since"]) == START
    assert summary.ok
    assert seen == []


async def test_a_tick_counts_every_kind_of_end(t: Held) -> None:
    ends = {"fine": None, "skip": Skip("x"), "snooze": Snooze("1h"), "hold": Hold("x"), "fail": Fail("x")}

    @t.rota.job("mixed", retry=Retry(tries=2))
    async def mixed(how: str) -> None:
        if how == "retry":
            raise ValueError("x")
        if ends[how] is not None:
            raise ends[how]

    await mixed.enqueue_many([*ends, "retry"])
    summary = (await t.rota.tick()).as_json()
    counted = ("due", "succeeded", "retrying", "dead", "snoozed", "skipped", "held", "cancelled", "postponed", "left")
    assert {name: summary[name] for name in counted} == {
        "due": 6,
        "succeeded": 1,
        "retrying": 1,
        "dead": 1,
        "snoozed": 1,
        "skipped": 1,
        "held": 1,
        "cancelled": 0,
        "postponed": 0,
        "left": 0,
    }
    assert summary["ok"] is False
    assert summary["schema"] == "rota.tick/1"


async def test_slots_that_are_passed_over_are_counted_in_due(t: Held) -> None:
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("1h"), catch_up="none")
    async def sync(shop: Member) -> None: ...

    await shops.join("a", slot=1)
    t.clock.set(START + timedelta(hours=5, minutes=40))
    summary = await t.rota.tick()
    counts = summary.as_json()
    nine = ("succeeded", "retrying", "dead", "snoozed", "skipped", "held", "cancelled", "postponed", "left")
    assert counts["due"] == sum(counts[name] for name in nine)
    assert counts["left"] == 0


async def test_the_next_due_instant_is_told_when_nothing_is_due(t: Held) -> None:
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("24h"))
    async def sync(shop: Member) -> None: ...

    await shops.join("a")
    summary = await t.rota.tick()
    assert summary.due == 0
    due = (await sync.turn("a")).due_at
    assert summary.next_due_at_ms == int(due.timestamp() * 1000)


async def test_members_of_a_job_run_at_the_same_time_up_to_the_concurrency(t: Held) -> None:
    now, most = 0, 0
    full = asyncio.Event()

    @t.rota.job("wide")
    async def wide(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 7:
            full.set()
        await full.wait()
        now -= 1

    await wide.enqueue_many(list(range(40)))
    async with asyncio.timeout(20):
        await t.rota.tick(concurrency=7)
    assert most == 7


async def test_a_cap_holds_within_a_tick(t: Held) -> None:
    now, most = 0, 0

    @t.rota.job("capped", cap=3)
    async def capped(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(20):
            await asyncio.sleep(0)
        now -= 1

    await capped.enqueue_many(list(range(20)))
    summary = await t.rota.tick(concurrency=8)
    assert most == 3
    assert summary.succeeded == 20


async def test_an_application_that_includes_another_runs_both(t: Held) -> None:
    seen: list[str] = []
    other = Rota(name="other")

    @other.job
    async def theirs() -> None:
        seen.append("theirs")

    @t.rota.job
    async def ours() -> None:
        seen.append("ours")

    t.rota.include(other)
    await theirs.enqueue()
    await ours.enqueue()
    await t.drain()
    assert sorted(seen) == ["ours", "theirs"]
