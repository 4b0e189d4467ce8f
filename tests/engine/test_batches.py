"""Batches: so many at once, all must settle, then a pause; fleet-wide, and whoever dies."""

import asyncio
from datetime import timedelta
from itertools import pairwise

from rota import Batch, Fail, Member, Run, Skip, every
from rota.clock import give_way
from rota.engine.worker import Settings
from tests.engine.conftest import START, Held
from tests.engine.test_limits import seconds
from tests.engine.virtual import World, virtual


async def test_a_batch_starts_together_and_the_next_after_the_pause(t: Held) -> None:
    users = t.rota.roster("users")
    at: list[float] = []

    @t.rota.job(each=users, schedule=every("24h"), batch=Batch(3, pause="5s"))
    async def report(user: Member) -> None:
        at.append(seconds([t.clock.now_ms()])[0])

    await users.join_many([f"u{n}" for n in range(8)])
    for n in range(8):
        await report.run_now(f"u{n}")
    await t.drain(START + timedelta(minutes=1))
    assert at == [0, 0, 0, 5, 5, 5, 10, 10]


async def test_a_handler_may_take_the_whole_batch_and_answer_for_each(t: Held) -> None:
    users = t.rota.roster("users")
    calls: list[list[str]] = []

    @t.rota.job(each=users, schedule=every("24h"), batch=Batch(4, pause="1s"))
    async def report(members: list[Member], run: Run) -> list[object]:
        calls.append([one.key for one in members])
        assert run.member == members[0].key
        return [Fail("no") if one.key == "u1" else Skip("nothing") if one.key == "u2" else None for one in members]

    await users.join_many([f"u{n}" for n in range(4)])
    for n in range(4):
        await report.run_now(f"u{n}")
    summary = await t.rota.tick()
    assert [sorted(one) for one in calls] == [["u0", "u1", "u2", "u3"]]
    assert (summary.succeeded, summary.dead, summary.skipped) == (2, 1, 1)


async def test_what_a_batch_handler_raises_is_what_all_of_them_came_to(t: Held) -> None:
    users = t.rota.roster("users")

    @t.rota.job(each=users, schedule=every("24h"), batch=Batch(4))
    def report(members: list[Member]) -> None:
        raise Fail("all of you")

    await users.join_many(["a", "b"])
    for key in "ab":
        await report.run_now(key)
    assert (await t.rota.tick()).dead == 2


async def test_a_list_of_the_wrong_length_fails_the_batch_with_one_sentence(t: Held) -> None:
    users = t.rota.roster("users")

    @t.rota.job(each=users, schedule=every("24h"), batch=Batch(4))
    async def report(members: list[Member]) -> list[None]:
        return [None]

    await users.join_many(["a", "b"])
    for key in "ab":
        await report.run_now(key)
    summary = await t.rota.tick()
    assert summary.retrying == 2
    assert "got 2 members and returned a list of 1" in str(summary.jobs[0].error)


@virtual
async def test_two_workers_keep_one_rhythm(world: World) -> None:
    users = world.rota.roster("users")
    running: set[str] = set()
    most = 0

    @world.rota.job(each=users, schedule=every("24h"), batch=Batch(5, pause="5s"))
    async def report(user: Member) -> None:
        nonlocal most
        running.add(user.key)
        most = max(most, len(running))
        world.seen.append(round(world.clock.monotonic(), 3))
        await asyncio.sleep(2)
        running.discard(user.key)

    await users.join_many([f"u{n:02}" for n in range(40)])
    for n in range(40):
        await report.run_now(f"u{n:02}")
    await world.worker()
    await world.worker()
    await asyncio.sleep(120)
    starts = sorted(set(world.seen))
    assert most == 5
    assert len(world.seen) == 40
    first = [at for n, at in enumerate(starts) if n == 0 or at - starts[n - 1] > 1]
    gaps = [after - before for before, after in pairwise(first)]
    assert all(7 <= gap <= 7.1 for gap in gaps), gaps


@virtual
async def test_a_batch_whose_worker_died_is_over_when_its_lease_is(world: World) -> None:
    users = world.rota.roster("users")

    @world.rota.job(each=users, schedule=every("24h"), batch=Batch(5, pause="5s"))
    async def report(user: Member) -> None:
        world.seen.append(world.clock.monotonic())
        await asyncio.sleep(3600 if len(world.seen) <= 5 else 1)

    await users.join_many([f"u{n}" for n in range(8)])
    for n in range(8):
        await report.run_now(f"u{n}")
    dead, task = await world.worker()
    await asyncio.sleep(1)
    assert len(world.seen) == 5
    await dead._keeper.stop()
    task.cancel()
    dead.pump.running.clear()
    await world.look("UPDATE rota.turn SET worker = 'gone' WHERE state = 'running'")
    began = world.clock.monotonic()
    await world.worker()
    await asyncio.sleep(40)
    starts = [at - began for at in world.seen[5:]]
    assert len(starts) == 8
    assert min(starts) >= 5


async def test_a_tick_with_a_limit_below_the_size_runs_a_smaller_batch(t: Held) -> None:
    users = t.rota.roster("users")

    @t.rota.job(each=users, schedule=every("24h"), batch=Batch(5, pause="5s"))
    async def report(user: Member) -> None: ...

    await users.join_many([f"u{n}" for n in range(5)])
    for n in range(5):
        await report.run_now(f"u{n}")
    assert (await t.rota.tick(limits={"report": 2})).succeeded == 2


async def test_the_pause_of_a_batch_begins_though_its_bucket_was_forgotten_meanwhile(t: Held) -> None:
    """A batch whose worker was lost may end more than a day after it began; then its bucket is pruned."""
    users = t.rota.roster("users")
    seen: list[str] = []

    @t.rota.job(each=users, schedule=every("24h"), batch=Batch(2, pause="20m"))
    async def report(user: Member) -> None:
        seen.append(user.key)
        await t.look("DELETE FROM rota.bucket RETURNING scope")

    await users.join_many(["a", "b", "c", "d"])
    for key in "abcd":
        await report.run_now(key)
    await t.rota.tick()
    await t.rota.tick()
    assert len(seen) == 2
    t.clock.advance("20m")
    await t.rota.tick()
    assert sorted(seen) == ["a", "b", "c", "d"]


async def test_one_of_a_batch_whose_scope_cools_at_the_last_moment_costs_the_others_nothing(t: Held) -> None:
    users = t.rota.roster("users")
    calls: list[list[str]] = []

    @t.rota.job(each=users, schedule=every("24h"), batch=Batch(3), scope="user:{member}")
    async def report(members: list[Member]) -> list[object]:
        calls.append(sorted(one.key for one in members))
        return [None] * len(members)

    await users.join_many(["a", "b", "c"])
    for key in "abc":
        await report.run_now(key)
    worker = await t.rota.worker(Settings())
    await worker._begin()
    await worker.pump.turn_over(worker.pump.lanes[0])
    worker.pump.scopes.note("user:b", 60_000)
    while worker.pump.running:
        await give_way()
    await worker.pump.turn_over(None)
    await worker._keeper.stop()
    assert calls == [["a", "c"]]
    assert sorted(await t.outcomes("member", "outcome")) == [("a", "succeeded"), ("b", "released"), ("c", "succeeded")]
