"""A step that cost a call, and the worker that is killed right after it: what is paid twice.

Always true: what was paid is counted by a ledger outside the store; the worker kills itself with SIGKILL in the line
after the step.

Not here: the job (policy_jobs.py).
"""

import asyncio
from collections import Counter

from benchmarks import policy_jobs
from benchmarks.children import Child
from benchmarks.plan import Plan
from benchmarks.stores import Stores
from benchmarks.table import Row

RUNS = 5
LOOK_S = 0.1
PATIENCE_S = 60.0


async def _paid(stores: Stores, kind: str) -> Row:
    database, ledger = stores.fresh(kind), stores.folder / f"paid-{kind}"
    application = policy_jobs.paying
    with application.put_on(database.url, application.clock):
        async with application:
            await policy_jobs.pay_and_die.enqueue_many(list(range(RUNS)))
    kills, lines = 0, ""
    worker = None
    words = ("work", "paying", 1, ledger, "-")
    try:
        for _ in range(int(PATIENCE_S / LOOK_S)):
            if worker is None or worker.gone:
                kills += worker is not None
                worker = await Child.start("policy_worker", *words, db=database.url)
                worker.say()
            await asyncio.sleep(LOOK_S)
            lines = ledger.read_text() if ledger.exists() else ""
            if lines.count("end ") == RUNS:
                break
    finally:
        if worker is not None:
            await worker.end()
    stores.drop(database)
    counts = Counter(tuple(line.split()[:2]) for line in lines.splitlines())
    paid = [counts["paid", str(number)] for number in range(RUNS)]
    ended = [counts["end", str(number)] for number in range(RUNS)]
    return Row(
        subject="a step is paid for and its worker killed right after it",
        who={"postgres": "PostgreSQL", "sqlite": "SQLite"}[kind],
        figure=f"{RUNS} runs, {kills} kills, {sum(paid)} paid, {sum(ended)} ended",
        target=f"{RUNS} paid, {RUNS} ended",
        met=paid == ended == [1] * RUNS and kills == RUNS,
    )


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """On both stores."""
    return [await _paid(stores, kind) for kind in ("postgres", "sqlite")]
