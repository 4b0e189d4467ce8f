"""Every operation × every statement in it × every way to fail there (reliability 5a).

The statements of an operation are collected by running it once, so a new statement is covered without being written
down. After a failure the store is as it was before the operation, or as it is after it, never in between; the caller
is told `StoreUnavailable` when it cannot know; and a repeat ends where an undisturbed run would have ended.

Always true: a failure before the commit changed nothing; one after it changed everything.

Not here: what the operations mean (model), two of them at once (test_races).
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import asyncpg
import pytest

from rota.define.outcome import Fail, Hold, Retryable
from rota.engine.settle import Ended, Lost, end_of
from rota.errors import StoreUnavailable
from rota.operate import _Rules
from rota.store import members, operators, pauses, reaping, reconcile, turns
from rota.store.operators import Deed, Which
from rota.store.port import Op, query
from rota.store.sqlite import Sqlite
from rota.turn.records import End
from tests.store.world import CATALOG, LEASE_MS, ROSTER, USER_JOBS, Door, HeldClock, call, claim, introduce

RULES = _Rules(CATALOG)
DEED = Deed("ann", "act", "turn", "why")
HOUR_MS = 3_600_000


class Case(NamedTuple):
    """An operation: what comes before it, and how it is made (from what came before, for one database)."""

    before: Callable[[Door], Any]
    make: Callable[[Door, Any], Callable[[], Op[Any]]]


def nothing(door: Door) -> None:
    """An application without members."""


def populated(door: Door) -> None:
    """Two members and two workers, one-offs waiting, one with a key; an hour has passed."""
    door.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a"), members.Entry("b")]))
    door.write(lambda: introduce("w1"))
    door.write(lambda: turns.enqueue([call(key="k1"), call("call"), call()]))
    door.clock.ms += HOUR_MS
    door.write(lambda: introduce("w1"))


def claimed(door: Door) -> list[Any]:
    """What is due is held by w1."""
    populated(door)
    return list(door.write(lambda: claim(fused=door.fused)).run)


def died(door: Door) -> None:
    """Everything has failed for good."""
    held = claimed(door)
    door.write(lambda: turns.settle(_ends(held, Fail("no")), "w1"))


def lost(door: Door) -> None:
    """The worker has not been heard of for longer than its lease."""
    claimed(door)
    door.clock.ms += LEASE_MS + 1


def held(door: Door) -> None:
    """A member's turns are held."""
    populated(door)
    door.write(lambda: operators.hold(Which(roster="users", member="a"), DEED))


def paused(door: Door) -> None:
    """A member is paused, and everything is stopped."""
    populated(door)
    door.write(lambda: pauses.pause("member", "users/a", None, DEED))
    door.write(lambda: pauses.stop(DEED, cancel=False, most=10))


def _ends(held: list[Any], came: object) -> list[End]:
    return [end_of(CATALOG, CATALOG.jobs[one.job], one, came, Ended("w1", one.claimed_at, 5, 0.0)) for one in held]


def _reap() -> Op[Any]:
    found = yield from reaping.lost(100)
    ends = [
        end_of(CATALOG, CATALOG.jobs[one.job], one, Lost("gone"), Ended(worker, one.start_at, 0, 0.0))
        for one, worker in found
    ]
    return (yield from turns.settle(ends, "reaper"))


def _of(which: str) -> Which:
    return Which(roster="users", member=which)


def _requeue() -> Op[Any]:
    def letters() -> Op[Any]:
        rows = yield from query("dead_by_id", id=1)
        return [operators.Letter(*row) for row in rows]

    return operators.requeue(letters, RULES, DEED, spread_ms=0, alone=True)


CASES = {
    "enqueue": Case(nothing, lambda door, was: lambda: turns.enqueue([call(key="k1"), call("call", key="k1")])),
    "join": Case(nothing, lambda door, was: lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")])),
    "update": Case(
        populated,
        lambda door, was: (
            lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a", weight=5, given=members.WEIGHT)], None)
        ),
    ),
    "leave": Case(claimed, lambda door, was: lambda: members.leave(ROSTER, ["a", "b"])),
    "claim": Case(populated, lambda door, was: lambda: claim(fused=door.fused)),
    "settle succeeded": Case(claimed, lambda door, was: lambda: turns.settle(_ends(was, None), "w1")),
    "settle retry": Case(claimed, lambda door, was: lambda: turns.settle(_ends(was, Retryable("busy")), "w1")),
    "settle dead": Case(claimed, lambda door, was: lambda: turns.settle(_ends(was, Fail("no")), "w1")),
    "settle held": Case(claimed, lambda door, was: lambda: turns.settle(_ends(was, Hold("no")), "w1")),
    "reap": Case(lost, lambda door, was: _reap),
    "beat": Case(claimed, lambda door, was: lambda: turns.beat("w1", LEASE_MS, 3, "note")),
    "introduce": Case(nothing, lambda door, was: lambda: introduce("w9")),
    "put_steps": Case(
        claimed, lambda door, was: lambda: turns.fenced_write("put_steps", was[0], "w1", steps='{"one": 1}')
    ),
    "pause": Case(populated, lambda door, was: lambda: pauses.pause("member", "users/a", None, DEED)),
    "resume": Case(paused, lambda door, was: lambda: pauses.resume("member", "users/a", DEED)),
    "stop": Case(claimed, lambda door, was: lambda: pauses.stop(DEED, cancel=True, most=10)),
    "resume_all": Case(paused, lambda door, was: lambda: pauses.resume_all(DEED, catch_up=None, spread_ms=None)),
    "hold": Case(populated, lambda door, was: lambda: operators.hold(_of("a"), DEED)),
    "unhold": Case(held, lambda door, was: lambda: operators.unhold(_of("a"), RULES, DEED)),
    "cancel": Case(populated, lambda door, was: lambda: operators.cancel(_of("a"), RULES, DEED)),
    "run_now": Case(
        populated,
        lambda door, was: lambda: operators.run_now(Which(job="daily", roster="users", member="a"), RULES, DEED),
    ),
    "requeue": Case(died, lambda door, was: _requeue),
    "declare": Case(nothing, lambda door, was: lambda: reconcile.declare(CATALOG)),
    "prune keys": Case(died, lambda door, was: lambda: query("prune_keys", most=100)),
}
UNCHANGED_BY_REPEAT = ("turn", "journal", "dead_letter", "key", "slot", "member", "roster", "pause")
REPEATED_ANEW = {  # what a repeat does instead of nothing
    "claim": "takes what else is due: `held` tells what the lost answer was",
    "cancel": "cancels the next run, unless the run is named",
    "requeue": "is refused as a Conflict that names the run",
}


class Trap:
    """Sits before or behind the nth statement of the next transaction and does something there, once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.at = -1
        self.before: Callable[[], Any] | None = None
        self.behind: Callable[[], Any] | None = None

    def set(self, at: int, *, before: Callable[[], Any] | None = None, behind: Callable[[], Any] | None = None) -> None:
        """Arm it."""
        self.names, self.at, self.before, self.behind = [], at, before, behind

    def hit(self, name: str) -> tuple[Callable[[], Any] | None, Callable[[], Any] | None]:
        """What is to be done at this statement."""
        self.names.append(name)
        if len(self.names) - 1 != self.at:
            return None, None
        self.at = -1
        return self.before, self.behind


def _raise(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


# -- SQLite ----------------------------------------------------------------------------------------


def _trap_sqlite(door: Door) -> Trap:
    trap = Trap()
    assert isinstance(door.db, Sqlite)
    connection = door.db._inline
    assert connection is not None
    execute = connection.execute

    def trapped(statement: Any) -> Any:
        before, behind = trap.hit(statement.name)
        if before is not None:
            before()
        rows = execute(statement)
        if behind is not None:
            behind()
        return rows

    connection.execute = trapped  # type: ignore[method-assign]
    return trap


def _new_sqlite(path: str, runner: asyncio.Runner, clock: HeldClock) -> Door:
    door = Door(Sqlite(path, clock=clock, synchronous="normal"), clock, runner)
    door.open()
    return door


@pytest.mark.parametrize("name", CASES)
def test_on_sqlite_an_operation_that_fails_at_any_statement_changed_nothing_and_may_be_repeated(
    name, runner, clock, tmp_path
):
    door, was = _prepared(name, _new_sqlite(":memory:", runner, clock))
    make = CASES[name].make(door, was)
    trap = _trap_sqlite(door)
    initial, count = door.tables(), _statements(name, runner)
    for at in range(count):
        for error, told in (
            (apsw.BusyError("busy"), StoreUnavailable),
            (apsw.FullError("full"), StoreUnavailable),
            (asyncio.CancelledError(), asyncio.CancelledError),
        ):
            trap.set(at, before=_raise(error))
            with pytest.raises(told):
                door.write(make)
            assert door.tables() == initial, (trap.names, error)
            trap.set(at, behind=_raise(error))
            with pytest.raises(told):
                door.write(make)
            assert door.tables() == initial, (trap.names, error)
    answer = door.write(make)
    assert (answer, door.tables()) == _undisturbed(name, runner)
    door.close()


def _prepared(name: str, door: Door) -> tuple[Door, Any]:
    return door, CASES[name].before(door)


def _undisturbed(name: str, runner: asyncio.Runner) -> tuple[Any, Any]:
    """The answer and the tables where nothing goes wrong."""
    door, was = _prepared(name, _new_sqlite(":memory:", runner, HeldClock()))
    answer = door.write(CASES[name].make(door, was))
    tables = door.tables()
    door.close()
    return answer, tables


def _statements(name: str, runner: asyncio.Runner) -> int:
    """How many statements the operation has, counted by running it."""
    door, was = _prepared(name, _new_sqlite(":memory:", runner, HeldClock()))
    trap = _trap_sqlite(door)
    door.write(CASES[name].make(door, was))
    door.close()
    assert trap.names
    return len(trap.names)


@pytest.mark.parametrize("name", CASES)
def test_on_sqlite_a_process_that_dies_at_any_statement_leaves_the_file_before_or_after(name, runner, clock, tmp_path):
    door, was = _prepared(name, _new_sqlite(str(tmp_path / "live.db"), runner, clock))
    make = CASES[name].make(door, was)
    trap = _trap_sqlite(door)
    before, count = door.tables(), _statements(name, runner)
    copies = [tmp_path / f"died{at}.db" for at in range(count + 1)]
    for at in range(count):  # what a process leaves behind that dies here is what the disk holds now
        trap.set(at, behind=lambda at=at: _copy(tmp_path / "live.db", copies[at]))
        if at < count - 1:
            trap.set(at, behind=lambda at=at: _copy_and_stop(tmp_path / "live.db", copies[at]))
            with pytest.raises(StoreUnavailable):
                door.write(make)
        else:
            door.write(make)
    after = door.tables()
    _copy(tmp_path / "live.db", copies[count])
    door.close()
    for at, copy in enumerate(copies):
        assert _found(copy, runner) == (after if at == count else before), at


def _copy(file: Path, to: Path) -> None:
    for end in ("", "-wal"):
        if Path(f"{file}{end}").exists():
            shutil.copyfile(f"{file}{end}", f"{to}{end}")


def _copy_and_stop(file: Path, to: Path) -> None:
    _copy(file, to)
    raise apsw.IOError("the rest of this attempt does not matter")


def _found(file: Path, runner: asyncio.Runner) -> Any:
    clock = HeldClock()
    door = Door(Sqlite(str(file), clock=clock), clock, runner)
    runner.run(door.db.open())
    tables = door.tables()
    door.close()
    return tables


def test_on_sqlite_a_caller_that_is_cancelled_leaves_the_writer_to_finish(runner, tmp_path):
    """Cancelling is unknown, not no: the answer is dropped, the writer goes on, and the key tells what became of it."""

    async def scenario() -> None:
        db = Sqlite(str(tmp_path / "rota.db"), clock=HeldClock(held=False))
        await db.open()
        task = asyncio.ensure_future(db.write(lambda: turns.enqueue([call(key="k1")])))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await db.write(lambda: turns.enqueue([call(key="k1")])) == [(1, False)]
        await db.close()

    runner.run(scenario())


# -- PostgreSQL ------------------------------------------------------------------------------------


class TrappedConnection:
    """A connection whose statements, BEGIN and COMMIT included, pass the trap."""

    def __init__(self, real: Any, trap: Trap) -> None:
        self._real, self._trap = real, trap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def execute(self, text: str) -> Any:
        return await self._passed(text, lambda: self._real.execute(text))

    async def fetch(self, text: str, *values: Any) -> Any:
        return await self._passed(text, lambda: self._real.fetch(text, *values))

    async def _passed(self, text: str, run: Callable[[], Any]) -> Any:
        before, behind = self._trap.hit(text)
        if before is not None:
            before()
        answer = await run()
        if behind is not None:
            behind()
        return answer


def _trap_postgres(door: Door) -> Trap:
    trap = Trap()
    pool = door.db._pool
    connect = pool._connect

    async def trapped() -> Any:
        return TrappedConnection(await connect(), trap)

    pool._connect = trapped
    door.run(pool.close())
    return trap


@pytest.mark.parametrize("name", CASES)
def test_on_postgresql_an_operation_that_fails_at_any_statement_changed_nothing(name, postgres_door):
    door, was = _prepared(name, postgres_door)
    make = CASES[name].make(door, was)
    trap = _trap_postgres(door)
    initial = door.tables()
    with pytest.raises(_Over):
        door.write(lambda: _then_over(make()))
    count = len(trap.names) - 1  # BEGIN counts; ROLLBACK stands for COMMIT
    assert count > 1
    for at in range(count):
        trap.set(at, before=_raise(ConnectionResetError("cut")))
        with pytest.raises(StoreUnavailable):
            door.write(make)
        assert door.tables() == initial, (at, trap.names)
        trap.set(at, behind=_raise(ConnectionResetError("the answer is lost")))
        with pytest.raises(StoreUnavailable):
            door.write(make)
        assert door.tables() == initial, (at, trap.names)
        with pytest.raises(asyncio.CancelledError):
            door.run(_cancelled_at(door, trap, at, make))
        assert door.tables() == initial, (at, trap.names)
        for error in (asyncpg.DeadlockDetectedError("deadlock"), asyncpg.SerializationError("again")):
            trap.set(at, before=_raise(error))
            with pytest.raises(_Over):
                door.write(lambda: _then_over(make()))
            assert trap.names.count("BEGIN") == 2, "what the server has undone is run again from its start"
            assert door.tables() == initial, (at, trap.names)


@pytest.mark.parametrize("name", CASES)
def test_on_postgresql_a_lost_answer_of_the_commit_is_unknown_and_a_repeat_adds_nothing(name, postgres_door):
    door, was = _prepared(name, postgres_door)
    make = CASES[name].make(door, was)
    trap = _trap_postgres(door)
    with pytest.raises(_Over):
        door.write(lambda: _then_over(make()))
    trap.set(len(trap.names) - 1, behind=_raise(ConnectionResetError("the answer of the commit is lost")))
    with pytest.raises(StoreUnavailable):
        door.write(make)
    assert trap.names[-1] == "COMMIT"
    after = door.tables()
    if name in REPEATED_ANEW:
        return
    door.write(make)
    repeated = door.tables()
    for table in UNCHANGED_BY_REPEAT:
        assert repeated[table] == after[table]


class _Over(Exception):
    """Ends a transaction that was only to be looked at."""


def _then_over(op: Op[Any]) -> Op[None]:
    yield from op
    raise _Over


async def _cancelled_at(door: Door, trap: Trap, at: int, make: Callable[[], Op[Any]]) -> None:
    """The caller is cancelled while it waits for the answer of one statement."""
    task = asyncio.ensure_future(door.db.write(make))
    trap.set(at, before=task.cancel)
    await task
