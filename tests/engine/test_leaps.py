"""The store's clock is set by hours: who lives loses nothing, who is dead is found out one lease later (G-19).

Always true: the clock of these tests leaps while the monotonic one goes on; time is moved, never slept.

Not here: the same with everything running (tests/sim), with a server whose clock steps (tests/chaos, C-9).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from rota.clock import give_way
from rota.engine.chores import PLAIN_LEASE_MS, Chores
from rota.engine.doubts import Doubts, StoreTime
from rota.engine.keeper import Identity, extend, introduce
from rota.engine.worker import Worker
from rota.store.port import query
from rota.store.reaping import Doubted
from rota.testing import ManualClock
from tests.engine.conftest import START, Held, held_on
from tests.engine.test_tick import call
from tests.engine.virtual import World, virtual

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LEASE_S = PLAIN_LEASE_MS / 1000
ATTEMPT_MS = 90_000  # the last instant of the attempts here: an hour and more behind after a leap
LEAPS_MS = (3 * HOUR_MS, 3653 * DAY_MS, -3 * HOUR_MS)
NAP_S = 2.0  # a nap of at most this moves the clock; who sleeps for longer wakes up when it is time


class LeapingClock(ManualClock):
    """A clock that can be set: then it shows another instant, and no time has passed."""

    leaps = True

    def __init__(self) -> None:
        super().__init__(START)
        self._leapt_ms = 0
        self.meanwhile: Callable[[], Awaitable[None]] = give_way

    def leap(self, by_ms: int) -> None:
        """It is set."""
        self._leapt_ms += by_ms
        self._ms += by_ms

    def monotonic(self) -> float:
        return (self._ms - self._start_ms - self._leapt_ms) / 1000

    async def sleep(self, seconds: float) -> None:
        if seconds <= NAP_S:
            self._ms += math.ceil(round(seconds * 1000, 6))
            await self.meanwhile()
            return
        until_s = self.monotonic() + seconds
        while self.monotonic() < until_s:
            await give_way()


@pytest.fixture
async def t(store_url: str) -> AsyncIterator[Held]:
    """An application on each store, whose clock can be set."""
    async for held in held_on(store_url, LeapingClock()):
        yield held


async def _running(t: Held, worker: str = "w1") -> Identity:
    """A worker with one run."""
    job = call(t, "greet", [])
    await job.enqueue("1")
    who = Identity(worker, worker, "worker", "1", PLAIN_LEASE_MS, 1, "*")
    store = await t.rota.opened()
    await store.write(lambda: introduce(who))
    await t.look(
        "UPDATE rota.turn SET state = 'running', worker = :worker, attempt = 1, tries = 1, leased_until = :until"
        " RETURNING id",
        worker=worker,
        until=t.clock.now_ms() + ATTEMPT_MS,
    )
    return who


async def _beat(t: Held, who: Identity) -> None:
    await (await t.rota.opened()).write(lambda: extend(who, 1, None, ()))


@pytest.mark.parametrize("leap_ms", LEAPS_MS)
async def test_a_worker_that_beats_after_a_leap_loses_nothing(t: Held, leap_ms: int) -> None:
    who = await _running(t)
    reaper = Chores(await t.rota.opened(), "reaper")
    assert await reaper.reap() == 0
    t.clock.leap(leap_ms)
    assert await reaper.reap() == 0
    assert reaper.in_doubt_s == LEASE_S
    t.clock.advance("5s")
    await _beat(t, who)
    for _ in range(3):
        assert await reaper.reap() == 0
        assert reaper.in_doubt_s == 0
        t.clock.advance("10s")
        await _beat(t, who)
    assert await t.outcomes() == []


async def test_an_attempt_that_outlives_its_time_after_a_leap_is_lost_all_the_same(t: Held) -> None:
    who = await _running(t)
    t.clock.leap(3 * HOUR_MS)
    for _ in range(ATTEMPT_MS // 10_000 + 2):
        t.clock.advance("10s")
        await _beat(t, who)
    assert await Chores(await t.rota.opened(), "reaper").reap() == 1


@pytest.mark.parametrize("leap_ms", LEAPS_MS)
async def test_a_worker_that_is_dead_is_found_out_one_lease_after_a_leap(t: Held, leap_ms: int) -> None:
    await _running(t)
    reaper = Chores(await t.rota.opened(), "reaper")
    t.clock.leap(leap_ms)
    assert await reaper.reap() == 0
    t.clock.advance("14s")
    t.clock.leap(DAY_MS)  # a second one is no evidence either
    assert await reaper.reap() == 0
    t.clock.advance("1s")
    assert await reaper.reap() == 1
    assert await t.outcomes("outcome", "worker") == [("lost", "w1")]


async def test_a_lease_that_is_over_for_less_than_an_hour_is_lost_at_once(t: Held) -> None:
    await _running(t)
    t.clock.leap(HOUR_MS)
    assert await Chores(await t.rota.opened(), "reaper").reap() == 1


async def test_a_worker_whose_row_is_gone_loses_nothing_before_it_had_time_to_beat(t: Held) -> None:
    await _running(t)
    await t.look("DELETE FROM rota.worker RETURNING incarnation")
    reaper = Chores(await t.rota.opened(), "reaper")
    assert await reaper.reap() == 0
    t.clock.advance("15s")
    assert await reaper.reap() == 1


async def test_a_tick_recovers_in_one_pass_what_died_hours_ago_and_says_that_it_waited(t: Held) -> None:
    await _running(t)
    t.clock.advance("8h")
    summary = await t.rota.tick()
    assert (summary.succeeded, summary.waited, summary.as_json()["waited"]) == (1, LEASE_S, LEASE_S)
    assert await t.outcomes() == ["lost", "succeeded"]
    assert (await t.rota.tick()).waited == 0


async def test_a_tick_with_little_time_still_has_it_when_it_has_waited(t: Held) -> None:
    await _running(t)
    t.clock.advance("8h")
    assert (await t.rota.tick(time="5s")).succeeded == 1


async def test_a_tick_waits_no_longer_for_a_worker_that_lives(t: Held) -> None:
    who = await _running(t)
    store = await t.rota.opened()
    t.clock.leap(3 * HOUR_MS)

    async def beat_after_four_seconds() -> None:
        if t.clock.monotonic() >= 4:
            await store.write(lambda: extend(who, 1, None, ()))

    t.clock.meanwhile = beat_after_four_seconds
    assert 4 <= (await t.rota.tick()).waited <= 6
    assert await t.outcomes() == []


async def test_a_small_lease_that_was_taken_before_a_step_back_is_free(t: Held) -> None:
    store = await t.rota.opened()
    assert await store.write(lambda: query("take_lease", name="tick", holder="dead", lease_ms=PLAIN_LEASE_MS))
    assert (await t.rota.tick()).busy
    t.clock.leap(-3 * HOUR_MS)
    assert not (await t.rota.tick()).busy


async def test_nothing_is_too_old_to_keep_while_the_clock_has_just_leapt(t: Held) -> None:
    """A journal must not go because somebody set the clock to another year."""
    job = call(t, "greet", [])
    await job.enqueue("1")
    await t.rota.tick()
    chores = Chores(await t.rota.opened(), "chores")
    await chores._prune()
    t.clock.leap(3653 * DAY_MS)
    for _ in range(3):
        await chores._prune()
        assert await t.outcomes() == ["succeeded"]
        t.clock.advance("25s")
    await chores._prune()
    assert await t.outcomes() == []


async def test_a_row_stays_while_its_worker_holds_a_run(t: Held) -> None:
    await _running(t)
    store = await t.rota.opened()
    t.clock.advance("8h")
    await store.write(lambda: query("prune_workers", keep_ms=HOUR_MS))
    assert await t.look("SELECT incarnation FROM rota.worker") == [("w1",)]
    await t.look("UPDATE rota.turn SET state = 'waiting', worker = NULL, leased_until = NULL RETURNING id")
    await store.write(lambda: query("prune_workers", keep_ms=HOUR_MS))
    assert await t.look("SELECT incarnation FROM rota.worker") == []


# -- the parts -------------------------------------------------------------------------------------


def test_whoever_beats_while_still_doubted_is_not_waited_for_and_not_silent() -> None:
    """A file's processes believe a leap one after the other: for a minute one sees the other's beats hours behind."""
    clock = LeapingClock()
    doubts = Doubts(clock, PLAIN_LEASE_MS)
    for beat_at in range(6):
        assert doubts.silent([Doubted("w1", beat_at, PLAIN_LEASE_MS)]) == []
        assert (doubts.left_s > 0) is (beat_at == 0)
        clock.advance("5s")
    clock.advance("10s")
    assert doubts.silent([Doubted("w1", 5, PLAIN_LEASE_MS)]) == [("w1", 5)]


@pytest.mark.parametrize("lease_ms", [None, 0, -3 * HOUR_MS])
def test_a_lease_whose_length_cannot_be_true_is_taken_for_an_ordinary_one(lease_ms: int | None) -> None:
    clock = LeapingClock()
    doubts = Doubts(clock, PLAIN_LEASE_MS)
    assert doubts.silent([Doubted("w1", 1, lease_ms)]) == []
    assert doubts.left_s == LEASE_S


def test_a_clock_that_a_test_moves_is_believed() -> None:
    doubts = Doubts(ManualClock(), PLAIN_LEASE_MS)
    assert doubts.silent([Doubted("w1", 1, PLAIN_LEASE_MS)]) == [("w1", 1)]
    assert doubts.left_s == 0


def test_the_stores_time_is_suspect_for_a_minute_after_a_leap() -> None:
    clock = LeapingClock()
    time = StoreTime(clock)
    assert not time.suspect(clock.now_ms())
    clock.leap(3 * HOUR_MS)
    assert time.suspect(clock.now_ms())
    clock.advance("59s")
    assert time.suspect(clock.now_ms())
    clock.advance("1s")
    assert not time.suspect(clock.now_ms())
    clock.leap(-3 * HOUR_MS)
    assert not time.suspect(clock.now_ms())


# -- everything together ---------------------------------------------------------------------------


def _long(world: World) -> None:
    @world.rota.job(timeout="10m")
    async def long() -> None:
        world.seen.append("start")
        await asyncio.sleep(120)

    world.job = long  # type: ignore[attr-defined]


@pytest.mark.parametrize("leap_ms", LEAPS_MS)
def test_what_runs_on_workers_runs_on_through_a_leap(leap_ms: int) -> None:
    @virtual
    async def scene(world: World) -> None:
        _long(world)
        await world.job.enqueue_many([{} for _ in range(6)])  # type: ignore[attr-defined]
        for _ in range(2):
            await world.worker(concurrency=3)
        await asyncio.sleep(20)
        world.clock.skew_ms += leap_ms
        await asyncio.sleep(30)
        await world.rota.tick()  # a process that has never seen the clock before
        await asyncio.sleep(100)
        assert world.seen == ["start"] * 6
        assert await world.journal() == ["succeeded"] * 6

    scene()


@pytest.mark.parametrize("leap_ms", LEAPS_MS)
def test_what_a_dead_worker_held_is_run_by_another_two_leases_after_a_leap_at_most(leap_ms: int) -> None:
    @virtual
    async def scene(world: World) -> None:
        _long(world)
        await world.job.enqueue()  # type: ignore[attr-defined]
        dying, task = await world.worker()
        await asyncio.sleep(7)
        await _vanish(dying, task)
        await world.worker()
        world.clock.skew_ms += leap_ms
        await asyncio.sleep(2 * LEASE_S)
        assert await world.journal() == ["lost"]
        if leap_ms > 0:  # else it is due again when the clock is back at its due instant
            assert world.seen == ["start", "start"]

    scene()


async def _vanish(worker: Worker, task: asyncio.Task[None]) -> None:
    """As if its machine had gone: nobody hears of it any more."""
    await worker._keeper.stop()
    worker.pump.claiming = False
    worker.pump.store = None  # type: ignore[assignment]
    task.cancel()
