"""What jobs have due, held, dead and stale, on both databases: counted as far as is cheap, else as the last count."""

import pytest

from rota.define.schedule import every
from rota.insight import tallies
from rota.insight.status import status
from rota.insight.tallies import FEW, MANY, SMALL, bound
from rota.insight.why import why
from rota.store import reads
from rota.store.port import query
from rota.store.reads import Tally
from tests.store.held import DAY_MS, HOUR_MS, NOON_MS, catalog, look, opened
from tests.store.test_insight import fail, joined, shop, succeed

MINUTE_MS = 60_000


@pytest.fixture
def narrow(monkeypatch):
    """More than ten rows are much, three are few; while nobody counts: five."""
    for name, value in (("SMALL", 10), ("FEW", 3), ("MANY", 5)):
        monkeypatch.setattr(tallies, name, value)


async def figures(store, job="sync"):
    found = await status(store)
    return next(one for one in found.jobs if one.job == job), [one.text for one in found.matters], found


async def late(store, count, *failing):
    """So many members, all two days late, the first of them failing for causes."""
    await joined(store, count)
    await succeed(store, "1 = 1", 2 * DAY_MS)
    for where, fingerprint, message in failing:
        await fail(store, where, fingerprint, message)


def tally(looked, counted_at=NOON_MS):
    return Tally("sync", 0, 0, 0, 0, 0, looked, "[]", counted_at)


def test_how_far_a_page_counts_follows_from_the_last_count():
    assert bound(tally(SMALL), NOON_MS) == SMALL
    assert bound(tally(SMALL + 1), NOON_MS) == FEW
    assert bound(None, NOON_MS) == MANY
    assert bound(tally(SMALL, NOON_MS - 6 * MINUTE_MS), NOON_MS) == MANY
    assert bound(tally(10_000_000, NOON_MS - 6 * MINUTE_MS), NOON_MS) == FEW  # counting takes its time


async def test_a_job_with_little_is_exact_at_the_moment_whatever_the_last_count_said(store_url, narrow):
    async with opened(store_url, shop()) as store:
        await late(store, 8, ("member < 's00004'", "f1", "TokenExpired"))
        assert await tallies.recount(store) == 2
        await succeed(store, "member > 's00005'", HOUR_MS)
        store.clock.at_ms += MINUTE_MS
        job, matters, found = await figures(store)
        assert (job.due, job.more, job.counted_at) == (6, False, store.clock.at_ms)
        assert matters == [
            "4 of sellers stale: sync, HTTPError: TokenExpired since 11:00",
            "2 of sellers stale: sync, not run since Wed 14:24",
        ]
        assert found.verdict.endswith("though 6 runs are due.")


async def test_a_job_with_much_is_as_its_last_count_was_and_says_of_when(store_url, narrow):
    async with opened(store_url, shop()) as store:
        await late(store, 30, ("member < 's00012'", "f1", "TokenExpired"))
        await look(store, "UPDATE rota.turn SET state = 'held', reason = 'no' WHERE member > 's00025'")
        for number in range(7):
            await look(
                store,
                "INSERT INTO rota.dead_letter (turn, run, job, roster, member, tries, losses, reason, died_at)"
                f" VALUES ({number}, 1, 'sync', 'sellers', 's00001', 3, 0, 'bad {number}', {NOON_MS - number})",
            )
        await tallies.recount(store)
        store.clock.at_ms += MINUTE_MS
        job, matters, found = await figures(store)
        assert (job.due, job.held, job.dead, job.more, job.counted_at) == (26, 4, 7, False, NOON_MS)
        assert job.as_json()["countedAt"] == "2026-01-01T12:00:00Z"
        assert matters == [
            "18 of sellers stale: sync, not run since Wed 14:24",
            "12 of sellers stale: sync, HTTPError: TokenExpired since 11:00",
            "7 dead letters of sync, the newest 12:00: bad 0",
            "4 turns of sync on hold: no",
        ]
        assert found.rosters[0].due == 26
        assert "11 other sellers fail the same way." in await why(store, "sellers/s00003")


async def test_a_job_with_much_that_is_well_again_is_exact_at_once(store_url, narrow):
    async with opened(store_url, shop()) as store:
        await late(store, 30)
        await tallies.recount(store)
        await succeed(store, "member > 's00001'", HOUR_MS)
        job, matters, _ = await figures(store)
        assert (job.due, job.counted_at) == (2, NOON_MS)
        assert matters == ["2 of sellers stale: sync, not run since Wed 14:24"]


async def test_a_cause_that_came_since_the_last_count_is_told_with_how_many_there_are_at_least(store_url, narrow):
    async with opened(store_url, shop()) as store:
        await late(store, 30)
        await tallies.recount(store)
        await fail(store, "1 = 1", "f9", "no route")
        _, matters, _ = await figures(store)
        assert matters == [
            "30 of sellers stale: sync, not run since Wed 14:24",
            "at least 3 of sellers stale: sync, HTTPError: no route since 11:00",
        ]


async def test_while_nobody_counts_a_page_counts_further_and_says_at_least(store_url, narrow):
    async with opened(store_url, shop()) as store:
        await late(store, 30)
        job, matters, found = await figures(store)
        assert (job.due, job.more, job.counted_at) == (5, True, NOON_MS)
        assert found.verdict.endswith("yet though at least 5 runs are due.")
        assert matters == ["at least 5 of sellers stale: sync, not run since Wed 14:24"]
        await tallies.recount(store)
        store.clock.at_ms += HOUR_MS
        job, matters, _ = await figures(store)
        assert (job.due, job.more, job.counted_at) == (30, False, NOON_MS)
        assert matters == ["30 of sellers stale: sync, not run since Wed 14:24"]


async def test_a_paused_member_is_no_cause_and_a_paused_job_has_nothing_due(store_url, narrow):
    async with opened(store_url, shop()) as store:
        await late(store, 30)
        await look(store, "UPDATE rota.turn SET paused = 1 WHERE member > 's00010'")
        await tallies.recount(store)
        job, matters, _ = await figures(store)
        assert job.due == 11
        assert matters == ["11 of sellers stale: sync, not run since Wed 14:24"]


async def test_one_offs_that_wait_are_counted_like_the_rest(store_url, narrow):
    async with opened(store_url, shop()) as store:
        await look(store, "INSERT INTO rota.lane (job, priority) VALUES ('mail', 0)")
        for number in range(20):
            due_at = NOON_MS - 1 if number < 15 else NOON_MS + DAY_MS
            await look(
                store,
                "INSERT INTO rota.turn (job, key, args, standing, due_at, priority)"
                f" VALUES ('mail', 'k{number}', '{{}}', 0, {due_at}, 0)",
            )
        job, _, _ = await figures(store, "mail")
        assert (job.due, job.turns, job.more) == (5, 5, True)
        await tallies.recount(store)
        job, _, _ = await figures(store, "mail")
        assert (job.due, job.turns, job.more) == (15, 20, False)


async def test_a_short_period_comes_as_often_as_it_does_also_in_the_last_count(store_url, narrow):
    known = catalog("sellers", sync={"each": "sellers", "schedule": every("10m")})
    async with opened(store_url, known) as store:
        await joined(store, 30)
        live = (await status(store)).rosters[0].next_hour
        await tallies.recount(store)
        assert (await status(store)).rosters[0].next_hour == 180
        assert 5 * 6 <= live <= 180


async def test_a_job_with_much_is_counted_less_often_and_one_that_is_gone_is_forgotten(store_url, monkeypatch):
    monkeypatch.setattr(tallies, "REST_MS", 1_000)
    async with opened(store_url, shop()) as store:
        await late(store, 30)
        assert await tallies.recount(store) == 2
        assert await tallies.recount(store) == 1  # mail, which has nothing
        store.clock.at_ms += 2 * 30 * 1_000
        assert await tallies.recount(store) == 2
        await look(store, "DELETE FROM rota.turn")
        await look(store, "DELETE FROM rota.lane")
        await look(store, "DELETE FROM rota.job WHERE name = 'sync'")
        await tallies.recount(store)
        assert list(await store.read(lambda: reads.tallies(["sync", "mail"]))) == ["mail"]


async def test_no_more_than_fifty_causes_of_a_job_are_kept(store_url):
    async with opened(store_url, shop()) as store:
        await late(store, 60)
        await look(store, "UPDATE rota.turn SET error = member, failing_since = stale_at WHERE job = 'sync'")
        await tallies.recount(store)
        rows = await store.read(lambda: query("tallies", [("sync",)]))
        assert rows[0][7].count("sellers") == 50
