"""C-3: PostgreSQL is stopped at once and started again, and sessions are ended by the server five times a second.

Always true: the server keeps its data and its port; every outage is shorter than a lease, so nothing may be lost by it.

Not here: the general judgement (judge).
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

from tests.chaos import judge
from tests.chaos.fleet import AWAY, Fleet, fleet_of, until
from tests.chaos.ledger import SECOND_NS
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import Scenario, Stage
from tests.servers import PostgresServer

MEMBERS = 20
LEASE_S = 8.0  # several times an outage
BETWEEN_S = (3.0, 5.0)  # two stops
DOWN_S = (0.1, 1.0)  # between the end of the server and its start
ENDS_A_SECOND = 5
FIRST_S = 2.0  # wished for: the first claim after the server accepts
ONE_SESSION = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name = 'rota' AND datname = current_database() ORDER BY random() LIMIT 1
"""


async def play(stage: Stage) -> Tally:
    """Stop and start the server, end sessions in between, and look who is still there."""
    async with fleet_of(stage, make=partial(PostgresServer, durable=True)) as fleet:
        fleet.lease_s = LEASE_S
        await fleet.members(MEMBERS)
        crew = await fleet.workers()
        fleet.load()
        counts: Counter[str] = Counter()
        cutting = asyncio.create_task(end_sessions(fleet, counts))
        firsts: list[float] = []
        down: list[float] = []
        deadline = time.monotonic() + stage.seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(stage.dice.uniform(*BETWEEN_S))
            await stop_and_start(fleet, firsts, down)
        cutting.cancel()
        await asyncio.gather(cutting, return_exceptions=True)
        earlier = await judge.journal_of(fleet)
        await fleet.clients.stop()
        healed_s = await fleet.healed()
        same = sum(process.alive for process in crew)
        await fleet.settled()
        tally = judge.judged(await judge.facts_of(fleet, earlier))
        tally.counts.update(counts)
        tally.counts["restarts"] = len(firsts)
        tally.sample("first claim", firsts)
        tally.sample("down", down)
        tally.sample("healing", [healed_s])
        what = "workers with the same process as before"
        tally.check(Check(name="G-24", what=what, happened=same, of=len(crew), allowed=len(crew), rule="exactly"))
        lost = tally.counts["outcome lost"] + tally.counts["poison"]
        what = "leases lost by outages shorter than a lease"
        tally.check(Check(name="G-4", what=what, happened=lost, of=tally.counts["starts"]))
        return tally


async def end_sessions(fleet: Fleet, counts: Counter[str]) -> None:
    """End one of the fleet's sessions after the other; a server that is away has none."""
    while True:
        await asyncio.sleep(1 / ENDS_A_SECOND)
        with contextlib.suppress(*AWAY):
            counts["sessions ended"] += len(await fleet.look(ONE_SESSION))


async def stop_and_start(fleet: Fleet, firsts: list[float], down: list[float]) -> None:
    """One outage: how long the server was away, and how long after it the first handler started."""
    server = fleet.server
    assert server is not None
    began_s = time.monotonic()
    await asyncio.to_thread(server.stop, "immediate")
    await asyncio.sleep(fleet.stage.dice.uniform(*DOWN_S))
    await asyncio.to_thread(server.start)
    accepts_ns = time.monotonic_ns()
    down.append(accepts_ns / SECOND_NS - began_s)
    seen = len(fleet.ledger.lines())
    await until(lambda: any(line.at_ns > accepts_ns for line in fleet.new_since(seen)))
    first = next(line for line in fleet.new_since(seen) if line.at_ns > accepts_ns)
    firsts.append((first.at_ns - accepts_ns) / SECOND_NS)


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    outages = f"{counts['restarts']:,} immediate stops   down {spread(tally.samples['down']).words()}"
    return [
        *judge.shared_rows(tally),
        ("outages", f"{outages}   sessions ended {counts['sessions ended']:,}"),
        ("first claim", f"{spread(tally.samples['first claim']).words()}   after the server accepts"),
        ("healing", spread(tally.samples["healing"]).words()),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    slowest = spread(tally.samples["first claim"]).max
    used = sum(one.happened for one in tally.checks.values() if one.name == "I-17")
    return [
        Figure("first claim after the server accepts", f"≤ {FIRST_S:g} s", f"{slowest:.2f} s", slowest <= FIRST_S),
        Figure("tries used", "0", f"{used} of {tally.counts['starts']:,} starts", used == 0),
    ]


SCENARIO = Scenario(
    name="C-3",
    title="PostgreSQL restarted",
    short_s=16,
    long_s=600,
    play=play,
    rows=rows,
    figures=figures,
    stores=("postgres",),
)
