"""Runs by hand, cool-offs, the first run of a new member, and what leaves slots where they are; on both stores."""

import asyncio
from datetime import timedelta

import pytest

from rota import Fail, Member, Retry, Run, every
from rota.errors import BadInput, Conflict, NotFound
from tests.engine.conftest import HOUR, START, Held, ms


class Shops:
    """A job every six hours over a roster, and who ran when."""

    def __init__(self, t: Held, **options: object) -> None:
        self.shops = t.rota.roster("shops")
        self.ran: list[tuple[str, int | None]] = []
        self.fails = False
        options = {"schedule": every("6h"), "retry": Retry(delays=["10s"])} | options

        @t.rota.job("sync", each=self.shops, **options)
        async def sync(shop: Member, run: Run) -> None:
            self.ran.append((shop.key, None if run.slot_at is None else ms(run.slot_at)))
            if self.fails:
                raise Fail("gone")

        self.job = sync


async def test_the_first_run_of_a_member_is_its_first_slot_after_now(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a", slot=3)
    turn = await world.job.turn("a")
    assert turn.due_at == turn.slot_at
    assert START < turn.due_at <= START + 6 * HOUR
    assert await t.drain() == 0


async def test_with_first_run_now_a_new_member_is_due_at_once_and_slots_stay(t: Held) -> None:
    world = Shops(t, first_run="now")
    await world.shops.join("a", slot=3)
    before = await world.job.turn("a")
    assert before.due_at == START
    await t.drain()
    after = await world.job.turn("a")
    assert after.due_at == after.slot_at == before.slot_at
    assert world.ran == [("a", None)]
    assert after.last_success_at == START


async def test_a_run_by_hand_does_not_move_slots(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a")
    slot = (await world.job.turn("a")).slot_at
    handle = await world.job.run_now("a", reason="support call", by="ada")
    assert handle.created
    await t.drain()
    assert await handle.state() == "succeeded"
    turn = await world.job.turn("a")
    assert (turn.due_at, turn.slot_at, turn.run) == (slot, slot, 2)
    await t.drain(slot)
    assert world.ran == [("a", None), ("a", ms(slot))]
    assert await t.outcomes("run", "slot_at") == [(1, None), (2, ms(slot))]
    assert await t.look("SELECT by, act, target, reason FROM rota.audit WHERE act = 'run_now'") == [
        ("ada", "run_now", "turn:sync@shops/a", "support call")
    ]


async def test_runs_by_hand_at_the_same_moment_collapse_into_one(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a")
    handles = await asyncio.gather(*(world.job.run_now("a") for _ in range(10)))
    assert sum(handle.created for handle in handles) == 1
    assert len({handle.id for handle in handles}) == 1
    await t.drain()
    assert len(world.ran) == 1


async def test_a_run_by_hand_of_a_due_turn_is_the_run_that_is_due(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a")
    slot = (await world.job.turn("a")).slot_at
    t.clock.set(slot)
    handle = await world.job.run_now("a")
    assert not handle.created
    await t.drain()
    assert world.ran == [("a", ms(slot))]
    assert (await world.job.turn("a")).slot_at == slot + 6 * HOUR


async def test_a_run_by_hand_while_it_runs_is_the_run_that_runs(t: Held) -> None:
    world = Shops(t)
    handles = []

    @t.rota.job("long", each=world.shops, schedule=every("6h"))
    async def long(shop: Member) -> None:
        handles.append(await long.run_now(shop.key))

    await world.shops.join("a")
    first = await long.run_now("a")
    await t.rota.tick(jobs=["long"])
    assert [(handle.id, handle.created) for handle in handles] == [(first.id, False)]
    assert len(await t.journal()) == 1


async def test_a_run_by_hand_of_a_retrying_turn_is_due_at_once(t: Held) -> None:
    world = Shops(t, retry=Retry(delays=["1h", "1h"]))
    failures = [ValueError("x")]

    @t.rota.job("frail", each=world.shops, schedule=every("6h"), retry=Retry(delays=["1h"]))
    async def frail(shop: Member) -> None:
        if failures:
            raise failures.pop()

    await world.shops.join("a")
    first = await frail.run_now("a")
    await t.rota.tick(jobs=["frail"])
    again = await frail.run_now("a")
    assert (again.id, again.created) == (first.id, False)
    await t.rota.tick(jobs=["frail"])
    assert await t.outcomes() == ["retry", "succeeded"]


async def test_a_failed_run_by_hand_is_a_dead_letter_that_can_be_requeued(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a")
    slot = (await world.job.turn("a")).slot_at
    world.fails = True
    await world.job.run_now("a")
    await t.drain()
    ((letter,),) = await t.look("SELECT id FROM rota.dead_letter")
    world.fails = False
    await t.rota.requeue(letter)
    await t.drain()
    assert await t.outcomes() == ["dead", "succeeded"]
    assert (await world.job.turn("a")).slot_at == slot


async def test_a_start_by_hand_inside_the_cool_off_is_refused_with_the_time_left(t: Held) -> None:
    world = Shops(t, min_gap="2h")
    await world.shops.join("a")
    slot = (await world.job.turn("a")).slot_at
    await t.drain(slot)
    t.clock.advance("30m")
    with pytest.raises(Conflict, match=r"1 h 30 m|1h30m|90 m"):
        await world.job.run_now("a")
    t.clock.advance("90m")
    assert (await world.job.run_now("a")).created


async def test_a_regular_slot_inside_the_cool_off_of_a_late_start_is_skipped_with_its_reason(t: Held) -> None:
    world = Shops(t, min_gap="5h")
    await world.shops.join("a")
    slot = (await world.job.turn("a")).slot_at
    t.clock.set(slot + timedelta(hours=3))
    await t.drain()
    await t.drain(slot + timedelta(hours=12))
    assert [came for _, came in world.ran] == [ms(slot), ms(slot + 12 * HOUR)]
    rows = await t.outcomes("outcome", "slot_at", "reason")
    assert [row[:2] for row in rows] == [
        ("succeeded", ms(slot)),
        ("skipped", ms(slot + 6 * HOUR)),
        ("succeeded", ms(slot + 12 * HOUR)),
    ]
    assert "min_gap" in rows[1][2]


async def test_a_retry_inside_the_cool_off_is_the_same_run(t: Held) -> None:
    failures = [ValueError("x")]
    world = Shops(t)

    @t.rota.job("frail", each=world.shops, schedule=every("6h"), min_gap="5h", retry=Retry(delays=["10m"]))
    async def frail(shop: Member) -> None:
        if failures:
            raise failures.pop()

    await world.shops.join("a")
    slot = (await frail.turn("a")).slot_at
    await t.drain(slot + timedelta(hours=1))
    assert [row["outcome"] for row in await t.journal() if row["job"] == "frail"] == ["retry", "succeeded"]
    await t.drain(slot + timedelta(hours=6))
    assert [row["outcome"] for row in await t.journal() if row["job"] == "frail"][-1] == "succeeded"


async def test_a_job_without_a_roster_has_one_turn_and_runs_by_hand_without_an_argument(t: Held) -> None:
    ran = []

    @t.rota.job("report", schedule=every("24h"))
    async def report(run: Run) -> None:
        ran.append((run.roster, run.member))

    await t.rota.tick()  # a tick reconciles what is declared
    assert START < (await report.turn()).slot_at <= START + timedelta(days=7)
    handle = await report.run_now()
    await t.drain()
    assert await handle.state() == "succeeded"
    assert ran == [(None, None)]
    assert await t.look("SELECT count(*) FROM rota.turn") == [(1,)]


async def test_runs_by_hand_of_nobody_are_refused_in_one_sentence(t: Held) -> None:
    world = Shops(t)

    @t.rota.job("lone", schedule=every("24h"))
    async def lone() -> None: ...

    await world.shops.join("a")
    with pytest.raises(NotFound, match="nobody"):
        await world.job.run_now("nobody")
    with pytest.raises(BadInput, match="member"):
        await world.job.run_now()
    with pytest.raises(BadInput, match="member"):
        await lone.run_now("a")


async def test_a_run_by_hand_of_a_paused_member_waits_for_the_resume(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a")
    await t.rota.pause(member="shops/a", reason="holidays")
    await world.job.run_now("a")
    assert await t.drain() == 0
    await t.rota.resume(member="shops/a")
    await t.drain()
    assert world.ran == [("a", None)]


async def test_a_held_turn_is_let_go_by_a_run_by_hand(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a")
    await t.rota.hold(member="shops/a", reason="look first")
    assert (await world.job.turn("a")).state == "held"
    assert (await world.job.run_now("a")).created
    await t.drain()
    assert len(world.ran) == 1
    assert (await world.job.turn("a")).state == "waiting"


async def test_a_cancelled_turn_goes_on_to_its_next_slot(t: Held) -> None:
    world = Shops(t)
    await world.shops.join("a")
    slot = (await world.job.turn("a")).slot_at
    t.clock.set(slot)
    await t.rota.cancel(member="shops/a", reason="not today")
    assert await t.drain() == 0
    assert (await world.job.turn("a")).slot_at == slot + 6 * HOUR
    assert await t.outcomes("outcome", "slot_at", "reason") == [("cancelled", ms(slot), "not today")]


async def test_a_member_that_leaves_takes_its_turns_along_and_one_that_runs_goes_when_it_ends(t: Held) -> None:
    world = Shops(t)

    @t.rota.job("leaver", each=world.shops, schedule=every("6h"))
    async def leaver(shop: Member) -> None:
        await world.shops.leave(shop.key)

    await world.shops.join("a")
    await leaver.run_now("a")
    await t.rota.tick(jobs=["leaver"])
    assert await t.look("SELECT count(*) FROM rota.turn") == [(0,)]
    assert await t.look("SELECT sum(load) FROM rota.slot") == [(0,)]
    assert await t.outcomes() == ["succeeded"]
