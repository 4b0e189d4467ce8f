"""P-5: eight workers settle, beat, claim, reap, place and act on overlapping rows in random order; nobody deadlocks.

Ends of an attempt are sent by several workers at once, in an order of their own each.

Always true: a deadlock is counted where it happens, before anything would run again; the seed is printed.

Not here: races that are built one by one (tests/store/test_races.py).
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from contextlib import closing
from typing import Any

import asyncpg
import pytest

from rota.define.outcome import Fail, Hold, Retryable, Snooze
from rota.engine.settle import Ended, Lost, end_of
from rota.errors import BadInput, Conflict
from rota.operate import _Rules
from rota.store import members, operators, pauses, postgres, reaping, reconcile, turns
from rota.store.operators import Deed, Which
from rota.store.port import Gate, Op
from rota.store.postgres import Postgres
from rota.turn.records import Claim
from tests.store.world import CATALOG, LEASE_MS, ROSTER, USER_JOBS, Door, HeldClock, call, claim, introduce
from tests.strain.report import Report
from tests.strain.stage import Size, Stage

SECONDS: dict[Size, float] = {"short": 8, "plain": 120, "long": 600}
WORKERS = 8
PEOPLE = 40
RECENT = 400  # claims whose ends are sent, again and again
SEED = 7
RULES = _Rules(CATALOG)
DEED = Deed("ann", "act", "turn", "why")
COMES = (None, None, None, Retryable("busy"), Fail("no"), Snooze("1s"), Hold("look"))


class Crowd:
    """All workers on one database, and what they know of each other's claims."""

    def __init__(self, url: str, clock: HeldClock) -> None:
        self.clock = clock
        self.dice = random.Random(SEED)
        self.stores = [Postgres(url, clock=clock) for _ in range(WORKERS)]
        self.claims: deque[tuple[Claim, str]] = deque(maxlen=RECENT)
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def act(self, me: int) -> None:
        """One random operation of one worker."""
        name, make, gate = self.dice.choice(self._deeds(f"w{me}"))
        try:
            answer = await self.stores[me].write(make, gate=gate)
        except asyncpg.DeadlockDetectedError as error:
            self.refused[f"deadlock in {name}: {error.detail}"] += 1
        except (BadInput, Conflict):
            self.refused["said no"] += 1  # a wish that does not fit what is there
        else:
            self.done[name] += 1
            if name == "claim":
                self.claims.extend((one, f"w{me}") for one in answer.run)

    def _deeds(self, worker: str) -> list[tuple[str, Callable[[], Op[Any]], Gate]]:
        some = [f"m{number}" for number in self.dice.sample(range(PEOPLE), 8)]
        which = Which(roster="users", member=some[0], job=self.dice.choice(["daily", "hourly", "digest"]))
        jobs = self.dice.sample(sorted(CATALOG.jobs), 4)
        calls = [call(self.dice.choice(["mail", "call"]), key=f"k{key}") for key in self.dice.sample(range(60), 20)]
        entries = [members.Entry(key, self.dice.choice(["UTC", "Asia/Kolkata"])) for key in some]
        return [
            ("claim", lambda: claim(worker, jobs, most=10, fused=True), "shared"),
            ("claim", lambda: claim(worker, most=10, fused=True), "shared"),
            ("settle", lambda: self._settle(worker), None),
            ("settle", lambda: self._settle(worker), None),
            ("settle fused", lambda: self._settle(worker, fused=True), None),
            ("settle and claim", lambda: self._both(worker), "shared"),
            ("beat", lambda: turns.beat_at_once(worker, LEASE_MS, 1, None), None),
            ("beat", lambda: turns.beat(worker, LEASE_MS, 1, None), None),
            ("reap", _reap, None),
            ("enqueue", lambda: turns.enqueue(calls), None),
            ("join", lambda: members.join(ROSTER, USER_JOBS, entries), None),
            ("leave", lambda: members.leave(ROSTER, some[:3]), None),
            ("tend", lambda: reconcile.tend(CATALOG, [one.id for one, _ in self._some_claims()]), None),
            ("run now", lambda: operators.run_now(which, RULES, DEED), None),
            ("hold", lambda: operators.hold(which, DEED), None),
            ("unhold", lambda: operators.unhold(which, RULES, DEED), None),
            ("cancel", lambda: operators.cancel(which, RULES, DEED), None),
            ("pause", lambda: pauses.pause("member", f"users/{some[1]}", None, DEED), "exclusive"),
            ("resume", lambda: pauses.resume("member", f"users/{some[1]}", DEED), "exclusive"),
        ]

    def _some_claims(self) -> list[tuple[Claim, str]]:
        return self.dice.sample(list(self.claims), min(len(self.claims), 25))

    def _settle(self, worker: str, *, fused: bool = False) -> Op[Any]:
        ends = []
        for one, holder in self._some_claims():
            facts = Ended(holder, one.claimed_at, 5, 0.0)
            ends.append(end_of(CATALOG, CATALOG.jobs[one.job], one, self.dice.choice(COMES), facts))
        return (yield from turns.settle(ends, worker, fused=fused))

    def _both(self, worker: str) -> Op[Any]:
        yield from self._settle(worker, fused=True)
        return (yield from claim(worker, most=10, fused=True))


def _reap() -> Op[Any]:
    ends = []
    for one, worker in (yield from reaping.lost(100)):
        ends.append(end_of(CATALOG, CATALOG.jobs[one.job], one, Lost("gone"), Ended(worker, one.start_at, 0, 0.0)))
    return (yield from turns.settle(ends, "reaper", patient=False))


async def _play(url: str, clock: HeldClock, seconds: float) -> Crowd:
    crowd = Crowd(url, clock)
    for number, db in enumerate(crowd.stores):
        await db.open()
        await db.write(lambda number=number: introduce(f"w{number}"))
    people = [members.Entry(f"m{number}") for number in range(PEOPLE)]
    await crowd.stores[0].write(lambda: members.join(ROSTER, USER_JOBS, people))
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds

    async def work(me: int) -> None:
        while loop.time() < ends_at:
            await crowd.act(me)
            clock.ms += crowd.dice.choice((0, 0, 50, 1_000, 60_000))  # slots come, and leases end

    await asyncio.gather(*map(work, range(WORKERS)))
    for db in crowd.stores:
        await db.close()
    return crowd


def run(stage: Stage) -> Report:
    """Let them at it."""
    report = Report(scenario="P-5", title="no deadlocks", store="postgresql", form=stage.size)
    seconds, clock = SECONDS[stage.size], HeldClock()
    with asyncio.Runner() as runner:
        door = Door(Postgres(stage.shared.url(stage.shared.fresh_database()), clock=clock), clock, runner)
        with closing(door):
            door.open()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    postgres, "AGAIN", 1
                )  # what the server undoes is run again, or a deadlock would not be seen
                crowd = runner.run(_play(door.db._url, clock, seconds))
            twice = door.sql(
                "SELECT turn, attempt FROM rota.journal WHERE outcome NOT IN ('skipped', 'cancelled')"
                " GROUP BY turn, attempt HAVING count(*) > 1"
            )
            ends = door.sql("SELECT count(*) FROM rota.journal")[0][0]
    deadlocks = {what: count for what, count in crowd.refused.items() if what.startswith("deadlock")}
    total = sum(crowd.done.values())
    report.say(
        "operations",
        f"{total:,} by {WORKERS} workers in {seconds:.0f} s, seed {SEED}: "
        + ", ".join(f"{name} {count:,}" for name, count in crowd.done.most_common()),
        operations=dict(crowd.done),
    )
    report.say("deadlocks", f"{sum(deadlocks.values())} of {total:,}", deadlocks=deadlocks)
    report.say("ends", f"{ends:,} rows of the journal, {len(twice)} attempts with two ends")
    report.hold(not deadlocks, f"deadlocks: {deadlocks}")
    report.hold(not twice, f"attempts with two ends: {twice[:5]}")
    report.hold(crowd.done["settle"] > 0 and ends > 0, "nothing was settled: the scenario has stopped trying something")
    return report
