"""C-19: sixteen ticks begin in the same instant, and half of them are killed; then ticks go on until all is done.

The ticks load the application, wait at a gate, and go when it opens. In every other round the one that works is among
those killed, so the tick's own lease must run out before another works.

Always true: each round has members of its own whose first slot is due; a round is over when each has had its run.

Not here: the general judgement (judge).
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

from tests.chaos import app, judge
from tests.chaos.fleet import Fleet, Process, fleet_of, until
from tests.chaos.judge import Facts
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import Scenario, Stage

TICKS = 16
KILLED = 8
MEMBERS = 12  # of a round
CONCURRENCY = 4  # of a tick: a round's work takes about a second
KILL_S = (0.1, 0.8)  # after the gate opens
LOSER_S = 1.0  # wished for
TICK = ("--json", "tick", "--job", "census", "--concurrency", str(CONCURRENCY))


async def play(stage: Stage) -> Tally:
    """One round after the other; two at least, so that the one that works dies once."""
    async with fleet_of(stage) as fleet:
        counts = Tally()
        deadline = time.monotonic() + stage.seconds
        rounds = 0
        while rounds < 2 or time.monotonic() < deadline:
            await one_round(fleet, rounds, counts, worker_dies=rounds % 2 == 1)
            rounds += 1
        facts = await judge.facts_of(fleet)
        tally = judge.judged(facts, without=("places_are_kept", "only_holders_write", "slots_are_accounted_for"))
        tally.add(counts)
        tally.counts["rounds"] = rounds
        count_slots(facts, tally, rounds * MEMBERS)
        return tally


async def one_round(fleet: Fleet, number: int, counts: Tally, *, worker_dies: bool) -> None:
    """Sixteen at the gate, open it, kill half, and tick on until the members of this round have had their run."""
    await app.towns.join_many([f"r{number}-{place}" for place in range(MEMBERS)])
    gate = fleet.stage.folder / f"gate-{number}"
    seen = len(fleet.ledger.lines())
    ticks = [fleet.start(*TICK, env={app.GATE: str(gate)}) for _ in range(TICKS)]
    await until(lambda: all(Path(f"{gate}.{tick.pid}").exists() for tick in ticks))
    gate.touch()
    opened_s = time.monotonic()
    victims = await killed(fleet, ticks, seen, worker_dies=worker_dies)
    others = [tick for tick in ticks if tick not in victims]
    codes = await asyncio.gather(*(tick.ended() for tick in others))
    for tick, code in zip(others, codes, strict=True):
        summary = _summary(tick)
        counts.counts["survivors"] += 1
        counts.counts["survivors that failed"] += code != 0
        if summary.get("busy"):
            counts.counts["losers"] += 1
            counts.sample("loser's exit", [tick.ended_s - opened_s])
    counts.counts["killed"] += len(victims)
    await finished(fleet, counts, opened_s)


async def killed(fleet: Fleet, ticks: Sequence[Process], seen: int, *, worker_dies: bool) -> list[Process]:
    """Kill half of them in their first moments, with or without the one whose handlers have started."""
    dice = fleet.stage.dice
    await until(lambda: bool(fleet.new_since(seen)))
    worker = next(tick for tick in ticks if tick.pid == fleet.new_since(seen)[0].pid)
    rest = [tick for tick in ticks if tick is not worker]
    victims = [*dice.sample(rest, KILLED - worker_dies), *([worker] if worker_dies else [])]

    async def kill(victim: Process) -> None:
        await asyncio.sleep(dice.uniform(*KILL_S))
        victim.send(SIGKILL)
        await victim.ended()

    await asyncio.gather(*(kill(victim) for victim in victims))
    return victims


async def finished(fleet: Fleet, counts: Tally, opened_s: float) -> None:
    """Tick on, as cron would, until nothing of the census is due or runs."""
    owed = f"SELECT count(*) FROM rota.turn WHERE job = 'census' AND (state = 'running' OR due_at <= {fleet.now})"
    free = f"SELECT count(*) FROM rota.lease WHERE name = 'tick' AND until >= {fleet.now}"

    async def lease_over() -> bool:
        """The lease of the tick that was killed is over."""
        return (await fleet.look(free))[0][0] == 0

    while (await fleet.look(owed))[0][0]:
        await until(lease_over)
        tick = fleet.start(*TICK)
        counts.counts["survivors that failed"] += await tick.ended() not in {0, 1}
        counts.counts["ticks after"] += 1
    counts.sample("round", [time.monotonic() - opened_s])


def _summary(tick: Process) -> dict:
    text = tick.log
    start, end = text.find("{"), text.rfind("}")
    return json.loads(text[start : end + 1]) if 0 <= start < end else {}


def count_slots(facts: Facts, tally: Tally, owed: int) -> None:
    """Each member's slot has exactly one end."""
    ends = Counter(row.member for row in facts.journal if row.job == "census" and row.outcome in judge.FINAL)
    moved = sum(turn[5] == 2 for turn in facts.turns if turn[1] == "census")
    failed, survivors = tally.counts["survivors that failed"], tally.counts["survivors"]
    twice = sum(count > 1 for count in ends.values())
    tally.check(
        Check(name="I-9", what="slots of the census with two ends", happened=twice, of=owed),
        Check(
            name="I-10",
            what="slots of the census that had their run",
            happened=len(ends),
            of=owed,
            allowed=owed,
            rule="exactly",
        ),
        Check(
            name="G-12",
            what="turns that wait for their second slot",
            happened=moved,
            of=owed,
            allowed=owed,
            rule="exactly",
        ),
        Check(name="G-12", what="ticks that lived and exited with a fault", happened=failed, of=survivors),
    )


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    ticks = f"{counts['rounds']:,} × {TICKS} at once   killed {counts['killed']:,}   lived {counts['survivors']:,}"
    return [
        ("ticks", f"{ticks}   of them busy {counts['losers']:,}   ticks until all was done {counts['ticks after']:,}"),
        ("slots", f"succeeded {counts['outcome succeeded']:,}   lost {counts['outcome lost']:,}"),
        ("starts", f"{counts['starts']:,}   extra {counts['extra starts']:,}"),
        ("loser's exit", spread(tally.samples.get("loser's exit", [])).words()),
        ("round", spread(tally.samples["round"]).words()),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    slowest = spread(tally.samples.get("loser's exit", [])).max
    return [Figure("losers exit 0", f"≤ {LOSER_S:g} s", f"{slowest:.2f} s at most", 0 < slowest <= LOSER_S)]


SCENARIO = Scenario(
    name="C-19",
    title="ticks at once",
    short_s=5,
    long_s=300,
    play=play,
    rows=rows,
    figures=figures,
    ci_stores=("postgres", "sqlite"),
)
