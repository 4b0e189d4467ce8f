"""What a worker costs that has nothing to do: processor, queries, memory, on each store and beside its peers.

Always true: all idle side by side for the same time; processor and memory are the operating system's figures of the
worker process; queries are those PostgreSQL logged.

Not here: the database's own processes.
"""

import asyncio
import re

from benchmarks import applications
from benchmarks.children import Child
from benchmarks.peers.environments import interpreter
from benchmarks.plan import Plan
from benchmarks.stores import Database, Stores
from benchmarks.table import Row

MOST = (0.5, 2.0, 60.0)  # percent of one processor, queries a second, megabytes (design 15)
CALM_S = 3.0  # after the start, before measuring
_STATEMENT = re.compile(r"(\w+) LOG:  (?:statement|execute)")


class _Queries:
    """Counts the statements of each database from the server's log."""

    def __init__(self, stores: Stores) -> None:
        self._server = stores.server

    async def begin(self, databases: list[Database]) -> None:
        """Have the server log every statement of these databases, with the database's name before it."""
        system = Database(kind="postgres", plain=self._server.url())
        await system.run("ALTER SYSTEM SET log_line_prefix = '%d '")
        await system.run("SELECT pg_reload_conf()")
        for one in databases:
            await system.run(f"ALTER DATABASE {_name(one)} SET log_statement = 'all'")

    def count(self, database: Database) -> int:
        """Statements so far."""
        found = _STATEMENT.findall(self._server.log.read_text(errors="replace"))
        return sum(name == _name(database) for name in found)


def _name(database: Database) -> str:
    return database.plain.rsplit("/", 1)[1]


async def _worker(database: Database) -> Child:
    application = applications.one
    with application.put_on(database.url, application.clock):
        async with application:
            await applications.members.join_many([f"m{number}" for number in range(1000)])
    return await Child.start("worker", "one", 32, "-", 0, db=database.url)


async def _pgqueuer(database: Database) -> Child:
    python = interpreter("pgqueuer")
    child = await Child.start("peers.pgqueuer_worker", "fill", database.plain, python=python)
    child.say()
    await child.line()
    await child.line()
    await child.end()
    return await Child.start("peers.pgqueuer_worker", "work", database.plain, python=python)


async def _huey(database: Database) -> Child:
    return await Child.start("peers.huey_worker", "work", database.plain, python=interpreter("huey"))


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """Let all of them idle."""
    ours, theirs = stores.fresh("postgres"), stores.fresh("postgres")
    local, others = stores.fresh("sqlite"), stores.fresh("sqlite")
    queries = _Queries(stores)
    await queries.begin([ours, theirs])
    who = {"rota, PostgreSQL": (ours, await _worker(ours)), "rota, SQLite": (local, await _worker(local))}
    who |= {"PgQueuer": (theirs, await _pgqueuer(theirs)), "Huey": (others, await _huey(others))}
    try:
        for _, child in who.values():
            child.say()
        await asyncio.sleep(CALM_S)
        before = {name: (child.cpu_s, queries.count(database)) for name, (database, child) in who.items()}
        await asyncio.sleep(plan.idle_s)
        rows: list[Row] = []
        for name, (database, child) in who.items():
            cpu = (child.cpu_s - before[name][0]) / plan.idle_s * 100
            asked = (queries.count(database) - before[name][1]) / plan.idle_s if database.kind == "postgres" else None
            rows.append(_row(name, cpu, asked, child.megabytes))
        return rows
    finally:
        for database, child in who.values():
            await child.end()
            stores.drop(database)


def _row(name: str, cpu: float, asked: float | None, megabytes: float) -> Row:
    bound = name.startswith("rota")
    figure = f"{cpu:.1f} % CPU, " + ("" if asked is None else f"{asked:.1f} queries/s, ") + f"{megabytes:.0f} MB"
    met = cpu <= MOST[0] and (asked or 0) <= MOST[1] and megabytes <= MOST[2]
    target = f"≤ {MOST[0]:g} %, {MOST[1]:g}/s, {MOST[2]:.0f} MB" if bound else ""
    return Row(subject="idle worker", who=name, figure=figure, target=target, met=met if bound else None)
