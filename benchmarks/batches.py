"""Batches: how exactly two workers keep the pause between the end of one and the start of the next.

Always true: instants are those of the handlers, on the machine's monotonic clock, so what the store and the way to it
take is part of the deviation; how late a plain sleep beside it was is told too.

Not here: the jobs (policy_jobs.py).
"""

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

from benchmarks import policy_jobs
from benchmarks.children import Child, together
from benchmarks.plan import Plan
from benchmarks.stores import Stores
from benchmarks.table import Row

SIZE = 10
MOST_MS = 50.0  # off the rhythm (issue 3)
LOOK_S = 0.2
NAP_S = 0.01  # of the sleep beside
QUICK = (20, 0.5)  # batches, pause in seconds
LONG = (200, 5.0)


def deviations(ledger: str) -> tuple[list[float], bool]:
    """By how many ms each pause was longer than the shortest it may be: 0; and whether batches were kept apart."""
    events = sorted((int(at), what, who) for what, who, at in (line.split() for line in ledger.splitlines()))
    spans: list[tuple[int, int]] = []
    running: set[str] = set()
    begun, size, whole = 0, 0, True
    for at, what, who in events:
        if what == "start":
            begun, size = (at, 1) if not running else (begun, size + 1)
            running.add(who)
            continue
        running.discard(who)
        if not running:
            spans.append((begun, at))
            whole = whole and size == SIZE
    return [(after[0] - before[1]) / 1e6 for before, after in pairwise(spans)], whole


async def _sleep_beside(late_ms: list[float]) -> None:
    """Note how late the machine wakes a process that only sleeps."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(NAP_S)
        late_ms.append((time.monotonic() - began - NAP_S) * 1000)


async def rhythm(stores: Stores, kind: str, job: str, batches: int, pause_s: float) -> Row:
    """Let two workers run so many batches."""
    database, ledger = stores.fresh(kind), stores.folder / f"{job}-{kind}"
    application = policy_jobs.batched
    with application.put_on(database.url, application.clock):
        async with application:
            roster = policy_jobs.quick_ones if job == "quick_batch" else policy_jobs.users
            await roster.join_many([f"u{number:05}" for number in range(batches * SIZE)])
    await database.settle_down()
    words = ("work", "batched", 32, ledger, "-")
    late_ms: list[float] = []
    beside = asyncio.create_task(_sleep_beside(late_ms))
    crew = await together([Child.start("policy_worker", *words, db=database.url) for _ in range(2)])
    try:
        for child in crew:
            child.say()
        for _ in range(int((pause_s + 1) * 1.5 * batches / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            if ledger.exists() and _ended(ledger) >= batches * SIZE:
                break
    finally:
        beside.cancel()
        for child in crew:
            await child.end()
    waits, whole = deviations(ledger.read_text())
    stores.drop(database)
    off = [wait - pause_s * 1000 for wait in waits]
    most, p99 = max(off), quantiles(off, n=100, method="inclusive")[98]
    return Row(
        subject=f"{batches} batches of {SIZE}, pause {pause_s:g} s, 2 workers",
        who={"postgres": "PostgreSQL", "sqlite": "SQLite"}[kind],
        figure=f"{len(off) + 1} batches, off the rhythm by {min(off):.1f} to {most:.1f} ms, p99 {p99:.1f}"
        f" (a plain sleep: up to {max(late_ms):.1f})",
        target=f"0 to {MOST_MS:.0f} ms",
        met=len(off) + 1 == batches and whole and min(off) >= 0 and most <= MOST_MS,
    )


def _ended(ledger: Path) -> int:
    return ledger.read_text().count("end ")


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """On both stores; with `--long` also as long as the issue asks."""
    rows = [await rhythm(stores, kind, "quick_batch", *QUICK) for kind in ("postgres", "sqlite")]
    return rows + ([await rhythm(stores, "postgres", "long_batch", *LONG)] if plan.long else [])
