"""Missed slots: what `catch_up` makes of an outage, a pause or a stop; every slot is accounted for (G-13, G-15)."""

from datetime import timedelta
from itertools import pairwise

import pytest

from rota import CatchUp, Member, Run, every
from tests.engine.conftest import HOUR, START, Held, ms

OFF = timedelta(hours=30, minutes=30)  # how long nothing runs


class Hourly:
    """An hourly job over one member, pinned to the second slot of the hour, and the slots it was run for."""

    def __init__(self, t: Held, catch_up: object, **options: object) -> None:
        self.t = t
        self.shops = t.rota.roster("shops")
        self.ran: list[int] = []
        self.at: list[int] = []

        @t.rota.job("sync", each=self.shops, schedule=every("1h"), catch_up=catch_up, **options)
        async def sync(shop: Member, run: Run) -> None:
            self.ran.append((run.slot_at - START) // HOUR)
            self.at.append(ms(t.clock.now()))

        self.job = sync

    async def off(self) -> None:
        """Run the first slot, then nothing for 30 hours and a half."""
        await self.shops.join("a", slot=1)
        await self.t.drain(self.t.at(minutes=6))
        assert len(self.ran) == 1
        self.t.clock.set(self.t.at(minutes=6) + OFF)

    async def accounted(self) -> None:
        """Every slot up to the newest has a run or a recorded skip, once."""
        hours = await self.t.slots_accounted("sync", "a")
        assert sorted(hours) == list(range(max(hours) + 1))


async def test_latest_makes_one_run_for_the_newest_missed_slot(t: Held) -> None:
    hourly = Hourly(t, "latest")
    await hourly.off()
    await t.drain()
    assert hourly.ran == [0, 30]
    assert (await hourly.job.turn("a")).slot_at - START < 32 * HOUR
    await hourly.accounted()
    skipped = [row for row in await t.journal() if row["outcome"] == "skipped"]
    assert sum(row["slots"] for row in skipped) == 29
    assert {row["reason"] for row in skipped} == {"caught up by a later slot"}


async def test_all_makes_up_every_missed_slot_oldest_first(t: Held) -> None:
    hourly = Hourly(t, "all")
    await hourly.off()
    await t.drain()
    assert hourly.ran == list(range(31))
    await hourly.accounted()


async def test_all_makes_up_at_most_so_many_and_accounts_for_the_rest(t: Held) -> None:
    hourly = Hourly(t, CatchUp("all", most=5))
    await hourly.off()
    await t.drain()
    assert hourly.ran == [0, 26, 27, 28, 29, 30]
    await hourly.accounted()


async def test_all_inside_its_window_leaves_the_older_ones(t: Held) -> None:
    hourly = Hourly(t, CatchUp("all", window="3h"))
    await hourly.off()
    await t.drain()
    assert hourly.ran == [0, 28, 29, 30]
    await hourly.accounted()


async def test_none_runs_nothing_that_was_missed_and_the_next_slot_as_usual(t: Held) -> None:
    hourly = Hourly(t, "none")
    await hourly.off()
    await t.drain()
    assert hourly.ran == [0]
    await t.drain(t.at(hours=31, minutes=5))
    assert hourly.ran == [0, 31]
    await hourly.accounted()


async def test_none_still_runs_a_slot_that_has_come_this_moment(t: Held) -> None:
    hourly = Hourly(t, "none")
    await hourly.off()
    (turn,) = await t.look("SELECT slot_at FROM rota.turn")
    t.clock.set(START + timedelta(milliseconds=turn[0] - ms(START)) + 30 * HOUR)
    await t.drain()
    assert hourly.ran == [0, 31]
    await hourly.accounted()


async def test_a_newest_slot_older_than_the_window_is_not_made_up(t: Held) -> None:
    hourly = Hourly(t, CatchUp("latest", window="5m"))
    await hourly.off()
    await t.drain()
    assert hourly.ran == [0]
    rows = await t.outcomes("outcome", "reason")
    assert ("skipped", "too late by policy") in rows
    await hourly.accounted()


async def test_more_than_a_hundred_missed_slots_share_a_row_and_are_still_counted(t: Held) -> None:
    hourly = Hourly(t, "latest")
    await hourly.shops.join("a", slot=1)
    t.clock.set(t.at(days=40, minutes=30))
    await t.drain()
    assert hourly.ran == [40 * 24]
    assert len(await t.journal()) <= 102
    await hourly.accounted()


async def test_after_a_stop_the_skipped_slots_say_that_everything_was_stopped(t: Held) -> None:
    hourly = Hourly(t, "latest")
    await hourly.shops.join("a", slot=1)
    await t.drain(t.at(minutes=30))
    await t.rota.stop_all("maintenance")
    t.clock.advance("5h")
    assert (await t.rota.tick()).stopped is not None
    await t.rota.resume_all()
    await t.drain()
    assert hourly.ran == [0, 5]
    reasons = [row["reason"] for row in await t.journal() if row["outcome"] == "skipped"]
    assert set(reasons) == {"stopped"}
    await hourly.accounted()


@pytest.mark.parametrize("scope", ["job", "roster", "member"])
async def test_after_a_pause_the_skipped_slots_say_so_and_the_newest_is_owed(t: Held, scope: str) -> None:
    target = {"job": "sync", "roster": "shops", "member": "shops/a"}[scope]
    hourly = Hourly(t, "latest")
    await hourly.shops.join("a", slot=1)
    await t.drain(t.at(minutes=30))
    before = await hourly.job.turn("a")
    await t.rota.pause(**{scope: target}, reason="holidays")
    assert (await hourly.job.turn("a")).due_at == before.due_at  # a paused turn keeps its due time
    assert await t.drain(t.at(hours=5, minutes=30)) == 0
    assert await t.rota.resume(**{scope: target})
    await t.drain()
    assert hourly.ran == [0, 5]
    assert {row["reason"] for row in await t.journal() if row["outcome"] == "skipped"} == {"paused"}
    await hourly.accounted()


async def test_after_a_pause_none_owes_nothing_even_for_the_newest_slot(t: Held) -> None:
    hourly = Hourly(t, "none")
    await hourly.shops.join("a", slot=1)
    await t.drain(t.at(minutes=30))
    await t.rota.pause(job="sync", reason="holidays")
    t.clock.set(t.at(hours=5, minutes=4))  # the sixth slot came a moment ago, inside the pause
    await t.rota.resume(job="sync")
    await t.drain()
    assert hourly.ran == [0]
    await t.drain(t.at(hours=6, minutes=4))
    assert hourly.ran == [0, 6]
    await hourly.accounted()


async def test_a_pause_with_an_end_ends_by_itself(t: Held) -> None:
    hourly = Hourly(t, "latest")
    await hourly.shops.join("a", slot=1)
    await t.drain(t.at(minutes=30))
    await t.rota.pause(member="shops/a", reason="holidays", until=t.at(hours=3))
    t.clock.set(t.at(hours=2, minutes=50))
    assert await t.drain() == 0
    t.clock.set(t.at(hours=3))
    await t.drain(t.at(hours=3, minutes=10))
    assert hourly.ran[1:] in ([2, 3], [3])
    await hourly.accounted()


async def test_a_tick_may_say_how_to_catch_up(t: Held) -> None:
    hourly = Hourly(t, "latest")
    await hourly.off()
    await t.rota.tick(catch_up="none")
    assert hourly.ran == [0]
    await hourly.accounted()


async def test_the_resume_of_a_stop_may_say_how_to_catch_up(t: Held) -> None:
    hourly = Hourly(t, "latest")
    await hourly.shops.join("a", slot=1)
    await t.drain(t.at(minutes=30))
    await t.rota.stop_all("maintenance")
    t.clock.advance("3h")
    await t.rota.resume_all(catch_up="all", spread="1m")
    await t.drain()
    assert hourly.ran == [0, 1, 2, 3]
    await hourly.accounted()


async def test_a_late_start_does_not_move_the_slots(t: Held) -> None:
    hourly = Hourly(t, "latest")
    await hourly.shops.join("a", slot=1)
    first = (await hourly.job.turn("a")).slot_at
    for late in (0, 17, 3, 41):
        due = (await hourly.job.turn("a")).due_at
        t.clock.set(due + timedelta(minutes=late))
        await t.drain()
    assert (await hourly.job.turn("a")).slot_at == first + 4 * HOUR
    assert await t.outcomes("outcome", "slot_at") == [("succeeded", ms(first + n * HOUR)) for n in range(4)]


async def test_the_slots_of_every_are_exactly_one_period_apart_for_a_year(m: Held) -> None:
    shops = m.rota.roster("shops")
    slots: list[int] = []

    @m.rota.job(each=shops, schedule=every("24h"))
    async def daily_sync(shop: Member, run: Run) -> None:
        slots.append(ms(run.slot_at))
        m.clock.advance("7s")  # runs take time, slots do not notice

    await shops.join("a")
    await m.drain(START + timedelta(days=365))
    assert len(slots) == 365
    assert {later - sooner for sooner, later in pairwise(slots)} == {86_400_000}
