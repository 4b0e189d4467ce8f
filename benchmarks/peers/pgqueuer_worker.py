"""PgQueuer as a child of a benchmark: `fill N`, `work SLOT`, `wait` (latency), all on the database of the arguments.

Always true: its own event loop choice (uvloop), durable tables, its log on, a pool for what runs beside the listener,
and a batch size of 1,000: 1.3 to 2 times as fast as 100 in every round that was tried, and no slower than 300 in most.

Not here: making its environment (environments.py).
"""

import argparse
import asyncio
import time
from pathlib import Path

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.children import ready
from benchmarks.tally import Tally


async def installed(connection: asyncpg.Connection) -> Queries:
    """The peer's statements, its tables made where they are missing."""
    queries = Queries.from_asyncpg_connection(connection)
    if not await queries.has_table("pgqueuer"):
        await queries.install()
    return queries


async def fill(options: argparse.Namespace) -> None:
    """Make the tables and put jobs in, a thousand at a time; print how many seconds the jobs took."""
    connection = await asyncpg.connect(options.db)
    queries = await installed(connection)
    ready()
    began = time.perf_counter()
    for _ in range(0, options.jobs, 1000):
        await queries.enqueue(["noop"] * 1000, [b'{"number":1}'] * 1000, [0] * 1000)
    print(time.perf_counter() - began, flush=True)
    await connection.execute("ANALYZE pgqueuer")


async def enqueue_together(options: argparse.Namespace) -> None:
    """A hundred callers, each awaiting its own commit; print how many seconds the jobs took."""
    async with asyncpg.create_pool(options.db, min_size=16, max_size=16) as pool:
        queries = Queries.from_asyncpg_pool(pool)
        await queries.install()
        ready()

        async def call() -> None:
            for _ in range(options.jobs // 100):
                await queries.enqueue("noop", b'{"number":1}')

        began = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(100)))
        print(time.perf_counter() - began, flush=True)


async def work(options: argparse.Namespace) -> None:
    """Work until killed."""
    async with asyncpg.create_pool(options.db, min_size=2, max_size=4) as pool:
        peer = PgQueuer.from_asyncpg_pool(pool)
        mark = Tally(options.tally).marker(options.slot) if options.tally else print_instant

        @peer.entrypoint("noop")
        async def noop(job: Job) -> None:
            mark()

        ready()
        await peer.run(batch_size=options.batch)


async def send(options: argparse.Namespace) -> None:
    """Enqueue one job now and then, printing when."""
    connection = await asyncpg.connect(options.db)
    queries = await installed(connection)
    ready()
    for _ in range(options.jobs):
        print(time.monotonic_ns(), flush=True)
        await queries.enqueue("noop", b'{"number":1}')
        await asyncio.sleep(options.pause)


def print_instant() -> None:
    """The handler of a latency run."""
    print(time.monotonic_ns(), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=["fill", "together", "work", "send"])
    parser.add_argument("db")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--tally", type=Path)
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.02)
    chosen = parser.parse_args()
    acts = {"fill": fill, "together": enqueue_together, "work": work, "send": send}
    uvloop.run(acts[chosen.act](chosen))
