"""C-1: a random worker is killed with SIGKILL every second or so under load, and another one takes its place.

Always true: what the store says the victim held is counted after its death and before its lease can end.

Not here: the general judgement (judge).
"""

import asyncio
import time
from collections.abc import Sequence
from signal import SIGKILL

from tests.chaos import judge
from tests.chaos.fleet import Fleet, Process, fleet_of
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import CREW, LEASE_S, POLL_S, Scenario, Stage

MEMBERS = 20
PAUSES_S = (1.0, 3.0)  # between two kills
AFTERMATH_S = 0.1  # a commit that was on its way when its worker died arrives within this
RECOVERY_S = LEASE_S + 2  # wished for


async def play(stage: Stage) -> Tally:
    """Kill, replace, and at the end let everything heal."""
    async with fleet_of(stage) as fleet:
        await fleet.members(MEMBERS)
        crew = await fleet.workers()
        fleet.load()
        deaths: list[tuple[float, list[tuple[str, int]]]] = []
        deadline = time.monotonic() + stage.seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(stage.dice.uniform(*PAUSES_S))
            place = stage.dice.randrange(CREW)
            deaths.append(await killed(fleet, crew[place]))
            crew[place] = fleet.worker()
            await fleet.introduced(crew[place])
        earlier = await judge.journal_of(fleet)
        await fleet.clients.stop()
        healed_s = await fleet.healed()
        await fleet.settled()
        tally = judge.judged(await judge.facts_of(fleet, earlier))
        tally.sample("healing", [healed_s])
        tally.counts["kills"] = len(deaths)
        count_recovery(fleet, tally, deaths)
        return tally


async def killed(fleet: Fleet, victim: Process) -> tuple[float, list[tuple[str, int]]]:
    """Kill a worker: when, and what it held."""
    at_s = time.monotonic()
    victim.send(SIGKILL)
    await victim.ended()
    await asyncio.sleep(AFTERMATH_S)
    return at_s, await fleet.held(victim)


def count_recovery(fleet: Fleet, tally: Tally, deaths: Sequence[tuple[float, list[tuple[str, int]]]]) -> None:
    """How long each run waited for its next start, and that no more leases were lost than runs were in flight."""
    in_flight = sum(len(held) for _, held in deaths)
    lost = tally.counts["outcome lost"] + tally.counts["poison"]
    tally.counts["in flight"] += in_flight
    what = "leases lost beside runs in flight at the faults"
    tally.check(Check(name="G-4", what=what, happened=lost, of=tally.counts["starts"], allowed=in_flight))
    starts = fleet.ledger.starts_by_run()
    for at_s, held in deaths:
        for run, attempt in held:
            again = [line.at_ns / 1e9 - at_s for line in starts.get(run, []) if line.attempt > attempt]
            tally.sample("recovery", again[:1])


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    lost = counts["outcome lost"] + counts["poison"]
    words = f"{counts['kills']:,}   in flight at kills {counts['in flight']:,}   leases lost {lost:,}"
    return [
        *judge.shared_rows(tally),
        ("kills", f"{words}   extra starts {counts['extra starts']:,}"),
        judge.recovery_row(tally, f"lease {LEASE_S:g} s, poll {POLL_S:g} s"),
        ("healing", spread(tally.samples["healing"]).words()),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    slowest = spread(tally.samples.get("recovery", [])).max
    known = tally.counts["answers acknowledged"]
    return [
        Figure("recovery max", f"≤ lease + 2 s = {RECOVERY_S:.1f} s", f"{slowest:.2f} s", slowest <= RECOVERY_S),
        Figure("acknowledged in the long form", "100,000", f"{known:,}", known >= 100_000),
    ]


SCENARIO = Scenario(
    name="C-1",
    title="kill -9",
    short_s=16,
    long_s=600,
    play=play,
    rows=rows,
    figures=figures,
    ci_stores=("postgres", "sqlite"),
)
