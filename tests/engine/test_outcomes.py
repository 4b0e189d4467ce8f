"""What each outcome makes of a turn: the table of design 17, row by row, on both stores."""

from datetime import timedelta

import pytest

from rota import Fail, Hold, Member, Outcome, PauseJob, RateLimited, Retry, Retryable, Skip, Snooze, every
from tests.engine.conftest import DAY, HOUR, START, Held, ms


class Script:
    """A job over one member that comes to what it is told, one thing after the other, then to None."""

    def __init__(self, t: Held, **options: object) -> None:
        self.t = t
        self.came: list[object] = []
        self.raises = True
        self.starts: list[int] = []
        self.shops = t.rota.roster("shops")
        options = {"schedule": every("1h"), "retry": Retry(delays=["10s", "20s"])} | options

        @t.rota.job("sync", each=self.shops, **options)
        async def sync(shop: Member) -> object:
            self.starts.append(ms(t.clock.now()))
            outcome = self.came.pop(0) if self.came else None
            if isinstance(outcome, Exception) and self.raises:
                raise outcome
            return outcome

        self.job = sync

    async def run(self, *came: object) -> None:
        """Join, move to the first slot and let the first attempt come to this; what is left comes later."""
        self.came = list(came)
        await self.shops.join("a", slot=1)
        self.slot = (await self.job.turn("a")).slot_at
        self.t.clock.set(self.slot)
        await self.t.rota.tick()

    async def row(self) -> tuple:
        """State, run, attempt, tries, losses, due after the slot in ms, and the slot after the first in ms."""
        ((state, run, attempt, tries, losses, due_at, slot_at),) = await self.t.look(
            "SELECT state, run, attempt, tries, losses, due_at, slot_at FROM rota.turn"
        )
        due = None if due_at is None else due_at - ms(self.slot)
        return state, run, attempt, tries, losses, due, slot_at - ms(self.slot)


NEXT = ("waiting", 2, 1, 0, 0, 3_600_000, 3_600_000)  # run 2 waits for the next slot


async def test_a_plain_value_succeeds_and_the_turn_waits_for_its_next_slot(t: Held) -> None:
    script = Script(t)
    await script.run(None)
    assert await script.row() == NEXT
    assert await t.outcomes("outcome", "run", "attempt", "slot_at", "started_at", "reason") == [
        ("succeeded", 1, 1, ms(script.slot), ms(script.slot), None)
    ]
    turn = await script.job.turn("a")
    assert turn.last_success_at == script.slot
    assert turn.stale_at == script.slot + HOUR + HOUR / 10  # the target is the period, the grace a tenth of it


@pytest.mark.parametrize("raises", [True, False], ids=["raised", "returned"])
async def test_a_retryable_uses_a_try_and_comes_again_at_the_delay(t: Held, raises: bool) -> None:
    script = Script(t)
    script.raises = raises
    await script.run(Retryable("503"))
    assert await script.row() == ("waiting", 1, 1, 1, 0, 10_000, 0)
    assert await t.outcomes("outcome", "reason") == [("retry", "503")]
    assert (await script.job.turn("a")).last_success_at is None


async def test_after_is_a_floor_under_the_delay(t: Held) -> None:
    script = Script(t)
    await script.run(Retryable("busy", after="45s"), Retryable("busy", after="1s"))
    assert (await script.row())[5] == 45_000
    t.clock.advance("45s")
    await t.rota.tick()
    assert (await script.row())[5] == 45_000 + 20_000


async def test_any_other_exception_is_a_retry_with_its_kind_and_message(t: Held) -> None:
    script = Script(t)
    await script.run(ValueError("no such report"))
    assert await script.row() == ("waiting", 1, 1, 1, 0, 10_000, 0)
    assert await t.outcomes("outcome", "reason") == [("retry", "ValueError: no such report")]


async def test_the_last_try_is_dead_and_the_next_slot_comes_as_usual(t: Held) -> None:
    script = Script(t)
    await script.run(*[Retryable("503")] * 3)
    await t.drain(script.slot + timedelta(minutes=5))
    assert [start - ms(script.slot) for start in script.starts] == [0, 10_000, 30_000]
    assert await t.outcomes() == ["retry", "retry", "dead"]
    assert await t.dead() == [("sync", "a", 3, "503")]
    assert await script.row() == ("waiting", 2, 3, 0, 0, 3_600_000, 3_600_000)
    assert (await script.job.turn("a")).last_success_at is None


async def test_after_a_death_with_hold_the_turn_waits_for_a_person(t: Held) -> None:
    script = Script(t, after_death="hold", retry=Retry(tries=1))
    await script.run(Retryable("503"))
    assert (await script.row())[0] == "held"
    assert await t.drain(script.slot + DAY) == 0
    assert len(await t.dead()) == 1


async def test_a_fail_is_dead_at_once_whatever_tries_are_left(t: Held) -> None:
    script = Script(t)
    await script.run(Fail("the account is gone"))
    assert await t.outcomes("outcome", "reason") == [("dead", "the account is gone")]
    assert await t.dead() == [("sync", "a", 1, "the account is gone")]
    assert await script.row() == NEXT


async def test_a_snooze_comes_later_and_uses_no_try(t: Held) -> None:
    script = Script(t)
    await script.run(Snooze("5m"), Snooze("5m"))
    assert await script.row() == ("waiting", 1, 1, 0, 0, 300_000, 0)
    await t.drain(script.slot + timedelta(minutes=30))
    assert await t.outcomes("outcome", "run", "attempt") == [
        ("snoozed", 1, 1),
        ("snoozed", 1, 2),
        ("succeeded", 1, 3),
    ]
    assert await script.row() == ("waiting", 2, 3, 0, 0, 3_600_000, 3_600_000)


async def test_a_snooze_with_a_catch_up_of_none_is_not_taken_for_a_missed_slot(t: Held) -> None:
    script = Script(t, catch_up="none")
    await script.run(Snooze("20m"))
    await t.drain(script.slot + timedelta(minutes=30))
    assert await t.outcomes() == ["snoozed", "succeeded"]


async def test_a_snooze_past_the_next_slot_ends_with_every_slot_accounted_for(t: Held) -> None:
    script = Script(t)
    await script.run(Snooze("150m"))
    await t.drain(script.slot + timedelta(hours=4, minutes=1))
    at = (script.slot - START) // HOUR
    hours = [hour for hour in await t.slots_accounted("sync", "a") if hour != at]
    assert hours == [at + 1, at + 2, at + 3, at + 4]


async def test_a_snoozed_run_is_not_inside_its_own_cool_off(t: Held) -> None:
    script = Script(t, min_gap="50m")
    await script.run(Snooze("5m"))
    await t.drain(script.slot + timedelta(minutes=30))
    assert await t.outcomes() == ["snoozed", "succeeded"]


async def test_a_skip_waits_for_the_next_slot_and_freshness_does_not_move(t: Held) -> None:
    script = Script(t)
    await script.run(None)
    fresh = await script.job.turn("a")
    script.came = [Skip("closed today")]
    await t.drain(script.slot + HOUR)
    assert await t.outcomes("outcome", "reason") == [("succeeded", None), ("skipped", "closed today")]
    turn = await script.job.turn("a")
    assert (turn.last_success_at, turn.stale_at) == (fresh.last_success_at, fresh.stale_at)
    assert turn.due_at == script.slot + 2 * HOUR
    assert await t.dead() == []


async def test_a_hold_keeps_the_turn_until_a_person_lets_it_go(t: Held) -> None:
    script = Script(t)
    await script.run(Hold("consent withdrawn"))
    assert await script.row() == ("held", 1, 1, 0, 0, 0, 0)
    assert await t.outcomes("outcome", "reason") == [("held", "consent withdrawn")]
    assert await t.drain(script.slot + timedelta(minutes=10)) == 0
    assert len(await t.rota.unhold(member="shops/a")) == 1
    await t.drain()
    assert await t.outcomes() == ["held", "succeeded"]
    assert (await script.row())[-1] == 3_600_000


async def test_slots_that_come_while_a_turn_is_held_are_skipped_as_held(t: Held) -> None:
    script = Script(t)
    await script.run(Hold("consent withdrawn"))
    t.clock.set(script.slot + timedelta(hours=3, minutes=30))
    await t.rota.unhold(member="shops/a")
    await t.drain()
    at = (script.slot - START) // HOUR
    rows = await t.outcomes("outcome", "slot_at", "slots", "reason")
    assert rows[0] == ("held", ms(script.slot), 1, "consent withdrawn")
    assert ("skipped", ms(script.slot), 3, "held") in rows
    assert rows[-1][:2] == ("succeeded", ms(script.slot + 3 * HOUR))
    assert (await script.job.turn("a")).slot_at == script.slot + 4 * HOUR
    assert at >= 0


async def test_a_pause_job_stops_the_job_for_everyone_and_says_so_once(t: Held) -> None:
    script = Script(t)
    heard: list[str] = []
    t.rota.listen(lambda event: heard.append(event.name))
    await script.shops.join("b", slot=1)
    await script.run(PauseJob("the key was refused"), PauseJob("the key was refused"))
    await t.drain(script.slot + 5 * HOUR)
    assert heard.count("job.paused") == 1
    assert len(script.starts) <= 2
    rows = await t.look("SELECT scope, name, by, reason FROM rota.pause WHERE ended_at IS NULL")
    assert rows == [("job", "sync", "rota", "the key was refused")]
    assert await t.look("SELECT state, tries FROM rota.turn ORDER BY id") == [("waiting", 0)] * 2
    assert await t.look("SELECT by, act, target, reason FROM rota.audit") == [
        ("rota", "pause", "job:sync", "the key was refused")
    ]


async def test_a_rate_limit_waits_without_a_try(t: Held) -> None:
    script = Script(t)
    await script.run(RateLimited("amazon-eu", after="2m"))
    assert await script.row() == ("waiting", 1, 1, 0, 0, 120_000, 0)
    assert await t.outcomes() == ["rate_limited"]


async def test_after_a_day_of_waiting_in_all_a_rate_limit_counts_as_a_retry(t: Held) -> None:
    script = Script(t, schedule=every("7d"), retry=Retry(tries=2, first="1s", jitter=0))
    await script.run(*[RateLimited("amazon-eu", after="10h")] * 4)
    await t.drain(script.slot + 3 * DAY)
    assert await t.outcomes() == ["rate_limited", "rate_limited", "retry", "dead"]
    # the service's own delay stays a floor
    assert [(start - ms(script.slot)) // 3_600_000 for start in script.starts] == [0, 10, 20, 30]


async def test_an_outcome_of_the_base_class_counts_as_a_retry(t: Held) -> None:
    script = Script(t)
    await script.run(Outcome("odd"))
    assert await t.outcomes("outcome", "reason") == [("retry", "odd")]


async def test_a_success_after_failures_ends_the_failing(t: Held) -> None:
    script = Script(t)
    await script.run(Retryable("503"))
    assert await t.look("SELECT failing_since - :slot FROM rota.turn", slot=ms(script.slot)) == [(0,)]
    await t.drain(script.slot + timedelta(minutes=1))
    assert await t.look("SELECT failing_since, error, reason FROM rota.turn") == [(None, None, None)]


async def test_the_journal_may_keep_failures_only_or_nothing(m: Held) -> None:
    ends: list[Exception | None] = [None, Fail("x")]
    for name in ("all", "failures", "none"):

        @m.rota.job(name, journal=name)
        async def handler(end: int) -> None:
            if ends[end] is not None:
                raise ends[end]

        for end in (0, 1):
            await handler.enqueue(end)
    await m.drain()
    assert sorted(await m.outcomes("job", "outcome")) == [
        ("all", "dead"),
        ("all", "succeeded"),
        ("failures", "dead"),
    ]
    counted = await m.look(
        "SELECT job, sum(runs), sum(succeeded), sum(dead) FROM rota.rollup GROUP BY job ORDER BY job"
    )
    assert counted == [("all", 2, 1, 1), ("failures", 2, 1, 1), ("none", 2, 1, 1)]


async def test_a_result_that_cannot_be_stored_ends_the_run_all_the_same(t: Held) -> None:
    script = Script(t, keep="latest", retry=Retry(tries=1))
    await script.run(object())
    ((outcome, reason),) = await t.outcomes("outcome", "reason")
    assert outcome == "dead"
    assert "result" in reason


async def test_an_error_text_full_of_what_stores_refuse_ends_the_run_all_the_same(t: Held) -> None:
    script = Script(t, retry=Retry(tries=1))
    await script.run(ValueError("nul \x00, lone \ud800, " + "long " * 20_000))
    ((outcome, reason),) = await t.outcomes("outcome", "reason")
    assert outcome == "dead"
    assert reason.startswith("ValueError: nul")
    assert len(reason.encode()) <= 17_000
