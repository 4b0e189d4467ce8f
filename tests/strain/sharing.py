"""P-5 for what runs share: workers settle and claim limited, batched, serial and capped jobs; nobody deadlocks.

Ends lock jobs and buckets, claims lock jobs and buckets: each worker does as the pump does, which puts such an end in a
transaction of its own.

Always true: a deadlock is counted where it happens, before anything would run again; the seed is printed.

Not here: operators, joins and stale ends (overlap.py), what a limit lets start (tests/engine/test_limits.py).
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from rota import Batch, Cap, Limit
from rota.define.catalog import Catalog
from rota.define.job import job_spec
from rota.define.outcome import Fail, Retryable
from rota.define.roster import RosterSpec
from rota.define.schedule import every
from rota.engine.admit import asks
from rota.engine.settle import Ended, Lost, end_of
from rota.engine.shared import wake_of
from rota.store import claiming, gates, members, postgres, reaping, reconcile, turns
from rota.store.consequences import locks_shared
from rota.store.port import Gate, Op
from rota.store.postgres import Postgres
from rota.turn.gates import bounds_of
from rota.turn.records import Claim, Ending, Fresh, Judged
from tests.store.world import LEASE_MS, HeldClock, introduce
from tests.strain.report import Report
from tests.strain.stage import Size, Stage

SECONDS: dict[Size, float] = {"short": 5, "plain": 60, "long": 300}
WORKERS = 8
PEOPLE = 60
SEED = 7
PLACES = 10
REGIONS = "abc"
_SHARED = Limit("all", "50/s", burst=50)
_OPTIONS: dict[str, dict[str, Any]] = {
    "keyed": {"limit": Limit("api:{region}", "20/s", burst=20)},
    "limited": {"limit": _SHARED},
    "serial": {"serial": "{region}"},
    "keyed cap": {"cap": Cap(2, by="region")},
    "cap": {"cap": 3},
    "plain": {},
    "batch": {"each": "users", "schedule": every("1m"), "batch": Batch(5, pause="1s")},
    "limited batch": {"each": "users", "schedule": every("1m"), "batch": Batch(5, pause="1s"), "limit": _SHARED},
}


def _of_region(region: str) -> None:
    """What a one-off does."""


def _of_member() -> None:
    """What a member's run does."""


def _catalog() -> Catalog:
    made = Catalog()
    made.add_roster(RosterSpec(name="users", source=None, facets=(), max_shrink=0.2))
    for name, options in _OPTIONS.items():
        made.add_job(job_spec(_of_member if "each" in options else _of_region, name=name.replace(" ", "_"), **options))
    return made


CATALOG = _catalog()
ONE_OFFS = [name for name, spec in CATALOG.jobs.items() if spec.one_off]


def _judged(claims: list[Claim]) -> Op[Judged]:
    return Judged(list(claims), [], [], [])
    yield  # a judge may ask the store; this one does not


def _woken(claim: Claim, worker: str, came: object, probes: tuple[str, ...] = ()) -> Ending:
    spec = CATALOG.jobs[claim.job]
    end = end_of(CATALOG, spec, claim, came, Ended(worker, claim.start_at, 5, 0.0))
    wake = wake_of(spec, bounds_of(spec), end, probes)
    return end if wake is None else end._replace(wake=wake)


def _reap() -> Op[Any]:
    ends = [_woken(one, worker, Lost("gone")) for one, worker in (yield from reaping.lost(100))]
    return (yield from turns.settle(ends, "reaper", patient=False))


class Crew:
    """All workers on one database, and what each of them runs."""

    def __init__(self, url: str, clock: HeldClock) -> None:
        self.clock = clock
        self.dice = random.Random(SEED)
        self.stores = [Postgres(url, clock=clock) for _ in range(WORKERS)]
        self.held: list[deque[tuple[Claim, tuple[str, ...]]]] = [deque() for _ in range(WORKERS)]
        self.done: Counter[str] = Counter()
        self.deadlocks: Counter[str] = Counter()

    async def begin(self) -> None:
        """An application, its members, its workers."""
        for me, db in enumerate(self.stores):
            await db.open()
            await db.write(lambda me=me: introduce(f"w{me}"))
        first, people = self.stores[0], [members.Entry(f"m{number}") for number in range(PEOPLE)]
        await first.write(lambda: reconcile.declare(CATALOG))
        await first.write(lambda: gates.declare({name: gates.closing(spec) for name, spec in CATALOG.jobs.items()}))
        await first.write(lambda: members.join(CATALOG.roster("users"), CATALOG.of_roster("users"), people))

    async def act(self, me: int) -> None:
        """One random operation of one worker."""
        name = self.dice.choices(("round", "enqueue", "reap", "spend", "beat"), (16, 3, 1, 1, 1))[0]
        try:
            await getattr(self, f"_{name}")(me)
        except asyncpg.DeadlockDetectedError as error:
            self.deadlocks[f"{name}: {error.detail}"] += 1
        else:
            self.done[name] += 1
        self.clock.ms += self.dice.choice((0, 10, 50, 100))

    async def _round(self, me: int) -> None:
        """Settle some of what runs and claim, as the pump does."""
        held, comes = self.held[me], (None, None, None, Retryable("busy"), Fail("no"))
        over = [held.popleft() for _ in range(min(len(held), self.dice.randrange(12)))]
        ends = [_woken(one, f"w{me}", self.dice.choice(comes), probes) for one, probes in over]
        jobs = self.dice.sample(sorted(CATALOG.jobs), 5)
        apart = any(map(locks_shared, ends))
        if apart:
            await self._write(me, lambda: turns.settle(ends, f"w{me}", fused=True))
        claimed = await self._write(me, lambda: self._both([] if apart else ends, jobs, f"w{me}"), "shared")
        held.extend((one, claimed.probes.get(one.id, ())) for one in claimed.run)
        self.done["runs"] += len(claimed.run)

    def _both(self, ends: list[Ending], jobs: list[str], worker: str) -> Op[turns.Claimed]:
        if ends:
            yield from turns.settle(ends, worker, fused=True)
        want = claiming.Want(most=PLACES, whole=PLACES, places=PLACES, fused=True)
        return (yield from claiming.claim(asks(CATALOG.jobs[name] for name in jobs), want, worker, _judged))

    async def _enqueue(self, me: int) -> None:
        fresh = [
            Fresh(
                self.dice.choice(ONE_OFFS), f'{{"region":"{self.dice.choice(REGIONS)}"}}', None, None, 0, place % 2, 0
            )
            for place in range(30)
        ]
        await self._write(me, lambda: turns.enqueue(fresh))

    async def _reap(self, me: int) -> None:
        await self._write(me, _reap)

    async def _spend(self, me: int) -> None:
        await self._write(me, lambda: gates.spend(_SHARED, _SHARED.name, 1))

    async def _beat(self, me: int) -> None:
        await self._write(me, lambda: turns.beat(f"w{me}", LEASE_MS, 1, None))

    async def _write(self, me: int, make: Callable[[], Op[Any]], gate: Gate = None) -> Any:
        return await self.stores[me].write(make, gate=gate)


async def _play(url: str, seconds: float) -> Crew:
    crew = Crew(url, HeldClock())
    await crew.begin()
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds

    async def work(me: int) -> None:
        while loop.time() < ends_at:
            await crew.act(me)

    await asyncio.gather(*map(work, range(WORKERS)))
    for db in crew.stores:
        await db.close()
    return crew


def run(stage: Stage) -> Report:
    """Let them at it."""
    report = Report(scenario="P-5b", title="no deadlocks over what is shared", store="postgresql", form=stage.size)
    seconds = SECONDS[stage.size]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "AGAIN", 1)  # what the server undoes is run again, or a deadlock would not be seen
        crew = asyncio.run(_play(stage.shared.url(stage.shared.fresh_database()), seconds))
    counts = ", ".join(f"{name} {count:,}" for name, count in crew.done.most_common())
    report.say("operations", f"{counts} by {WORKERS} workers in {seconds:.0f} s, seed {SEED}", done=dict(crew.done))
    report.say("deadlocks", f"{sum(crew.deadlocks.values())}", deadlocks=dict(crew.deadlocks))
    report.hold(not crew.deadlocks, f"deadlocks: {dict(crew.deadlocks)}")
    report.hold(crew.done["runs"] > 0, "nothing was claimed: the scenario has stopped trying something")
    return report
