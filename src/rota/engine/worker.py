"""A worker that stays: it pumps while there is work, sleeps until the next due instant, keeps its lease, drains.

Always true: SIGTERM (here: `stop`) ends claiming at once; what runs ends within the grace or is given back
with no try used; the process is gone within the grace and two seconds, also when the store is.

Not here: signals and processes (cli/worker), the pump, the chores.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rota.clock import give_way, process_name
from rota.define.job import JobSpec
from rota.define.names import nearest
from rota.engine.admit import Admission
from rota.engine.chores import NOBODY, Chores, Duty
from rota.engine.keeper import Beat, Identity, Keeper, introduce
from rota.engine.lane import Lane
from rota.engine.pump import Pump
from rota.errors import BadInput, StoreError, StoreUnavailable
from rota.store import turns
from rota.store.port import query
from rota.store.store import Store
from rota.version import VERSION

SHUT_S: Final = 1.5  # after the grace, to write what was given back and to say good-bye (G-18: two seconds in all)
BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # the store is away: asked again after these, the last for ever
LEAVING_S: Final = 0.1  # a worker that leaves asks more often: it has two seconds beyond its grace
QUARTER: Final = 0.75  # handlers go on until their lease has less than a quarter left (G-24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a worker works; durations in ms. `queues` maps a name to its places (None: as many as there are)."""

    queues: Mapping[str, int | None] | None = None
    concurrency: int = 32
    poll_ms: int = 1_000
    lease_ms: int = 15_000
    grace_ms: int = 25_000
    kind: str = "worker"


@dataclass(slots=True)
class _Away:
    """The store cannot be reached: since when, and how often it was asked."""

    since_s: float | None = None
    asked: int = 0
    beat_s: float = field(default=0.0)


class Worker:
    """One incarnation of a worker in the running loop."""

    def __init__(self, store: Store, settings: Settings, duties: Sequence[Duty] = ()) -> None:
        self._store = store
        self._settings = settings
        self.incarnation = store.clock.token()
        self.identity = Identity(
            self.incarnation,
            process_name(),
            settings.kind,
            VERSION,
            settings.lease_ms,
            settings.concurrency,
            ",".join(settings.queues) if settings.queues else "*",
        )
        admission = Admission(catalog=store.catalog, spread=True)
        self.pump = Pump(store, self.incarnation, admission, most=settings.concurrency)
        self.pump.lanes = lanes_of(list(store.catalog.ordered()), settings)
        self._keeper = Keeper(store, self.identity, running=lambda: len(self.pump.running), told=self._told)
        self._keeper.blocked = self._blocked
        self._keeper.note = self._stuck_note
        self._chores = Chores(store, self.incarnation, duties, lease_ms=settings.lease_ms)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._leave_by_s: float | None = None  # when the grace is over, on this process's clock
        self._patience = asyncio.timeout(None)  # with the store, once the worker is to leave
        self._patient = False
        self._away = _Away()
        self._quarter: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Claim nothing more and drain; a second call shortens the grace to nothing."""
        grace_s = self._settings.grace_ms / 1000
        if self._stopping.is_set():
            self._hurry.set()
            grace_s = 0.0
        self._stopping.set()
        self._leave_by_s = self._store.clock.monotonic() + grace_s
        if self._patient:
            self._patience.reschedule(asyncio.get_running_loop().time() + grace_s)
        self.pump.claiming = False
        self.pump.stirred.set()

    async def run(self) -> None:
        """Work until stopped, then drain; a cancellation is a stop: a call to the store that is cut is an unknown."""
        work = asyncio.get_running_loop().create_task(self._work(), name="rota-worker")
        cancelled = False
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.cancelled():
                    raise
                cancelled = True
                self.stop()
        if cancelled:
            raise asyncio.CancelledError

    async def _work(self) -> None:
        """Work, then drain; a call to the store that does not come back is left alone when the grace is over."""
        try:
            async with self._patience:
                self._patient = True
                try:
                    await self._begin()
                    await self._serve()
                finally:
                    self._patient = False
        except TimeoutError:
            if not self._patience.expired():
                raise
        finally:
            if self._keeper.begun:
                await asyncio.shield(self._drain())

    async def _serve(self) -> None:
        chores = asyncio.get_running_loop().create_task(self._chores.serve(), name="rota-chores")
        chores.add_done_callback(self._died)
        unlisten = self._store.on_wake(self.pump.stirred.set)
        self._store.db.listen(self.pump.stirred.set)
        try:
            while not self._stopping.is_set():
                await self._round_or_wait()
        finally:
            unlisten()
            chores.remove_done_callback(self._died)
            chores.cancel()
            await asyncio.gather(chores, return_exceptions=True)

    def _keep(self) -> None:
        """Keep the lease from its first moment: what comes before the first claim may take longer than it."""
        if self._quarter is None:
            self._away.beat_s = self._store.clock.monotonic()
            self._until_a_quarter_is_left()
            self._keeper.start()

    async def _begin(self) -> None:
        """Introduce the worker, as soon as there is a store to do it in."""
        while not self._stopping.is_set():
            try:
                await self._store.write(lambda: introduce(self.identity))
                self._keep()
                await self.pump.learn()
                await self._chores.at_start()
            except StoreUnavailable:
                await self._wait_for_store()
            else:
                break
        self._keep()
        now_ms = self._store.clock.now_ms()
        self._store.events.tell("worker.started", now_ms, worker=self.incarnation, name=self.identity.name)

    def _died(self, task: asyncio.Task[None]) -> None:
        """A loop that dies must take the process with it (reliability 4, rule 21)."""
        if not task.cancelled():
            self._store.events.tell("error", self._store.clock.now_ms(), what="chores", error=repr(task.exception()))
            self.stop()

    # -- the loop ----------------------------------------------------------------------------------

    async def _round_or_wait(self) -> None:
        try:
            idle_s = await self._round()
        except StoreUnavailable as error:
            await self._wait_for_store(str(error))
            return
        self._back()
        if idle_s is None:
            if not any(lane.more and lane.free for lane in self.pump.lanes):
                await give_way()  # else the next transaction is on its way while what was claimed runs
        else:
            await self._sleep(idle_s)

    async def _round(self) -> float | None:
        """Pump every lane once; how long to sleep, None for not at all."""
        self.pump.stirred.clear()
        worked, soonest_ms = False, None
        for lane in self.pump.lanes:
            claimed = await self.pump.turn_over(lane)
            if claimed is None:
                continue
            worked = worked or (claimed.any and not claimed.exhausted)
            if claimed.next_due_ms is not None:
                soonest_ms = min(claimed.next_due_ms, soonest_ms if soonest_ms is not None else claimed.next_due_ms)
        if worked or self.pump.ends:
            return None
        poll_s = self._settings.poll_ms / 1000
        if soonest_ms is None or soonest_ms <= 0:
            return poll_s
        return min(poll_s, soonest_ms / 1000)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until stirred or something is due; in between only a look, no transaction."""
        while not await self._stirred_within(seconds):
            try:
                due_ms = await self._glance()
            except StoreUnavailable as error:
                await self._wait_for_store(str(error))
                return
            if due_ms is not None and due_ms <= 0:
                return
            poll_s = self._settings.poll_ms / 1000
            seconds = poll_s if due_ms is None else min(poll_s, due_ms / 1000)

    async def _glance(self) -> int | None:
        """In how many ms something is due; what has been lost meanwhile is given back at once."""
        asks = [ask for lane in self.pump.lanes if lane.free > 0 for ask in lane.asks]
        seen = await self._store.read(lambda: turns.glance(asks or [NOBODY]))
        await self._chores.mend(seen)
        return seen.due_ms

    async def _stirred_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.pump.stirred.wait()
        except TimeoutError:
            return False
        return True

    async def _wait_for_store(self, why: str = "") -> None:
        clock = self._store.clock
        self._lost(why)
        wait_s = BACKOFF_S[min(self._away.asked, len(BACKOFF_S) - 1)]
        self._away.asked += 1
        wait_s *= 1 + clock.dice() / 4
        if self._stopping.is_set():
            await clock.sleep(min(wait_s, LEAVING_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()

    def _back(self) -> None:
        if self._away.since_s is not None:
            away_s = self._store.clock.monotonic() - self._away.since_s
            self._store.events.tell(
                "store.back", self._store.clock.now_ms(), store=self._store.db.name, away=round(away_s, 1)
            )
            self._away = _Away(beat_s=self._away.beat_s)

    # -- the lease ---------------------------------------------------------------------------------

    def _told(self, beat: Beat) -> None:
        if beat.held is not None:
            self._away.beat_s = beat.asked_at
            self._until_a_quarter_is_left()
            self.pump.compare(beat.asked_at, beat.held)
        else:
            self._lost("the lease could not be extended")

    def _until_a_quarter_is_left(self) -> None:
        """Cancel what runs when the next good beat does not come in time: a beat that hangs tells nothing (G-24)."""
        if self._quarter is not None:
            self._quarter.cancel()
        left_s = self._away.beat_s + QUARTER * self._settings.lease_ms / 1000 - self._store.clock.monotonic()
        self._quarter = asyncio.get_running_loop().call_later(
            max(0.0, left_s), self.pump.release_all, "the store is away and the lease is nearly over"
        )

    def _lost(self, why: str) -> None:
        """The store is away: told once, by whoever sees it first."""
        clock = self._store.clock
        if self._away.since_s is None:
            self._away.since_s = clock.monotonic()
            self._store.events.tell("store.lost", clock.now_ms(), store=self._store.db.name, error=why)

    def _blocked(self, seconds: float, task: asyncio.Task[object] | None) -> None:
        """Called from the keeper's thread: name whoever holds the loop up."""
        blocker = next((one for one in list(self.pump.running.values()) if one.task is task), None)
        fields = {"seconds": round(seconds, 1), "worker": self.incarnation}
        if blocker is not None:
            fields |= {"job": blocker.claim.job, "run": f"{blocker.claim.id}-{blocker.claim.run}"}
        self._store.events.tell("loop.blocked", self._store.clock.now_ms(), **fields)

    @property
    def stuck(self) -> bool:
        """Whether handlers that will not let go keep places of this process: it cannot end in order."""
        return bool(self.pump.stuck)

    def _stuck_note(self) -> str | None:
        """Called from the keeper's thread: which runs have ended and still keep their places."""
        stuck = [f"{one.claim.job} {one.claim.id}-{one.claim.run}" for one in list(self.pump.stuck)]
        return f"{len(stuck)} places stuck: {', '.join(sorted(stuck)[:5])}" if stuck else None

    # -- the end -----------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """End what runs within the grace, give the rest back, say good-bye."""
        self.pump.claiming = False
        clock = self._store.clock
        deadline = self._leave_by_s
        if deadline is None:  # nobody said stop: something has broken
            deadline = clock.monotonic() + self._settings.grace_ms / 1000
        while self.pump.running and not self._hurry.is_set():
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._settle_quietly()
            self.pump.stirred.clear()
            if self.pump.running and not self.pump.ends:
                await self._stirred_within(min(left_s, 0.5))
        self.pump.release_all("the worker is leaving")
        try:
            async with asyncio.timeout(SHUT_S):
                await self._say_good_bye()
        except (TimeoutError, StoreError):
            pass  # the store is gone: the lease will end by itself
        if self._quarter is not None:
            self._quarter.cancel()
        await self._keeper.stop()
        self.pump.close()
        self._store.events.tell("worker.drained", clock.now_ms(), worker=self.incarnation, left=len(self.pump.running))

    async def _say_good_bye(self) -> None:
        tasks = [one.task for one in self.pump.running.values() if one.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=SHUT_S / 3)
            self.pump.release_all("the worker is leaving")  # whatever will not be cancelled is given back all the same
        while self.pump.ends or self.pump.unsure:
            try:
                await self.pump.turn_over(None)
            except StoreUnavailable:
                await self._store.clock.sleep(LEAVING_S)
        await self._store.write(lambda: query("drop_worker", worker=self.incarnation))

    async def _settle_quietly(self) -> None:
        try:
            await self.pump.turn_over(None)
        except StoreUnavailable as error:
            await self._wait_for_store(str(error))


def lanes_of(specs: list[JobSpec], settings: Settings) -> list[Lane]:
    """The queues a worker serves: those with a number of their own apart, the rest sharing what is left."""
    if settings.queues is None:
        return [Lane(specs, settings.concurrency)]
    known = {spec.queue for spec in specs}
    for name in settings.queues:
        if name not in known:
            hint = nearest(name, known)
            message = f"no job uses the queue {name!r}{hint or ''}"
            raise BadInput(message)
    lanes: list[Lane] = []
    shared = [spec for spec in specs if spec.queue in settings.queues and settings.queues[spec.queue] is None]
    for name, places in settings.queues.items():
        if places is not None:
            lanes.append(Lane([spec for spec in specs if spec.queue == name], min(places, settings.concurrency)))
    if shared:
        lanes.append(Lane(shared, settings.concurrency))
    return lanes
