"""How fast a backlog of no-op work is drained: raw loops, rota and its peers in turns, on each store.

Always true: every contender drains the same number of jobs (Huey fewer, as it takes so long) that were put there
before; a rate is jobs by the time from the first one's start to the moment nothing is left, all of it durable.

Not here: putting jobs in (enqueue.py).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import applications, raw_postgres, raw_sqlite
from benchmarks.children import Child, together
from benchmarks.peers.environments import interpreter
from benchmarks.plan import Plan
from benchmarks.stores import Database, Stores
from benchmarks.table import Row, rate, spread
from benchmarks.tally import Tally, blank

PATIENCE_S = 120.0  # for one drain, fifty times what the slowest takes
LOOK_S = 0.005  # how often it is looked whether all is done
WIDE = 1000  # `--concurrency` of the runs that compare with peers in their best configuration
RAW_BATCH = 1000  # where speed.md found the raw loops fastest

Fill = Callable[[Database, int], Awaitable[None]]
Start = Callable[[Database, Path, int], Awaitable[Child]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Who drains: how its jobs get there, how a process of it is started, what tells that something is left."""

    name: str
    fill: Fill
    start: Start
    left: str
    share: int = 1  # of the jobs, one in so many


async def drain(stores: Stores, kind: str, contender: Contender, jobs: int, processes: int) -> float:
    """One round of one contender on a fresh store; jobs a second."""
    database = stores.fresh(kind)
    tally_file = stores.folder / "tally"
    blank(tally_file)
    children: list[Child] = []
    try:
        await contender.fill(database, jobs)
        await database.settle_down()
        children = await together([contender.start(database, tally_file, slot) for slot in range(processes)])
        tally = Tally(tally_file)
        for child in children:
            child.say()
        ended = await _when_done(database, contender, tally, jobs)
        return jobs * 1e9 / (ended - tally.first_ns)
    finally:
        for child in children:
            await child.end()
        stores.drop(database)


async def _when_done(database: Database, contender: Contender, tally: Tally, jobs: int) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while tally.count < jobs or await database.ask(contender.left):
        await asyncio.sleep(LOOK_S)
        if time.monotonic() > deadline:
            message = f"{contender.name} has run {tally.count} of {jobs} jobs in {PATIENCE_S:.0f} s: given up"
            raise RuntimeError(message)
    return time.monotonic_ns()


# -- rota ----------------------------------------------------------------------------------------------------


async def fill_rota(database: Database, jobs: int) -> None:
    """One-offs through the public API."""
    application = applications.one
    with application.put_on(database.url, application.clock):
        async with application:
            await applications.noop.enqueue_many(range(jobs))


async def fill_turns(database: Database, turns: int) -> None:
    """Members through the public API; then everybody's slot is moved to this moment."""
    application = applications.one
    with application.put_on(database.url, application.clock):
        async with application:
            await applications.members.join_many([f"m{number}" for number in range(turns)])
    now = time.time_ns() // 1_000_000
    await database.run(f"UPDATE {database.table('turn')} SET due_at = {now}, slot_at = {now}")


def rota(store: str, *, concurrency: int, turns: bool = False) -> Contender:
    """Rota itself."""

    async def start(database: Database, tally: Path, slot: int) -> Child:
        return await Child.start("worker", "one", concurrency, tally, slot, db=database.url)

    table = "rota_turn" if store == "sqlite" else "rota.turn"
    still = f"SELECT count(*) FROM {table} WHERE state = 'running'"
    return Contender(
        name=f"rota, concurrency {concurrency}", fill=fill_turns if turns else fill_rota, start=start, left=still
    )


# -- raw loops -----------------------------------------------------------------------------------------------


def raw(store: str, kind: str, name: str) -> Contender:
    """A loop without any framework."""
    module = "raw_postgres" if store == "postgres" else "raw_sqlite"

    async def fill(database: Database, jobs: int) -> None:
        if store == "postgres":
            await (raw_postgres.fill_turns if kind == "turns" else raw_postgres.fill_one_offs)(database.plain, jobs)
        else:
            (raw_sqlite.fill_turns if kind == "turns" else raw_sqlite.fill_one_offs)(database.plain, jobs)

    async def start(database: Database, tally: Path, slot: int) -> Child:
        return await Child.start(module, kind, database.plain, RAW_BATCH, tally, slot)

    table = "turn" if kind == "turns" else "job"
    return Contender(name=name, fill=fill, start=start, left=f"SELECT count(*) FROM {table} WHERE state = 'running'")


# -- peers ---------------------------------------------------------------------------------------------------


def pgqueuer() -> Contender:
    """PgQueuer."""
    python = interpreter("pgqueuer")

    async def fill(database: Database, jobs: int) -> None:
        child = await Child.start("peers.pgqueuer_worker", "fill", database.plain, "--jobs", jobs, python=python)
        child.say()
        await child.line()
        await child.line()  # it has ended
        await child.end()

    async def start(database: Database, tally: Path, slot: int) -> Child:
        options = ["work", database.plain, "--tally", tally, "--slot", slot]
        return await Child.start("peers.pgqueuer_worker", *options, python=python)

    return Contender(name="PgQueuer", fill=fill, start=start, left="SELECT count(*) FROM pgqueuer")


def huey() -> Contender:
    """Huey on SQLite."""
    python = interpreter("huey")

    async def fill(database: Database, jobs: int) -> None:
        child = await Child.start("peers.huey_worker", "fill", database.plain, "--jobs", jobs, python=python)
        child.say()
        await child.line()
        await child.end()

    async def start(database: Database, tally: Path, slot: int) -> Child:
        options = ["work", database.plain, "--tally", tally, "--slot", slot]
        return await Child.start("peers.huey_worker", *options, python=python)

    return Contender(name="Huey", fill=fill, start=start, left="SELECT count(*) FROM task", share=6)


# -- the comparisons -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Contenders side by side; `targets` are (of whom, to whom, how many times at least)."""

    subject: str
    store: str
    processes: int
    contenders: Sequence[Contender]
    targets: Sequence[tuple[str, str, float]]


def one_offs(store: str, processes: int) -> Match:
    """No-op one-offs."""
    ours = f"rota, concurrency {WIDE}"
    peer = pgqueuer() if store == "postgres" else huey()
    contenders = [raw(store, "bare", "raw loop, bare"), raw(store, "plain", "raw loop")]
    contenders.append(raw(store, "journaled", "raw loop with journal"))
    contenders += [rota(store, concurrency=WIDE), rota(store, concurrency=32), peer]
    targets: list[tuple[str, str, float]] = []
    if store == "postgres":
        targets = [(ours, peer.name, 2.5 if processes == 1 else 1.5)]
        targets += [(ours, "raw loop", 0.5)] if processes == 1 else []
    elif processes == 1:
        targets = [(ours, peer.name, 8.0), (ours, "raw loop", 0.3)]
    shown = {"postgres": "PostgreSQL", "sqlite": "SQLite"}[store]
    plural = "process" if processes == 1 else "processes"
    return Match(
        subject=f"one-off no-op, {shown}, {processes} {plural}",
        store=store,
        processes=processes,
        contenders=contenders,
        targets=targets,
    )


def standing(store: str) -> Match:
    """No-op turns of members."""
    ours = f"rota, concurrency {WIDE}"
    contenders = [raw(store, "turns", "raw turn loop"), rota(store, concurrency=WIDE, turns=True)]
    contenders += [rota(store, concurrency=32, turns=True)]
    least = 0.6 if store == "postgres" else 0.3
    shown = {"postgres": "PostgreSQL", "sqlite": "SQLite"}[store]
    return Match(
        subject=f"recurring no-op turns, {shown}, 1 process",
        store=store,
        processes=1,
        contenders=contenders,
        targets=[(ours, "raw turn loop", least)],
    )


async def play(stores: Stores, match: Match, jobs: int, rounds: int) -> list[Row]:
    """Let the contenders of a match drain in turns, and say how they did."""
    rates: dict[str, list[float]] = {one.name: [] for one in match.contenders}
    for _ in range(rounds):
        for one in match.contenders:
            rates[one.name].append(await drain(stores, match.store, one, jobs // one.share, match.processes))
    middle = {name: median(values) for name, values in rates.items()}
    rows = [
        Row(subject=match.subject, who=name, figure=rate(middle[name]), spread=spread(each))
        for name, each in rates.items()
    ]
    for ours, theirs, least in match.targets:
        times = middle[ours] / middle[theirs]
        rows.append(
            Row(
                subject=match.subject,
                who=ours,
                figure="",
                ratio=f"{times:.2f} × {theirs}",
                target=f"≥ {least:g} ×",
                met=times >= least,
            )
        )
    return rows


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """All drains."""
    rows: list[Row] = []
    for store in ("postgres", "sqlite"):
        for processes in (1, 2):
            rows += await play(stores, one_offs(store, processes), plan.one_offs, plan.rounds)
        rows += await play(stores, standing(store), plan.members, plan.rounds)
    return rows
