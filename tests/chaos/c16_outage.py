"""C-16: nothing ran for six hours, and every member owes: one run each for its newest slot, spread as the job says.

The past is made with a clock that is held: members join and a tick passes six hours ago, by the store's own decision of
what the time is; then workers with the real clock find what an outage leaves behind.

Always true: no row is written but by the library; the slot that a run is for is told by the run itself, in the ledger.

Not here: a clock that leaps while the engine runs (C-9), catch-up of a few (the engine's own tests).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from signal import SIGTERM

from rota.testing import ManualClock
from tests.chaos.fleet import Fleet, NotInTime, fleet_of, until
from tests.chaos.harms import HOUSES, TARGET, houses, on, rota
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import Scenario, Stage

OUTAGE = timedelta(hours=6)
PERIOD_MS = 3_600_000  # of the job: each member misses six slots
MEMBERS = {"short": 4_000, "long": 100_000}
SPREAD = 0.6  # of the seconds of the scenario: so long the catch-up may take; the rest is for what comes after
WORKERS = 2
WINDOWS = 5  # of the spread: in none of them may more become due than its share
UNEVEN = 1.3  # times its share: runs whose next slot is near go first; a guess
PAGE_S = 0.5  # between two looks at the pages
PAGE_MOST_S = 0.2  # wished for, p95
JOIN = 5_000  # members of one call
JUDGED_MS = 60_000  # before the first start a claim may have judged: the first claims take thousands
PATIENCE = 3.0  # times the seconds of the scenario, until the last has run


async def play(stage: Stage) -> Tally:
    """Join in the past, then let workers find it."""
    tally = Tally()
    members, spread_s = MEMBERS[stage.form], round(stage.seconds * SPREAD)
    async with fleet_of(stage) as fleet:
        past = ManualClock(datetime.now(UTC) - OUTAGE - timedelta(minutes=1), seed=stage.seed)
        async with on(fleet.front, clock=past):
            for first in range(0, members, JOIN):
                await houses.join_many([f"h{number}" for number in range(first, min(members, first + JOIN))])
            await rota.tick()
        fleet.environment[HOUSES] = f"{spread_s}s"
        first_slots = dict(await fleet.look("SELECT id, slot_at FROM rota.turn"))
        back_ms = time.time_ns() // 1_000_000
        async with on(fleet.front):
            for _ in range(WORKERS):
                fleet.start("worker", "--poll", "200ms", target=TARGET)
            looking = asyncio.create_task(_pages(tally))
            with suppress(NotInTime):  # then the judgement says who is missing
                await until(lambda: _begun(fleet, members) >= members, PATIENCE * stage.seconds)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            for worker in fleet.processes:
                worker.send(SIGTERM)
                await worker.ended()
            await _judge(fleet, tally, first_slots, (back_ms, spread_s))
    return tally


def _begun(fleet: Fleet, members: int) -> int:
    """How many members have begun a run; they are only told apart when there may be enough."""
    lines = fleet.ledger.lines()
    return len({line.run.partition("-")[0] for line in lines}) if len(lines) >= members else 0


async def _pages(tally: Tally) -> None:
    """What people look at meanwhile: the morning glance, and one member's story."""
    number = 0
    while True:
        for name, page in (("status", rota.status), ("why", partial(rota.why, f"houses/h{number}"))):
            began_s = time.monotonic()
            await page()
            tally.sample(f"page {name}", [time.monotonic() - began_s])
        number += 1
        await asyncio.sleep(PAGE_S)


def _of_the_ledger(fleet: Fleet) -> dict[int, list[tuple[int, int]]]:
    """The runs of each turn: their slots, and when they started, in ms UTC."""
    wall_ms = (time.time_ns() - time.monotonic_ns()) // 1_000_000
    runs: dict[int, list[tuple[int, int]]] = {}
    for line in fleet.ledger.of("start"):
        turn, slot = int(line.run.partition("-")[0]), int(line.argument.rpartition(" ")[2])
        runs.setdefault(turn, []).append((slot, wall_ms + line.at_ns // 1_000_000))
    return runs


async def _judge(fleet: Fleet, tally: Tally, first_slots: dict[int, int], told: tuple[int, float]) -> None:
    """By when the workers came back, and the spread that they were told."""
    back_ms, spread_s = told
    runs = _of_the_ledger(fleet)
    members = len(first_slots)
    first = {turn: starts[0] for turn, starts in runs.items()}
    stale = [turn for turn, one in first.items() if not _is_newest(first_slots[turn], one, back_ms)]
    twice = [turn for turn, starts in runs.items() if sum(slot <= back_ms for slot, _ in starts) > 1]
    again = sum(len(starts) - len({slot for slot, _ in starts}) for starts in runs.values())
    unpaid = await _unaccounted(fleet, tally, first_slots)
    after_s = sorted((at - back_ms) / 1000 for _, at in first.values())
    window_s = spread_s / WINDOWS
    due = await fleet.look("SELECT due_at FROM rota.journal WHERE run = 1 AND outcome = 'succeeded'")
    busiest = _busiest([max(0.0, (due_at - back_ms) / 1000) for (due_at,) in due], window_s)
    tally.counts["busiest of starts in hundredths of its share"] = (
        100 * WINDOWS * _busiest(after_s, window_s) // members
    )
    allowed = int(UNEVEN * members / WINDOWS)
    tally.counts.update({"members": members, "starts": sum(map(len, runs.values())), "spread": int(spread_s)})
    tally.sample("start after the outage", after_s)
    example = str([(turn, first_slots[turn], first[turn], back_ms) for turn in stale[:2]])
    what = f"runs due in the busiest {window_s:g} s of a spread of {spread_s:g} s"
    tally.check(
        Check(name="G-15", what="members without a run", happened=members - len(runs), of=members),
        Check(name="G-15", what="runs not for the newest slot", happened=len(stale), of=members, example=example),
        Check(name="G-15", what="members with two runs for the outage", happened=len(twice), of=members),
        Check(name="I-9", what="slots run twice", happened=again, of=tally.counts["starts"]),
        Check(name="I-10", what="members whose slots are not all accounted for", happened=unpaid, of=members),
        Check(name="G-15", what=what, happened=busiest, of=members, allowed=allowed),
    )


def _busiest(instants_s: Sequence[float], window_s: float) -> int:
    """How many lie in the fullest of the windows side by side."""
    return max(Counter(int(one / window_s) for one in instants_s).values())


def _is_newest(first_slot: int, run: tuple[int, int], back_ms: int) -> bool:
    """Whether a run is for a slot of its member, and for the newest one when it was judged or when it started."""
    slot, started_ms = run
    return (slot - first_slot) % PERIOD_MS == 0 and back_ms - JUDGED_MS < slot + PERIOD_MS and slot <= started_ms


async def _unaccounted(fleet: Fleet, tally: Tally, first_slots: dict[int, int]) -> int:
    """How many turns stand at another slot than the one after those that the journal tells of."""
    skipped = "sum(CASE WHEN outcome = 'skipped' THEN slots ELSE 0 END)"
    found = await fleet.look(f"SELECT turn, sum(slots), {skipped} FROM rota.journal GROUP BY turn")
    told = {turn: int(slots) for turn, slots, _ in found}
    tally.counts["skipped"] = sum(int(passed_over) for *_, passed_over in found)
    stand = await fleet.look("SELECT id, slot_at FROM rota.turn")
    return sum(slot != first_slots[turn] + told.get(turn, 0) * PERIOD_MS for turn, slot in stand)


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts, samples = tally.counts, tally.samples
    outage = f"{OUTAGE.total_seconds() / 3600:g} h, job of every {PERIOD_MS // 60_000} min"
    return [
        (
            "outage",
            f"{outage}   members {counts['members']:,}",
        ),
        ("slots", f"run {counts['starts']:,}   skipped with a reason {counts['skipped']:,}"),
        ("catch-up", f"{spread(samples.get('start after the outage', [])).words()}   (spread {counts['spread']} s)"),
        *((f"  {name}", spread(samples.get(f"page {name}", [])).words()) for name in ("status", "why")),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    busiest = tally.counts["busiest of starts in hundredths of its share"] / 100
    words = f"{busiest:.2f} of its share"
    found = [Figure("starts in the busiest fifth of the spread", f"≤ {UNEVEN} of its share", words, busiest <= UNEVEN)]
    for name in ("status", "why"):
        took = sorted(tally.samples.get(f"page {name}", [0.0]))
        p95 = took[int((len(took) - 1) * 0.95)]
        wished = f"≤ {PAGE_MOST_S * 1000:.0f} ms"
        found.append(Figure(f"page {name} p95", wished, f"{p95 * 1000:.0f} ms of {len(took)}", p95 <= PAGE_MOST_S))
    return found


SCENARIO = Scenario(
    name="C-16", title="six hours down", short_s=15, long_s=300, piece_s=300, play=play, rows=rows, figures=figures
)
