import asyncio
import random

import pytest

from rota import rosters
from rota.clock import Clock
from rota.define.schedule import cron, daily, every
from rota.errors import Conflict
from rota.store import placing
from tests.store.held import DAY_MS, HOUR_MS, NOON_MS, HeldClock, catalog, look, opened

TURNS = (
    "SELECT member, due_at, slot_at, slot, phase_ms, era, priority, on_end, state FROM rota.turn"
    " WHERE job = :job ORDER BY member"
)
JOBS = "SELECT name, roster, era, reconciled FROM rota.job ORDER BY name"


def with_jobs(**jobs):
    return catalog("users", **{name: {"each": "users"} | options for name, options in jobs.items()})


async def loads(store, job="sync"):
    rows = await look(store, "SELECT slot, load FROM rota.slot WHERE job = :job ORDER BY slot", job=job)
    return {slot: load for slot, load in rows if load}


def in_slots(turns):
    slots = [row[3] for row in turns]
    return {slot: slots.count(slot) for slot in set(slots)}


async def test_a_job_that_is_new_to_a_roster_gets_its_turns_in_balanced_slots(store_url, monkeypatch):
    monkeypatch.setattr(placing, "MOST_PAGE", 20)
    async with opened(store_url, with_jobs()) as store:
        await rosters.join_many(store, "users", [f"u{n:02}" for n in range(72)])
        store.catalog = with_jobs(sync={"schedule": every("24h")})
        done = await rosters.reconcile(store)
        assert (done.added, done.moved, done.busy) == (72, 0, False)
        turns = await look(store, TURNS, job="sync")
        assert in_slots(turns) == dict.fromkeys(range(24), 3) == await loads(store)
        assert await look(store, JOBS) == [("sync", "users", 0, "done")]
        again = await rosters.reconcile(store)
        assert (again.declared, again.added, again.moved) == (0, 0, 0)


async def test_a_scheduled_job_without_a_roster_has_one_turn_and_a_one_off_none(store_url):
    known = catalog(
        nightly={"schedule": cron("30 2 * * *", zone="Asia/Kolkata")},
        steady={"schedule": every("6h"), "first_run": "now"},
        mail={},
        after={"after": "nightly"},
    )
    async with opened(store_url, known) as store:
        await asyncio.gather(rosters.reconcile(store), rosters.reconcile(store))
        turns = await look(store, "SELECT job, roster, member, due_at, slot_at FROM rota.turn ORDER BY job")
        assert turns == [
            ("after", None, None, None, None),
            ("nightly", None, None, NOON_MS + 9 * HOUR_MS, NOON_MS + 9 * HOUR_MS),
            ("steady", None, None, NOON_MS, NOON_MS + 6 * HOUR_MS),
        ]
        assert [row[0] for row in await look(store, JOBS)] == ["after", "mail", "nightly", "steady"]


@pytest.mark.parametrize("period", ["6h", "7d", "36h"])
async def test_another_period_keeps_the_order_and_shortens_no_gap(store_url, period):
    dice = random.Random(3)
    clock = HeldClock()
    async with opened(store_url, with_jobs(sync={"schedule": every("24h")}), clock) as store:
        await rosters.reconcile(store)
        keys = [f"u{n:02}" for n in range(48)]
        dice.shuffle(keys)
        await rosters.join_many(store, "users", keys)
        before = await look(store, TURNS, job="sync")
        clock.at_ms += 5 * HOUR_MS
        changed = every(period)
        store.catalog = with_jobs(sync={"schedule": changed})
        assert (await rosters.reconcile(store)).moved == 48
        after = await look(store, TURNS, job="sync")
        assert [row[0] for row in sorted(before, key=lambda row: row[4])] == [
            row[0] for row in sorted(after, key=lambda row: row[4])
        ]
        assert {row[5] for row in after} == {1}
        assert in_slots(after) == await loads(store)
        for old, new in zip(before, after, strict=True):
            if old[1] <= clock.at_ms:
                assert new[1:3] == old[1:3]  # it is owed already
            else:
                assert new[1] > clock.at_ms
                assert changed.period_ms <= new[1] - (old[1] - DAY_MS) < 2 * changed.period_ms + DAY_MS
                assert new[1] % changed.period_ms == (changed.anchor_ms + new[4]) % changed.period_ms


async def test_a_change_that_was_cut_short_goes_on_where_it_stopped(store_url, monkeypatch):
    monkeypatch.setattr(placing, "MOST_PAGE", 10)
    async with opened(store_url, with_jobs(sync={"schedule": every("24h")})) as store:
        await rosters.reconcile(store)
        await rosters.join_many(store, "users", [f"u{n:02}" for n in range(35)])
        store.catalog = with_jobs(sync={"schedule": every("48h")})
        write, left = store.write, [3]

        async def cut(make, **options):
            left[0] -= 1
            if left[0] < 0:
                message = "the power went"
                raise OSError(message)
            return await write(make, **options)

        store.write = cut
        with pytest.raises(OSError, match="power"):
            await rosters.reconcile(store)
        store.write = write
        assert sorted({row[5] for row in await look(store, TURNS, job="sync")}) == [0, 1]
        await rosters.leave(store, "users", "u34")
        await rosters.join(store, "users", "u99")
        store.clock.at_ms += 60_000
        await rosters.reconcile(store)
        turns = await look(store, TURNS, job="sync")
        assert {row[5] for row in turns} == {1}
        assert (len(turns), in_slots(turns)) == (35, await loads(store))


async def test_two_changes_one_upon_the_other_are_understood(store_url, monkeypatch):
    monkeypatch.setattr(placing, "MOST_PAGE", 10)
    async with opened(store_url, with_jobs(sync={"schedule": every("24h")})) as store:
        await rosters.reconcile(store)
        await rosters.join_many(store, "users", [f"u{n:02}" for n in range(24)])
        for period in ("12h", "6h"):
            store.catalog = with_jobs(sync={"schedule": every(period), "priority": 5})
            store.clock.at_ms += 60_000
            await rosters.reconcile(store)
        turns = await look(store, TURNS, job="sync")
        assert in_slots(turns) == dict.fromkeys(range(24), 1) == await loads(store)
        assert {row[6] for row in turns} == {5}
        assert (5,) in await look(store, "SELECT priority FROM rota.lane WHERE job = 'sync'")


async def test_a_release_that_does_not_know_a_job_leaves_it_alone_and_its_joiners_are_found_later(store_url):
    new = with_jobs(sync={"schedule": every("24h")}, scan={"schedule": every("7d")})
    old = with_jobs(sync={"schedule": every("24h")})
    async with opened(store_url, new) as store, opened(store_url, old) as elder:
        await rosters.reconcile(store)
        await rosters.reconcile(elder)
        await rosters.join(elder, "users", "u1")
        assert await look(store, TURNS, job="scan") == []
        assert (await rosters.reconcile(elder, declare=False)).added == 0
        assert (await rosters.reconcile(store, declare=False)).added == 1
        assert len(await look(store, TURNS, job="scan")) == 1
        await rosters.leave(elder, "users", "u1")
        assert await look(store, TURNS, job="scan") == []
        assert await loads(store, "scan") == {}


async def test_who_joins_through_a_release_with_the_former_schedule_is_placed_again(store_url):
    old, new = with_jobs(sync={"schedule": every("24h")}), with_jobs(sync={"schedule": every("6h")})
    async with opened(store_url, old) as elder, opened(store_url, new) as store:
        await rosters.reconcile(elder)
        await rosters.reconcile(store)
        await rosters.join_many(elder, "users", [f"u{n:02}" for n in range(24)])
        assert await loads(store) == {}
        assert (await rosters.reconcile(store, declare=False)).moved == 24
        assert in_slots(await look(store, TURNS, job="sync")) == dict.fromkeys(range(24), 1) == await loads(store)


async def test_from_slots_to_the_wall_clock_and_back(store_url):
    async with opened(store_url, with_jobs(sync={"schedule": every("24h")})) as store:
        await rosters.reconcile(store)
        await rosters.join_many(store, "users", [{"key": f"u{n:02}", "zone": "Asia/Kolkata"} for n in range(24)])
        store.catalog = with_jobs(sync={"schedule": daily("09:00")})
        await rosters.reconcile(store)
        turns = await look(store, TURNS, job="sync")
        assert {row[1] for row in turns} == {NOON_MS + 15 * HOUR_MS + 30 * 60_000}
        assert await loads(store) == {}
        store.catalog = with_jobs(sync={"schedule": every("24h")})
        await rosters.reconcile(store)
        assert in_slots(await look(store, TURNS, job="sync")) == dict.fromkeys(range(24), 1) == await loads(store)


async def test_a_job_that_goes_to_another_roster_takes_its_turns_along(store_url):
    def of(roster):
        return catalog("users", "cities", sync={"each": roster, "schedule": every("24h")})

    async with opened(store_url, of("users")) as store:
        await rosters.reconcile(store)
        await rosters.join(store, "users", "u1")
        await rosters.join(store, "cities", "c1")
        store.catalog = of("cities")
        await rosters.reconcile(store)
        assert [row[0] for row in await look(store, TURNS, job="sync")] == ["c1"]
        assert sum((await loads(store)).values()) == 1


async def test_a_job_that_vanished_from_the_code_stays(store_url):
    async with opened(store_url, with_jobs(sync={"schedule": every("24h")})) as store:
        await rosters.reconcile(store)
        await rosters.join(store, "users", "u1")
        store.catalog = with_jobs()
        await rosters.reconcile(store)
        assert len(await look(store, TURNS, job="sync")) == 1
        assert [row[0] for row in await look(store, JOBS)] == ["sync"]


async def test_many_processes_reconcile_at_once_and_every_member_has_one_turn(store_url, monkeypatch):
    monkeypatch.setattr(placing, "MOST_PAGE", 25)
    async with opened(store_url, with_jobs(), Clock()) as store:
        await rosters.join_many(store, "users", [f"u{n:03}" for n in range(100)])
        store.catalog = with_jobs(sync={"schedule": every("24h")}, scan={"schedule": every("7d")})
        done = await asyncio.gather(*(rosters.reconcile(store) for _ in range(6)))
        assert sum(one.added for one in done) == 200
        assert len(await look(store, TURNS, job="sync")) == len(await look(store, TURNS, job="scan")) == 100
        spread = (await loads(store)).values()
        assert max(spread) - min(spread) <= 1


async def test_rebalance_moves_few_and_only_to_later_instants(store_url):
    async with opened(store_url, with_jobs(sync={"schedule": every("24h")})) as store:
        await rosters.reconcile(store)
        await rosters.join_many(store, "users", [f"u{n:02}" for n in range(72)])
        turns = await look(store, TURNS, job="sync")
        for row in turns:
            if row[3] in {3, 4}:
                await rosters.leave(store, "users", row[0])
        before = {row[0]: row for row in await look(store, TURNS, job="sync")}
        preview = await rosters.rebalance(store, "sync", preview=True)
        assert (preview.moves, preview.spread_before, preview.spread_after) == (4, 3, 1)
        assert await look(store, "SELECT 1 FROM rota.audit") == []
        assert await rosters.rebalance(store, "sync", by="ada", reason="after the sale") == preview
        after = await look(store, TURNS, job="sync")
        moved = [row for row in after if row != before[row[0]]]
        assert len(moved) == 4
        assert all(0 < row[1] - before[row[0]][1] <= preview.longest_delay_ms < DAY_MS for row in moved)
        assert all(row[1] == row[2] for row in moved)
        assert in_slots(after) == await loads(store)
        audit = await look(store, "SELECT by, act, target, count, reason FROM rota.audit")
        assert audit == [("ada", "rebalance", "sync", 4, "after the sale")]


async def test_a_job_of_the_wall_clock_has_nothing_to_even_out(sqlite_url):
    async with opened(sqlite_url, with_jobs(sync={"schedule": daily("09:00")})) as store:
        with pytest.raises(Conflict, match="no slots"):
            await rosters.rebalance(store, "sync")
