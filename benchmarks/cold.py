"""How long `rota tick` takes from nothing to nothing: a cold process on SQLite with nothing due.

Always true: the whole process is timed, interpreter and imports included; the store is there already.

Not here: passes that find work (population.py).
"""

import asyncio
import os
import sys
import time
from statistics import median

from benchmarks import applications
from benchmarks.children import ROOT
from benchmarks.plan import Plan
from benchmarks.stores import Database, Stores
from benchmarks.table import Row, spread

MOST_MS = 400.0  # design 15


async def _seconds(*words: str, database: Database) -> float:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        "--db",
        database.url,
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    took = time.perf_counter() - began
    if process.returncode:
        message = f"a tick with nothing due should have ended well and said: {said.decode().strip()}"
        raise RuntimeError(message)
    return took


async def _bare() -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import asyncio")
    await process.wait()
    return time.perf_counter() - began


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """Start it a few times."""
    database = stores.fresh("sqlite")
    application = applications.one
    with application.put_on(database.url, application.clock):
        async with application:
            await applications.members.join_many([f"m{number}" for number in range(1000)])
    words = ("-m", "rota.cli", "tick", "--app", "benchmarks.applications:one")
    took, bare = [], []
    for _ in range(plan.starts):
        bare.append(await _bare() * 1000)
        took.append(await _seconds(*words, database=database) * 1000)
    stores.drop(database)
    subject = "cold start, SQLite"
    middle = median(took)
    return [
        Row(subject=subject, who="python -c 'import asyncio'", figure=f"{median(bare):.0f} ms", spread=spread(bare)),
        Row(
            subject=subject,
            who="rota tick, nothing due",
            figure=f"{middle:.0f} ms",
            spread=spread(took),
            target=f"≤ {MOST_MS:.0f} ms",
            met=middle <= MOST_MS,
        ),
    ]
