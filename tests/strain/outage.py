"""P-7: the turn table locked, no connection left, a server that only reads: the engine waits, nothing is lost.

Real workers with a plain lease work on a PostgreSQL that is tormented; while it is, one of them is told to leave, which
it must do within its grace, and a new one is started: it waits and then works, or ends with the exit code for a store
that is away and is started again afterwards, as a supervisor would.

Always true: the handlers' ledger and the tables are the witnesses; workers keep their process over every torment.

Not here: servers that stop or break (tests/chaos).
"""

import asyncio
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg

from tests.e2e import shop
from tests.e2e.fleet import Fleet, until
from tests.servers import PostgresServer
from tests.strain.report import Report
from tests.strain.stage import Size, Stage, fleet_on

LOCKED_S: dict[Size, float] = {"short": 5, "plain": 20, "long": 60}
WORKERS = 3
RUNS = 400  # one-offs of 50 ms added before each torment
GRACE_S = 3.0
BEYOND_S = 2.0  # what a worker may take beyond its grace (G-18)
AWAY = 6  # exit code of a worker that finds no store at its start (ux 6)
AFTER_S = 60.0  # until everything is done again
SLOW = ("--drain-grace", f"{int(GRACE_S * 1000)}ms", "--concurrency", "4", "--poll", "200ms")  # a lease of 15 s


@dataclass(slots=True)
class Torment:
    """One of them, and what was seen while it lasted."""

    name: str
    left_s: float = 0.0
    exit: int | None = None
    told: str = ""
    done_s: float = 0.0
    again: bool = False


@asynccontextmanager
async def locked(server: PostgresServer, database: str) -> AsyncIterator[None]:
    """Somebody holds the turn table for itself."""
    holder = await asyncpg.connect(server.url(database))
    await holder.execute("BEGIN; LOCK TABLE rota.turn IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        await holder.close()


@asynccontextmanager
async def full(server: PostgresServer, database: str) -> AsyncIterator[None]:
    """Every connection is taken, and those of ours that are idle are cut."""
    taken: list[asyncpg.Connection] = []
    try:
        for _ in range(2):  # what is given back when the workers are cut is taken too
            while True:
                try:
                    taken.append(await asyncpg.connect(server.url("postgres")))
                except asyncpg.TooManyConnectionsError:
                    break
            await taken[0].fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND state = 'idle'", database
            )
            await asyncio.sleep(0.2)
        yield
    finally:
        for one in taken:
            await one.close()


@asynccontextmanager
async def reading(server: PostgresServer, database: str) -> AsyncIterator[None]:
    """The server takes no writes, as after a fail-over to a stand-by."""
    del database
    server.psql("ALTER SYSTEM SET default_transaction_read_only = on")
    server.psql("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        server.psql("ALTER SYSTEM RESET default_transaction_read_only")
        server.psql("SELECT pg_reload_conf()")


TORMENTS = {"locked": locked, "no connections": full, "read-only": reading}


async def _doctor(fleet: Fleet) -> str:
    """What a person is told meanwhile, and how soon."""
    began = time.monotonic()
    process = fleet.start("doctor", "--json", stdout=subprocess.PIPE)
    out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    took = time.monotonic() - began
    try:
        errors = [one["text"] for one in json.loads(out)["findings"] if one["level"] != "ok"]
    except (ValueError, KeyError):
        errors = [out.decode(errors="replace")[-200:]]
    return f"{took:.1f} s: {errors[0] if errors else 'nothing is wrong'}"


async def _live(
    fleet: Fleet,
    name: str,
    torment: Callable[[], AbstractAsyncContextManager[None]],
    crew: list[subprocess.Popen[bytes]],
    held_s: float,
) -> Torment:
    """Start work, torment, drain one of the crew meanwhile and start another, and wait until all is done."""
    seen = Torment(name)
    await shop.step.enqueue_many([(number, 50) for number in range(RUNS)])
    lines = len(fleet.lines("start"))
    await until(lambda: len(fleet.lines("start")) > lines + 20)
    async with torment():
        ends_at = time.monotonic() + held_s
        fresh = fleet.start("worker", *SLOW)
        leaver = crew.pop(0)
        began = time.monotonic()
        leaver.send_signal(signal.SIGTERM)
        seen.exit = await asyncio.to_thread(leaver.wait, 60)
        seen.left_s = time.monotonic() - began
        seen.told = await _doctor(fleet)
        await asyncio.sleep(max(0.0, ends_at - time.monotonic()))
    began = time.monotonic()
    await until(fleet.quiet, AFTER_S)
    seen.done_s = time.monotonic() - began

    async def introduced() -> bool:
        """The worker that was started meanwhile works."""
        nonlocal fresh
        if fresh.poll() == AWAY:
            fresh, seen.again = fleet.start("worker", *SLOW), True
        return bool(await fleet.count(f"SELECT count(*) FROM rota.worker WHERE name LIKE '%:{fresh.pid}'"))

    await until(introduced)
    crew.append(fresh)
    return seen


async def _play(stage: Stage, report: Report, server: PostgresServer) -> None:
    database = server.fresh_database()
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(fleet_on(shop.rota, server.url(database), stage.new_folder()))
        crew = await fleet.workers(WORKERS, *SLOW, "--lease", "15s")
        for name, torment in TORMENTS.items():
            seen = await _live(
                fleet, name, lambda torment=torment: torment(server, database), crew, LOCKED_S[stage.size]
            )
            gone = [one.returncode for one in crew if one.poll() is not None]
            report.say(
                name,
                f"a leaver gone after {seen.left_s:.1f} s (exit {seen.exit}), one started meanwhile"
                f" {'ended with 6' if seen.again else 'waited'}, all done {seen.done_s:.1f} s after;"
                f" doctor {seen.told}",
                **{name: [seen.left_s, seen.done_s]},
            )
            report.hold(not gone, f"{name}: a worker has ended with {gone}")
            report.hold(seen.exit == 0, f"{name}: the leaver ended with {seen.exit}")
            report.hold(seen.left_s <= GRACE_S + BEYOND_S, f"{name}: the leaver took {seen.left_s:.1f} s")
        await _judge(report, fleet, RUNS * len(TORMENTS))


async def _judge(report: Report, fleet: Fleet, count: int) -> None:
    outcomes = Counter(row[0] for row in await fleet.look("SELECT outcome FROM rota.journal"))
    twice = await fleet.look(
        "SELECT turn FROM rota.journal WHERE outcome = 'succeeded' GROUP BY turn HAVING count(*) > 1"
    )
    starts = Counter(line.run for line in fleet.lines("start"))
    extra = sum(starts.values()) - len(starts)
    report.say(
        "runs", f"{count:,} acknowledged, {dict(outcomes)}, {extra} extra starts, {len(twice)} ended twice", extra=extra
    )
    report.hold(outcomes["succeeded"] == count == len(starts), f"{count} acknowledged, {dict(outcomes)}")
    report.hold(not twice, f"ended twice: {twice[:5]}")
    report.hold(extra <= outcomes["lost"] + outcomes["released"], f"{extra} extra starts")
    tries = await fleet.count("SELECT count(*) FROM rota.journal WHERE outcome IN ('retry', 'dead')")
    report.hold(tries == 0, f"{tries} tries were used up by the torments")


def run(stage: Stage) -> Report:
    """Torment a server."""
    report = Report(scenario="P-7", title="a server that refuses", store="postgresql", form=stage.size)
    asyncio.run(_play(stage, report, stage.server()))
    return report
