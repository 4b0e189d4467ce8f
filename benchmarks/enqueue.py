"""How fast one-offs get in: in bulk, and from a hundred callers that each await their own commit.

Always true: every job is durable when its time stops; contenders take turns.

Not here: getting them out again (throughput.py).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

import asyncpg

from benchmarks import applications, raw_postgres
from benchmarks.children import Child
from benchmarks.peers.environments import interpreter
from benchmarks.plan import Plan
from benchmarks.stores import Database, Stores
from benchmarks.table import Row, rate, spread

CALLERS = 100
BULK_LEAST = 100_000  # one-offs a second (design 15)
CALLERS_LEAST = 40_000  # the same

Run = Callable[[Database, int], Awaitable[float]]


async def rota_bulk(database: Database, jobs: int) -> float:
    """`enqueue_many` of them all; seconds."""
    application = applications.one
    with application.put_on(database.url, application.clock):
        async with application:
            began = time.perf_counter()
            await applications.noop.enqueue_many(range(jobs))
            return time.perf_counter() - began


async def rota_callers(database: Database, jobs: int) -> float:
    """A hundred callers, each awaiting its own; seconds."""
    application = applications.one

    async def call() -> None:
        for number in range(jobs // CALLERS):
            await applications.noop.enqueue(number)

    with application.put_on(database.url, application.clock):
        async with application:
            began = time.perf_counter()
            await asyncio.gather(*(call() for _ in range(CALLERS)))
            return time.perf_counter() - began


async def raw_bulk(database: Database, jobs: int) -> float:
    """The fastest plain way that answers ids: arrays of a thousand; seconds."""
    connection = await asyncpg.connect(database.plain)
    await connection.execute(raw_postgres.ONE_OFFS)
    text = (
        "INSERT INTO job (name, args, due_at) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) RETURNING id"
    )
    began = time.perf_counter()
    for _ in range(0, jobs, 1000):
        await connection.fetch(text, ["noop"] * 1000, ['{"number":1}'] * 1000, [0] * 1000)
    took = time.perf_counter() - began
    await connection.close()
    return took


async def _pgqueuer(act: str, database: Database, jobs: int) -> float:
    python = interpreter("pgqueuer")
    child = await Child.start("peers.pgqueuer_worker", act, database.plain, "--jobs", jobs, python=python)
    try:
        child.say()
        return float(await child.line())
    finally:
        await child.end()


async def pgqueuer_bulk(database: Database, jobs: int) -> float:
    """PgQueuer's bulk enqueue; seconds."""
    return await _pgqueuer("fill", database, jobs)


async def pgqueuer_callers(database: Database, jobs: int) -> float:
    """PgQueuer, a hundred callers over sixteen connections; seconds."""
    return await _pgqueuer("together", database, jobs)


async def huey_single(database: Database, jobs: int) -> float:
    """Huey, which has no bulk and blocks its caller; seconds."""
    child = await Child.start("peers.huey_worker", "fill", database.plain, "--jobs", jobs, python=interpreter("huey"))
    try:
        child.say()
        return float(await child.line())
    finally:
        await child.end()


async def _compare(stores: Stores, kind: str, runs: dict[str, tuple[Run, int]], rounds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (run, jobs) in runs.items():
            database = stores.fresh(kind)
            rates[name].append(jobs / await run(database, jobs))
            stores.drop(database)
    return rates


def _rows(subject: str, rates: dict[str, list[float]], least: float | None) -> list[Row]:
    rows: list[Row] = []
    middle = {name: median(values) for name, values in rates.items()}
    for name, values in rates.items():
        ours = name == "rota"
        times = [f"{middle['rota'] / middle[other]:.2f} × {other}" for other in rates if other != "rota"]
        rows.append(
            Row(
                subject=subject,
                who=name,
                figure=rate(middle[name]),
                spread=spread(values),
                ratio=", ".join(times) if ours else "",
                target=f"≥ {least:,.0f}/s" if ours and least else "",
                met=middle[name] >= least if ours and least else None,
            )
        )
    return rows


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """All ways in."""
    jobs, few = plan.enqueued, plan.enqueued // 10
    bulk = await _compare(
        stores,
        "postgres",
        {"rota": (rota_bulk, jobs), "raw arrays": (raw_bulk, jobs), "PgQueuer": (pgqueuer_bulk, jobs)},
        plan.rounds,
    )
    callers = await _compare(
        stores, "postgres", {"rota": (rota_callers, jobs), "PgQueuer": (pgqueuer_callers, few)}, plan.rounds
    )
    local = await _compare(stores, "sqlite", {"rota": (rota_bulk, jobs)}, plan.rounds)
    local_callers = await _compare(
        stores, "sqlite", {"rota": (rota_callers, jobs), "Huey, one caller": (huey_single, few)}, plan.rounds
    )
    return [
        *_rows("bulk enqueue, PostgreSQL", bulk, BULK_LEAST),
        *_rows("100 callers enqueue, PostgreSQL", callers, CALLERS_LEAST),
        *_rows("bulk enqueue, SQLite", local, None),
        *_rows("100 callers enqueue, SQLite", local_callers, None),
    ]
