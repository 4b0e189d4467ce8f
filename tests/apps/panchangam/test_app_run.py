"""The nightly job through the engine: what is due when, what is kept, who fails alone, and the switch."""

from datetime import UTC, date, datetime, timedelta

import orjson

from apps.panchangam import keys
from apps.panchangam.app import NIGHTLY, PAUSED_BY, Almanac, build
from apps.panchangam.precompute import today
from apps.panchangam.settings import PanchangamSettings
from apps.panchangam.shelf import Shelf
from apps.panchangam.status import status
from rota.testing import ManualClock, isolated

START = "2026-06-10T18:29:00Z"  # one minute before midnight in India
DAYS = 3


def small(**settings):
    chosen = {"city_precompute": "IN_TOP10", "precompute_days": DAYS} | settings
    return build(PanchangamSettings(**chosen), Almanac(name="panchangam"))


async def kept(app, prefix):
    return [key async for key in app.rota.cache.scan(prefix)]


async def told(app):
    return orjson.loads(await app.rota.cache.get(keys.SUMMARY))


async def test_a_new_store_computes_every_city_at_once_and_then_waits_for_half_past_two():
    app = small()
    async with isolated(app.rota, start=START) as t:
        await app.cities.sync()
        summary = await app.rota.tick()
        assert (summary.due, summary.succeeded) == (10, 10)
        assert (await app.rota.tick()).due == 0
        assert (await app.nightly.turn("mumbai")).due_at == datetime(2026, 6, 10, 21, 0, tzinfo=UTC)
        journal = await t.journal()
        assert {row["member"] for row in journal} == {member.key for member in await app.cities.members()}
        assert (await app.rota.status()).as_json()["rosters"][0]["fresh"] == 10


async def test_documents_stand_under_the_keys_with_the_lifetimes_that_readers_rely_on():
    app = small()
    async with isolated(app.rota, start=START):
        await app.cities.sync()
        await app.rota.tick()
        cache = app.rota.cache
        assert len(await kept(app, keys.DAYS)) == 10 * DAYS
        assert len(await kept(app, keys.FESTIVALS)) == 10
        assert await cache.ttl("panchangam:mumbai:2026-06-10") == timedelta(days=7)
        assert await cache.ttl("festivals:mumbai:2026:6") == timedelta(days=30)
        assert await cache.ttl(keys.SUMMARY) == timedelta(hours=24)
        document = orjson.loads(await cache.get("panchangam:mumbai:2026-06-12"))
        assert (document["v"], document["date"], document["place"]["slug"]) == (1, "2026-06-12", "mumbai")


async def test_the_day_is_that_of_india_and_not_that_of_the_machine():
    app = small()
    async with isolated(app.rota, start=START) as t:
        assert today(app.rota) == date(2026, 6, 10)
        t.clock.advance("1m")
        assert today(app.rota) == date(2026, 6, 11)


async def test_each_night_a_new_last_day_is_added():
    app = small()
    async with isolated(app.rota, start=START) as t:
        await app.cities.sync()
        ended = await t.drain(until="2026-06-12T20:59:00Z")
        assert ended == 10 + 2 * 10  # at once, then the nights to the 11th and to the 12th
        days = {key.rsplit(":", 1)[1] for key in await kept(app, keys.DAYS)}
        assert max(days) == "2026-06-14"


async def test_the_summary_tells_the_whole_pass():
    app = small()
    async with isolated(app.rota, start=START):
        await app.cities.sync()
        await app.rota.tick(concurrency=3)
        found = await told(app)
        assert (found["expected"], found["cities"], found["succeeded"], found["failed"]) == (10, 10, 10, 0)
        assert (found["documents"], found["festivalDocuments"], found["days"]) == (30, 10, DAYS)
        assert (found["first"], found["last"]) == ("2026-06-10", "2026-06-12")
        assert found["bytes"] > 100_000
        assert set(found) >= {"started", "finished", "duration", "stages", "engine", "kernel", "ayanamsa", "sunrise"}


async def test_one_failing_city_stops_none_of_the_others_and_is_named():
    app = small()
    async with isolated(app.rota, start=START) as t:
        await app.cities.sync()
        await app.cities.update("delhi", data={"lat": 95, "lon": 77.2, "name": "Delhi"})
        summary = await app.rota.tick()
        assert (summary.succeeded, summary.dead) == (9, 1)
        assert "delhi" in summary.jobs[0].error
        found = await told(app)
        assert (found["succeeded"], found["failed"]) == (9, 1)
        assert found["errors"][0]["city"] == "delhi"
        dead = [row for row in await t.journal() if row["outcome"] == "dead"]
        assert [row["member"] for row in dead] == ["delhi"]
        assert len(await kept(app, keys.DAYS)) == 9 * DAYS


async def test_a_city_without_coordinates_fails_with_a_sentence_that_says_what_to_do():
    app = small()
    async with isolated(app.rota, start=START):
        await app.cities.sync()
        await app.cities.update("delhi", data={})
        summary = await app.rota.tick()
        assert "give it lat and lon" in summary.jobs[0].error


async def test_a_member_with_a_place_of_its_own_is_computed_for_it():
    app = small()
    async with isolated(app.rota, start=START):
        await app.cities.sync()
        await app.cities.join("mcmurdo", zone="Antarctica/McMurdo", data={"lat": -77.85, "lon": 166.67})
        assert (await app.rota.tick()).ok
        document = orjson.loads(await app.rota.cache.get("panchangam:mcmurdo:2026-06-11"))
        assert document["status"] == "polar"


async def test_a_smaller_tier_takes_the_other_cities_off():
    app = small(city_precompute="IN_TOP50")
    rota = app.rota
    async with isolated(rota, start=START):
        await app.cities.sync()
        assert await app.cities.count() == 50
        await app.cities.leave("mumbai")
        await app.cities.sync()
        assert await app.cities.count() == 50


async def test_the_switch_pauses_the_night_and_leaves_runs_by_hand_and_reading():
    app = small(sched_enabled=False)
    async with isolated(app.rota, start=START) as t:
        await app.cities.sync()
        assert (await app.rota.tick()).due == 0
        await t.drain(until="2026-06-12T00:00:00Z")
        assert await t.journal() == []
        await app.by_hand.enqueue("pune")
        assert (await app.rota.tick()).succeeded == 1
        assert len(await kept(app, "panchangam:pune:")) == DAYS
        assert (await status(app))["scheduler"]["paused"]["by"] == PAUSED_BY


async def test_a_run_by_hand_of_a_city_that_is_no_member_says_so():
    app = small()
    async with isolated(app.rota, start=START):
        await app.by_hand.enqueue("thrissur")
        summary = await app.rota.tick()
        assert (summary.dead, "no member" in summary.jobs[1].error) == (1, True)


async def test_the_switch_ends_its_own_pause_and_no_other(sqlite_url):
    def started(*, enabled):
        settings = PanchangamSettings(city_precompute="IN_TOP10", precompute_days=DAYS, sched_enabled=enabled)
        return build(settings, Almanac(sqlite_url, clock=ManualClock(START)))

    async def paused_by(app):
        async with app.rota:
            await app.cities.sync()
            held = next(job for job in (await app.rota.status()).as_json()["jobs"] if job["job"] == NIGHTLY)["paused"]
            return held and held["by"]

    assert await paused_by(started(enabled=False)) == PAUSED_BY
    assert await paused_by(started(enabled=True)) is None
    async with (app := started(enabled=True)).rota:
        await app.rota.pause(job=NIGHTLY, reason="new rules", by="asha")
    assert await paused_by(started(enabled=False)) == "asha"
    assert await paused_by(started(enabled=True)) == "asha"


async def test_a_second_run_of_the_same_night_changes_nothing_but_times():
    app = small()
    async with isolated(app.rota, start=START):
        await app.cities.sync()
        await app.rota.tick()
        before = {key: await app.rota.cache.get(key) for key in await kept(app, keys.DAYS)}
        assert (await app.rota.tick(now=True)).succeeded == 10
        assert {key: await app.rota.cache.get(key) for key in await kept(app, keys.DAYS)} == before


async def test_status_counts_keys_coverage_and_says_when_the_next_run_is():
    app = small()
    async with isolated(app.rota, start=START):
        await app.cities.sync()
        await app.rota.tick()
        await app.rota.cache.delete("panchangam:mumbai:2026-06-11")
        found = await status(app)
        assert found["scheduler"]["nextRunAt"] == "2026-06-10T21:00:00Z"
        assert found["coverage"] == {"wanted": 30, "present": 29}
        assert [prefix["count"] for prefix in found["keys"]] == [29, 10, 2]
        assert found["keys"][0]["shortestTtl"] == 7 * 86_400
        assert found["lastSummary"]["succeeded"] == 10
        assert found["tables"] is None


async def test_documents_go_to_redis_where_it_is_named_and_no_run_fails_when_it_is_away(redis_server, redis_url):
    settings = PanchangamSettings(city_precompute="IN_TOP10", precompute_days=DAYS, redis_url=redis_url)
    app = build(settings, Almanac("sqlite:///:memory:", cache=redis_url))
    async with app.rota:
        await app.cities.sync()
        assert (await app.rota.tick()).succeeded == 10
        first = today(app.rota).isoformat()
        assert redis_server.command("exists", f"panchangam:mumbai:{first}", keys.SUMMARY) == "2"
        assert 604_000 < int(redis_server.command("ttl", f"panchangam:mumbai:{first}")) <= 604_800
        body = redis_server.command("get", f"panchangam:mumbai:{first}")
        assert orjson.loads(body)["place"]["slug"] == "mumbai"  # plain JSON: others read it too
        redis_server.stop()
        try:
            assert (await app.rota.tick(now=True)).succeeded == 10
            assert (await status(app))["coverage"]["present"] == 0
            place_body = await Shelf(app.rota.cache).summary()
            assert place_body is None
        finally:
            redis_server.start()
