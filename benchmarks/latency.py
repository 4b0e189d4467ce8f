"""How long an idle worker takes to start what was just enqueued: in the same process, and in another one.

Always true: the clock starts before the enqueue is asked for and stops when the handler begins, so the commit is
inside; pauses between samples are long enough for every worker to be idle again.

Not here: latency under load.
"""

import asyncio
import contextlib
import time
from statistics import median, quantiles

from benchmarks import applications
from benchmarks.children import Child
from benchmarks.peers.environments import interpreter
from benchmarks.plan import Plan
from benchmarks.stores import Stores
from benchmarks.table import Row

PAUSE_S = 0.12  # longer than any contender's debounce, so that each sample finds an idle worker
LATEST_S = 5.0  # a sample that takes longer is a fault


async def same_process(stores: Stores, kind: str, samples: int) -> list[float]:
    """Enqueue beside a worker in this loop; milliseconds."""
    database = stores.fresh(kind)
    application = applications.one
    began = asyncio.Event()
    took: list[float] = []
    applications.Counting.mark = staticmethod(began.set)
    with application.put_on(database.url, application.clock):
        async with application:
            worker = asyncio.create_task(application.work())
            await asyncio.sleep(0.5)
            for number in range(samples):
                began.clear()
                asked = time.perf_counter()
                enqueuing = asyncio.create_task(_enqueue(number))
                await asyncio.wait_for(began.wait(), LATEST_S)
                took.append((time.perf_counter() - asked) * 1000)
                await enqueuing
                await asyncio.sleep(PAUSE_S)
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
    applications.Counting.mark = staticmethod(lambda: None)
    stores.drop(database)
    return took


async def _enqueue(number: int) -> None:
    await applications.noop.enqueue(number)


async def other_process(stores: Stores, kind: str, samples: int) -> list[float]:
    """Enqueue here, run in another process; milliseconds."""
    database = stores.fresh(kind)
    application = applications.one
    took: list[float] = []
    with application.put_on(database.url, application.clock):
        async with application:
            worker = await Child.start("worker", "one", 32, "-", 0, db=database.url)
            try:
                worker.say()
                await asyncio.sleep(1.0)
                for number in range(samples):
                    asked = time.monotonic_ns()
                    await applications.noop.enqueue(number)
                    began = int(await asyncio.wait_for(worker.line(), LATEST_S))
                    took.append((began - asked) / 1e6)
                    await asyncio.sleep(PAUSE_S)
            finally:
                await worker.end()
    stores.drop(database)
    return took


async def peer(stores: Stores, kind: str, name: str, samples: int) -> list[float]:
    """The same for a peer: one process enqueues, another runs; milliseconds."""
    database = stores.fresh(kind)
    python = interpreter(name)
    sender = await Child.start(
        f"peers.{name}_worker", "send", database.plain, "--jobs", samples, "--pause", PAUSE_S, python=python
    )
    worker = await Child.start(f"peers.{name}_worker", "work", database.plain, python=python)
    took: list[float] = []
    try:
        worker.say()
        await asyncio.sleep(1.0)
        sender.say()
        for _ in range(samples):
            asked = int(await asyncio.wait_for(sender.line(), LATEST_S))
            began = int(await asyncio.wait_for(worker.line(), LATEST_S))
            took.append((began - asked) / 1e6)
    finally:
        await worker.end()
        await sender.end()
    stores.drop(database)
    return took


def _row(subject: str, who: str, took: list[float], most: tuple[float, float] | None) -> Row:
    p50, p99 = median(took), quantiles(took, n=100)[98]
    return Row(
        subject=subject,
        who=who,
        figure=f"p50 {p50:.2f} ms, p99 {p99:.1f} ms",
        target="" if most is None else f"≤ {most[0]:g} / {most[1]:g} ms",
        met=None if most is None else p50 <= most[0] and p99 <= most[1],
    )


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """All ways."""
    rows: list[Row] = []
    for kind, shown, name in (("postgres", "PostgreSQL", "pgqueuer"), ("sqlite", "SQLite", "huey")):
        subject = f"pick-up by an idle worker, {shown}"
        local = await same_process(stores, kind, plan.samples)
        rows.append(_row(subject, "rota, same process", local, (1.0, 10.0)))
        apart = await other_process(stores, kind, plan.samples)
        rows.append(_row(subject, "rota, other process", apart, (3.0, 10.0)))
        theirs = await peer(stores, kind, name, plan.samples)
        rows.append(_row(subject, {"pgqueuer": "PgQueuer", "huey": "Huey"}[name], theirs, None))
    return rows
