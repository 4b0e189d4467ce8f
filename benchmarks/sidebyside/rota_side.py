"""rota on SQLite or PostgreSQL, whichever the store is.

Always true: everything is rota's default.

Not here: its worker, which is rota's own command line (contenders.py).
"""

import asyncio
import json
import os

import apsw
import asyncpg

from benchmarks.sidebyside import ledger
from benchmarks.sidebyside.side import STORE, answer
from rota import Rota

rota = Rota(STORE or None, name="side")
DEAD = "SELECT args FROM {0}dead_letter"
TURNS = "SELECT args, state FROM {0}turn WHERE job = 'job'"


@rota.job
async def job(number: int) -> None:
    ledger.note("start", number)
    await asyncio.sleep(ledger.lasts_ms(number) / 1000)
    ledger.note("end", number)


async def put(jobs: int) -> None:
    """Enqueue jobs; each is acknowledged when `enqueue` returns."""
    async with rota:
        for number in range(jobs):
            await job.enqueue(number)


async def rows(text: str) -> list[tuple]:
    """Ask the store behind rota's back."""
    if STORE.startswith("sqlite:"):
        connection = apsw.Connection(STORE.removeprefix("sqlite:///"))
        connection.set_busy_timeout(10_000)
        return list(connection.execute(text.format("rota_")))
    connection = await asyncpg.connect(STORE)
    found = await connection.fetch(text.format("rota."))
    await connection.close()
    return [tuple(row) for row in found]


async def listed() -> dict[str, list[int]]:
    """Its turns by their state, and the dead letters."""
    turns = [(number_of(args), state) for args, state in await rows(TURNS)]
    return {
        "waiting": [number for number, state in turns if state == "waiting"],
        "reserved": [number for number, state in turns if state == "running"],
        "failed": [number_of(args) for (args,) in await rows(DEAD)],
    }


def number_of(args: str) -> int:
    """The job of a row."""
    return json.loads(args)["number"]


if __name__ == "__main__":
    os.environ.pop("ROTA_DB", None)
    answer(lambda jobs: asyncio.run(put(jobs)), lambda: asyncio.run(listed()))
