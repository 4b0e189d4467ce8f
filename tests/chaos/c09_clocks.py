"""C-9: clocks are wrong and step while everything runs: first those of the workers, then that of the store.

Each worker has a wall clock of its own, wrong by hours, days or ten years, that steps every few seconds; what is due
and whose lease is over is the store's business, so nothing may come of it. Then the server's clock steps back by two
hours; in the long form it leaps forward as well, by two hours and by ten years.

Always true: monotonic clocks stay right; the ledger's instants are those of the machine.

Not here: a file as the store, whose clock is that of its processes (the simulation steps it); how a clock is stepped.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos import judge
from tests.chaos.clocks import DAY_S, HOUR_S, TEN_YEARS_S, SteppingClock, SteppingPostgres, missing
from tests.chaos.fleet import Fleet, fleet_of
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import CREW, Scenario, Stage

MEMBERS = 20
WRONG_S = (HOUR_S, -HOUR_S, DAY_S, -DAY_S, TEN_YEARS_S, -TEN_YEARS_S, 0)
STEP_S = (1.0, 3.0)  # between two steps of a worker's clock
BACK_S, FORWARD_S = -2 * HOUR_S, (2 * HOUR_S, TEN_YEARS_S)  # steps of the server's clock
STORE_STAYS_S = 3.0  # more than a lease
STORE_SHARE = 0.4  # of the time belongs to the steps of the store


async def play(stage: Stage) -> Tally:
    """Step the workers' clocks, then the store's."""
    async with fleet_of(stage, make=SteppingPostgres) as fleet:
        server = fleet.server
        assert isinstance(server, SteppingPostgres)
        await fleet.members(MEMBERS)
        counts: Counter[str] = Counter()
        clocks = [SteppingClock(stage.folder, name=f"clock-{place}") for place in range(CREW)]
        for clock in clocks:
            clock.step_to(stage.dice.choice(WRONG_S))
        crew = [fleet.worker(env=clock.environment) for clock in clocks]
        for one in crew:
            await fleet.introduced(one)
        fleet.load()
        await workers_step(fleet, clocks, counts, stage.seconds * (1 - STORE_SHARE))
        earlier = await judge.journal_of(fleet)
        lost_by_workers = await losses(fleet)
        starts_by_workers = len(fleet.new_since(0))
        await store_steps(fleet, server, counts)
        await fleet.clients.stop()
        healed_s = await fleet.healed()
        alive = sum(process.alive for process in crew)
        await fleet.settled()
        facts = await judge.facts_of(fleet, earlier)
        tally = judge.judged(facts)
        tally.counts.update(counts)
        tally.sample("healing", [healed_s])
        lost = tally.counts["outcome lost"] + tally.counts["poison"] - lost_by_workers
        what = "live leases reaped while workers' clocks were wrong"
        tally.check(Check(name="G-19", what=what, happened=lost_by_workers, of=starts_by_workers))
        what = "live leases reaped while the store's clock stepped"
        tally.check(Check(name="G-19", what=what, happened=lost, of=tally.counts["starts"] - starts_by_workers))
        what = "workers with the same process as before"
        tally.check(Check(name="G-19", what=what, happened=alive, of=len(crew), allowed=len(crew), rule="exactly"))
        return tally


async def losses(fleet: Fleet) -> int:
    """Leases lost so far."""
    return sum(row.outcome == "lost" or row.reason == "poison" for row in await judge.journal_of(fleet))


async def workers_step(fleet: Fleet, clocks: Sequence[SteppingClock], counts: Counter[str], seconds: float) -> None:
    """Step one worker's clock after the other."""
    dice, deadline = fleet.stage.dice, time.monotonic() + seconds
    while time.monotonic() < deadline:
        await asyncio.sleep(dice.uniform(*STEP_S) / len(clocks))
        dice.choice(clocks).step_to(dice.choice(WRONG_S))
        counts["steps of workers"] += 1


async def store_steps(fleet: Fleet, server: SteppingPostgres, counts: Counter[str]) -> None:
    """Step the server's clock, and look whether work went on after each step.

    What was due before a step back waits for no longer than the step; so that nobody must, it is done first.
    """
    deadline = time.monotonic() + fleet.stage.seconds * STORE_SHARE
    place = 0
    while place == 0 or time.monotonic() < deadline:
        await fleet.clients.stop()
        await fleet.healed()
        by_s = BACK_S if fleet.stage.short else (BACK_S, *FORWARD_S)[place % (1 + len(FORWARD_S))]
        server.clock.step(by_s)
        counts["steps of the store"] += 1
        seen = len(fleet.ledger.lines())
        fleet.load()
        await asyncio.sleep(STORE_STAYS_S)
        counts["steps after which work went on"] += bool(fleet.new_since(seen))
        place += 1


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    steps = f"workers' {counts['steps of workers']:,}   the store's {counts['steps of the store']:,}"
    early = spread(tally.samples["start − due"])
    return [
        *judge.shared_rows(tally),
        ("steps", f"{steps}, work went on after {counts['steps after which work went on']:,}"),
        ("start − due", f"earliest {early.min:.3f} s   of {early.count:,}"),
        ("healing", spread(tally.samples["healing"]).words()),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    earliest = spread(tally.samples["start − due"]).min
    return [Figure("earliest start − due by the store's clock", "≥ 0 s", f"{earliest:.3f} s", earliest >= 0)]


def lacks(_store: str) -> str | None:
    """Why clocks cannot be stepped here."""
    return missing()


SCENARIO = Scenario(
    name="C-9",
    title="wrong clocks",
    short_s=10,
    long_s=300,
    play=play,
    rows=rows,
    figures=figures,
    stores=("postgres",),
    lacks=lacks,
)
