"""A child of the measures of policies: `policy_worker work|tick|naive APPLICATION CONCURRENCY LEDGER PORT`.

`work` is a worker, `tick` is a cron that ticks once a second, `naive` is a loop that calls the service without rota.

Always true: it drives the engine through the public API only.

Not here: what it works on (policy_jobs.py), when it ends (children.py).
"""

import asyncio
import sys

import httpx2

from benchmarks import policy_jobs
from benchmarks.children import ready
from rota.engine.worker import Settings

CRON_S = 1.0  # between two ticks
LEASE_MS = 2_000  # so that what a killed worker held is soon another's
NAIVE_S = 0.1  # what a loop sleeps after a refusal
NAIVE_CALLS = 75  # of each naive loop: four of them do what the fleet does


async def work(application: str, concurrency: int) -> None:
    """Be a worker until killed."""
    async with getattr(policy_jobs, application) as rota:
        worker = await rota.worker(Settings(concurrency=concurrency, lease_ms=LEASE_MS))
        ready()
        await worker.run()


async def tick(application: str, concurrency: int) -> None:
    """Tick once a second until killed."""
    async with getattr(policy_jobs, application) as rota:
        ready()
        while True:
            await rota.tick(concurrency=concurrency)
            await asyncio.sleep(CRON_S)


async def naive(port: str) -> None:
    """Make the calls one after the other; a refused one again after a short sleep."""
    async with httpx2.AsyncClient() as client:
        ready()
        left = NAIVE_CALLS
        while left:
            answer = await client.get(f"http://127.0.0.1:{port}/")
            if answer.is_success:
                left -= 1
            else:
                await asyncio.sleep(NAIVE_S)
    print("done", flush=True)


async def be(mode: str, application: str, concurrency: str, ledger: str, port: str) -> None:
    """What the command line says."""
    if ledger != "-":
        policy_jobs.Ledger.open(ledger)
    if port != "-":
        policy_jobs.Service.at(port)
    match mode:
        case "naive":
            await naive(port)
        case "tick":
            await tick(application, int(concurrency))
        case _:
            await work(application, int(concurrency))


if __name__ == "__main__":
    asyncio.run(be(*sys.argv[1:6]))
