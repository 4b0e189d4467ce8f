"""C-2: workers are frozen with SIGSTOP for one and a half to three leases in random places, then go on where they were.

Always true: one worker is never frozen, so that what the others lose is taken over meanwhile; where a freeze has hit a
run (between claim and start, in the handler, between its end and the settle) is counted.

Not here: the general judgement (judge).
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from tests.chaos import judge
from tests.chaos.fleet import Fleet, Process, fleet_of
from tests.chaos.judge import Facts
from tests.chaos.ledger import SECOND_NS
from tests.chaos.report import Check, Figure, Row, Tally
from tests.chaos.scenario import CREW, LEASE_S, POLL_S, STORES, Scenario, Stage

MEMBERS = 20
THAWED_S = (0.4, 1.6)  # between two freezes of one worker
FROZEN_LEASES = (1.5, 3.0)
AIMED = 0.8  # of the freezes: at the end of a handler, where a transaction is on its way; the others anywhere
AIM_S = (0.0, 0.006)  # after that end
LOOK_S = 0.0003  # between two looks at the ledger while aiming
PATIENCE_S = 0.5
AFTERMATH_S = 0.1  # a commit that was on its way arrives within this

Freeze = tuple[Process, float, list[tuple[str, int]]]  # who, when, and what it held


async def play(stage: Stage) -> Tally:
    """Freeze all but one, again and again, each by itself."""
    async with fleet_of(stage) as fleet:
        await fleet.members(MEMBERS)
        crew = await fleet.workers()
        fleet.load()
        deadline = time.monotonic() + stage.seconds
        counts = Tally()
        freezes = await asyncio.gather(*(frozen_again(fleet, one, deadline, counts) for one in crew[1:CREW]))
        earlier = await judge.journal_of(fleet)
        await fleet.clients.stop()
        await fleet.healed()
        await fleet.settled()
        facts = await judge.facts_of(fleet, earlier)
        tally = judge.judged(facts)
        tally.counts.update(counts.counts)
        count_late(fleet, facts, tally, [one for some in freezes for one in some])
        survivors = sum(process.popen.returncode == 0 for process in crew)
        what = "workers that went on and left in order"
        tally.check(Check(name="G-7", what=what, happened=survivors, of=len(crew), allowed=len(crew), rule="exactly"))
        return tally


async def frozen_again(fleet: Fleet, process: Process, deadline: float, counts: Tally) -> list[Freeze]:
    """Freeze and thaw one worker until the time is over."""
    dice = fleet.stage.dice
    freezes: list[Freeze] = []
    while time.monotonic() < deadline:
        await asyncio.sleep(dice.uniform(*THAWED_S))
        if dice.random() < AIMED:
            await asyncio.to_thread(next_end, fleet.ledger.path, process.pid, dice.uniform(*AIM_S))
        process.send(SIGSTOP)
        at_s = time.monotonic()
        await asyncio.sleep(AFTERMATH_S)
        held = await fleet.held(process)
        freezes.append((process, at_s, held))
        known = {(line.run, line.attempt, line.what) for line in fleet.ledger.lines() if line.pid == process.pid}
        for run, attempt in held:
            begun, over = (run, attempt, "start") in known, (run, attempt, "end") in known
            place = "between end and settle" if over else "in the handler" if begun else "between claim and start"
            counts.counts[place] += 1
        await asyncio.sleep(dice.uniform(*FROZEN_LEASES) * LEASE_S)
        process.send(SIGCONT)
    return freezes


def next_end(ledger: Path, pid: int, after_s: float) -> None:
    """Return so long after the next end of a handler of this process: its settle and a claim are on their way."""
    seen, deadline = ledger.stat().st_size, time.monotonic() + PATIENCE_S
    own = f" {pid} ".encode()
    with ledger.open("rb") as file:
        file.seek(seen)
        while time.monotonic() < deadline:
            fresh = file.read()
            if any(line.startswith(b"end") and own in line for line in fresh.splitlines()):
                break
            time.sleep(LOOK_S)
    time.sleep(after_s)


def count_late(fleet: Fleet, facts: Facts, tally: Tally, freezes: Sequence[Freeze]) -> None:
    """What frozen workers lost, what they wanted to write of it when they thawed, and what became of that."""
    pids = {process.pid for process, _, _ in freezes}
    lost = {
        (row.name, row.attempt): row
        for row in facts.attempts
        if (row.outcome == "lost" or row.reason == "poison") and facts.pids.get(row.worker or "") in pids
    }
    ends = {(line.run, line.attempt): line for line in facts.lines if line.what in {"end", "cut"}}
    late = [ends[one] for one in lost if one in ends]
    kept = [row for row in facts.attempts if (row.name, row.attempt) in lost and row.outcome not in {"lost", "dead"}]
    fenced = sum(process.log.count("run.fenced") for process in fleet.processes)
    finished = sum(line.what == "end" for line in late)
    tally.counts["freezes"] = len(freezes)
    tally.counts["in flight"] = sum(len(held) for _, _, held in freezes)
    tally.counts["late ends"] = finished
    tally.counts["late cancelled"] = len(late) - finished
    tally.counts["refused"] = fenced
    tally.check(Check(name="G-7", what="late settles accepted", happened=len(kept), of=len(late)))
    total = tally.counts["outcome lost"] + tally.counts["poison"]
    if fleet.server is not None:  # the one writer of a file may be frozen while it writes: then everybody waits for it
        what = "leases lost beside runs in flight at the freezes"
        of = tally.counts["starts"]
        tally.check(Check(name="G-4", what=what, happened=total, of=of, allowed=tally.counts["in flight"]))
    starts = fleet.ledger.starts_by_run()
    for _, at_s, held in freezes:
        for run, attempt in held:
            if (run, attempt) in lost:
                again = [line.at_ns / SECOND_NS - at_s for line in starts.get(run, []) if line.attempt > attempt]
                tally.sample("recovery", again[:1])


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    places = "   ".join(
        f"{name} {counts[name]:,}" for name in ("between claim and start", "in the handler", "between end and settle")
    )
    lost = counts["outcome lost"] + counts["poison"]
    refused = f"late settles 0 accepted / {counts['refused']:,} refused"
    return [
        *judge.shared_rows(tally),
        ("freezes", f"{counts['freezes']:,}   in flight {counts['in flight']:,}   leases lost {lost:,}   {places}"),
        ("fencing", f"{refused}   late ends {counts['late ends']:,}   cancelled {counts['late cancelled']:,}"),
        judge.recovery_row(tally, f"lease {LEASE_S:g} s, poll {POLL_S:g} s"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    counts = tally.counts
    late, cancelled = counts["late ends"], counts["late cancelled"]
    reached = f"{min(late, counts['refused']):,} of {late:,} that came; {cancelled:,} more were cancelled before"
    return [Figure("late settles refused and counted", "100 %", reached, counts["refused"] >= late > 0)]


SCENARIO = Scenario(
    name="C-2", title="frozen workers", short_s=14, long_s=600, play=play, rows=rows, figures=figures, ci_stores=STORES
)
