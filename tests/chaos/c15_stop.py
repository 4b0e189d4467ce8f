"""C-15: everything is stopped under full load, three times at once, while two workers are frozen that thaw afterwards.

One of the three stops is given up before its answer comes: it may have happened, and is repeated. After each trial
everything is resumed.

A worker frozen between its last look at the store and the first line of a handler starts that one handler when it
thaws, whatever was stopped meanwhile: the one thing that G-17 does not promise. It is counted apart, and each freeze
has one such place at most.

Always true: the two seconds begin with the first acknowledged stop; a worker thaws before or after they are over.

Not here: the general judgement (judge).
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from signal import SIGCONT, SIGSTOP

from rota.errors import StoreUnavailable
from rota.operate import Stop
from tests.chaos import app, judge
from tests.chaos.fleet import Fleet, Process, fleet_of
from tests.chaos.ledger import SECOND_NS, Line
from tests.chaos.report import Check, Figure, Row, Tally, spread
from tests.chaos.scenario import CREW, PLACES, STORES, Scenario, Stage

ALLOWED_S = 2.0  # after a stop is acknowledged, no handler starts later (G-17)
FROZEN = 2  # workers of each trial
BEFORE_S = (0.0, 0.3)  # from the freeze to the stop
THAW_S = (0.3, 2.8)  # from the call of the stop to the thaw
WATCH_S = 0.4  # after the last thaw
ATONCE_NS = SECOND_NS // 10  # after a thaw, the handler that was about to start has started
FULL = 2 * PLACES  # starts between two trials: all places have turned over
GIVEN_UP_S = 0.002  # a stop whose caller goes away is on its way then
TRIALS = 50  # wished for


@dataclass(slots=True, kw_only=True)
class Trials:
    """What the trials came to."""

    calls: int = 0
    given_up: int = 0
    resumes: int = 0
    unknown: int = 0
    workers: int = 0
    stops: int = 0
    late: list[Line] = field(default_factory=list)
    unpromised: int = 0
    unclaimed: list[Line] = field(default_factory=list)
    last_s: list[float] = field(default_factory=list)
    asked_s: list[float] = field(default_factory=list)


async def play(stage: Stage) -> Tally:
    """One trial after the other."""
    async with fleet_of(stage) as fleet:
        crew = await fleet.workers()
        fleet.load(4 * CREW * PLACES)
        trials = Trials()
        deadline = time.monotonic() + stage.seconds
        while time.monotonic() < deadline:
            await trial(fleet, trials)
        earlier = await judge.journal_of(fleet)
        await fleet.clients.stop()
        await fleet.healed()
        await fleet.settled()
        facts = await judge.facts_of(fleet, earlier)
        tally = judge.judged(facts)
        count(tally, facts, trials)
        alive = sum(process.popen.returncode == 0 for process in crew)
        what = "workers that went on and left in order"
        tally.check(Check(name="G-17", what=what, happened=alive, of=len(crew), allowed=len(crew), rule="exactly"))
        return tally


async def trial(fleet: Fleet, trials: Trials) -> None:
    """Freeze two, stop three times at once, thaw, watch, resume."""
    dice = fleet.stage.dice
    await fleet.turned_over(FULL)
    frozen = dice.sample(fleet.processes, FROZEN)
    for process in frozen:
        process.send(SIGSTOP)
    await asyncio.sleep(dice.uniform(*BEFORE_S))
    seen = len(fleet.ledger.lines())
    asked_s = time.monotonic()
    thawing = asyncio.gather(*(thawed(process, dice.uniform(*THAW_S)) for process in frozen))
    gone = asyncio.create_task(app.rota.stop_all("drill", by="cy"))
    stops = [asyncio.create_task(stopped(name, trials)) for name in ("ada", "bo")]
    await asyncio.wait([gone], timeout=GIVEN_UP_S)
    if gone.cancel():
        trials.given_up += 1
    else:
        trials.calls += gone.exception() is None
    answers = await asyncio.gather(*stops)
    again = await stopped("cy", trials)
    acknowledged_ns, first = min(answers, key=lambda answer: answer[0])
    trials.asked_s.append(acknowledged_ns / SECOND_NS - asked_s)
    claimed = {f"{one.turn}-{one.run}" for one in [*first.running, *again[1].running]}
    await thawing
    over_s = max(acknowledged_ns / SECOND_NS + ALLOWED_S, time.monotonic()) + WATCH_S
    await asyncio.sleep(max(0.0, over_s - time.monotonic()))
    after = [line for line in fleet.new_since(seen) if line.at_ns > acknowledged_ns]
    late = [line for line in after if line.at_ns > acknowledged_ns + ALLOWED_S * SECOND_NS]
    for process in frozen:
        own = next(
            (line for line in late if line.pid == process.pid and line.at_ns <= process.thawed_ns + ATONCE_NS), None
        )
        if own is not None:
            late.remove(own)
            trials.unpromised += 1
    trials.late += late
    trials.unclaimed += [line for line in after if line.run not in claimed]
    trials.last_s += [(line.at_ns - acknowledged_ns) / SECOND_NS for line in after[-1:]]
    trials.stops += 1
    trials.workers += CREW
    trials.resumes += await app.rota.resume_all(by="ada")


async def thawed(process: Process, after_s: float) -> None:
    """Let a frozen worker go on after a while."""
    await asyncio.sleep(after_s)
    process.send(SIGCONT)


async def stopped(name: str, trials: Trials) -> tuple[int, Stop]:
    """Stop everything, repeated until it is acknowledged: when that was, and the answer."""
    while True:
        try:
            answer = await app.rota.stop_all("drill", by=name)
        except StoreUnavailable:
            trials.unknown += 1
        else:
            trials.calls += 1
            return time.monotonic_ns(), answer


def count(tally: Tally, facts: judge.Facts, trials: Trials) -> None:
    """Starts after the stop, and the record of the acts."""
    rows = [act for act, *_ in facts.audit]
    tally.counts.update({"trials": trials.stops, "given up": trials.given_up, "acknowledged stops": trials.calls})
    tally.counts["trials of workers"] = trials.workers
    tally.counts["late starts"] = len(trials.late)
    tally.counts["frozen between last look and handler"] = trials.unpromised
    tally.counts["freezes"] = trials.stops * FROZEN
    tally.sample("last start after the stop", trials.last_s)
    tally.sample("acknowledged after", trials.asked_s)
    at_most = trials.calls + trials.given_up + trials.unknown
    tally.check(
        Check(
            name="I-14",
            what=f"starts later than {ALLOWED_S:g} s after a stop",
            happened=len(trials.late),
            of=trials.workers,
        ),
        Check(
            name="G-17",
            what="starts after a stop of what was claimed later",
            happened=len(trials.unclaimed),
            of=trials.workers,
        ),
        Check(
            name="I-20",
            what="stops on record",
            happened=rows.count("stop"),
            of=at_most,
            allowed=trials.calls,
            rule="at least",
        ),
        Check(
            name="I-20",
            what="stops on record beside all calls",
            happened=rows.count("stop"),
            of=at_most,
            allowed=at_most,
        ),
        Check(
            name="I-20",
            what="resumes on record",
            happened=rows.count("resume"),
            of=trials.resumes,
            allowed=trials.resumes,
            rule="exactly",
        ),
    )


def rows(tally: Tally) -> Sequence[Row]:
    """The table."""
    counts = tally.counts
    window = counts["frozen between last look and handler"]
    stops = f"{counts['trials']:,} trials × {CREW} workers, {FROZEN} of them frozen   3 stops at once, answers given up"
    return [
        *judge.shared_rows(tally),
        ("stops", f"{stops} {counts['given up']:,}"),
        ("acknowledged", f"{spread(tally.samples['acknowledged after']).words()}   after it was asked for"),
        ("not promised", f"frozen between last look and handler {window:,} of {counts['freezes']:,} freezes"),
        ("last start", f"{spread(tally.samples['last start after the stop']).words()}   after the stop"),
    ]


def figures(tally: Tally) -> Sequence[Figure]:
    """What reliability 5 wishes for."""
    late, trials = tally.counts["late starts"], tally.counts["trials"]
    reached = f"{late} of {trials} trials × {CREW} workers"
    wished = f"0 of ≥ {TRIALS} trials"
    slowest = spread(tally.samples["acknowledged after"]).max
    return [
        Figure("starts later than acknowledge + 2 s", wished, reached, late == 0 and trials >= TRIALS),
        Figure("a stop is acknowledged", f"≤ {ALLOWED_S:g} s", f"{slowest:.2f} s at most", slowest <= ALLOWED_S),
    ]


SCENARIO = Scenario(
    name="C-15", title="emergency stop", short_s=20, long_s=300, play=play, rows=rows, figures=figures, ci_stores=STORES
)
