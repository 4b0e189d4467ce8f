"""C-18: very many long runs in one queue beside short ones in another, and ten broken members before sound ones.

Always true: one worker serves both queues, each with places of its own; the short runs come at a steady pace, first
alone and then beside the crowd, so that the two are compared on the same machine in the same minute.

Not here: limits of rate and caps (the engine's own tests), a queue that is given more than it can do.
"""

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from signal import SIGKILL

from tests.chaos.fleet import Fleet, Process, fleet_of, until
from tests.chaos.harms import TARGET, long, on, pots, short
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import Scenario, Stage

CROWD = {"short": 10_000, "long": 100_000}
LONG_MS = 30_000  # of a long run: none of them ends in the short form
PLACES = {"long": 6, "short": 2}
PACE_S = 0.02  # between two short runs
SHORT_MS = 5
FLOOR_S = 0.1  # below this two p99 differ by chance on two busy cores: a guess
BROKEN = 10  # members, and the limit of the tick
SOUND = 3


async def play(stage: Stage) -> Tally:
    """Short runs alone, then beside the crowd; then the ticks."""
    tally = Tally()
    async with fleet_of(stage) as fleet, on(fleet.front):
        worker = await _worker(fleet)
        half_s = stage.seconds / 2
        alone = await _short_ones(half_s)
        await until(lambda: _all_started(fleet, alone))
        for first in range(0, CROWD[stage.form], 1000):
            await long.enqueue_many([(number, LONG_MS) for number in range(first, first + 1000)])
        await until(lambda: len(list(fleet.ledger.of("start", job="long"))) >= PLACES["long"])
        beside = await _short_ones(half_s)
        await until(lambda: _all_started(fleet, beside))
        worker.send(SIGKILL)
        await worker.ended()
        await _judge_queues(fleet, tally, alone, beside)
        await _ticks(fleet, tally)
    return tally


async def _worker(fleet: Fleet) -> Process:
    queues = ",".join(f"{name}:{places}" for name, places in PLACES.items())
    worker = fleet.start("worker", "--queues", queues, "--poll", "200ms", "--lease", "5s", target=TARGET)
    await fleet.introduced(worker)
    return worker


async def _short_ones(seconds: float) -> list[str]:
    """Short runs at a steady pace."""
    found: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        began_s = time.monotonic()
        found.append((await short.enqueue(len(found), SHORT_MS)).id)
        await asyncio.sleep(max(0.0, PACE_S - (time.monotonic() - began_s)))
    return found


async def _all_started(fleet: Fleet, runs: Sequence[str]) -> bool:
    """All short runs have ended."""
    rows = await fleet.look("SELECT turn, run FROM rota.journal WHERE job = 'short'")
    return set(runs) <= {f"{turn}-{run}" for turn, run in rows}


async def _judge_queues(fleet: Fleet, tally: Tally, alone: Sequence[str], beside: Sequence[str]) -> None:
    rows = await fleet.look("SELECT turn, run, started_at - due_at FROM rota.journal WHERE job = 'short'")
    delay_s = {f"{turn}-{run}": late_ms / 1000 for turn, run, late_ms in rows}
    tally.sample("alone", [delay_s[run] for run in alone])
    tally.sample("beside", [delay_s[run] for run in beside])
    allowed_ms = int(1000 * max(FLOOR_S, 2 * spread(tally.samples["alone"]).p99))
    reached_ms = int(1000 * spread(tally.samples["beside"]).p99)
    order = [int(line.run.partition("-")[0]) for line in fleet.ledger.of("start", job="short")]
    turned = sum(later < earlier for earlier, later in pairwise(order))
    inside = most = 0
    for line in fleet.ledger.lines():
        if line.job == "long":
            inside += 1 if line.what == "start" else -1
            most = max(most, inside)
    tally.counts.update(
        {
            "short": len(order),
            "long": CROWD[fleet.stage.form],
            "long begun": sum(1 for _ in fleet.ledger.of("start", job="long")),
        }
    )
    what = "start delay of the short queue beside the crowd, p99 in ms (twice alone)"
    tally.check(
        Check(name="G-11", what=what, happened=reached_ms, of=len(beside), allowed=allowed_ms),
        Check(name="G-10", what="short runs that started before an earlier one", happened=turned, of=len(order)),
        Check(name="I-15", what="long runs at once", happened=most, of=CROWD[fleet.stage.form], allowed=PLACES["long"]),
    )


async def _ticks(fleet: Fleet, tally: Tally) -> None:
    """Broken members first, with a limit of as many: the sound ones behind them are done in the same tick."""
    await pots.join_many([f"broken{number}" for number in range(BROKEN)])
    await pots.join_many([f"sound{number}" for number in range(SOUND)])
    tick = fleet.start("tick", "--job", "mend", "--limit", f"mend={BROKEN}", target=TARGET)
    code = await tick.ended()
    rows = await fleet.look("SELECT member, outcome FROM rota.journal WHERE job = 'mend' ORDER BY id")
    order = [line.argument for line in fleet.ledger.of("start", job="mend")]
    first = sum(name.startswith("broken") for name in order[:BROKEN])
    done = sum(outcome == "succeeded" for _, outcome in rows)
    tally.counts.update({"broken": first, "sound": done})
    tally.check(
        Check(
            name="G-11",
            what="broken members that went first",
            happened=first,
            of=BROKEN,
            allowed=BROKEN,
            rule="exactly",
        ),
        Check(
            name="G-11",
            what="sound members behind them done in the same tick",
            happened=done,
            of=SOUND,
            allowed=SOUND,
            rule="exactly",
        ),
        Check(
            name="G-11",
            what="the tick's exit code, as some have failed",
            happened=code,
            of=1,
            allowed=1,
            rule="exactly",
        ),
    )


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    return [
        (
            "crowd",
            f"{counts['long']:,} long runs of {LONG_MS / 1000:.0f} s, {counts['long begun']} begun",
        ),
        ("short", f"{counts['short']:,} runs of {SHORT_MS} ms, one every {PACE_S * 1000:.0f} ms: start − due"),
        ("  alone", spread(tally.samples.get("alone", [])).words()),
        ("  beside", spread(tally.samples.get("beside", [])).words()),
        ("tick", f"{counts['broken']} broken first with a limit of {BROKEN}, {counts['sound']} sound behind them done"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    alone, beside = (spread(tally.samples.get(name, [])).p99 for name in ("alone", "beside"))
    reached = f"{beside * 1000:.0f} ms beside {alone * 1000:.0f} ms alone"
    return [Figure("p99 of the short queue", "≤ 2 × alone", reached, beside <= 2 * alone)]


SCENARIO = Scenario(
    name="C-18", title="a crowd and its neighbours", short_s=12, long_s=300, play=play, rows=rows, figures=figures
)
