"""P-6: thirty-two connections claim ten at a time under load; never more than ten, never one run twice, caps are kept.

Always true: a run counts as held from the answer of its claim until its end is sent, so what is seen held at once was
held at once.

Not here: fairness, speed (benchmarks).
"""

import asyncio
import time
from contextlib import closing
from dataclasses import dataclass, field

from rota.engine.settle import Ended, end_of
from rota.store import turns
from rota.store.postgres import POOL, Postgres
from rota.turn.records import Claim
from tests.store.world import CATALOG, Door, HeldClock, call, claim, introduce
from tests.strain.report import Report, percentile
from tests.strain.stage import Size, Stage

CLAIMS: dict[Size, int] = {"short": 10_000, "plain": 100_000, "long": 1_000_000}
CONNECTIONS = 32
MOST = 10
AHEAD = 500  # one-offs of each job that wait at any time, so that a claim finds some
JOBS = ("mail", "call")  # the second is capped
CAPPED, CAP = "call", 2
EACH_CAPPED = 8  # of the connections, every so many asks for the capped job too: its row is locked by each that asks


@dataclass(slots=True)
class Tally:
    """What the claimers saw."""

    claims: int = 0
    runs: int = 0
    empty: int = 0
    largest: int = 0
    capped: int = 0
    most_capped: int = 0
    twice: list[str] = field(default_factory=list)
    held: dict[int, tuple[str, str]] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    took_s: list[float] = field(default_factory=list)

    def take(self, worker: str, found: list[Claim]) -> None:
        """Note what a claim came back with."""
        self.claims += 1
        self.runs += len(found)
        self.empty += not found
        self.largest = max(self.largest, len(found))
        for one in found:
            if one.id in self.held or one.attempt <= self.last.get(one.id, 0):
                self.twice.append(f"turn {one.id} attempt {one.attempt}: {worker} and {self.held.get(one.id)}")
            self.held[one.id] = (worker, one.job)
            self.last[one.id] = one.attempt
        if any(one.job == CAPPED for one in found):
            at_once = sum(1 for _, job in self.held.values() if job == CAPPED)
            self.capped += 1
            self.most_capped = max(self.most_capped, at_once)

    def give(self, found: list[Claim]) -> None:
        """Note that their ends are about to be sent."""
        for one in found:
            del self.held[one.id]
            del self.last[one.id]


class Claimers:
    """All connections on one database."""

    def __init__(self, url: str, clock: HeldClock, claims: int) -> None:
        self.stores = [Postgres(url, clock=clock) for _ in range(CONNECTIONS // POOL)]
        self.tally = Tally()
        self._claims = claims
        self._short = asyncio.Event()

    async def play(self) -> None:
        """Claim until the number is reached."""
        for db in self.stores:
            await db.open()
        await self._fill(4 * AHEAD)
        feeder = asyncio.create_task(self._feed())
        await asyncio.gather(*map(self._claim, range(CONNECTIONS)))
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        for db in self.stores:
            await db.close()

    async def _claim(self, me: int) -> None:
        db, worker, tally = self.stores[me % len(self.stores)], f"w{me}", self.tally
        jobs = JOBS if me % EACH_CAPPED == 0 else JOBS[:1]
        await db.write(lambda: introduce(worker))
        while tally.claims < self._claims:
            began_s = time.perf_counter()
            found = (await db.write(lambda: claim(worker, jobs, most=MOST, fused=True), gate="shared")).run
            tally.took_s.append(time.perf_counter() - began_s)
            tally.take(worker, found)
            await asyncio.sleep(0)  # the handlers' turn: others claim meanwhile
            if len(found) < MOST:
                self._short.set()
            if found:
                tally.give(found)
                ends = [
                    end_of(CATALOG, CATALOG.jobs[one.job], one, None, Ended(worker, one.claimed_at, 5, 0.0))
                    for one in found
                ]
                await db.write(lambda ends=ends: turns.settle(ends, worker, fused=True))

    async def _feed(self) -> None:
        while True:
            await self._short.wait()
            self._short.clear()
            await self._fill(4 * AHEAD)

    async def _fill(self, count: int) -> None:
        some = [call(job, priority=number % 3) for number in range(count // 10) for job in (*JOBS[:1] * 9, CAPPED)]
        await self.stores[-1].write(lambda: turns.enqueue(some))


def run(stage: Stage) -> Report:
    """Let them claim."""
    report = Report(scenario="P-6", title="claims", store="postgresql", form=stage.size)
    clock = HeldClock()
    with asyncio.Runner() as runner:
        door = Door(Postgres(stage.shared.url(stage.shared.fresh_database()), clock=clock), clock, runner)
        with closing(door):
            door.open()
            claimers = Claimers(door.db._url, clock, CLAIMS[stage.size])
            began_s = time.perf_counter()
            runner.run(claimers.play())
            took_s = time.perf_counter() - began_s
            twice = door.sql("SELECT turn FROM rota.journal GROUP BY turn HAVING count(*) > 1")
            ended, left = door.sql(
                "SELECT (SELECT count(*) FROM rota.journal), (SELECT count(*) FROM rota.turn WHERE state = 'running')"
            )[0]
    tally = claimers.tally
    p50, p99 = (percentile(tally.took_s, share) * 1000 for share in (0.5, 0.99))
    report.say(
        "claims",
        f"{tally.claims:,} of at most {MOST} over {CONNECTIONS} connections in {took_s:.0f} s,"
        f" {tally.empty:,} found nothing",
        claims=tally.claims,
        per_s=tally.claims / took_s,
    )
    report.say(
        "rows", f"{tally.runs:,} claimed, at most {tally.largest} at once, {len(tally.twice)} twice", runs=tally.runs
    )
    report.say(
        "cap",
        f"{tally.capped:,} claims of a job with at most {CAP} at once: at most {tally.most_capped} seen at once",
        most_capped=tally.most_capped,
    )
    report.say("took", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, with 32 waiting for two cores", p50_ms=p50, p99_ms=p99)
    report.hold(tally.largest <= MOST, f"a claim of {MOST} took {tally.largest}")
    report.hold(not tally.twice, f"claimed twice: {tally.twice[:5]}")
    report.hold(tally.most_capped <= CAP, f"{tally.most_capped} at once of a job with a cap of {CAP}")
    report.hold(
        not twice and ended == tally.runs and not left,
        f"{tally.runs} claimed, {ended} ended, {left} left running, {len(twice)} ended twice",
    )
    report.hold(tally.capped > 0, "no capped run was claimed: the scenario has stopped trying something")
    return report
