"""PgQueuer on PostgreSQL: `SIDE_VARIANT` is empty (its defaults) or `tuned`; `work N` is its worker.

Always true: a worker's places are bounded by the claim itself, with the largest batch that PgQueuer allows for them;
everything that is not named here is its default.

Not here: its speed (benchmarks/peers).
"""

import asyncio
import sys
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.sidebyside import ledger
from benchmarks.sidebyside.side import STORE, VARIANT, answer

TUNED = timedelta(seconds=5)


async def work(places: int) -> None:
    """Work until killed."""
    async with asyncpg.create_pool(STORE, min_size=2, max_size=4) as pool:
        peer = PgQueuer.from_asyncpg_pool(pool)

        @peer.entrypoint("job")
        async def job(job: Job) -> None:
            number = int(job.payload)
            ledger.note("start", number)
            await asyncio.sleep(ledger.lasts_ms(number) / 1000)
            ledger.note("end", number)

        times = {"heartbeat_timeout": TUNED, "dequeue_timeout": TUNED} if VARIANT == "tuned" else {}
        await peer.run(batch_size=places // 2, max_concurrent_tasks=places, **times)


async def put(jobs: int) -> None:
    """Enqueue jobs; each is acknowledged when `enqueue` returns."""
    connection = await asyncpg.connect(STORE)
    queries = Queries.from_asyncpg_connection(connection)
    await queries.install()
    for number in range(jobs):
        await queries.enqueue("job", str(number).encode())
    await connection.close()


async def listed() -> dict[str, list[int]]:
    """The rows of its queue, by their state."""
    connection = await asyncpg.connect(STORE)
    rows = await connection.fetch("SELECT payload, status::text AS status FROM pgqueuer")
    await connection.close()
    states = {"waiting": "queued", "reserved": "picked", "failed": "failed"}
    return {name: [int(row["payload"]) for row in rows if row["status"] == state] for name, state in states.items()}


if __name__ == "__main__":
    if sys.argv[1] == "work":
        uvloop.run(work(int(sys.argv[2])))
    else:
        answer(lambda jobs: asyncio.run(put(jobs)), lambda: asyncio.run(listed()))
