"""C-10: a whole machine is frozen for ten leases: workers, ticks and the database with them; then all go on at once.

Always true: the clocks go on while nothing runs, as on a suspended machine that wakes up; the database is frozen last
and thawed first, and only processes that the harness started are signalled.

Not here: one worker frozen among others (C-2).
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals

from tests.chaos import judge
from tests.chaos.fleet import Fleet, fleet_of
from tests.chaos.ledger import SECOND_NS
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import CREW, LEASE_S, PLACES, Scenario, Stage

MEMBERS = 200  # each of which owes several slots when the machine wakes up
FROZEN_LEASES = 10
AWAKE_S = (3.0, 6.0)  # between two freezes
TICKS_S = 1.0  # how often a tick is started, as by cron
AFTER_S = 10  # seconds after a thaw whose starts are counted
HERD = 3  # times the starts of a second before the freeze: what must be made up is more than nothing; a guess


async def play(stage: Stage) -> Tally:
    """Freeze and thaw everything until the time is over, at least once."""
    async with fleet_of(stage) as fleet:
        await fleet.members(MEMBERS)
        await fleet.workers()
        fleet.load()
        ticks = asyncio.create_task(_ticks(fleet))
        freezes: list[tuple[float, float, int]] = []
        deadline = time.monotonic() + stage.seconds
        while not freezes or time.monotonic() < deadline:
            await asyncio.sleep(stage.dice.uniform(*AWAKE_S))
            freezes.append(await _frozen(fleet))
        await asyncio.sleep(AWAKE_S[0])
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)
        earlier = await judge.journal_of(fleet)
        await fleet.clients.stop()
        await fleet.healed()
        await fleet.settled()
        # A tick is gone before anybody has noted its name, so who wrote an end is not known here.
        tally = judge.judged(await judge.facts_of(fleet, earlier), without=["only_holders_write"])
        _count(fleet, tally, freezes)
        return tally


async def _ticks(fleet: Fleet) -> None:
    """What cron would do, for ever; a tick that finds another one at work goes at once."""
    while True:
        fleet.start("tick", "--time", "5s", "--job", "visit", "--concurrency", str(PLACES))
        await asyncio.sleep(TICKS_S)


async def _frozen(fleet: Fleet) -> tuple[float, float, int]:
    """Freeze everything for ten leases; when, until when, and how many runs were in flight."""
    people = [process.pid for process in fleet.processes if process.alive]
    server = list(_family(fleet.server.pid)) if fleet.server is not None else []
    held = await fleet.look("SELECT count(*) FROM rota.turn WHERE state = 'running'")
    _signal([*people, *server], SIGSTOP)
    began_s = time.monotonic()
    await asyncio.sleep(FROZEN_LEASES * LEASE_S)
    _signal([*server, *people], SIGCONT)
    return began_s, time.monotonic(), held[0][0] + CREW * PLACES  # what was claimed or ended while the signals went out


def _signal(pids: Sequence[int], number: Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # a tick that has just ended


def _family(pid: int) -> Iterator[int]:
    """A server of ours and the processes that it has started."""
    yield pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    yield from (int(word) for word in children.read_text().split())


def _count(fleet: Fleet, tally: Tally, freezes: Sequence[tuple[float, float, int]]) -> None:
    """Starts beyond the first beside what was in flight, and starts of each second before and after."""
    starts = [line.at_ns / SECOND_NS for line in fleet.ledger.of("start")]
    lost, in_flight = tally.counts["outcome lost"] + tally.counts["poison"], sum(held for *_, held in freezes)
    tally.counts.update({"freezes": len(freezes), "in flight": in_flight})
    for began_s, ended_s, _ in freezes:
        before = [sum(at <= began_s - n < at + 1 for at in starts) for n in range(int(AWAKE_S[0]) - 1)]
        after = [sum(n <= at - ended_s < n + 1 for at in starts) for n in range(AFTER_S)]
        tally.sample("starts a second before", map(float, before))
        tally.sample("starts a second after", [float(max(after))])
    quiet = spread(tally.samples["starts a second before"]).max
    herd = int(spread(tally.samples["starts a second after"]).max)
    allowed = int(HERD * max(quiet, CREW * PLACES))
    what = "leases lost beside runs in flight at the freezes"
    tally.check(
        Check(name="G-4", what=what, happened=lost, of=tally.counts["starts"], allowed=in_flight),
        Check(
            name="G-15", what="starts in the busiest second after a thaw", happened=herd, of=AFTER_S, allowed=allowed
        ),
    )


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    lost = counts["outcome lost"] + counts["poison"]
    before, after = (tally.samples.get(f"starts a second {name}", []) for name in ("before", "after"))
    return [
        *judge.shared_rows(tally),
        (
            "freezes",
            f"{counts['freezes']} of {FROZEN_LEASES * LEASE_S:g} s   in flight {counts['in flight']}   lost {lost}",
        ),
        ("herd", f"busiest second before {spread(before).max:.0f}, after {spread(after).max:.0f}"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    lost = tally.counts["outcome lost"] + tally.counts["poison"]
    in_flight = tally.counts["in flight"]
    return [Figure("extra starts for freezes", "≤ in flight", f"{lost} of {in_flight}", lost <= in_flight)]


SCENARIO = Scenario(name="C-10", title="a frozen machine", short_s=5, long_s=300, play=play, rows=rows, figures=figures)
