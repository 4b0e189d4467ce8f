"""Limits under load: how exactly a fleet keeps a rate, and what that costs the store.

Always true: starts are those of the journal, by the store's clock; every sliding second is looked at, from each start
on; writes are PostgreSQL's own count of changed rows of the turn table, read when all sessions have ended.

Not here: the jobs (policy_jobs.py), limits inside handlers.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg

from benchmarks import policy_jobs
from benchmarks.children import Child, together
from benchmarks.plan import Plan
from benchmarks.stores import Database, Stores
from benchmarks.table import Row

RATE = 200  # a second, of the limits `brisk` and `even`
SLOW = 50  # a second, of `slow`
SLACK = 1.02  # of the ideal time (must show 1)
WRITES = 2.0  # of the turn table a run
FLUSH_S = 1.0  # until a session that has ended has told what it counted
LOOK_S = 0.25
CALM_S = 4.0  # after the start, before what goes on for ever is counted
PATIENCE = 3.0  # times the ideal, and ten seconds, before a run is given up
CALLERS = 8  # that ask for runs by hand at once
CONCURRENCY = 32

Fleet = Sequence[tuple[str, str]]  # what each process does, on which application


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What PostgreSQL counted so far: changed rows of the turn table, transactions."""

    changed: int
    transactions: int

    def less(self, other: "Counted") -> "Counted":
        """What came after another count."""
        return Counted(changed=self.changed - other.changed, transactions=self.transactions - other.transactions)


async def counted(database: Database) -> Counted:
    """Ask for the counts; sessions that are open keep theirs back for up to a second."""
    changed = await database.ask(
        "SELECT n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE schemaname = 'rota' AND relname = 'turn'"
    )
    done = await database.ask("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return Counted(changed=changed, transactions=done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """A drain: instants of the starts (ms), what was counted for it, the processor time of its workers (s)."""

    starts: list[int]
    cost: Counted
    cpu_s: float

    @property
    def took_s(self) -> float:
        """From the first start to the last."""
        return (self.starts[-1] - self.starts[0]) / 1000

    @property
    def most_calendar(self) -> int:
        """The most starts in a second of the clock."""
        return max(Counter(at // 1000 for at in self.starts).values())

    @property
    def most_sliding(self) -> int:
        """The most starts in any second."""
        return max(bisect_left(self.starts, at + 1000) - place for place, at in enumerate(self.starts))


async def starts_of(database: Database) -> list[int]:
    """When the runs of the journal began, in order."""
    connection = await asyncpg.connect(database.plain)
    rows = await connection.fetch("SELECT started_at FROM rota.journal WHERE outcome = 'succeeded' ORDER BY started_at")
    await connection.close()
    return [row[0] for row in rows]


async def drain(database: Database, fleet: Fleet, runs: int, *, seconds: float) -> Drained:
    """Let a fleet run what waits, until so many have ended or the time is over; members' own slots are a year away."""
    await asyncio.sleep(FLUSH_S)
    before = await counted(database)
    crew = await together([Child.start("policy_worker", *who, CONCURRENCY, "-", "-", db=database.url) for who in fleet])
    try:
        idle = sum(child.cpu_s for child in crew)
        for child in crew:
            child.say()
        connection = await asyncpg.connect(database.plain)
        for _ in range(int(seconds / LOOK_S)):
            if await connection.fetchval("SELECT coalesce(sum(runs), 0) FROM rota.rollup") >= runs:
                break
            await asyncio.sleep(LOOK_S)
        await connection.close()
        cpu_s = sum(child.cpu_s for child in crew) - idle
    finally:
        for child in crew:
            await child.end()
    await asyncio.sleep(FLUSH_S)
    return Drained(starts=await starts_of(database), cost=(await counted(database)).less(before), cpu_s=cpu_s)


async def _one_offs(runs: int) -> None:
    await policy_jobs.call.enqueue_many(list(range(runs)))


async def _one_by_one(runs: int) -> None:
    await policy_jobs.one_by_one.enqueue_many(list(range(runs)))


async def _members(runs: int) -> None:
    keys = [f"s{number:05}" for number in range(runs)]
    await policy_jobs.sellers.join_many(keys)

    async def ask(mine: list[str]) -> None:
        for key in mine:
            await policy_jobs.report.run_now(key)

    await asyncio.gather(*(ask(keys[start::CALLERS]) for start in range(CALLERS)))


async def _many_due(runs: int) -> None:
    for start in range(0, runs, 20_000):
        await policy_jobs.shops.join_many([f"s{number:06}" for number in range(start, min(runs, start + 20_000))])


async def filled(stores: Stores, name: str, fill: Callable[[int], Awaitable[None]], runs: int) -> Database:
    """A store in which so many runs of an application are due."""
    database = stores.fresh("postgres")
    application = getattr(policy_jobs, name)
    with application.put_on(database.url, application.clock):
        async with application:
            await fill(runs)
    await database.settle_down()
    return database


async def at_rate(
    stores: Stores, shown: str, name: str, fill: Callable[[int], Awaitable[None]], runs: int
) -> list[Row]:
    """All of a backlog by two workers and a tick beside them."""
    burst = 1 if name == "even" else RATE
    ideal_s = (runs - burst) / RATE
    database = await filled(stores, name, fill, runs)
    fleet = (("work", name), ("work", name), ("tick", name))
    found = await drain(database, fleet, runs, seconds=ideal_s * PATIENCE + 10)
    stores.drop(database)
    subject = f"{runs:,} {shown} at {RATE}/s, burst {burst}, 2 workers and a tick"
    done = len(found.starts)
    most = RATE + burst
    writes, each = found.cost.changed / done, found.cost.transactions / done
    late = found.took_s / ideal_s
    return [
        Row(
            subject=subject,
            who="most starts in a second",
            figure=f"{found.most_calendar} of the clock, {found.most_sliding} of any, {done:,} in all",
            target=f"≤ {most}" + (" and late starts" if burst == 1 else ""),
            met=done == runs and (burst == 1 or max(found.most_calendar, found.most_sliding) <= most),
        ),
        Row(
            subject=subject,
            who="first start to last",
            figure=f"{found.took_s:.2f} s",
            ratio=f"{late:.4f} × the ideal {ideal_s:.2f} s",
            target=f"≤ {SLACK} ×",
            met=late <= SLACK,
        ),
        Row(
            subject=subject,
            who="cost of a run",
            figure=f"{writes:.3f} changed turn rows, {each:.2f} transactions, {found.cpu_s / done * 1e3:.2f} ms CPU",
            target=f"≤ {WRITES:g} rows",
            met=writes <= WRITES,
        ),
    ]


async def very_many(stores: Stores, members: int, seconds: float) -> list[Row]:
    """A window of a backlog that would take half an hour, by two workers."""
    database = await filled(stores, "slow", _many_due, members)
    found = await drain(database, (("work", "slow"), ("work", "slow")), members, seconds=seconds)
    stores.drop(database)
    subject = f"{members:,} due members at {SLOW}/s, 2 workers, {seconds:.0f} s"
    done = len(found.starts)
    writes, each = found.cost.changed / done, found.cost.transactions / done
    return [
        Row(
            subject=subject,
            who="most starts in a second",
            figure=f"{found.most_calendar} of the clock, {found.most_sliding} of any, {done:,} in all",
            target=f"≤ {2 * SLOW}",
            met=max(found.most_calendar, found.most_sliding) <= 2 * SLOW,
        ),
        Row(
            subject=subject,
            who="cost of a run",
            figure=f"{writes:.3f} changed turn rows, {each:.2f} transactions, {found.cpu_s / done * 1e3:.2f} ms CPU",
            target=f"≤ {WRITES:g} rows",
            met=writes <= WRITES + CONCURRENCY * 2 / done,  # what was claimed when the window ended
        ),
        Row(
            subject=subject,
            who="both workers",
            figure=f"{found.cost.transactions / seconds:.0f} transactions/s, {found.cpu_s / seconds:.1%} CPU",
        ),
    ]


async def _rare(runs: int) -> None:
    await policy_jobs.once_a_minute.enqueue_many(list(range(runs)))


async def _transactions(database: Database, seconds: float) -> float:
    """How many two workers make in a second, once they are calm."""
    words = ("policy_worker", "work", "rare", CONCURRENCY, "-", "-")
    crew = await together([Child.start(*words, db=database.url) for _ in range(2)])
    try:
        for child in crew:
            child.say()
        await asyncio.sleep(CALM_S)
        before = await counted(database)
        await asyncio.sleep(seconds)
        return (await counted(database)).less(before).transactions / seconds
    finally:
        for child in crew:
            await child.end()


async def no_room(stores: Stores, seconds: float) -> list[Row]:
    """What two workers do where hundreds are due and nothing has room for a minute, beside two that have no work."""
    rates: list[float] = []
    for runs in (200, 0):
        database = await filled(stores, "rare", _rare, runs)
        rates.append(await _transactions(database, seconds))
        stores.drop(database)
    return [
        Row(
            subject="two workers, no room for a minute",
            who="200 due",
            figure=f"{rates[0]:.1f} transactions/s",
            ratio=f"{rates[0] / rates[1]:.2f} × with nothing due",
            target="≤ 1.5 ×",
            met=rates[0] <= rates[1] * 1.5,
        )
    ]


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """All of them."""
    rows = await at_rate(stores, "one-offs", "brisk", _one_offs, plan.limited)
    rows += await at_rate(stores, "members by hand", "brisk", _members, plan.limited)
    rows += await at_rate(stores, "one-offs", "even", _one_by_one, plan.limited)
    rows += await very_many(stores, plan.due, plan.window_s)
    return rows + await no_room(stores, plan.window_s / 2)
