"""Built races: two connections to PostgreSQL, one stopped just before its commit until the server says the other waits.

Always true: nothing here depends on luck or on time; where one is expected to wait, the test goes on only when
`pg_stat_activity` shows it waiting for a lock.

Not here: random scripts (test_contract), failures in the middle (test_crash_matrix).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import asyncpg
import pytest

from rota.define.outcome import Retryable
from rota.define.policy import Limit
from rota.engine.settle import Ended, Lost, end_of
from rota.errors import StoreUnavailable
from rota.operate import _Rules
from rota.store import claiming, gates, members, operators, pauses, reaping, reconcile, turns
from rota.store.operators import Deed, Which
from rota.store.port import Gate, Op, query
from rota.store.postgres import Postgres
from rota.store.sql import Call
from rota.turn.gates import Bounds, Heat
from rota.turn.records import Ask, Claim, End, Judged
from tests.store.world import CATALOG, LEASE_MS, ROSTER, USER_JOBS, HeldClock, call, claim, introduce

RULES = _Rules(CATALOG)
DEED = Deed("ann", "act", "turn", "why")
PATIENCE_S = 10  # a race that does not come about within this is not the race that was meant


class StoppedConnection:
    """A connection that stops before its COMMIT while the side it belongs to says so."""

    def __init__(self, real: Any, side: "Side") -> None:
        self._real, self._side = real, side

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def execute(self, text: str) -> Any:
        if text == "COMMIT" and not self._side.go.is_set():
            self._side.there.set()
            await self._side.go.wait()
        return await self._real.execute(text)


class Side:
    """One of the two that race: a store of its own on the same database."""

    def __init__(self, url: str, clock: HeldClock) -> None:
        self.db = Postgres(url, clock=clock)
        self.there, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        connect = self.db._pool._connect

        async def stopped() -> Any:
            return StoppedConnection(await connect(), self)

        self.db._pool._connect = stopped

    async def write(self, make: Callable[[], Op[Any]], gate: Gate = None) -> Any:
        """Run an operation."""
        return await self.db.write(make, gate=gate)

    async def before_commit(self, make: Callable[[], Op[Any]], gate: Gate = None) -> "asyncio.Task[Any]":
        """Run an operation up to its commit, and leave it there until `go`."""
        self.there.clear()
        self.go.clear()
        task = asyncio.create_task(self.db.write(make, gate=gate))
        async with asyncio.timeout(PATIENCE_S):
            await self.there.wait()
        return task


class Race:
    """Both sides, and the server's word about who waits."""

    def __init__(self, url: str, clock: HeldClock, view: Any) -> None:
        self.clock = clock
        self.first, self.second = Side(url, clock), Side(url, clock)
        self.view = view

    async def waiting(self, make: Callable[[], Op[Any]], gate: Gate = None, *, among: int = 1) -> "asyncio.Task[Any]":
        """The second side runs an operation, and the server says that it waits for the first."""
        return await self.seen_waiting(asyncio.create_task(self.second.write(make, gate=gate)), among=among)

    async def seen_waiting(self, task: "asyncio.Task[Any]", *, among: int = 1) -> "asyncio.Task[Any]":
        """What is on its way waits, says the server, and with it as many as that."""
        async with asyncio.timeout(PATIENCE_S):
            while among > await self.view.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                assert not task.done(), f"it did not wait: {task}"
                await asyncio.sleep(0)
        return task

    async def rows(self, text: str) -> list[tuple[Any, ...]]:
        """What a person would read."""
        return [tuple(row) for row in await self.view.fetch(text)]


@pytest.fixture
async def race(postgres_url: str) -> AsyncIterator[Race]:
    """Two stores on one database, with the application declared."""
    view = await asyncpg.connect(postgres_url)
    race = Race(postgres_url, HeldClock(), view)
    await race.first.db.open()
    await race.second.db.open()
    await race.first.write(lambda: reconcile.declare(CATALOG))
    await race.first.write(lambda: introduce("w1"))
    yield race
    race.first.go.set()
    await race.first.db.close()
    await race.second.db.close()
    await view.close()


async def _held(race: Race, count: int = 1, job: str = "mail") -> list[Claim]:
    await race.first.write(lambda: turns.enqueue([call(job)] * count))
    claimed = await race.first.write(lambda: claim(fused=True), "shared")
    return list(claimed.run)


def _ends(held: list[Claim], came: object) -> list[End]:
    return [end_of(CATALOG, CATALOG.jobs[one.job], one, came, Ended("w1", one.claimed_at, 5, 0.0)) for one in held]


def _settle(held: list[Claim], came: object = None) -> Callable[[], Op[Any]]:
    return lambda: turns.settle(_ends(held, came), "w1")


def _reap() -> Op[Any]:
    ends = []
    for one, worker in (yield from reaping.lost(100)):
        ends += [end_of(CATALOG, CATALOG.jobs[one.job], one, Lost("gone"), Ended(worker, one.start_at, 0, 0.0))]
    return (yield from turns.settle(ends, "reaper", patient=False))


def _stop() -> Op[Any]:
    return pauses.stop(DEED, cancel=False, most=10)


def _claim(worker: str, most: int = 5, jobs: Iterable[str] = CATALOG.jobs) -> Callable[[], Op[Any]]:
    return lambda: claim(worker, jobs, most=most, fused=True)


async def test_two_claims_at_once_take_different_turns_and_do_not_wait_for_each_other(race):
    await race.first.write(lambda: turns.enqueue([call() for _ in range(10)]))
    first = await race.first.before_commit(_claim("w1", jobs=["mail"]), "shared")
    second = await race.second.write(_claim("w2", jobs=["mail"]), "shared")
    race.first.go.set()
    taken = [[one.id for one in each.run] for each in ((await first), second)]
    assert [len(each) for each in taken] == [5, 5]
    assert not set(taken[0]) & set(taken[1])


async def test_a_stop_waits_for_the_claims_before_it_and_after_it_nothing_is_claimed(race):
    """G-17."""
    await race.first.write(lambda: turns.enqueue([call() for _ in range(10)]))
    claiming = await race.first.before_commit(_claim("w1"), "shared")
    stopping = await race.waiting(_stop, "exclusive")
    race.first.go.set()
    assert len((await claiming).run) == 5
    assert len((await stopping).running) == 5, "the answer lists what the claim before it took"
    assert (await race.first.write(_claim("w1"), "shared")).run == []


async def test_a_claim_that_comes_while_a_stop_commits_takes_nothing(race):
    """G-17."""
    await race.first.write(lambda: turns.enqueue([call()]))
    stopping = await race.first.before_commit(_stop, "exclusive")
    claiming = await race.waiting(_claim("w1"), "shared")
    race.first.go.set()
    await stopping
    assert (await claiming).run == []


async def test_a_pause_of_a_job_waits_for_the_claims_before_it(race):
    await race.first.write(lambda: turns.enqueue([call() for _ in range(10)]))
    claiming = await race.first.before_commit(_claim("w1"), "shared")
    pausing = await race.waiting(lambda: pauses.pause("job", "mail", None, DEED), "exclusive")
    race.first.go.set()
    await asyncio.gather(claiming, pausing)
    assert (await race.first.write(_claim("w1"), "shared")).run == []


async def test_a_reap_passes_by_an_attempt_that_is_just_being_settled(race):
    held = await _held(race)
    race.clock.ms += LEASE_MS + 1
    settling = await race.first.before_commit(_settle(held))
    assert (await race.second.write(_reap)).accepted == set()
    race.first.go.set()
    assert (await settling).accepted == {held[0].id}
    assert await race.rows("SELECT outcome FROM rota.journal") == [("succeeded",)]


@pytest.mark.parametrize("came", [None, Retryable("busy")], ids=["a one-off that goes", "one that goes on"])
async def test_a_settle_that_waits_for_a_reap_is_refused(race, came):
    """G-5, G-7."""
    held = await _held(race)
    race.clock.ms += LEASE_MS + 1
    reaping = await race.first.before_commit(_reap)
    settling = await race.waiting(_settle(held, came))
    race.first.go.set()
    assert (await reaping).accepted == {held[0].id}
    assert (await settling).accepted == set()
    assert await race.rows("SELECT outcome FROM rota.journal") == [("lost",)]
    assert await race.rows("SELECT state, attempt, losses FROM rota.turn WHERE job = 'mail'") == [("waiting", 1, 1)]


async def test_a_cancel_that_waits_for_a_settle_finds_nothing_to_cancel(race):
    held = await _held(race)
    settling = await race.first.before_commit(_settle(held))
    cancelling = await race.waiting(lambda: operators.cancel(Which(turn=held[0].id), RULES, DEED))
    race.first.go.set()
    await settling
    acted = await cancelling
    assert (acted.changed, acted.running) == ([], [])
    assert await race.rows("SELECT outcome FROM rota.journal") == [("succeeded",)]


async def test_a_cancel_that_waits_for_a_retry_cancels_what_waits_then(race):
    held = await _held(race)
    settling = await race.first.before_commit(_settle(held, Retryable("busy")))
    cancelling = await race.waiting(lambda: operators.cancel(Which(turn=held[0].id), RULES, DEED))
    race.first.go.set()
    await settling
    assert [turn.state for turn in (await cancelling).changed] == ["waiting"]
    assert await race.rows("SELECT outcome FROM rota.journal ORDER BY id") == [("retry",), ("cancelled",)]
    assert await race.rows("SELECT id FROM rota.turn WHERE job = 'mail'") == []


async def test_a_settle_that_waits_for_a_wish_to_cancel_is_accepted(race):
    held = await _held(race)
    wishing = await race.first.before_commit(lambda: operators.cancel(Which(turn=held[0].id), RULES, DEED))
    settling = await race.waiting(_settle(held))
    race.first.go.set()
    assert [turn.state for turn in (await wishing).running] == ["running"]
    assert (await settling).accepted == {held[0].id}


async def test_a_lease_that_was_over_is_extended_and_reaped_at_once_and_the_worker_learns_of_it(race):
    """G-7: the reap stands, the extension gives nothing back."""
    held = await _held(race)
    race.clock.ms += LEASE_MS + 1
    beating = await race.first.before_commit(lambda: turns.beat("w1", LEASE_MS, 1, None))
    assert (await race.second.write(_reap)).accepted == {held[0].id}
    race.first.go.set()
    await beating
    assert (await race.first.write(lambda: turns.held("w1"))).attempts == {}
    assert (await race.first.write(_settle(held))).accepted == set()


async def test_a_lease_that_is_extended_is_not_reaped(race):
    await _held(race)
    race.clock.ms += LEASE_MS - 1
    await race.first.write(lambda: turns.beat("w1", LEASE_MS, 1, None))
    race.clock.ms += 2
    assert (await race.second.write(_reap)).accepted == set()


async def test_joins_of_the_same_member_come_one_after_the_other_and_make_one_turn_each(race):
    def joining() -> Op[Any]:
        return members.join(ROSTER, USER_JOBS, [members.Entry("a")])

    first = await race.first.before_commit(joining)
    second = await race.waiting(joining)
    race.first.go.set()
    assert [len((await each).fresh) for each in (first, second)] == [1, 0]
    assert await race.rows("SELECT count(*), count(DISTINCT job) FROM rota.turn WHERE member = 'a'") == [(3, 3)]
    assert await race.rows("SELECT sum(load) FROM rota.slot WHERE job = 'daily'") == [(1,)]


async def test_joins_at_once_do_not_take_the_same_slot(race):
    first = await race.first.before_commit(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    second = await race.waiting(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("b")]))
    race.first.go.set()
    await asyncio.gather(first, second)
    assert await race.rows("SELECT count(DISTINCT slot) FROM rota.turn WHERE job = 'hourly'") == [(2,)]


async def test_a_leave_that_waits_for_the_join_takes_the_member_out_again(race):
    joining = await race.first.before_commit(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    leaving = await race.waiting(lambda: members.leave(ROSTER, ["a"]))
    race.first.go.set()
    await joining
    assert await leaving == ["a"]
    assert await race.rows("SELECT id FROM rota.turn WHERE member = 'a'") == []
    assert await race.rows("SELECT DISTINCT load FROM rota.slot") == [(0,)]
    assert await race.rows("SELECT members FROM rota.roster") == [(0,)]


async def test_a_join_that_waits_for_the_leave_makes_a_new_member(race):
    await race.first.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    leaving = await race.first.before_commit(lambda: members.leave(ROSTER, ["a"]))
    joining = await race.waiting(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    race.first.go.set()
    await leaving
    assert len((await joining).fresh) == 1
    assert await race.rows("SELECT count(*) FROM rota.turn WHERE member = 'a'") == [(3,)]


async def test_a_leave_that_waits_for_a_claim_lets_the_turn_go_when_it_ends(race):
    await race.first.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    race.clock.ms += 86_400_000
    await race.first.write(lambda: introduce("w1"))
    claiming = await race.first.before_commit(_claim("w1", most=10), "shared")
    leaving = await race.waiting(lambda: members.leave(ROSTER, ["a"]))
    race.first.go.set()
    held = [one for one in (await claiming).run if one.member == "a"]
    await leaving
    assert len(held) == 2
    assert (await race.first.write(_settle(held))).accepted == {one.id for one in held}
    assert await race.rows("SELECT id FROM rota.turn WHERE member = 'a'") == []


async def test_the_same_key_enqueued_twice_at_once_gives_one_run_and_both_learn_which(race):
    """G-2."""
    first = await race.first.before_commit(lambda: turns.enqueue([call(key="k")]))
    second = await race.waiting(lambda: turns.enqueue([call(key="k")]))
    race.first.go.set()
    made, found = (await first)[0], (await second)[0]
    assert (made[1], found) == (True, (made[0], False))
    assert await race.rows("SELECT count(*) FROM rota.turn WHERE key = 'k'") == [(1,)]


async def test_a_key_whose_first_enqueue_died_belongs_to_the_one_that_waited(race):
    """G-2."""
    first = await race.first.before_commit(lambda: turns.enqueue([call(key="k")]))
    second = await race.waiting(lambda: turns.enqueue([call(key="k")]))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second)[0][1] is True
    assert await race.rows("SELECT count(*) FROM rota.turn WHERE key = 'k'") == [(1,)]


async def test_keys_enqueued_in_opposite_orders_do_not_lock_each_other_out(race):
    first = await race.first.before_commit(lambda: turns.enqueue([call(key="k1"), call(key="k2")]))
    second = await race.waiting(lambda: turns.enqueue([call(key="k2"), call(key="k1")]))
    race.first.go.set()
    assert [made for _, made in (await first)] == [True, True]
    assert [made for _, made in (await second)] == [False, False]


async def test_a_cap_holds_at_its_edge(race):
    """I-15: what the other claim takes is counted before more is taken."""
    await race.first.write(lambda: turns.enqueue([call("call") for _ in range(4)]))
    first = await race.first.before_commit(_claim("w1", most=1), "shared")
    second = await race.waiting(_claim("w2", most=4), "shared")
    race.first.go.set()
    assert [len((await each).run) for each in (first, second)] == [1, 1]
    assert await race.rows("SELECT count(*) FROM rota.turn WHERE state = 'running'") == [(2,)]


async def test_two_processes_that_open_an_empty_database_make_one_schema(postgres_url):
    """G-26."""
    view = await asyncpg.connect(postgres_url)
    race = Race(postgres_url, HeldClock(), view)
    race.first.go.clear()
    first = asyncio.create_task(race.first.db.open())
    async with asyncio.timeout(PATIENCE_S):
        await race.first.there.wait()
    second = asyncio.create_task(race.second.db.open())
    async with asyncio.timeout(PATIENCE_S):
        while not await view.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"):
            assert not second.done()
            await asyncio.sleep(0)
    race.first.go.set()
    await asyncio.gather(first, second)
    assert await race.rows("SELECT count(*) FROM rota.meta WHERE name = 'schema'") == [(1,)]
    await race.first.write(lambda: reconcile.declare(CATALOG))
    assert await race.second.write(lambda: turns.enqueue([call()])) == [(1, True)]
    for side in (race.first, race.second):
        await side.db.close()
    await view.close()


async def test_ends_are_locked_in_the_order_of_their_turns(race):
    """Rule 10 of reliability 4: whoever locks in another order can wait for us while we wait for him."""
    held = sorted(await _held(race, count=3))
    blocking = await race.first.before_commit(lambda: operators.cancel(Which(turn=held[0].id), RULES, DEED))
    settling = await race.waiting(_settle(held[::-1], Retryable("busy")))
    free = await race.rows(f"SELECT id FROM rota.turn WHERE id > {held[0].id} FOR UPDATE SKIP LOCKED")
    race.first.go.set()
    await asyncio.gather(blocking, settling)
    assert sorted(free) == [(one.id,) for one in held[1:]]


async def test_ends_of_two_kinds_lock_all_their_turns_in_one_order(race):
    """P-5: a success and a retry are written by two statements, which might lock them the other way round."""
    held = sorted(await _held(race, count=2))
    blocking = await race.first.before_commit(lambda: operators.cancel(Which(turn=held[0].id), RULES, DEED))
    ends = [*_ends(held[1:], None), *_ends(held[:1], Retryable("busy"))]
    settling = await race.waiting(lambda: turns.settle(ends, "w1", fused=True))
    free = await race.rows("SELECT id FROM rota.turn FOR UPDATE SKIP LOCKED")
    race.first.go.set()
    await asyncio.gather(blocking, settling)
    assert (held[1].id,) in free


async def test_a_reap_waits_for_no_follower_and_takes_its_leader_the_next_time(race):
    """P-5: it holds turns already that whoever has the follower may want."""
    await race.first.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    race.clock.ms += 86_400_000
    for worker in ("w2", "w3"):  # lost as often as it may be: its follower is told
        await race.second.write(_reap)
        await race.first.write(lambda worker=worker: introduce(worker))
        await race.first.write(_claim(worker, jobs=["daily"]), "shared")
        race.clock.ms += LEASE_MS + 1
    lost = await race.rows("SELECT id FROM rota.turn WHERE state = 'running'")
    acting = await race.first.before_commit(
        lambda: operators.hold(Which(roster="users", member="a", job="digest"), DEED)
    )
    assert (await race.second.write(_reap)).accepted == set()
    race.first.go.set()
    await acting
    assert (await race.second.write(_reap)).accepted == {turn for (turn,) in lost}
    assert await race.rows("SELECT done FROM rota.turn WHERE job = 'digest'") == [(1,)]


async def test_whoever_rouses_passes_by_a_turn_that_others_hold(race):
    """P-5: a claim rouses while it holds jobs and buckets, which the holder of the turn may want."""
    await race.first.write(lambda: turns.enqueue([call(delay_ms=1_000) for _ in range(2)]))
    ids = [row[0] for row in await race.rows("SELECT id FROM rota.turn WHERE job = 'mail' ORDER BY id")]
    await race.first.write(lambda: query("wait", [(one, race.clock.ms + 1_000, "serial k") for one in ids]))
    blocking = await race.first.before_commit(lambda: operators.hold(Which(turn=ids[0]), DEED))
    await race.second.write(lambda: query("rouse", [("serial k", 2)]))
    race.first.go.set()
    await blocking
    due = await race.rows(f"SELECT id FROM rota.turn WHERE job = 'mail' AND due_at <= {race.clock.ms}")
    assert due == [(ids[1],)]


@pytest.mark.parametrize("learned", [0, 1])
async def test_an_end_locks_the_scopes_of_whole_jobs_before_those_of_keys_as_a_claim_does(race, learned):
    """Rule 10 of reliability 4: a claim knows the keys only when it has turns, and holds the others by then."""
    limits = (Limit("ads:{region}", "1/s"), *([] if learned else [Limit("shop", "1/s")]))
    asked = [Ask("mail", None, LEASE_MS, None, Bounds(limits, None, None, None, None, None))]
    end = _ends(await _held(race), Retryable("busy"))[0]._replace(heats=(Heat("ads:eu", 5, ""), Heat("shop", 5, "")))
    await race.first.write(lambda: query("add_gates", [("mail", "shop", learned)]))
    await race.first.write(lambda: gates.locked([], make=["ads:eu", "shop"]))
    await race.first.write(lambda: turns.enqueue([call()._replace(args='{"region":"eu"}')]))

    def judge(claims: list[Claim]) -> Op[Judged]:
        yield Call("sql", {"text": "SELECT pg_advisory_xact_lock(1)"})  # it has turns; the test has this
        return Judged(claims, [], [], [])

    async with race.view.transaction():
        await race.view.execute("SELECT pg_advisory_xact_lock(1)")
        want = claiming.Want(most=5, whole=5, places=5, fused=True)
        claimed = asyncio.create_task(race.first.write(lambda: claiming.claim(asked, want, "w1", judge)))
        await race.seen_waiting(claimed)
        settled = await race.waiting(lambda: turns.settle([end], "w1"), among=2)
        free = await race.rows("SELECT scope FROM rota.bucket FOR UPDATE SKIP LOCKED")
    assert free == [("ads:eu",)]
    assert ((await settled).took(end), len((await claimed).run)) == (True, 1)


async def test_a_connection_whose_caller_was_cancelled_is_not_used_again(race):
    """Rule 6 of reliability 4."""
    first = await race.first.before_commit(lambda: turns.enqueue([call()]))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    race.first.go.set()
    assert await race.first.write(lambda: query("now")) is not None
    assert (await race.rows("SELECT count(*) FROM rota.turn WHERE job = 'mail'")) == [(0,)]


async def test_a_call_from_a_thread_that_waits_when_the_store_is_closed_is_cut_and_leaves_nothing(race):
    """A keeper whose beat hangs keeps no worker that leaves."""
    held = await _held(race)
    blocking = await race.first.before_commit(_settle(held, Retryable("busy")))
    await race.second.write(lambda: query("now"))
    thread = asyncio.create_task(asyncio.to_thread(race.second.db.write_from_thread, _settle(held)))
    await race.seen_waiting(thread)
    await race.second.db.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await thread
    race.first.go.set()
    assert (await blocking).accepted == {held[0].id}


async def test_a_lock_held_too_long_is_told_as_a_store_that_is_away(race):
    held = await _held(race)
    blocking = await race.first.before_commit(_settle(held, Retryable("busy")))

    def hurried() -> Op[Any]:
        yield Call("sql", {"text": "SET LOCAL lock_timeout = '20ms'"})
        return (yield from turns.settle(_ends(held, None), "w1"))

    with pytest.raises(StoreUnavailable):
        await race.second.write(hurried)
    race.first.go.set()
    assert (await blocking).accepted == {held[0].id}
