"""Operators see and steer what runs share: rates of limits, cool-downs, and what each turn waits for.

Always true: nothing sleeps; each promise is tried on both stores, save those about words and about a worker's sleep.

Not here: what claims make of limits and cool-downs (test_limits, test_cool_downs), the command line (tests/cli).
"""

from datetime import timedelta
from itertools import pairwise

import pytest

from rota import Batch, Cap, Limit, Member, RateLimited, Retry, Retryable, Run, every
from rota.errors import BadInput, NotFound
from rota.insight.status import status
from tests.engine.conftest import START, Held, instant
from tests.engine.test_limits import Calls
from tests.engine.virtual import World, virtual


async def audit(t: Held) -> list[tuple]:
    return await t.look("SELECT act, target, by, reason FROM rota.audit ORDER BY id")


async def attention(t: Held) -> tuple[list[str], list[str]]:
    """What needs somebody, and what waits without."""
    found = await status(await t.rota.opened())
    return [one.text for one in found.matters], [one.text for one in found.waiting]


# -- seeing ----------------------------------------------------------------------------------------


async def test_a_limit_that_nothing_has_used_is_shown_as_declared(t: Held) -> None:
    Calls(t, Limit("ads:{region}", "20/s"), Limit("all", "30/m", burst=5))
    first, second = await t.rota.limits()
    assert (first.name, first.rate, first.burst, first.used, first.waiting) == ("ads:{region}", "20/s", 20, 0, 0)
    assert (second.name, second.declared, second.declared_burst, second.jobs) == ("all", "30/m", 5, ("call",))
    assert (second.next_at, second.clears_at, second.said_by, second.cooling_until) == (None, None, None, None)


async def test_a_backlog_that_no_claim_has_touched_counts_as_waiting_and_clears_at_its_rate(t: Held) -> None:
    calls = Calls(t, Limit("amazon", "10/s", burst=10))
    await calls.job.enqueue_many([str(n) for n in range(100)])
    await t.rota.tick()
    (view,) = await t.rota.limits()
    assert (view.used, view.waiting, view.waiting_since) == (10, 90, START)
    assert view.next_at == START + timedelta(milliseconds=100)
    assert view.clears_at == START + timedelta(seconds=9)
    for _ in range(9):
        t.clock.advance("1s")
        await t.rota.tick()
    assert len(calls.at) == 100
    (view,) = await t.rota.limits()
    assert (view.used, view.waiting, view.clears_at) == (10, 0, None)


async def test_turns_that_were_told_their_instant_count_for_their_own_bucket(t: Held) -> None:
    calls = Calls(t, Limit("ads:{region}", "1/m", burst=1))
    await calls.job.enqueue_many([("a", "eu"), ("b", "eu"), ("c", "eu"), ("d", "us")])
    await t.rota.tick()
    eu, us = await t.rota.limits()
    assert (eu.name, eu.bucket, eu.waiting, eu.used) == ("ads:{region}", "ads:eu", 2, 1)
    assert (eu.next_at, eu.clears_at) == (START + timedelta(minutes=1), START + timedelta(minutes=2))
    assert (us.bucket, us.waiting, us.next_at) == ("ads:us", 0, None)


async def test_the_member_that_waits_first_is_named_with_its_slot(t: Held) -> None:
    shops = t.rota.roster("shops")

    @t.rota.job(each=shops, schedule=every("1h", slot="1h"), limit=Limit("x:{region}", "1/h", burst=1))
    async def sync(shop: Member) -> None: ...

    await shops.join_many([{"key": key, "data": {"region": "eu"}} for key in "abc"])
    t.clock.advance("1h")
    await t.rota.tick()
    (view,) = await t.rota.limits()
    slots = await t.look("SELECT member, slot_at FROM rota.turn WHERE waits_for IS NOT NULL ORDER BY due_at")
    assert (view.waiting, view.first) == (2, f"shops/{slots[0][0]}")
    assert view.waiting_since == instant(slots[0][1])


# -- steering a rate -------------------------------------------------------------------------------


async def test_another_rate_holds_at_once_for_what_waits_and_in_order(t: Held) -> None:
    calls = Calls(t, Limit("amazon", "1/m", burst=1))
    await calls.job.enqueue_many([f"n{n}" for n in range(10)])
    await t.rota.tick()
    assert calls.at == [0]
    t.clock.advance("6s")
    await t.rota.set_limit("amazon", "1/s", reason="they said so", by="ana")
    (view,) = await t.rota.limits()
    assert (view.rate, view.declared, view.said_by, view.said_until) == ("1/s", "1/m", "ana", None)
    await t.drain(START + timedelta(seconds=60))
    assert calls.names == [f"n{n}" for n in range(10)]
    gaps = {round(after - before, 3) for before, after in pairwise(calls.at[1:])}
    assert gaps == {1.0}
    assert calls.at[1] <= 7
    assert await audit(t) == [("set_limit", "limit:amazon", "ana", "they said so")]


async def test_the_rate_of_a_template_holds_for_all_of_its_buckets_that_have_none_of_their_own(t: Held) -> None:
    calls = Calls(t, Limit("ads:{region}", "1/m", burst=1))
    await calls.job.enqueue_many([(f"{region}{n}", region) for n in range(4) for region in ("eu", "us")])
    await t.rota.tick()
    await t.rota.set_limit("ads:us", "1/h")
    await t.rota.set_limit("ads:{region}", "1/s")
    await t.drain(START + timedelta(seconds=59))
    assert [(name, at) for name, at in zip(calls.names, calls.at, strict=True) if name.startswith("eu")] == [
        ("eu0", 0),
        ("eu1", 1),
        ("eu2", 2),
        ("eu3", 3),
    ]
    assert [name for name in calls.names if name.startswith("us")] == ["us0"]


async def test_a_line_that_is_judged_anew_is_written_once_more_and_no_oftener(t: Held) -> None:
    calls = Calls(t, Limit("ads:{region}", "1/m", burst=1))
    await calls.job.enqueue_many([(f"n{n:02}", "eu") for n in range(40)])
    await t.rota.tick()
    await t.rota.set_limit("ads:eu", "1/s")
    await t.rota.tick()
    due = [row[0] for row in await t.look("SELECT due_at FROM rota.turn ORDER BY id")]
    assert len(set(due)) == len(due) == 39
    assert {after - before for before, after in pairwise(due)} == {1_000}


async def test_a_rate_for_a_while_ends_by_itself_and_one_without_end_by_a_word(t: Held) -> None:
    calls = Calls(t, Limit("amazon", "1/s", burst=1))
    await t.rota.set_limit("amazon", "1/m", for_="5m", by="ana")
    (view,) = await t.rota.limits()
    assert (view.rate, view.said_until) == ("1/m", START + timedelta(minutes=5))
    t.clock.advance("5m")
    (view,) = await t.rota.limits()
    assert (view.rate, view.said_by, view.said_until) == ("1/s", None, None)
    await t.rota.set_limit("amazon", "30/m", burst=7, until=START + timedelta(days=1))
    (view,) = await t.rota.limits()
    assert (view.rate, view.burst) == ("30/m", 7)
    await t.rota.set_limit("amazon")
    (view,) = await t.rota.limits()
    assert (view.rate, view.burst, view.said_by) == ("1/s", 1, None)
    assert len(await audit(t)) == 3
    assert calls.at == []


@pytest.mark.parametrize(
    ("name", "given", "error", "words"),
    [
        ("amazn", {"rate": "1/s"}, NotFound, "did you mean 'amazon'?"),
        ("amazon", {"rate": "fast"}, BadInput, 'must be a rate such as "20/s"'),
        ("amazon", {"rate": "1/s", "burst": 0}, BadInput, "burst must be a whole number from 1"),
        ("amazon", {"burst": 5}, BadInput, "belongs to a rate"),
        ("amazon", {"for_": "1h"}, BadInput, "belongs to a rate"),
        ("amazon", {"rate": "1/s", "for_": "soon"}, BadInput, "for_ must be a duration"),
        ("amazon", {"rate": "1/s", "until": START}, BadInput, "must lie ahead"),
        ("amazon", {"rate": "1/s", "until": START + timedelta(1), "for_": "1h"}, BadInput, "not both"),
        ("amazon", {"rate": "1/s", "by": " "}, BadInput, "by= must name who"),
    ],
)
async def test_a_wrong_rate_is_refused_in_one_sentence_and_nothing_is_recorded(
    m: Held, name: str, given: dict, error: type[Exception], words: str
) -> None:
    Calls(m, Limit("amazon", "1/s"))
    with pytest.raises(error, match=r"^[^\n]*$") as found:
        await m.rota.set_limit(name, **given)
    assert words in str(found.value)
    assert await audit(m) == []
    assert (await m.rota.limits())[0].said_by is None


async def test_a_limit_that_only_handlers_spend_is_seen_and_steered_too(t: Held) -> None:
    inner = Limit("inner", "1/m", burst=2)

    @t.rota.job
    async def work(run: Run) -> None:
        await run.charge(inner)

    await work.enqueue()
    await t.rota.tick()
    (view,) = await t.rota.limits()
    assert (view.name, view.declared, view.rate, view.jobs) == ("inner", None, None, ())
    await t.rota.set_limit("inner", "2/s")
    (view,) = await t.rota.limits()
    assert (view.rate, view.burst) == ("2/s", 2)


@virtual
async def test_a_worker_that_sleeps_until_there_is_room_is_woken_by_another_rate(world: World) -> None:
    @world.rota.job(limit=Limit("slow", "1/d", burst=1))
    async def call(n: int) -> None:
        world.seen.append(n)

    await call.enqueue_many([1, 2, 3])
    await world.worker()
    await world.clock.sleep(60)
    assert world.seen == [1]
    await world.rota.set_limit("slow", "10/s")
    await world.clock.sleep(0.5)
    assert world.seen == [1, 2, 3]


# -- cool-downs ------------------------------------------------------------------------------------


async def test_a_cool_down_is_seen_in_each_of_its_states(t: Held) -> None:
    states: list[str] = []
    refused = [True]

    @t.rota.job("send", scope="mail")
    async def send(n: int) -> None:
        states.extend(one.state for one in await t.rota.cooldowns())
        if refused.pop():
            raise RateLimited("mail", after="10m")

    await send.enqueue_many([1, 2, 3])
    refused[:] = [False, False, False, True]
    await t.rota.tick(concurrency=1)
    (one,) = await t.rota.cooldowns()
    assert (one.scope, one.state, one.until) == ("mail", "cooling", START + timedelta(minutes=10))
    assert (one.jobs, one.failures, one.waiting) == (("send",), 1, 2)
    t.clock.advance("10m")
    (one,) = await t.rota.cooldowns()
    assert one.state == "half-open"
    await t.drain(START + timedelta(minutes=20))
    assert states[0] == "probing"
    assert await t.rota.cooldowns() == []


async def test_a_scope_is_put_on_cool_down_by_hand_and_one_run_tries_it_first(t: Held) -> None:
    calls = Calls(t, scope="amazon")
    until = await t.rota.cool("amazon", "10m", reason="they called", by="ana")
    assert until == START + timedelta(minutes=10)
    await calls.job.enqueue_many(["a", "b", "c"])
    assert (await t.rota.tick()).succeeded == 0
    (one,) = await t.rota.cooldowns()
    assert one.reason == "they called (by ana)"
    await t.drain(START + timedelta(minutes=12))
    assert sorted(calls.names) == ["a", "b", "c"]
    assert calls.at[0] == 600
    assert await audit(t) == [("cool", "scope:amazon", "ana", "they called")]


async def test_all_that_a_template_may_mean_is_cleared_by_one_act(t: Held) -> None:
    shops = t.rota.roster("shops")

    @t.rota.job(each=shops, schedule=every("1h"), scope="host:{region}", first_run="now")
    async def sync(shop: Member) -> None: ...

    await shops.join_many([{"key": region, "data": {"region": region}} for region in ("eu", "us", "in")])
    for region in ("eu", "us"):
        await t.rota.cool(f"host:{region}", "1h", reason="moving")
    assert (await t.rota.tick()).succeeded == 1
    assert await t.rota.clear_cooldown("host:{region}", by="ana") == 2
    assert (await t.rota.tick()).succeeded == 2
    assert (await audit(t))[2:] == [("clear_cooldown", "scope:host:{region}", "ana", None)]


async def test_clearing_what_does_not_cool_changes_and_records_nothing(m: Held) -> None:
    Calls(m, scope="amazon")
    assert await m.rota.clear_cooldown("amazon") == 0
    assert await audit(m) == []
    with pytest.raises(NotFound, match="did you mean 'amazon'"):
        await m.rota.clear_cooldown("amazn")


@pytest.mark.parametrize(
    ("scope", "for_", "reason", "error", "words"),
    [
        ("amazn", "1h", "x", NotFound, "did you mean 'amazon'?"),
        ("amazon", "1h", " ", BadInput, "needs a reason"),
        ("amazon", "0s", "x", BadInput, "at least 1ms"),
        ("ads:{region}", "1h", "x", BadInput, "say which"),
    ],
)
async def test_a_wrong_cool_down_is_refused_in_one_sentence(
    m: Held, scope: str, for_: str, reason: str, *, error: type[Exception], words: str
) -> None:
    Calls(m, Limit("ads:{region}", "1/s"), scope="amazon")
    with pytest.raises(error) as found:
        await m.rota.cool(scope, for_, reason=reason)
    assert words in str(found.value)
    assert await audit(m) == []


@virtual
async def test_a_worker_that_learnt_of_a_cool_down_starts_again_when_it_is_cleared(world: World) -> None:
    refused = [True]

    @world.rota.job(scope="mail")
    async def send(n: int) -> None:
        if refused and refused.pop():
            raise RateLimited("mail", after="1h")
        world.seen.append(n)

    await send.enqueue_many([1, 2, 3])
    await world.worker(concurrency=1)
    await world.clock.sleep(60)
    assert world.seen == []
    assert await world.rota.clear_cooldown("mail") == 1
    await world.clock.sleep(5)
    assert sorted(world.seen) == [2, 3]
    assert "released" not in await world.journal()


# -- why a turn waits ------------------------------------------------------------------------------


async def joined(t: Held, *keys: str, **options: object) -> object:
    """A roster of these members with one job that is due for all of them; each has the owner o and the region eu."""
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("24h"), first_run="now", **options)
    async def sync(shop: Member) -> None:
        if shop.key.startswith("bad"):
            raise Retryable("no")

    await shops.join_many([{"key": key, "owner": "o", "data": {"region": "eu"}} for key in keys])
    return sync


async def test_why_tells_the_limit_the_instant_and_the_place_in_line(t: Held) -> None:
    await joined(t, "a", "b", "c", limit=Limit("ads:{region}", "1/m", burst=1))
    await t.rota.tick()
    texts = sorted([await t.rota.why(f"shops/{key}") for key in "abc"], key=len)
    assert "waits" not in texts[0]
    assert "It waits for room under the limit ads:eu (1/m): it has some at 00:01, in 60 s." in texts[1]
    assert "it has some at 00:02; 1 run is before it in line." in texts[2]


async def test_why_tells_what_is_due_behind_a_full_limit(t: Held) -> None:
    await joined(t, *[f"m{n:03}" for n in range(200)], limit=Limit("amazon", "1/m", burst=1))
    await t.rota.tick()
    text = await t.rota.why("shops/m199")
    assert (
        "It is due and waits behind others for room under the limit amazon (1/m), the next at 00:01, in 60 s." in text
    )


async def test_why_tells_the_scope_that_cools_and_its_reason(t: Held) -> None:
    await joined(t, "a", scope="host")
    await t.rota.cool("host", "1h", reason="moving", by="ana")
    await t.rota.tick()
    assert "The scope host cools until 01:00, and nothing of it starts: moving (by ana)." in await t.rota.why("shops/a")
    t.clock.advance("1h")
    assert "The scope host cools" not in await t.rota.why("shops/a")


async def test_why_tells_the_run_that_holds_the_key(t: Held) -> None:
    await joined(t, "bad1", "bad2", serial="{owner}", retry=Retry(delays=["10m"]))
    await t.rota.tick()
    texts = [await t.rota.why(f"shops/{key}") for key in ("bad1", "bad2")]
    (waiting,) = [text for text in texts if "have the key" in text]
    assert "of sync has ended, which is to be tried again at 00:10: both have the key o." in waiting


async def test_why_tells_how_many_run_under_the_cap_of_a_key(t: Held) -> None:
    said: list[str] = []
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("24h"), first_run="now", cap=Cap(1, by="owner"))
    async def sync(shop: Member) -> None:
        said.append(await t.rota.why("shops/b" if shop.key == "a" else "shops/a"))

    await shops.join_many([{"key": key, "owner": "o"} for key in "ab"])
    await t.rota.tick()
    assert "It waits for a place: 1 run of at most 1 with owner o on the way." in said[0]


async def test_why_tells_that_the_places_of_a_job_are_taken(t: Held) -> None:
    said: list[str] = []
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("24h"), first_run="now", cap=1)
    async def sync(shop: Member) -> None:
        said.append(await t.rota.why("shops/b" if shop.key == "a" else "shops/a"))

    await shops.join_many(["a", "b"])
    await t.rota.tick()
    assert "It is due and waits for a place: 1 run of at most 1 on the way." in said[0]
    assert "is fresh" in said[1]


async def test_why_tells_the_batch_that_is_on_the_way_and_the_pause_after_it(t: Held) -> None:
    said: list[str] = []
    keys = [f"m{number}" for number in range(6)]
    shops = t.rota.roster("shops")

    @t.rota.job("sync", each=shops, schedule=every("24h"), first_run="now", batch=Batch(2, pause="30s"))
    async def sync(shop: Member) -> None:
        said.extend([await t.rota.why(f"shops/{key}") for key in keys])

    await shops.join_many(keys)
    await t.rota.tick(time="1s")
    assert any("It is due and waits for the batch that is on the way: 2 runs are left." in one for one in said)
    texts = [await t.rota.why(f"shops/{key}") for key in keys]
    assert len([one for one in texts if "It is due and waits for the next batch, at 00:00, in 30 s." in one]) == 4


async def test_why_tells_that_a_scope_is_being_tried(t: Held) -> None:
    said: list[str] = []

    @t.rota.job("tell", scope="host")
    async def tell() -> None:
        said.append(await t.rota.why("shops/a"))

    await joined(t, "a", scope="host")
    await t.rota.cool("host", "1m", reason="moving")
    await t.rota.tick()
    t.clock.advance("1m")
    await tell.enqueue()
    await t.rota.tick()
    assert "It waits for the scope host, which one run is trying now; the others follow when it works" in said[0]
    assert "is fresh" in await t.rota.why("shops/a")


# -- the morning glance ----------------------------------------------------------------------------


async def test_a_limit_that_is_full_for_long_needs_somebody_and_a_short_wait_is_only_told(t: Held) -> None:
    calls = Calls(t, Limit("amazon", "60/m", burst=60))
    await calls.job.enqueue_many([str(n) for n in range(200)])
    await t.rota.tick()
    assert await attention(t) == ([], ["140 waiting: limit amazon 60/m, clears about 00:02"])
    t.clock.advance("30s")
    await t.rota.tick()
    assert await attention(t) == ([], ["110 waiting: limit amazon 60/m, full for 30 s, clears about 00:02"])
    await calls.job.enqueue_many([str(n) for n in range(1_094)])
    await t.rota.tick()
    assert await attention(t) == (["1,204 waiting: limit amazon 60/m, full for 30 s, clears about 00:20"], [])


async def test_a_scope_that_cools_for_long_needs_somebody_unless_its_job_is_paused(t: Held) -> None:
    calls = Calls(t, scope="amazon")
    await t.rota.tick()
    await calls.job.enqueue_many(["a", "b"])
    await t.rota.cool("amazon", "9m", reason="short")
    assert await attention(t) == ([], ["2 waiting: scope amazon cools until 00:09: short (by local)"])
    await t.rota.cool("amazon", "2h", reason="long", by="ana")
    assert await attention(t) == (["2 waiting: scope amazon cools until 02:00: long (by ana)"], [])
    await t.rota.pause(job="call", reason="we know")
    assert await attention(t) == ([], [])
