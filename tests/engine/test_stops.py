"""Pauses, holds and the emergency stop: nothing starts, all is on record, and it survives a restart; on both stores."""

from datetime import timedelta

import pytest

from rota import Member, Rota, Run, every
from rota.errors import BadInput, IllegalTransition, NotFound
from rota.testing import ManualClock
from tests.engine.conftest import START, Held


class Shops:
    """A job every hour over shops a and b, due now, and one over cities."""

    def __init__(self, rota: Rota) -> None:
        self.rota = rota
        self.ran: list[str] = []
        self.shops, self.cities = rota.roster("shops"), rota.roster("cities")

        async def handler(who: Member, run: Run) -> None:
            self.ran.append(f"{run.job} {who.key}")

        self.sync = rota.job("sync", each=self.shops, schedule=every("1h"), first_run="now")(handler)
        self.mail = rota.job("mail", each=self.shops, schedule=every("1h"), first_run="now")(handler)
        self.sky = rota.job("sky", each=self.cities, schedule=every("1h"), first_run="now")(handler)

    async def join(self) -> "Shops":
        await self.shops.join_many(["a", "b"])
        await self.cities.join("pune")
        return self


ALL = {"sync a", "sync b", "mail a", "mail b", "sky pune"}


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({"job": "sync"}, {"mail a", "mail b", "sky pune"}),
        ({"roster": "shops"}, {"sky pune"}),
        ({"member": "shops/a"}, {"sync b", "mail b", "sky pune"}),
    ],
    ids=["job", "roster", "member"],
)
async def test_what_is_paused_does_not_run_and_everything_else_does(t: Held, what: dict, left: set[str]) -> None:
    world = await Shops(t.rota).join()
    await t.rota.pause(**what, reason="maintenance", by="ada")
    await t.drain()
    assert set(world.ran) == left
    assert await t.rota.resume(**what, by="grace")
    await t.drain()
    assert set(world.ran) == ALL
    ((name, key),) = what.items()
    assert await t.look("SELECT by, act, target, reason FROM rota.audit ORDER BY id") == [
        ("ada", "pause", f"{name}:{key}", "maintenance"),
        ("grace", "resume", f"{name}:{key}", None),
    ]
    assert not await t.rota.resume(**what)


async def test_pauses_on_top_of_each_other_all_have_to_end(t: Held) -> None:
    world = await Shops(t.rota).join()
    await t.rota.pause(job="sync", reason="x")
    await t.rota.pause(member="shops/a", reason="y")
    await t.rota.resume(job="sync")
    await t.drain()
    assert set(world.ran) == {"sync b", "mail b", "sky pune"}
    await t.rota.resume(member="shops/a")
    await t.drain()
    assert set(world.ran) == ALL


async def test_a_member_that_joins_under_its_pause_is_paused(t: Held) -> None:
    world = await Shops(t.rota).join()
    await t.rota.pause(member="shops/a", reason="x")
    await world.shops.leave("a")
    await world.shops.join("a")
    await t.drain()
    assert "sync a" not in world.ran


async def test_a_new_reason_is_recorded_and_since_stays(t: Held) -> None:
    await Shops(t.rota).join()
    await t.rota.pause(job="sync", reason="first")
    t.clock.advance("1h")
    await t.rota.pause(job="sync", reason="second", by="grace")
    rows = await t.look("SELECT by, reason, since FROM rota.pause WHERE ended_at IS NULL")
    assert rows == [("grace", "second", int(START.timestamp() * 1000))]


async def test_an_emergency_stop_stops_everything_until_the_resume(t: Held) -> None:
    world = await Shops(t.rota).join()
    stop = await t.rota.stop_all("bad deploy", by="ada")
    assert (stop.first, stop.running) == (True, ())
    again = await t.rota.stop_all("bad deploy", by="grace")
    assert not again.first
    assert await t.drain() == 0
    assert world.ran == []
    assert await t.rota.resume_all(by="ada")
    assert not await t.rota.resume_all()
    await t.drain()
    assert set(world.ran) == ALL
    acts = await t.look("SELECT by, act, target, reason FROM rota.audit ORDER BY id")
    assert acts == [
        ("ada", "stop", "all", "bad deploy"),
        ("grace", "stop", "all", "bad deploy"),
        ("ada", "resume", "all", None),
    ]


async def test_a_stop_from_inside_a_tick_ends_its_claiming(t: Held) -> None:
    seen: list[int] = []

    @t.rota.job
    async def step(number: int) -> None:
        seen.append(number)
        if number == 2:
            await t.rota.stop_all("drill")

    await step.enqueue_many(list(range(20)))
    summary = await t.rota.tick(concurrency=1)
    assert len(seen) <= 4
    assert summary.succeeded == len(seen)


async def test_enqueuing_and_joining_go_on_under_a_stop(t: Held) -> None:
    world = await Shops(t.rota).join()
    await t.rota.stop_all("drill")
    await world.shops.join("c")
    await world.sync.run_now("a")
    assert await t.drain() == 0
    await t.rota.resume_all()
    await t.drain()
    assert set(world.ran) == ALL | {"sync c", "mail c"}


async def test_pauses_stops_and_holds_survive_a_restart(store_url: str) -> None:
    clock = ManualClock(START)
    first = Rota(store_url, clock=clock)
    world = await Shops(first).join()
    await first.pause(job="sky", reason="x")
    await first.hold(member="shops/a", reason="y")
    await first.stop_all("z", by="ada")
    await first.close()
    second = Rota(store_url, clock=clock)
    world = Shops(second)
    async with second:
        assert (await second.tick()).stopped[:2] == ("ada", "z")
        await second.resume_all()
        await second.tick()
        assert set(world.ran) == {"sync b", "mail b"}
        await second.resume(job="sky")
        await second.unhold(member="shops/a")
        await second.tick()
        assert set(world.ran) == ALL


async def test_a_held_turn_is_never_due_and_its_slots_are_skipped_as_held(t: Held) -> None:
    world = Shops(t.rota)
    await world.shops.join("a")
    await t.drain()
    held = await t.rota.hold(member="shops/a", job="sync", reason="look", by="ada")
    assert len(held) == 1
    await t.drain(t.at(hours=5, minutes=30))
    assert world.ran.count("sync a") == 1
    assert world.ran.count("mail a") >= 6
    assert await t.rota.unhold(member="shops/a", job="sync") == held
    await t.drain()
    rows = [row for row in await t.journal() if row["job"] == "sync" and row["outcome"] == "skipped"]
    assert {row["reason"] for row in rows} == {"held"}
    ran = [row["slot_at"] for row in await t.journal() if row["job"] == "sync" and row["outcome"] == "succeeded"]
    hours = await t.slots_accounted("sync", "a")
    assert len(hours) == len(set(hours)) == max(hours) - min(hours) + 1
    assert ran[0] is None  # the first run was due by joining
    assert ran[-1] == max(
        row["slot_at"] for row in await t.journal() if row["slot_at"] is not None and row["job"] == "sync"
    )


async def test_a_running_turn_cannot_be_held(t: Held) -> None:
    shops = t.rota.roster("shops")
    refused: list[Exception] = []

    @t.rota.job(each=shops, schedule=every("1h"), first_run="now")
    async def sync(shop: Member) -> None:
        try:
            await t.rota.hold(member="shops/a", reason="x")
        except IllegalTransition as error:
            refused.append(error)

    await shops.join("a")
    await t.drain()
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda rota: rota.pause(job="sink", reason="x"), NotFound, "sync"),
        (lambda rota: rota.pause(roster="shop", reason="x"), NotFound, "shops"),
        (lambda rota: rota.pause(member="shops/zz", reason="x"), NotFound, "zz"),
        (lambda rota: rota.pause(member="shops", reason="x"), BadInput, "roster/key"),
        (lambda rota: rota.pause(reason="x"), BadInput, "job"),
        (lambda rota: rota.pause(job="sync", roster="shops", reason="x"), BadInput, "one"),
        (lambda rota: rota.pause(job="sync", reason=" "), BadInput, "reason"),
        (lambda rota: rota.pause(job="sync", reason="x", until=START - timedelta(hours=1)), BadInput, "until"),
        (lambda rota: rota.pause(job="sync", reason="x", by=""), BadInput, "by"),
        (lambda rota: rota.stop_all(""), BadInput, "reason"),
        (lambda rota: rota.stop_all("x", running="maybe"), BadInput, "finish"),
        (lambda rota: rota.resume_all(catch_up="some"), BadInput, "latest"),
        (lambda rota: rota.hold(member="shops/zz", reason="x"), NotFound, "zz"),
        (lambda rota: rota.unhold(id="what"), BadInput, "what"),
        (lambda rota: rota.cancel(id="4711-1"), NotFound, "4711"),
        (lambda rota: rota.requeue(), BadInput, "id="),
        (lambda rota: rota.why("shops/zz"), NotFound, "zz"),
    ],
)
async def test_a_wrong_target_is_refused_in_one_sentence_and_nothing_is_recorded(m: Held, call, error, words) -> None:
    await Shops(m.rota).join()
    with pytest.raises(error, match=words) as caught:
        await call(m.rota)
    assert "\n" not in str(caught.value)
    assert await m.look("SELECT count(*) FROM rota.audit") == [(0,)]
