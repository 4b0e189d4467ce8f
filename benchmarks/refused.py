"""A service that says "too often": how many calls a fleet makes all the same, beside loops that try again.

Always true: calls are counted by the service itself; rota and the loops meet the same service with the same number of
processes and calls to make.

Not here: the service (service.py).
"""

import asyncio
from itertools import pairwise

from benchmarks import policy_jobs
from benchmarks.children import Child, together
from benchmarks.plan import Plan
from benchmarks.policy_worker import NAIVE_CALLS
from benchmarks.service import WELL, Service
from benchmarks.stores import Stores
from benchmarks.table import Row

WORKERS = 4
CALLS = WORKERS * NAIVE_CALLS
LOOK_S = 0.1
PATIENCE_S = 60.0
EARLY_S = 0.05  # an answer takes a while to arrive, and the fleet counts from there


async def fleet(stores: Stores, concurrency: int) -> tuple[Service, int]:
    """Four workers; the service as it was called, and how many runs came to a good end."""
    database = stores.fresh("postgres")
    application = policy_jobs.refused
    async with Service().open() as service:
        with application.put_on(database.url, application.clock):
            async with application:
                await policy_jobs.ask.enqueue_many(list(range(CALLS)))
        words = ("work", "refused", concurrency, "-", service.port)
        crew = await together([Child.start("policy_worker", *words, db=database.url) for _ in range(WORKERS)])
        try:
            for child in crew:
                child.say()
            for _ in range(int(PATIENCE_S / LOOK_S)):
                await asyncio.sleep(LOOK_S)
                if await database.ask("SELECT count(*) FROM rota.turn") == 0:
                    break
        finally:
            for child in crew:
                await child.end()
        ended = await database.ask("SELECT count(DISTINCT turn) FROM rota.journal WHERE outcome = 'succeeded'")
    stores.drop(database)
    return service, ended


async def naive() -> Service:
    """Four loops that sleep a tenth of a second after a refusal."""
    async with Service().open() as service:
        words = ("naive", "-", 1, "-", service.port)
        crew = await together([Child.start("policy_worker", *words) for _ in range(WORKERS)])
        try:
            for child in crew:
                child.say()
            async with asyncio.timeout(PATIENCE_S):
                for child in crew:
                    await child.line()
        finally:
            for child in crew:
                await child.end()
    return service


def _row(service: Service, ended: int, concurrency: int) -> Row:
    refusals = service.refusals
    before = [at for at in refusals if at < service.after_s - EARLY_S]
    probes = [at for at in refusals if at >= service.after_s - EARLY_S]
    alone = all(after - at >= service.after_s - EARLY_S for at, after in pairwise(probes))
    good = sum(status == WELL for _, status in service.calls)
    most = WORKERS * concurrency
    return Row(
        subject=f"{CALLS} calls, a service refuses after {service.good} for {service.away_s:.0f} s",
        who=f"rota, {WORKERS} workers of {concurrency}",
        figure=f"{len(refusals)} refused: {len(before)} at once, {len(probes)} probes; {good} answered, {ended} ended",
        target=f"≤ {most} at once, probes alone, {CALLS} ended",
        met=len(before) <= most and alone and ended == CALLS == good,
    )


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """Small and larger workers, and the loops."""
    rows = [_row(*(await fleet(stores, concurrency)), concurrency) for concurrency in (1, 8)]
    loops = await naive()
    figure = f"{len(loops.refusals)} refused"
    return [*rows, Row(subject=rows[0].subject, who=f"{WORKERS} loops, 0.1 s after a refusal", figure=figure)]
