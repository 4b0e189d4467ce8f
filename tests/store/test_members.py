import asyncio
import random

import pytest

from rota import rosters
from rota.clock import Clock
from rota.define.policy import Retry
from rota.define.roster import Member
from rota.define.schedule import cron, daily, every, weekly
from rota.errors import BadInput, Conflict, NotFound
from tests.store.held import DAY_MS, HOUR_MS, NOON_MS, HeldClock, catalog, look, opened

TURNS = (
    "SELECT member, due_at, slot_at, slot, phase_ms, manual, paused, on_end, state, stale_at, pinned FROM rota.turn"
    " WHERE job = :job ORDER BY member"
)


def hours(turns):
    return [row[1] // HOUR_MS % 24 for row in turns]


async def loads(store, job="sync"):
    rows = await look(store, "SELECT slot, load FROM rota.slot WHERE job = :job ORDER BY slot", job=job)
    return {slot: load for slot, load in rows if load}


async def start(store, job, member):
    await look(
        store,
        "UPDATE rota.turn SET state = 'running', worker = 'w', leased_until = 1 WHERE job = :job AND member = :member",
        job=job,
        member=member,
    )


async def end(store, job, member):
    await look(
        store,
        "UPDATE rota.turn SET state = 'waiting', worker = NULL, leased_until = NULL, slot_at = slot_at + 86400000,"
        " due_at = slot_at + 86400000 WHERE job = :job AND member = :member",
        job=job,
        member=member,
    )


def daily_job():
    return catalog("users", sync={"each": "users", "schedule": every("24h")})


async def test_twenty_four_members_of_a_daily_job_take_twenty_four_different_hours(store_url):
    async with opened(store_url, daily_job()) as store:
        for n in range(24):
            await rosters.join(store, "users", f"u{n}")
        turns = await look(store, TURNS, job="sync")
        assert sorted(hours(turns)) == list(range(24))
        assert all(NOON_MS < row[1] == row[2] <= NOON_MS + DAY_MS for row in turns)
        assert await rosters.count(store, "users") == 24


async def test_after_random_leaves_and_joins_nobody_has_moved_and_the_places_are_as_even_as_can_be(store_url):
    dice = random.Random(7)
    async with opened(store_url, daily_job()) as store:
        await rosters.join_many(store, "users", [f"u{n}" for n in range(96)])
        first = {row[0]: row[4] for row in await look(store, TURNS, job="sync")}
        for round_ in range(4):
            here = [member.key for member in await rosters.members(store, "users")]
            left = dice.sample(here, 17)
            for key in left:
                assert await rosters.leave(store, "users", key)
            emptied = await loads(store)
            assert max(emptied.values()) - min(emptied.get(slot, 0) for slot in range(24)) <= 1 + 17
            await rosters.join_many(store, "users", [f"r{round_}-{n}" for n in range(17)])
            turns = await look(store, TURNS, job="sync")
            assert all(first.get(row[0], row[4]) == row[4] for row in turns)
            first |= {row[0]: row[4] for row in turns}
            counted = {slot: [row[3] for row in turns].count(slot) for slot in {row[3] for row in turns}}
            assert counted == await loads(store)
            assert max(counted.values()) - min(counted.get(slot, 0) for slot in range(24)) <= 1


async def test_joining_many_at_once_places_them_as_joining_one_by_one(store_url):
    known = catalog("a", "b", one={"each": "a", "schedule": every("7d")}, many={"each": "b", "schedule": every("7d")})
    async with opened(store_url, known) as store:
        entries = [{"key": f"u{n:03}", "weight": 1 + n % 3} for n in range(60)]
        for entry in entries:
            await rosters.join(store, "a", **entry)
        await rosters.join_many(store, "b", entries)
        assert [row[1:5] for row in await look(store, TURNS, job="one")] == [
            row[1:5] for row in await look(store, TURNS, job="many")
        ]


async def test_members_beyond_one_transaction_all_join_and_can_be_paged(store_url):
    async with opened(store_url, daily_job()) as store:
        assert await rosters.join_many(store, "users", (f"u{n:05}" for n in range(11_000))) == 11_000
        found, after = [], None
        while page := await rosters.members(store, "users", after=after, limit=4_000):
            found += [member.key for member in page]
            after = found[-1]
        assert found == [f"u{n:05}" for n in range(11_000)]
        assert await rosters.count(store, "users") == 11_000
        spread = (await loads(store)).values()
        assert max(spread) - min(spread) <= 1


async def test_joining_again_changes_only_what_is_given(store_url):
    async with opened(store_url, daily_job()) as store:
        await rosters.join(store, "users", "u1", zone="Europe/Berlin", data={"a": 1}, owner="o1", weight=3)
        assert await rosters.join(store, "users", "u1") == Member(
            "u1", "Europe/Berlin", {"a": 1}, "o1", 3, roster="users"
        )
        again = await rosters.join(store, "users", "u1", data={"b": 2})
        assert again == Member("u1", "Europe/Berlin", {"b": 2}, "o1", 3, roster="users")
        assert await rosters.update(store, "users", "u1", zone=None) == Member(
            "u1", None, {"b": 2}, "o1", 3, roster="users"
        )
        assert await rosters.get(store, "users", "u1") == Member("u1", None, {"b": 2}, "o1", 3, roster="users")
        assert len(await look(store, TURNS, job="sync")) == 1
        with pytest.raises(NotFound, match="join it first"):
            await rosters.update(store, "users", "u2", zone="UTC")


async def test_keys_dicts_and_members_may_be_mixed_and_the_later_of_two_counts(store_url):
    async with opened(store_url, daily_job()) as store:
        entries = ["a", {"key": "b", "zone": "Asia/Kolkata"}, Member("c", weight=2), {"key": "b", "weight": 5}]
        assert await rosters.join_many(store, "users", entries) == 3
        assert await rosters.members(store, "users") == [
            Member("a", roster="users"),
            Member("b", "Asia/Kolkata", weight=5, roster="users"),
            Member("c", weight=2, roster="users"),
        ]
        assert await rosters.join_many(store, "users", ["a", {"key": "c", "weight": 4}, "d"]) == 2


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("a/b", "separator"),
        ({"key": "a", "zone": "Europe/Berlim"}, "Europe/Berlin"),
        ({"key": "a", "data": {"x": float("nan")}}, "JSON"),
        ({"key": "a", "colour": 1}, "dict"),
        ({"key": "a", "weight": 0}, "weight"),
        (7, "must be a key"),
    ],
)
async def test_one_bad_entry_and_nothing_is_written(sqlite_url, entry, word):
    async with opened(sqlite_url, daily_job()) as store:
        with pytest.raises(BadInput, match=word):
            await rosters.join_many(store, "users", ["fine", entry])
        assert await rosters.count(store, "users") == 0
        assert await look(store, "SELECT 1 FROM rota.turn") == []


async def test_a_member_without_the_day_that_a_schedule_reads_is_refused(store_url):
    known = catalog("users", digest={"each": "users", "schedule": weekly("day", "at")})
    async with opened(store_url, known) as store:
        with pytest.raises(BadInput, match="day"):
            await rosters.join(store, "users", "u1")
        await rosters.join(store, "users", "u1", data={"day": "sun", "at": "09:00"}, zone="Europe/Berlin")
        with pytest.raises(BadInput, match="at"):
            await rosters.join(store, "users", "u1", data={"day": "sun"})
        [turn] = await look(store, TURNS, job="digest")
        assert turn[1] == 1_767_513_600_000  # sunday 4 January 2026, 08:00 UTC


async def test_a_new_zone_moves_the_waiting_turn_at_once(store_url):
    known = catalog(
        "users", sync={"each": "users", "schedule": every("24h")}, digest={"each": "users", "schedule": daily("09:00")}
    )
    async with opened(store_url, known) as store:
        await rosters.join(store, "users", "u1", zone="Europe/Berlin")
        [before] = await look(store, TURNS, job="digest")
        assert before[1] == NOON_MS + 20 * HOUR_MS
        steady = await look(store, TURNS, job="sync")
        await rosters.join(store, "users", "u1", zone="America/New_York")
        [after] = await look(store, TURNS, job="digest")
        assert after[1] == after[2] == NOON_MS + 2 * HOUR_MS
        assert after[9] == after[1] + 144 * 60_000
        assert await look(store, TURNS, job="sync") == steady


async def test_a_new_zone_leaves_alone_what_is_owed_and_waits_for_what_runs(store_url):
    clock = HeldClock()
    known = catalog("users", digest={"each": "users", "schedule": daily("09:00")})
    async with opened(store_url, known, clock) as store:
        await rosters.join_many(store, "users", [{"key": key, "zone": "UTC"} for key in ("late", "runs")])
        clock.at_ms += 22 * HOUR_MS
        await start(store, "digest", "runs")
        for key in ("late", "runs"):
            await rosters.update(store, "users", key, zone="Asia/Kolkata")
        late, runs = await look(store, TURNS, job="digest")
        assert late[1] == late[2] == NOON_MS + 21 * HOUR_MS
        assert (runs[2], runs[7]) == (NOON_MS + 21 * HOUR_MS, 2)
        await end(store, "digest", "runs")
        [turn] = await look(store, "SELECT id FROM rota.turn WHERE member = 'runs'")
        assert await rosters.tend(store, [turn[0]]) == 1
        runs = (await look(store, TURNS, job="digest"))[1]
        assert (runs[1], runs[2], runs[7]) == (*[NOON_MS + 39 * HOUR_MS + 30 * 60_000] * 2, 0)


async def test_a_turn_pulled_forward_by_hand_keeps_its_due_time_and_gets_the_new_slot(store_url):
    async with opened(store_url, catalog("users", digest={"each": "users", "schedule": daily("09:00")})) as store:
        await rosters.join(store, "users", "u1")
        await look(store, "UPDATE rota.turn SET manual = 1, due_at = 5")
        await rosters.update(store, "users", "u1", zone="America/New_York")
        [turn] = await look(store, TURNS, job="digest")
        assert turn[1:3] == (5, NOON_MS + 2 * HOUR_MS)


async def test_leaving_takes_the_turns_and_frees_the_places(store_url):
    async with opened(store_url, daily_job()) as store:
        told = []
        store.events.listen(lambda event: told.append((event.name, event.fields["member"], event.fields["count"])))
        await rosters.join_many(store, "users", ["u1", "u2"])
        assert await rosters.leave(store, "users", "u1") is True
        assert await rosters.leave(store, "users", "u1") is False
        assert [row[0] for row in await look(store, TURNS, job="sync")] == ["u2"]
        assert sum((await loads(store)).values()) == 1
        assert await rosters.get(store, "users", "u1") is None
        assert told == [("member.joined", None, 2), ("member.left", "u1", 1)]


async def test_a_running_turn_goes_when_it_ends_unless_its_member_is_back(store_url):
    async with opened(store_url, daily_job()) as store:
        await rosters.join(store, "users", "u1")
        await start(store, "sync", "u1")
        await rosters.leave(store, "users", "u1")
        [turn] = await look(store, TURNS, job="sync")
        assert (turn[7], turn[8], await loads(store)) == (1, "running", {})
        await rosters.join(store, "users", "u1", weight=2)
        [turn] = await look(store, TURNS, job="sync")
        assert turn[7] == 2
        assert await loads(store) == {turn[3]: 2}
        await rosters.leave(store, "users", "u1")
        await rosters.leave(store, "users", "u1")
        assert await loads(store) == {}


async def test_a_changed_weight_is_carried_by_the_slot(store_url):
    async with opened(store_url, daily_job()) as store:
        await rosters.join_many(store, "users", [f"u{n}" for n in range(24)])
        before = await look(store, TURNS, job="sync")
        await rosters.update(store, "users", "u0", weight=10)
        assert await look(store, TURNS, job="sync") == before
        assert sorted((await loads(store)).values()) == [1] * 23 + [10]
        await rosters.leave(store, "users", "u0")
        assert sum((await loads(store)).values()) == 23


async def test_a_pinned_member_takes_the_slot_that_was_chosen_for_it(store_url):
    known = catalog("users", sync={"each": "users", "schedule": every("24h", closed=["02:00-05:00"])})
    async with opened(store_url, known) as store:
        for n in range(3):
            await rosters.join(store, "users", f"u{n}", slot=7)
        assert hours(await look(store, TURNS, job="sync")) == [7, 7, 7]
        with pytest.raises(BadInput, match="closed"):
            await rosters.join(store, "users", "u9", slot=3)
        with pytest.raises(BadInput, match="0 to 23"):
            await rosters.join(store, "users", "u9", slot=24)
        with pytest.raises(BadInput, match="known here are sync"):
            await rosters.join(store, "users", "u9", slot={"other": 1})
        await rosters.join_many(store, "users", [f"v{n}" for n in range(21)])
        assert 3 not in await loads(store)


async def test_pinning_somebody_who_is_there_never_shortens_the_gap(store_url):
    async with opened(store_url, daily_job()) as store:
        await rosters.join(store, "users", "u1")
        [before] = await look(store, TURNS, job="sync")
        slot = (before[3] - 3) % 24
        await rosters.join(store, "users", "u1", slot=slot)
        [after] = await look(store, TURNS, job="sync")
        assert hours([after]) == [slot]
        assert before[1] < after[1] == after[2] < before[1] + DAY_MS
        assert (after[10], await loads(store)) == (1, {slot: 1})


async def test_with_first_run_now_a_joiner_is_due_at_once_and_its_slot_stays(store_url):
    known = catalog("users", sync={"each": "users", "schedule": every("24h"), "first_run": "now"})
    async with opened(store_url, known) as store:
        woken = []
        store.on_wake(lambda: woken.append(1))
        await rosters.join(store, "users", "u1")
        [turn] = await look(store, TURNS, job="sync")
        assert (turn[1], turn[5], bool(woken)) == (NOON_MS, 1, True)
        assert NOON_MS < turn[2] <= NOON_MS + DAY_MS
        assert turn[9] == NOON_MS + DAY_MS // 10


async def test_a_member_whose_pause_is_on_joins_paused(store_url):
    async with opened(store_url, daily_job()) as store:
        text = (
            "INSERT INTO rota.pause (scope, name, by, reason, since) VALUES ('member', 'users/u1', 'ada', 'asked', 0)"
        )
        await look(store, text)
        await rosters.join_many(store, "users", ["u1", "u2"])
        assert [row[6] for row in await look(store, TURNS, job="sync")] == [1, 0]


async def test_a_follower_waits_without_a_due_time(store_url):
    known = catalog(
        "users",
        sync={"each": "users", "schedule": every("24h")},
        report={"each": "users", "after": "sync", "retry": Retry(tries=1)},
    )
    async with opened(store_url, known) as store:
        await rosters.join(store, "users", "u1")
        [turn] = await look(store, TURNS, job="report")
        assert turn[1:3] == (None, None)


async def test_the_window_of_a_wall_clock_job_holds_a_stable_offset_for_each_member(store_url):
    known = catalog("users", digest={"each": "users", "schedule": daily("09:00", zone="UTC", within="15m")})
    async with opened(store_url, known) as store:
        await rosters.join_many(store, "users", [f"u{n:03}" for n in range(200)])
        turns = await look(store, TURNS, job="digest")
        offsets = [row[1] - NOON_MS - 21 * HOUR_MS for row in turns]
        assert offsets == [row[4] for row in turns]
        assert 0 <= min(offsets) < 60_000
        assert 14 * 60_000 < max(offsets) < 15 * 60_000
        await rosters.leave(store, "users", "u007")
        await rosters.join(store, "users", "u007")
        assert (await look(store, TURNS, job="digest"))[7][4] == offsets[7]


async def test_many_who_join_and_leave_at_the_same_time_leave_exact_counts(store_url):
    known = catalog(
        "users", sync={"each": "users", "schedule": every("24h")}, scan={"each": "users", "schedule": every("7d")}
    )
    async with opened(store_url, known, Clock()) as store:
        await asyncio.gather(*(rosters.join(store, "users", f"u{n % 30}") for n in range(60)))
        assert await rosters.count(store, "users") == 30
        await asyncio.gather(
            *(rosters.leave(store, "users", f"u{n}") for n in range(10)),
            *(rosters.join(store, "users", f"v{n}") for n in range(10)),
            *(rosters.update(store, "users", f"u{n}", weight=2) for n in range(20, 30)),
        )
        assert await rosters.count(store, "users") == 30
        for job in ("sync", "scan"):
            assert sum((await loads(store, job)).values()) == 40
            assert len(await look(store, TURNS, job=job)) == 30


async def test_a_sync_lets_join_who_is_new_and_leave_who_is_gone(store_url):
    source = ["a", {"key": "b", "zone": "UTC"}, "c", "d", "e"]

    async def yielded():
        for entry in source:
            yield entry

    known = catalog(("users", {"source": yielded}), sync={"each": "users", "schedule": every("24h")})
    async with opened(store_url, known) as store:
        done = await rosters.sync(store, "users")
        assert (done.joined, done.changed, done.left, done.members) == (5, 0, 0, 5)
        store.clock.at_ms += 1
        source[:] = ["a", {"key": "b", "zone": "Asia/Kolkata"}, "d", "e", "f"]
        done = await rosters.sync(store, "users")
        assert (done.joined, done.changed, done.left, done.members) == (1, 1, 1, 5)
        assert [row[0] for row in await look(store, TURNS, job="sync")] == ["a", "b", "d", "e", "f"]
        source[:] = ["a"]
        with pytest.raises(Conflict, match="leaves out 4 of 5 members, at most 20%"):
            await rosters.sync(store, "users")
        assert await rosters.count(store, "users") == 5
        assert (await rosters.sync(store, "users", force=True)).members == 1


async def test_who_joins_while_the_source_is_read_stays(store_url):
    async with opened(store_url, catalog("none")) as store:

        async def yielded():
            store.clock.at_ms += 1
            await rosters.join(store, "users", "just-now")
            return ["a"]

        store.catalog = catalog(("users", {"source": yielded}), sync={"each": "users", "schedule": every("24h")})
        assert (await rosters.sync(store, "users")).members == 2


async def test_a_source_that_fails_changes_nothing_and_the_chores_go_on(store_url):
    def broken():
        message = "no route to the shop"
        raise OSError(message)

    known = catalog(("users", {"source": broken}), ("cities", {"source": lambda: ["delhi"]}))
    async with opened(store_url, known) as store:
        await rosters.join(store, "users", "u1")
        await rosters.sync_due(store)
        assert (await rosters.count(store, "users"), await rosters.count(store, "cities")) == (1, 1)
        notes = await look(store, "SELECT name, sync_note FROM rota.roster ORDER BY name")
        assert notes == [("cities", "1 joined, 0 changed, 0 left"), ("users", "sync failed: no route to the shop")]


async def test_a_cron_job_of_members_reads_their_zone(store_url):
    known = catalog("users", nightly={"each": "users", "schedule": cron("30 2 * * *")})
    async with opened(store_url, known) as store:
        await rosters.join_many(store, "users", [{"key": "d", "zone": "Asia/Kolkata"}, "u"])
        assert [row[1] for row in await look(store, TURNS, job="nightly")] == [
            NOON_MS + 9 * HOUR_MS,
            NOON_MS + 14 * HOUR_MS + 30 * 60_000,
        ]
