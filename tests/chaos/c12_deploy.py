"""C-12: workers are replaced one after the other under load: the new one starts, the old one is told to leave.

Always true: one in forty runs may take longer than the grace, so that some are given back; the delay of starts is
measured before the first deploy in the same run, on the same machine.

Not here: the general judgement (judge).
"""

import asyncio
import time
from collections.abc import Sequence
from signal import SIGTERM

from tests.chaos import judge
from tests.chaos.clients import some_ms
from tests.chaos.fleet import Fleet, Process, fleet_of
from tests.chaos.judge import Facts
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import STORES, Scenario, Stage

MEMBERS = 20
CREW = 3
GRACE_S, SHORT_GRACE_S = 5.0, 1.5
LONGEST_MS, SHORT_LONGEST_MS = 20_000, 5_000
MOST_MS = 200  # of an ordinary run
ONE_IN = 40  # is long
PAUSE_S = 0.025  # between two requests: 40 a second leave half of the places free
QUIET_S = 4.0
EXIT_S = 2.0  # beyond the grace (G-18)
DEPLOYS = 20


async def play(stage: Stage) -> Tally:
    """A quiet time, then one deploy after the other."""
    grace_s = SHORT_GRACE_S if stage.short else GRACE_S
    words = ("--drain-grace", f"{int(grace_s * 1000)}ms")
    async with fleet_of(stage) as fleet:
        await fleet.members(MEMBERS)
        crew = await fleet.workers(CREW, *words)
        over = asyncio.Event()
        loading = asyncio.create_task(load(fleet, over))
        await asyncio.sleep(QUIET_S)
        (began_ms,) = (await fleet.look(f"SELECT {fleet.now}"))[0]
        gone: list[tuple[int, float]] = []
        deadline = time.monotonic() + stage.seconds
        while time.monotonic() < deadline:
            fresh = fleet.worker(*words)
            await fleet.introduced(fresh)
            gone.append(await replaced(crew.pop(0)))
            crew.append(fresh)
        over.set()
        await loading
        earlier = await judge.journal_of(fleet)
        await fleet.clients.stop()
        await fleet.healed()
        await fleet.settled()
        facts = await judge.facts_of(fleet, earlier)
        tally = judge.judged(facts)
        count_exits(tally, gone, grace_s)
        count_delays(facts, tally, began_ms)
        return tally


async def load(fleet: Fleet, over: asyncio.Event) -> None:
    """Requests at a steady pace until it is over; a few are long."""
    dice, number = fleet.stage.dice, 0
    longest_ms = SHORT_LONGEST_MS if fleet.stage.short else LONGEST_MS
    sent: set[asyncio.Task[None]] = set()
    while not over.is_set():
        long = dice.randrange(ONE_IN) == 0
        job = "work" if long else dice.choice(("work", "work", "pay", "moody"))
        ms = dice.randrange(longest_ms) if long else some_ms(dice, most=MOST_MS)
        task = asyncio.create_task(fleet.clients.enqueue(job, number, ms))
        sent.add(task)
        task.add_done_callback(sent.discard)
        number += 1
        await asyncio.sleep(PAUSE_S)
    await asyncio.gather(*sent)


async def replaced(old: Process) -> tuple[int, float]:
    """Tell a worker to leave: its exit code, and how long it took."""
    began_s = time.monotonic()
    old.send(SIGTERM)
    code = await old.ended()
    return code, old.ended_s - began_s


def count_exits(tally: Tally, gone: Sequence[tuple[int, float]], grace_s: float) -> None:
    """Who left how, and that nothing was lost by it."""
    of = len(gone)
    late = sum(took_s > grace_s + EXIT_S for _, took_s in gone)
    codes = sum(code != 0 for code, _ in gone)
    lost = tally.counts["outcome lost"] + tally.counts["poison"]
    tally.counts["deploys"] = of
    tally.sample("exit beyond the grace", [took_s - grace_s for _, took_s in gone])
    tally.check(
        Check(name="G-18", what=f"exits later than the grace and {EXIT_S:g} s", happened=late, of=of),
        Check(name="G-18", what="exit codes other than 0", happened=codes, of=of),
        Check(name="G-4", what="leases lost", happened=lost, of=tally.counts["starts"]),
    )


def count_delays(facts: Facts, tally: Tally, began_ms: int) -> None:
    """The delay of first starts before and during the deploys; the first second belongs to the workers' start."""
    first_ms = began_ms - int((QUIET_S - 1) * 1000)
    for row in facts.attempts:
        if row.attempt == 1 and row.started_at is not None and row.due_at is not None and row.due_at >= first_ms:
            name = "delay quiet" if row.due_at < began_ms else "delay deploying"
            tally.sample(name, [(row.started_at - row.due_at) / 1000])


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    beyond = tally.samples["exit beyond the grace"]
    released = tally.counts["outcome released"]
    exits = (
        f"{tally.counts['deploys']:,}   exit {max(beyond):+.2f} s beyond the grace at most   given back {released:,}"
    )
    return [
        *judge.shared_rows(tally),
        ("deploys", exits),
        ("delay quiet", spread(tally.samples["delay quiet"]).words()),
        ("delay then", spread(tally.samples["delay deploying"]).words()),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    quiet, then = spread(tally.samples["delay quiet"]).p99, spread(tally.samples["delay deploying"]).p99
    deploys, lost = tally.counts["deploys"], tally.counts["outcome lost"]
    return [
        Figure("start delay p99", f"≤ 2 × quiet = {2 * quiet:.3f} s", f"{then:.3f} s", then <= 2 * quiet),
        Figure("deploys", f"{DEPLOYS} in the long form", f"{deploys}", deploys >= DEPLOYS),
        Figure("leases lost", "0", f"{lost} of {tally.counts['starts']:,} starts", lost == 0),
    ]


SCENARIO = Scenario(
    name="C-12", title="rolling deploy", short_s=16, long_s=300, play=play, rows=rows, figures=figures, ci_stores=STORES
)
