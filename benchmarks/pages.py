"""How long what people look at takes while everybody is late: p95 of status, why, runs and limits by size of roster.

Always true: the members joined half a day ago by the store's own clock and none has run since; half of them failed for
one cause; the chore that counts has passed; nothing else works meanwhile (C-16 looks at pages beside workers).

Not here: the command line around them, which takes longer to start (cold.py).
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from benchmarks import applications
from benchmarks.applications import late
from benchmarks.plan import Plan
from benchmarks.stores import Database, Stores
from benchmarks.table import Row
from rota import Member
from rota.insight import runs
from rota.insight.runs import Wanted
from rota.testing import ManualClock

MOST_MS = 200.0  # p95 of a page (reliability 5, C-16)
AGO = timedelta(hours=12)
FACTS = 20_000  # members of one call of join_many
WAITING = 10_000  # runs that wait for a limit
REGIONS = 7
HISTORY = 43_200  # rows of the journal of one member: a job of every minute, kept for 30 days
LOOKS = 60  # at each page
CHORE = "the chore that counts, once"
MINUTE_MS = 60_000

Page = Callable[[], Awaitable[object]]
Took = dict[str, float]  # p95 in ms by page


def _filled(database: Database) -> tuple[str, ...]:
    """What half a day without success leaves, with a journal and a line before a limit."""
    turn, journal, error = (database.table(name) for name in ("turn", "journal", "error"))
    now = time.time_ns() // 1_000_000
    row = f"INSERT INTO {journal} (turn, run, attempt, job, roster, member, started_at, ended_at, worker, outcome)"
    series = f"WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {HISTORY})"
    return (
        (
            f"UPDATE {turn} SET error = 'e1', failing_since = stale_at WHERE member LIKE '%5'"
            f" OR member LIKE '%6' OR member LIKE '%7' OR member LIKE '%8' OR member LIKE '%9'"
        ),
        (
            f"INSERT INTO {error} (job, fingerprint, kind, message, first_at, last_at, count)"
            f" VALUES ('owe', 'e1', 'HTTPError', 'TokenExpired', 1, 1, 1)"
        ),
        f"UPDATE {turn} SET waits_for = 'limit slow', due_at = {now + MINUTE_MS} + id WHERE job = 'ask'",
        (
            f"{row} SELECT id, 1, 1, job, roster, member, {now} - 900, {now} - id % 900, 'w',"
            f" CASE WHEN id % 10000 = 0 THEN 'dead' ELSE 'succeeded' END FROM {turn}"
        ),
        (
            f"{row} {series} SELECT turn.id, series.n, 1, turn.job, turn.roster, turn.member, 0,"
            f" {now} - CAST({HISTORY} - series.n AS bigint) * {MINUTE_MS}, 'w', 'retry'"
            f" FROM {turn} turn CROSS JOIN series WHERE turn.member = 'h5'"
        ),
    )


async def _p95_ms(page: Page) -> float:
    took = []
    for _ in range(LOOKS + 5):  # the first warm up
        began = time.perf_counter()
        await page()
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took[5:])[LOOKS * 95 // 100]


async def look(stores: Stores, kind: str, members: int) -> Took:
    """Join in the past, let nothing run, and look at every page."""
    database = stores.fresh(kind)
    with late.put_on(database.url, ManualClock(datetime.now(UTC) - AGO, seed=members)):
        async with late:
            for start in range(0, members, FACTS):
                some = range(start, min(start + FACTS, members))
                people = [Member(f"h{number}", data={"region": f"r{number % REGIONS}"}) for number in some]
                await applications.houses.join_many(people)
    with late.put_on(database.url, late.clock):
        async with late:
            await applications.ask.enqueue_many(list(range(WAITING)))
            for text in _filled(database):
                await database.run(text)
            await database.settle_down()
            took = await _looked()
    stores.drop(database)
    return took


async def _looked() -> Took:
    """Each page on the application that is open, the counting chore once before."""
    store = await late.opened()
    duties = {duty.name: duty for duty in late._duties(store)}
    began = time.perf_counter()
    await duties["recount"].do()
    took = {CHORE: (time.perf_counter() - began) * 1000}
    pages: dict[str, Page] = {
        "status": late.status,
        "why, half of them fail": partial(late.why, "houses/h15"),
        "why, 43,200 tries": partial(late.why, "houses/h5"),
        "runs": partial(runs.runs, store),
        "runs of a rare outcome": partial(runs.runs, store, Wanted(outcome="dead")),
        "runs of one member, 43,200": partial(runs.runs, store, Wanted(member="houses/h5")),
        "limits, 10,000 wait": late.limits,
    }
    return took | {name: await _p95_ms(page) for name, page in pages.items()}


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """All pages at all sizes on both stores."""
    rows: list[Row] = []
    for kind, shown in (("postgres", "PostgreSQL"), ("sqlite", "SQLite")):
        found = {size: await look(stores, kind, size) for size in plan.joins}
        least, most = min(found), max(found)
        for name, took in found[most].items():
            target = name != CHORE
            rows.append(
                Row(
                    subject=f"pages, {most:,} members late, {shown}",
                    who=name,
                    figure=f"{took:.1f} ms",
                    ratio=f"{took / found[least][name]:.1f} × at {least:,}",
                    target=f"p95 ≤ {MOST_MS:.0f} ms" if target else "",
                    met=took <= MOST_MS if target else None,
                )
            )
    return rows
