"""One bounded pass of the engine: find what is due, run it, settle it, say what came of it.

Jobs go one after the other in the order of declaration, so a follower comes after what it follows; for each
job a tick takes what is due when its turn comes, never a retry that it has caused itself.

Always true: one tick at a time for each store, by a small lease; every attempt it began is settled or given
back when it returns; it never starts a run after its time is over.

Not here: waiting between ticks (cron, worker.py), printing the summary (cli/tick).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rota.clock import give_way, process_name
from rota.define.job import JobSpec
from rota.define.policy import CatchUp
from rota.engine.admit import Admission, asks
from rota.engine.chores import LOOK_S, Chores, Duty
from rota.engine.keeper import Beat, Identity, Keeper, introduce
from rota.engine.lane import Lane
from rota.engine.pump import Pump
from rota.engine.summary import COUNTS, JobCount, TickSummary
from rota.errors import StoreUnavailable
from rota.store import turns
from rota.store.port import query
from rota.store.store import Store
from rota.store.turns import Claimed
from rota.turn.gates import bounds_of
from rota.turn.records import Ending
from rota.version import VERSION

LEASE_MS: Final = 15_000  # as a worker's: a killed tick frees the next within this
LEASE_NAME: Final = "tick"
NEAR_MS: Final = 1_000  # room under a limit that is no further away is waited for
LOOKS: Final = 8  # an eighth of what is left of a doubt, but no less than a second, passes between two looks
LEAVE_S: Final = 1.0  # for handlers that are cancelled when a tick is cut short

_COUNT_OF: Final = {
    "succeeded": "succeeded",
    "retry": "retrying",
    "lost": "retrying",
    "dead": "dead",
    "snoozed": "snoozed",
    "skipped": "skipped",
    "held": "held",
    "cancelled": "cancelled",
    "rate_limited": "postponed",
    "released": "postponed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a tick shall do: which jobs and rosters (None: all), how many runs, how long (ms), how many at once."""

    jobs: frozenset[str] | None = None
    rosters: frozenset[str] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    most: int | None = None
    time_ms: int = 600_000
    now: bool = False
    catch_up: CatchUp | None = None
    concurrency: int = 32
    dry_run: bool = False

    def wants(self, spec: JobSpec) -> bool:
        """Whether a job is in the selection."""
        return (self.jobs is None or spec.name in self.jobs) and (self.rosters is None or spec.each in self.rosters)


class Progress:
    """Told what a tick does while it does it; the command line draws it, and says when a person has had enough."""

    enough = False  # once true, nothing more is started; what runs ends

    def begins(self, job: str, due: int) -> None:
        """A job begins, with so many runs due."""

    def ended(self, job: str, outcome: str) -> None:
        """A run of it has ended."""

    def ends(self, count: JobCount) -> None:
        """The job is done for this tick."""


class Tick:
    """One pass."""

    def __init__(self, store: Store, wish: Wish, duties: Sequence[Duty] = (), progress: Progress | None = None) -> None:
        self._store = store
        self._wish = wish
        self._progress = progress or Progress()
        self.incarnation = store.clock.token()
        identity = Identity(self.incarnation, process_name(), "tick", VERSION, LEASE_MS, wish.concurrency, "*")
        self._identity = identity
        admission = Admission(catalog=store.catalog, spread=False, catch_up=wish.catch_up)
        self._pump = Pump(store, self.incarnation, admission, most=wish.concurrency)
        self._pump.ended = self._ended
        self._keeper = Keeper(store, identity, running=lambda: len(self._pump.running), told=self._told)
        self._keeper.small = (LEASE_NAME,)
        self._chores = Chores(store, self.incarnation, duties)
        self._count = JobCount(job="")
        self._barred: set[int] = set()  # turns that were looked at and may not start yet
        self._before = 0  # runs of the jobs that are done
        self._waited_s = 0.0  # for workers that may have died

    async def run(self) -> TickSummary:
        """The whole pass."""
        clock = self._store.clock
        began_at, began_s = await self._now(), clock.monotonic()
        summary = TickSummary(started_at_ms=began_at, dry_run=self._wish.dry_run)
        stop = await self._store.read(lambda: query("stopped"))
        if stop:
            return summary.but(stopped=tuple(stop[0]), duration=clock.monotonic() - began_s)
        if self._wish.dry_run:
            counts = [await self._counted(spec) for spec in self._selected()]
            return await self._summed(summary, counts, began_s)
        if not await self._take_lease():
            return summary.but(busy=True, duration=clock.monotonic() - began_s)
        try:
            counts = await self._pass(began_s)
        finally:
            await self._leave()
        return (await self._summed(summary, counts, began_s)).but(stuck=len(self._pump.stuck))

    def _selected(self) -> list[JobSpec]:
        return [spec for spec in self._store.catalog.ordered() if self._wish.wants(spec)]

    async def _now(self) -> int:
        rows = await self._store.read(lambda: query("now"))
        now: int = rows[0][0]
        return now

    async def _take_lease(self) -> bool:
        values = {"name": LEASE_NAME, "holder": self.incarnation, "lease_ms": LEASE_MS}
        return bool(await self._store.write(lambda: query("take_lease", **values)))

    async def _pass(self, began_s: float) -> list[JobCount]:
        await self._store.write(lambda: introduce(self._identity))
        await self._pump.learn()
        self._keeper.start()
        await self._chores.at_start()
        await self._settle_doubts()
        if self._wish.now:
            names = [(spec.name,) for spec in self._selected() if not spec.one_off and not spec.after]
            await self._store.write(lambda: query("due_now", names))
        deadline_s = began_s + self._waited_s + self._wish.time_ms / 1000
        counts = [await self._job(spec, deadline_s) for spec in self._selected()]
        await self._chores.at_end()
        return counts

    async def _settle_doubts(self) -> None:
        """Wait until it is known whether those who may have died live: a lease at most, which is not the tick's time.

        There may be no other pass for a day, and the next would know no more.
        """
        clock = self._store.clock
        began_s = clock.monotonic()
        while (left_s := self._chores.in_doubt_s) > 0 and not self._progress.enough:
            await clock.sleep(min(left_s, max(LOOK_S, left_s / LOOKS)))
            await self._chores.reap()
        self._waited_s = clock.monotonic() - began_s

    async def _leave(self) -> None:
        """Give back what a tick that was cut short still ran, and go."""
        self._pump.claiming = False
        self._pump.release_all("the tick was cut short")
        tasks = [one.task for one in self._pump.running.values() if one.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=LEAVE_S)
        await self._keeper.stop()
        with contextlib.suppress(StoreUnavailable):  # then its leases end by themselves
            await self._pump.turn_over(None)
            await self._store.write(lambda: query("drop_worker", worker=self.incarnation))
            await self._store.write(lambda: query("drop_lease", name=LEASE_NAME, holder=self.incarnation))
        self._pump.close()

    # -- one job -----------------------------------------------------------------------------------

    async def _job(self, spec: JobSpec, deadline_s: float) -> JobCount:
        clock = self._store.clock
        began_s = clock.monotonic()
        self._count = JobCount(job=spec.name)
        cutoff_at = await self._now()
        lane = Lane([spec], self._wish.concurrency)
        self._pump.lanes = [lane]
        self._barred = set()
        self._progress.begins(spec.name, await self._due(spec, cutoff_at))
        while True:
            over = self._progress.enough or clock.monotonic() >= deadline_s
            lane.left = 0 if over else self._left(spec)
            self._pump.stirred.clear()
            claimed = await self._pump.turn_over(lane, cutoff_at)
            if claimed is not None:
                self._barred.update(claimed.waiting)
            if claimed is not None and (claimed.run or claimed.put_back or (claimed.any and not claimed.exhausted)):
                await give_way()
                continue
            if self._pump.running or self._pump.ends:
                if not self._pump.ends:
                    await self._pump.stirred.wait()
            elif await self._rest(spec, deadline_s, over=over, claimed=claimed):
                continue
            elif claimed is not None or over or self._left(spec) == 0 or lane.used >= lane.places:
                break  # the last: every place is stuck in a handler that swallowed its cancellation
        left, barred = await self._due(spec, cutoff_at), len(self._barred)
        if left and claimed is not None and (claimed.next_due_ms or 0) > 0:
            barred, left = barred + left, 0  # due, behind a limit without room or a scope that cools
        duration = clock.monotonic() - began_s
        count = self._count.but(left=left, barred=barred, postponed=self._count.postponed + barred, duration=duration)
        self._before += count.ended
        self._progress.ends(count)
        return count

    async def _rest(self, spec: JobSpec, deadline_s: float, *, over: bool, claimed: Claimed | None) -> bool:
        """Wait for the pause between two batches, which is the job's own rhythm, or for room that is near."""
        clock = self._store.clock
        wait_ms = 0 if claimed is None else claimed.next_due_ms or 0
        most_ms = NEAR_MS if spec.batch is None else max(NEAR_MS, spec.batch.pause_ms)
        if over or clock.held or bounds_of(spec) is None or not 0 < wait_ms <= most_ms:
            return False
        if clock.monotonic() + wait_ms / 1000 >= deadline_s:
            return False
        await clock.sleep(wait_ms / 1000)
        return True

    def _left(self, spec: JobSpec) -> int | None:
        """How many more may start.

        A limit of n means n runs that do not fail, and n that do. After n failures one at a time is tried until one
        more fails: so n broken runs do not stop run n + 1 (G-11), and a job that only fails is not tried for ever.
        """
        running = len(self._pump.running) + len(self._pump.ends)
        lefts: list[int] = []
        limit = self._wish.limits.get(spec.name)
        if limit is not None:
            failed = self._count.retrying + self._count.dead
            well = self._count.ended - failed
            lefts.append(limit - well - running)
            lefts.append(limit - failed - running if failed < limit else 1 - running - (failed - limit))
        if self._wish.most is not None:
            lefts.append(self._wish.most - self._before - self._count.ended - running)
        return max(0, min(lefts)) if lefts else None

    async def _due(self, spec: JobSpec, cutoff_at: int) -> int:
        ask = asks([spec])[0]
        rows = await self._store.read(lambda: query("due_count", [(ask.job, ask.roster)], cutoff_at=cutoff_at))
        return int(rows[0][0])

    async def _counted(self, spec: JobSpec) -> JobCount:
        if self._wish.now and not spec.one_off and not spec.after:
            rows = await self._store.read(lambda: query("scheduled_count", job=spec.name))
            return JobCount(job=spec.name, left=int(rows[0][0]))
        return JobCount(job=spec.name, left=await self._due(spec, turns.NEVER_MS))

    def _ended(self, end: Ending, accepted: bool) -> None:  # noqa: FBT001 -- the pump's form
        if not accepted or end.claim.job != self._count.job:
            return
        self._barred.discard(end.claim.id)
        name = _COUNT_OF[end.outcome]
        error = self._count.error
        if error is None and name in {"retrying", "dead"}:
            error = end.reason
        self._count = self._count.but(error=error, **{name: getattr(self._count, name) + 1})
        self._progress.ended(self._count.job, end.outcome)

    def _told(self, beat: Beat) -> None:
        if beat.held is not None:
            self._pump.compare(beat.asked_at, beat.held)

    async def _summed(self, summary: TickSummary, counts: list[JobCount], began_s: float) -> TickSummary:
        names = [(spec.name, spec.each) for spec in self._selected()]
        due_ms = await self._store.read(lambda: turns.next_due(asks(self._selected()))) if names else None
        sums = {name: sum(getattr(count, name) for count in counts) for name in COUNTS}
        next_due_at = None if due_ms is None else await self._now() + due_ms
        duration = self._store.clock.monotonic() - began_s
        waited = self._waited_s
        return summary.but(jobs=tuple(counts), next_due_at_ms=next_due_at, duration=duration, waited=waited, **sums)
