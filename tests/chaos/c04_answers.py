"""C-4: the answers of commits are lost on the way, one in a hundred up to every second one.

A proxy stands before PostgreSQL and ends a connection after the server has said that a write is done: claims, leases,
settles, requests, stops and the making of the schema all come to an unknown, and each must be found out.

Always true: what is counted as ambiguous was committed by the server while its client was told nothing.

Not here: the proxy, the general judgement (judge).
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from rota.errors import StoreUnavailable
from tests.chaos import app, judge
from tests.chaos.fleet import Fleet, fleet_of
from tests.chaos.proxy import FAIR, Proxy, Weather
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import Scenario, Stage

MEMBERS = 20
LOSSES = (0.01, 0.03, 0.1, 0.25, 0.5)  # of all answers to writes
ONLY_COMMITS = 0.6  # of the time: what is lost before a commit is undone, and tells nothing about an unknown
CHANGE_S = (1.0, 2.5)  # between two probabilities
STOP_S = (3.0, 5.0)  # between two stops
STOPPED_S = 0.3
TABLES = 15  # at least, of a schema that was made
AMBIGUOUS = 1_000  # wished for in the long form


async def play(stage: Stage) -> Tally:
    """Lose answers, stop and resume meanwhile, make a schema; then the weather is fair and everything heals."""
    with ExitStack() as stack:
        proxies: list[Proxy] = []

        def front(url: str) -> str:
            parts = urlsplit(url)
            proxies.append(stack.enter_context(Proxy(int(parts.port or 0), seed=stage.seed)))
            return proxies[0].url(parts.path[1:])

        async with fleet_of(stage, front=front) as fleet:
            await fleet.members(MEMBERS)
            crew = await fleet.workers()
            counts: Counter[str] = Counter()
            fleet.load()
            await under_weather(fleet, proxies[0], counts)
            earlier = await judge.journal_of(fleet)
            await fleet.clients.stop()
            healed_s = await fleet.healed()
            alive = sum(process.alive for process in crew)
            await fleet.settled()
            facts = await judge.facts_of(fleet, earlier)
            tally = judge.judged(facts)
            tally.counts.update(counts)
            tally.counts.update({f"proxy {name}": count for name, count in proxies[0].done.items()})
            tally.sample("healing", [healed_s])
            what = "workers with the same process as before"
            tally.check(Check(name="G-24", what=what, happened=alive, of=len(crew), allowed=len(crew), rule="exactly"))
            count(facts, tally)
            return tally


async def under_weather(fleet: Fleet, proxy: Proxy, counts: Counter[str]) -> None:
    """Change the weather for the time of the stage, stop and resume, and make a schema in the middle of it."""
    acts = [asyncio.create_task(stops(fleet, counts)), asyncio.create_task(schema_made(fleet, proxy, counts))]
    dice, deadline = fleet.stage.dice, time.monotonic() + fleet.stage.seconds
    while time.monotonic() < deadline:
        chance = dice.choice(LOSSES)
        proxy.change(Weather(lose={"COMMIT": chance}) if dice.random() < ONLY_COMMITS else Weather.losing(chance))
        await asyncio.sleep(dice.uniform(*CHANGE_S))
    proxy.change(FAIR)
    acts[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await acts[0]
    await acts[1]
    await acknowledged(lambda: app.rota.resume_all(by="ada"), counts)


async def stops(fleet: Fleet, counts: Counter[str]) -> None:
    """Stop everything and resume it, each until it is acknowledged."""
    while True:
        await asyncio.sleep(fleet.stage.dice.uniform(*STOP_S))
        await acknowledged(lambda: app.rota.stop_all("drill", by="ada"), counts)
        counts["stops acknowledged"] += 1
        await asyncio.sleep(STOPPED_S)
        await acknowledged(lambda: app.rota.resume_all(by="ada"), counts)


async def acknowledged(act: Callable[[], Awaitable[Any]], counts: Counter[str]) -> None:
    """Repeat an act until the store answers."""
    while True:
        counts["acts called"] += 1
        with contextlib.suppress(StoreUnavailable):
            await act()
            return
        counts["acts unknown"] += 1


async def schema_made(fleet: Fleet, proxy: Proxy, counts: Counter[str]) -> None:
    """Make the schema of another database, which may take several tries, and make it again."""
    assert fleet.server is not None
    name = fleet.server.fresh_database()
    command = ("db", "migrate", "--db", proxy.url(name))
    for _ in range(2):
        while True:
            counts["migrations tried"] += 1
            if await fleet.start(*command).ended() == 0:
                break
    text = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'rota'"
    counts["tables made"] = int(fleet.server.psql(text, name))


def count(facts: judge.Facts, tally: Tally) -> None:
    """Keys, stops, and the schema."""
    counts = tally.counts
    keyed = [row for row in facts.attempts if row.job in app.ONE_OFFS and row.outcome in judge.FINAL]
    turns = {row.turn for row in keyed}
    double = len(turns) - len(facts.acknowledged)
    stopped = sum(act == "stop" for act, *_ in facts.audit)
    tally.check(
        Check(name="G-2", what="runs beside one for each key", happened=max(0, double), of=len(facts.acknowledged)),
        Check(
            name="I-20",
            what="stops on record",
            happened=stopped,
            of=stopped,
            allowed=counts["stops acknowledged"],
            rule="at least",
        ),
        Check(
            name="G-26",
            what="tables of the schema made",
            happened=counts["tables made"],
            of=TABLES,
            allowed=TABLES,
            rule="at least",
        ),
    )


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    lost = "  ".join(f"{tag} {counts[f'proxy lost {tag}']:,}" for tag in ("INSERT", "UPDATE", "DELETE", "COMMIT"))
    committed = f"committed {counts['proxy lost committed']:,}   undone {counts['proxy lost undone']:,}"
    acts = (
        f"{counts['stops acknowledged']:,} stops   {counts['acts called']:,} calls   unknown {counts['acts unknown']:,}"
    )
    return [
        *judge.shared_rows(tally),
        ("answers lost", f"{committed}   of {counts['proxy completed']:,} statements   ({lost})"),
        ("acts", f"{acts}   migrations tried {counts['migrations tried']:,}"),
        ("healing", spread(tally.samples["healing"]).words()),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    lost = tally.counts["proxy lost committed"]
    return [Figure("ambiguous commits in the long form", f"≥ {AMBIGUOUS:,}", f"{lost:,}", lost >= AMBIGUOUS)]


SCENARIO = Scenario(
    name="C-4",
    title="answers lost",
    short_s=14,
    long_s=600,
    play=play,
    rows=rows,
    figures=figures,
    stores=("postgres",),
)
