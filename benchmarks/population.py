"""What a large roster costs: joining it to three jobs, one pass with 1 % due, lateness under its steady load.

Always true: the roster of each size is made once and the passes run on it; a pass is a `tick` of one job; its
fixed part (a pass with nothing due) is shown apart from the cost of each due turn.

Not here: small things fast (throughput.py).
"""

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from benchmarks import applications
from benchmarks.children import Child
from benchmarks.plan import Plan
from benchmarks.stores import Database, Stores
from benchmarks.table import Row
from benchmarks.tally import blank

JOIN_MOST_S = 60.0  # a million members on PostgreSQL (design 15)
SLACK = 1.2  # a due turn may cost so many times as much among a million members as among ten thousand
LATE_MOST_MS = 100.0  # p99 of lateness (design 15)
SHARE = 100  # one member in so many is due in a pass
PASSES = 5  # of which the median counts; more where few are due, as those are short
STEADY_S = 8.0  # of steady load
FACTS = 20_000  # members of one call of join_many


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found at one size: seconds to join, milliseconds of an empty pass, microseconds of a due turn."""

    members: int
    join_s: float
    empty_ms: float
    pass_ms: float
    turn_us: float
    late_ms: tuple[float, float] | None


async def _pass_ms(database: Database, due: int) -> tuple[float, float]:
    """One tick of one job in which some are due: milliseconds in all, and for the job without the chores around it."""
    now = time.time_ns() // 1_000_000
    turn = database.table("turn")
    if due:
        some = f"SELECT id FROM {turn} WHERE job = 'first' AND member LIKE '%00'"
        await database.run(f"UPDATE {turn} SET due_at = {now}, slot_at = {now} WHERE id IN ({some})")
        if database.kind == "postgres":
            await database.run(f"VACUUM {turn}")
    began = time.perf_counter()
    summary = await applications.three.tick(jobs=["first"], concurrency=1000)
    took = (time.perf_counter() - began) * 1000
    if summary.succeeded < due:
        message = f"a pass should have run {due} turns and ran {summary.succeeded}"
        raise RuntimeError(message)
    return took, summary.jobs[0].duration * 1000


async def _late_ms(stores: Stores, database: Database) -> tuple[float, float]:
    """Let a worker serve the roster for a while: p50 and p99 of how late turns began."""
    tally = stores.folder / "steady"
    blank(tally)
    worker = await Child.start("worker", "three", 32, tally, 0, db=database.url)
    journal = database.table("journal")
    last = f"SELECT coalesce(max(id), 0) FROM {journal}"
    worker.say()
    await asyncio.sleep(2.0)  # what came due while nobody worked
    before = await database.ask(last)
    await asyncio.sleep(STEADY_S)
    await worker.end()
    since = f"FROM {journal} WHERE id > {before} AND outcome = 'succeeded'"
    count = await database.ask(f"SELECT count(*) {since}")
    ranks = (count // 2, min(count - 1, count * 99 // 100))
    found = [
        await database.ask(f"SELECT started_at - due_at {since} ORDER BY started_at - due_at LIMIT 1 OFFSET {rank}")
        for rank in ranks
    ]
    return float(found[0]), float(found[1])


async def populate(stores: Stores, kind: str, members: int, *, steady: bool) -> Found:
    """Join, pass, serve."""
    database = stores.fresh(kind)
    application = applications.three
    with application.put_on(database.url, application.clock):
        async with application:
            began = time.perf_counter()
            for start in range(0, members, FACTS):
                keys = [f"m{number:07}" for number in range(start, min(start + FACTS, members))]
                await applications.people.join_many(keys)
            join_s = time.perf_counter() - began
            await database.settle_down()
            due = members // SHARE
            passes = PASSES * 3 if due < 1000 else PASSES
            empty, full = [], []
            for _ in range(passes + 1):  # the first of each kind warms up
                empty.append(await _pass_ms(database, 0))
                full.append(await _pass_ms(database, due))
            turn_us = (_middle(full, 1) - _middle(empty, 1)) * 1000 / due
        late = await _late_ms(stores, database) if steady else None
    stores.drop(database)
    return Found(
        members=members,
        join_s=join_s,
        empty_ms=_middle(empty, 0),
        pass_ms=_middle(full, 0),
        turn_us=turn_us,
        late_ms=late,
    )


def _middle(passes: list[tuple[float, float]], which: int) -> float:
    return median(one[which] for one in passes[1:])


def _rows(shown: str, found: list[Found]) -> list[Row]:
    rows: list[Row] = []
    for one in found:
        bound = shown == "PostgreSQL" and one.members == 1_000_000
        rows.append(
            Row(
                subject=f"join to three jobs, {shown}",
                who=f"{one.members:,} members",
                figure=f"{one.join_s:.1f} s, {one.members / one.join_s:,.0f}/s",
                target=f"≤ {JOIN_MOST_S:.0f} s" if bound else "",
                met=one.join_s <= JOIN_MOST_S if bound else None,
            )
        )
    least = found[0]
    for one in found:
        times = one.turn_us / least.turn_us
        compared = one is found[-1]
        rows.append(
            Row(
                subject=f"a pass with 1 % due, {shown}",
                who=f"{one.members:,} members",
                figure=f"{one.pass_ms:.0f} ms, of it {one.empty_ms:.1f} ms fixed; {one.turn_us:.0f} µs a due turn",
                ratio=f"{times:.2f} × at {least.members:,}" if compared else "",
                target=f"≤ {SLACK:g} × a turn" if compared else "",
                met=times <= SLACK if compared else None,
            )
        )
    late = found[-1].late_ms
    if late is not None:
        rows.append(
            Row(
                subject=f"lateness under steady load, {shown}",
                who=f"{found[-1].members:,} members",
                figure=f"p50 {late[0]:.0f} ms, p99 {late[1]:.0f} ms",
                target=f"p99 ≤ {LATE_MOST_MS:.0f} ms",
                met=late[1] <= LATE_MOST_MS,
            )
        )
    return rows


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """All sizes on both stores."""
    rows: list[Row] = []
    for kind, shown in (("postgres", "PostgreSQL"), ("sqlite", "SQLite")):
        sizes = plan.joins
        found = [await populate(stores, kind, size, steady=size == sizes[-1]) for size in sizes]
        rows += _rows(shown, found)
    return rows
