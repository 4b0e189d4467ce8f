"""C-17: everything downstream fails for ten minutes, and thousands of runs try again and again.

Always true: time is moved, never waited for: the store's clock is held and goes on by a second at a time; the runs come
over a minute, as a load does, and once more all at the same instant, which is the worst that can be asked of a backoff.

Not here: cool-downs that a whole fleet shares (limits), processes (none is started).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rota.testing import ManualClock
from tests.chaos.harms import Downstream, call, on, rota
from tests.chaos.report import Check, Figure, Row, Tally
from tests.chaos.scenario import Scenario, Stage

RUNS = {"short": 1_500, "long": 5_000}
OUTAGE_S = 600
RAMP_S = 120  # until every run waits as long as it may: before that a backoff is meant to thin them out
COME_S = {"over a minute": 60, "at one instant": 1}
WAVE = 3  # times the mean: the busiest second may have so many
HEALED_S = 180  # after the outage, until everything must have ended: the longest wait with its jitter, twice


async def play(stage: Stage) -> Tally:
    """One outage for each way of coming."""
    tally = Tally()
    for way, seconds in COME_S.items():
        folder = stage.folder / way.replace(" ", "-")
        folder.mkdir()
        await _outage(stage, f"sqlite:///{folder / 'waves.db'}", way, RUNS[stage.form] // seconds)
        _count(tally, way, RUNS[stage.form])
        tally.counts["runs"] += RUNS[stage.form]
    return tally


async def _outage(stage: Stage, url: str, way: str, each_s: int) -> None:
    """Live through it, a second at a time."""
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC), seed=stage.seed)
    Downstream.up, Downstream.calls = False, []
    async with on(url, clock=clock):
        for second in range(OUTAGE_S + HEALED_S):
            Downstream.up = second >= OUTAGE_S
            if second < COME_S[way]:
                for first in range(0, each_s, 1_000):
                    await call.enqueue_many([(number,) for number in range(first, min(each_s, first + 1_000))])
            await rota.tick()
            clock.advance("1s")


def _count(tally: Tally, way: str, runs: int) -> None:
    """Calls of each second; the first call of a run is no retry, so the ramp is left out."""
    began_ms = min(Downstream.calls)
    seconds = Counter((at - began_ms) // 1_000 for at in Downstream.calls)
    steady = [seconds[second] for second in range(RAMP_S, OUTAGE_S)]
    mean = sum(steady) / len(steady)
    well = sum(count for second, count in seconds.items() if second >= OUTAGE_S)
    tally.counts.update(
        {f"calls {way}": len(Downstream.calls), f"mean {way}": int(mean), f"busiest {way}": max(steady)}
    )
    tally.check(
        Check(
            name="G-3",
            what=f"runs that came {way} and ended well",
            happened=well,
            of=runs,
            allowed=runs,
            rule="exactly",
        )
    )
    if way == "over a minute":
        what = f"calls in the busiest second after {RAMP_S} s, beside {WAVE} × the mean"
        tally.check(Check(name="G-11", what=what, happened=max(steady), of=sum(steady), allowed=int(WAVE * mean)))


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    found = [("outage", f"{OUTAGE_S} s, {counts['runs']:,} runs, waits of 2 s doubled to 1 min with the plain jitter")]
    for way in COME_S:
        rate = f"a second: mean {counts[f'mean {way}']}, busiest {counts[f'busiest {way}']}"
        found.append((f"  {way}", f"calls {counts[f'calls {way}']:,}   {rate}"))
    return found


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    found = []
    for way in COME_S:
        ratio = tally.counts[f"busiest {way}"] / max(1, tally.counts[f"mean {way}"])
        what = f"busiest second of retries, runs that came {way}"
        found.append(Figure(what, f"≤ {WAVE} × mean", f"{ratio:.1f} × mean", ratio <= WAVE))
    return found


SCENARIO = Scenario(
    name="C-17",
    title="waves of retries",
    short_s=1,
    long_s=1,
    play=play,
    rows=rows,
    figures=figures,
    stores=("sqlite",),
)
