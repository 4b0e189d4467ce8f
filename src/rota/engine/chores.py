"""Small duties that any process may do: whoever holds the small lease of a chore does it.

Reap, pauses whose end has come, reconcile after a release, rosters with a source, recount, roll-ups,
retention, the cache's sweep, the journal's partitions.

Always true: a chore is bounded in each round; if its holder dies another takes over when the lease is over;
a failing chore is told and tried again, and never stops the others.

Not here: what a chore does to the tables (store/chores.py, rosters.py).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from rota.engine.doubts import Doubts, StoreTime
from rota.engine.keeper import mark_pass
from rota.engine.settle import Ended, Lost, end_of
from rota.engine.shared import wake_of
from rota.engine.tell import tell_end
from rota.errors import StoreUnavailable
from rota.store import chores as duties
from rota.store import reaping, turns
from rota.store.port import Op, query
from rota.store.store import Store
from rota.store.turns import Glance
from rota.turn.gates import bounds_of
from rota.turn.records import Ask, Ending

REAP_MOST: Final = 500  # lost attempts given back in one transaction
ROUNDS: Final = 20  # batches of one chore in one round
PLAIN_LEASE_MS: Final = 15_000  # as a worker's
LOOK_S: Final = 1.0  # how often it is looked whether something was lost: it is back two seconds after its lease (C-1)
STALE: Final = 1.5  # an idle worker of this process looks once a poll: a look of its own only when that has stayed away
LEASE_NAME: Final = "chores"
KEPT: Final = 2 / 3  # of its length, before the lease of the chores is taken anew
NOBODY: Final = Ask("", None, 0, None)
NAP_S: Final = 1.0  # how often it is looked whether a chore is due


@dataclass(slots=True)
class Duty:
    """What is to be done, and how often (seconds); `due_s` is when it is due next on this process's clock.

    `leading` ones are done when a worker or a tick begins, before anything is claimed.
    """

    name: str
    every_s: float
    do: Callable[[], Awaitable[object]]
    leading: bool = False
    due_s: float = 0.0


class Chores:
    """The duties of one process."""

    def __init__(
        self, store: Store, incarnation: str, more: Sequence[Duty] = (), *, lease_ms: int = PLAIN_LEASE_MS
    ) -> None:
        """`more` are duties of the floors above; `lease_ms` is the worker's: no chore outlives its holder by more."""
        self._store = store
        self._incarnation = incarnation
        self._lease_ms = lease_ms
        self._held_until_s = self._ask_at_s = self.looked_s = float("-inf")
        self._serials_from = ""
        self._doubts = Doubts(store.clock, lease_ms)
        self._time = StoreTime(store.clock)
        self._table = [
            Duty("look", LOOK_S, self._look),
            *more,
            Duty("sweep", 60.0, self._sweep),
            Duty("fold", 600.0, self._fold),
            Duty("prune", 300.0, self._prune),
        ]

    async def serve(self) -> None:
        """Do what is due, for ever, while the small lease is ours."""
        clock = self._store.clock
        while True:
            due = [chore for chore in self._table if clock.monotonic() >= chore.due_s]
            if due and await self._hold():
                for chore in due:
                    chore.due_s = clock.monotonic() + chore.every_s
                    await self._do(chore)
            await clock.sleep(NAP_S)

    async def _hold(self) -> bool:
        """Whether the chores are ours: asked once for half a lease, by others every third of it and when it is over."""
        now_s = self._store.clock.monotonic()
        if now_s < self._held_until_s or now_s < self._ask_at_s:
            return now_s < self._held_until_s
        try:
            left_ms, at_ms = await self._store.write(partial(_take, self._incarnation, self._lease_ms))
        except StoreUnavailable:
            return False  # the loop that claims tells of it
        self._time.suspect(at_ms)  # everybody sees it go, so that whoever has the chores next knows of a leap
        lease_s = self._lease_ms / 1000
        if left_ms is None:
            self._held_until_s = now_s + lease_s * KEPT
        else:
            self._ask_at_s = now_s + min(lease_s / 3, left_ms / 1000)
        return left_ms is None

    async def at_start(self) -> None:
        """What is done before anything is claimed, by everybody: each of these is safe to do twice."""
        await self.reap()
        await self._end_pauses()
        for chore in self._table:
            if chore.leading:
                await self._do(chore)

    async def at_end(self) -> None:
        """What a tick does before it goes, unless a worker has the chores: deployments may have nothing but ticks."""
        if not await self._hold():
            return
        for chore in self._table:
            if not chore.leading:
                await self._do(chore)
        await self._store.write(lambda: query("drop_lease", name=LEASE_NAME, holder=self._incarnation))

    async def _do(self, chore: Duty) -> None:
        try:
            await chore.do()
        except StoreUnavailable:
            return  # the loop that claims tells of it
        except Exception as error:  # noqa: BLE001 -- the one place: a chore that fails is told and tried again
            self._store.events.tell("error", self._store.clock.now_ms(), what=f"chore {chore.name}", error=str(error))

    async def _look(self) -> None:
        """Whether something was lost or a pause is over, unless an idle worker of this process has just looked."""
        if self._store.clock.monotonic() - self.looked_s >= LOOK_S * STALE:
            await self.mend(await self._store.read(lambda: turns.glance([NOBODY])))

    async def mend(self, seen: Glance) -> None:
        """Do at once what a glance has shown to be needed."""
        self.looked_s = self._store.clock.monotonic()
        if seen.lost:
            await self.reap()
        if seen.over:
            await self._end_pauses()

    @property
    def in_doubt_s(self) -> float:
        """How long until it is known whether those who may have died live (G-19); 0 when nobody is in doubt."""
        return self._doubts.left_s

    # -- the duties --------------------------------------------------------------------------------

    async def reap(self) -> int:
        """Give back what nobody keeps alive any more."""
        ends = await self._store.write(self._reap)
        for end in ends:
            tell_end(self._store, end, accepted=True)
        if ends:
            await self._store.wake()
        return len(ends)

    def _reap(self) -> Op[list[Ending]]:
        silent = self._doubts.silent((yield from reaping.doubted()))
        found = yield from reaping.lost(REAP_MOST, silent)
        ends: list[Ending] = []
        for claim, worker in found:
            spec = self._store.catalog.jobs.get(claim.job)
            why = "its time was over" if claim.leased_until < claim.claimed_at else "its worker is gone"
            if spec is None:
                # A job nobody here knows waits for somebody who does (G-9).
                yield from reaping.give_back(claim, worker, why)
                continue
            try:
                end = end_of(self._store.catalog, spec, claim, Lost(why), Ended(worker, claim.start_at, 0, 0.0))
                wake = wake_of(spec, bounds_of(spec), end, ())
                ends.append(end if wake is None else end._replace(wake=wake))
            except Exception:  # noqa: BLE001 -- one turn that cannot be judged must not keep the others lost
                yield from reaping.give_back(claim, worker, why)
        if not ends:
            return ends
        settled = yield from turns.settle(ends, self._incarnation, patient=False)
        return [end for end in ends if settled.took(end)]

    async def _end_pauses(self) -> None:
        if await self._store.write(duties.end_pauses, gate="exclusive"):
            await self._store.wake()

    async def _sweep(self) -> None:
        await self._again(duties.sweep_cache)

    async def _fold(self) -> None:
        await self._again(duties.fold_rollups)

    async def _prune(self) -> None:
        """Retention: what is older than it was to be kept, by a clock that has not just leapt (G-19)."""
        if self._time.suspect((await self._store.read(lambda: query("now")))[0][0]):
            return
        retain = self._store.retain
        keep = {"dead": retain.dead, "errors": retain.dead, "rollups": retain.rollups, "audit": retain.audit}
        keep |= {"journal": retain.journal, "pauses": retain.audit}
        for what, keep_ms in keep.items():
            await self._again(partial(duties.prune, what, keep_ms))
        await self._again(duties.prune_keys)
        await self._again(duties.prune_gates)
        await self._again(duties.prune_buckets)
        await self._prune_serials()
        await self._again(duties.prune_workers)
        await self._store.db.keep_up(retain.journal)

    async def _prune_serials(self) -> None:
        """Some pages of serial keys, and the next ones the next time."""
        for _ in range(ROUNDS):
            self._serials_from = await self._store.write(partial(duties.prune_serials, self._serials_from))
            if not self._serials_from:
                return

    async def _again(self, make: Callable[[], Op[int]]) -> None:
        """A bounded number of full batches, so that a chore cannot take the store for itself."""
        for _ in range(ROUNDS):
            if await self._store.write(make) < duties.BATCH:
                return


def _take(holder: str, lease_ms: int) -> Op[tuple[int | None, int]]:
    """Take the chores' lease and note that the engine is alive: in how many ms another's ends, and what time it is."""
    rows = yield from query("take_lease", name=LEASE_NAME, holder=holder, lease_ms=lease_ms)
    now_ms = yield from mark_pass()
    if rows:
        return None, now_ms
    left = yield from query("lease_left", name=LEASE_NAME)
    return max(0, left[0][0]) if left else 0, now_ms
