"""One world: the whole engine on a virtual loop, several processes around one database in memory.

Every worker, tick and operator is a process of its own, with its own door to the database and its own clock; all
share the declarations. First everything may go wrong (safety), then the faults stop and the world has to heal
(liveness).

Always true: the outcome depends on the seed and the code, on nothing else.

Not here: what goes wrong when (chaos), what may never be seen (checks), what must be true in the end (healing).
"""

import asyncio
import contextvars
import gc
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from rota import Member, Rota
from rota.define.catalog import Catalog
from rota.engine import chores, keeper, tick, worker
from rota.engine.enqueue import Enqueuer
from rota.engine.tick import Tick, Wish
from rota.engine.worker import Settings, Worker
from rota.errors import ConfigError, StoreError
from rota.events import Events
from rota.store.store import Store
from tests.sim import healing
from tests.sim.chaos import DRAIN_S, Chaos
from tests.sim.checks import Watch
from tests.sim.deeds import Deeds
from tests.sim.door import Door, Street
from tests.sim.loop import Process, SimClock, Stuck, VirtualLoop, rest
from tests.sim.plan import ZONES, JobPlan, Plan, plan_of

LEASE_MS, POLL_MS = 15_000, 1_000  # the defaults, at pace 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one world."""

    seed: int
    violation: str | None
    trace: str
    events: int
    days: float
    sometimes: dict[str, int]
    last: tuple[str, ...]


class Site(Process):
    """A process of the world, with its door, its clock and its own view of the store."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(name)
        dice = Random(f"{world.plan.seed} {name}")
        self.door = Door(world.database, world.watch, world.street, name, dice)
        self.door.weather = world.weather
        self.clock = SimClock(world.loop, world.plan.start_ms, dice, name)
        events = Events()
        events.listen(lambda event: world.watch.told(self, event.name))
        self.store = Store(self.door, clock=self.clock, catalog=world.rota.catalog, events=events)
        self.enqueuer = Enqueuer(self.store)
        self.worker: Worker | None = None
        self.task: asyncio.Task[Any] | None = None


class World:
    """The parts of one world, and its course."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.dice = Random(f"{plan.seed} world")
        self.store_clock = SimClock(self.loop, plan.start_ms, Random(f"{plan.seed} store"), "store")
        self.rota = Rota("sqlite:///:memory:", clock=self.store_clock, cache="")
        self.rosters = {name: self.rota.roster(name) for name in plan.rosters}
        self.deeds = Deeds(self)
        self.jobs = {one.name: self._declare(one) for one in plan.jobs}
        self.street = Street()
        self.weather = plan.weather
        self.sites: list[Site] = []
        self.gone: list[Site] = []  # kept until the end: what is killed is never tidied up either
        self._made = 0
        self.acknowledged: dict[str, int] = {}  # key of a one-off: the turn that was acknowledged for it
        self.watch: Watch
        self.database: Any
        self.people: Site

    # -- declaring ---------------------------------------------------------------------------------

    def _declare(self, one: JobPlan) -> Any:
        options = dict(one.options)
        if one.roster is not None:
            options["each"] = self.rosters[one.roster]
        if "after" in options:
            options["after"] = [self.jobs_by_name(name) for name in options["after"]]
        handler = self.deeds.handler(one)
        try:
            return self.rota.job(one.name, **options)(handler)
        except ConfigError:  # a cool-off that the calendar leaves no room for
            options.pop("min_gap", None)
            return self.rota.job(one.name, **options)(handler)

    def jobs_by_name(self, name: str) -> Any:
        return self.rota.catalog.jobs[name].name

    # -- processes ---------------------------------------------------------------------------------

    def site(self, name: str) -> Site:
        """A new process."""
        self._made += 1
        site = Site(self, f"{name}{self._made}")
        self.sites.append(site)
        return site

    def add_worker(self, *, newest: bool = False) -> Site:
        """A new worker, as a deployment or a supervisor starts it."""
        pace = self.plan.pace
        site = self.site("w")
        if not newest and self.dice.random() < self.plan.old_releases:
            site.store.catalog = self._older()
        settings = Settings(
            concurrency=self.plan.concurrency,
            poll_ms=int(POLL_MS * pace),
            lease_ms=int(LEASE_MS * pace * self.plan.lease_share),
            grace_ms=int(DRAIN_S * 1000),
        )
        site.worker = Worker(site.store, settings, self.rota._duties(site.store))
        self._pace(site.worker._chores)
        site.task = site.start(self.loop, site.worker.run())
        site.task.add_done_callback(lambda task: self._over(site, task))
        return site

    def _older(self) -> Catalog:
        """What the release before declared: it does not know the newest job (G-9)."""
        known = Catalog()
        for roster in self.rota.catalog.rosters.values():
            known.add_roster(roster)
        for spec in list(self.rota.catalog.jobs.values())[:-1]:
            known.add_job(spec)
        self.watch.sometimes["an older release"] += 1
        return known

    def add_tick(self) -> Site:
        """One pass, as cron starts it."""
        site = self.site("t")
        site.task = site.start(self.loop, self._tick(site))
        site.task.add_done_callback(lambda task: self._over(site, task))
        return site

    async def _tick(self, site: Site) -> None:
        wish = Wish(concurrency=self.plan.concurrency, time_ms=600_000)
        one = Tick(site.store, wish, self.rota._duties(site.store))
        self._pace(one._chores)
        try:
            summary = await one.run()
        except StoreError:
            self.watch.sometimes["tick without a store"] += 1
        else:
            self.watch.sometimes["tick busy" if summary.busy else "tick stopped" if summary.stopped else "tick"] += 1

    def _over(self, site: Site, task: asyncio.Task[Any]) -> None:
        """A process that has ended takes all its tasks with it."""
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            self.watch.note(*traceback.format_exception(error)) if error is not None else None
            self.watch.crashed(site, task)
        self.bury(site)

    def bury(self, site: Site) -> None:
        """Remove a process from the world."""
        site.kill()
        if site in self.sites:
            self.sites.remove(site)
            self.street.doors.remove(site.door)
            self.gone.append(site)

    def thaw_in(self, process: Process, seconds: float) -> None:
        """Let a frozen process go on after a time; the timer itself belongs to no process."""
        self.loop.call_later(seconds, process.thaw, self.loop, context=contextvars.Context())

    def killed(self, process: Process) -> None:
        """A process vanishes, in the middle of whatever it does."""
        self.watch.sometimes["kill"] += 1
        self.watch.note(process.name, "is killed")
        self.bury(process)

    async def enqueue(self, site: Site, key: str) -> None:
        """Add a one-off under a key; what is unknown is repeated later by `chaos`, under the same key (G-2)."""
        job = self.jobs["one_off"].options(key=key)
        item = job._fresh(job.spec.arguments.bind((1,), {}))
        turn, _ = await site.enqueuer.one(item)
        self.watch.sometimes["enqueued"] += 1
        if self.acknowledged.setdefault(key, turn) != turn:
            self.watch.fail("G-2", "the key", key, "stands for two runs:", self.acknowledged[key], turn)

    def workers(self) -> list[Site]:
        """The workers that are there, frozen ones included."""
        return [site for site in self.sites if site.worker is not None]

    def _pace(self, duties: chores.Chores) -> None:
        for duty in duties._table:
            duty.every_s *= self.plan.pace

    # -- the course --------------------------------------------------------------------------------

    async def live(self) -> None:
        """The whole course: founded, in danger, healed."""
        await self._found()
        chaos = Chaos(self)
        for _ in range(self.plan.workers):
            self.add_worker()
        tasks = chaos.begin()
        await rest(self.plan.length_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await healing.heal(self)

    async def _found(self) -> None:
        store = await self.rota.opened()
        self.database = store.db
        self.watch = Watch(self.loop, self.rota.catalog, self.database._inline.raw, self.store_clock.now_ms)
        self.people = self.site("people")
        self.people.door.weather = type(self.weather)()
        self.rota._store = self.people.store
        self.rota.enqueuer._store = self.people.store
        for name, count in self.plan.rosters.items():
            await self.rosters[name].join_many([self.newcomer(f"m{number}") for number in range(count)])
        self.people.door.weather = self.weather

    def newcomer(self, key: str) -> Member:
        """A member with a zone, a day and a time of its own."""
        data = {
            "at": self.dice.choice(("02:30", "01:59", "09:00", "00:00", "23:30")),
            "day": self.dice.choice(("mon", "wed", "sun")),
        }
        return Member(key, self.dice.choice((*ZONES, None)), data, weight=self.dice.choice((1, 1, 1, 2)))


@contextmanager
def paced(pace: float) -> Iterator[None]:
    """What the engine does by the second is done `pace` times as slowly, so that weeks can be lived in moments."""
    kept = (chores.NAP_S, keeper.AWAY_MS, keeper.AGAIN_S, tick.LEASE_MS, worker.BACKOFF_S)
    chores.NAP_S *= pace
    keeper.AWAY_MS = int(keeper.AWAY_MS * pace)
    keeper.AGAIN_S *= pace
    tick.LEASE_MS = int(tick.LEASE_MS * pace)
    worker.BACKOFF_S = tuple(wait_s * pace for wait_s in worker.BACKOFF_S)
    try:
        yield
    finally:
        chores.NAP_S, keeper.AWAY_MS, keeper.AGAIN_S, tick.LEASE_MS, worker.BACKOFF_S = kept


def live(seed: int) -> Report:
    """Live the world of a seed from beginning to end."""
    plan = plan_of(seed)
    world = World(plan)
    log = logging.getLogger("rota")
    log.disabled, hook = True, sys.unraisablehook
    sys.unraisablehook = lambda _what: None  # coroutines of killed processes are never tidied up
    warnings.simplefilter("ignore", RuntimeWarning)
    gc.disable()  # a finaliser must not run in the middle of a world: it would be a step nobody ordered
    crash: str | None = None
    try:
        with paced(plan.pace):
            world.loop.run_until_complete(world.live())
    except Stuck as stuck:
        crash = f"stuck: {stuck}"
    except RuntimeError:
        crash = None if world.watch.violation else traceback.format_exc()
    except Exception:  # noqa: BLE001 -- the world's own failure is reported with its seed like any other
        crash = traceback.format_exc()
    finally:
        world.loop.close()
        report = _report(world, crash)
        del world
        gc.enable()
        gc.collect()
        log.disabled, sys.unraisablehook = False, hook
    return report


def _report(world: World, crash: str | None) -> Report:
    watch = getattr(world, "watch", None)
    if watch is None:
        return Report(seed=world.plan.seed, violation=crash, trace="", events=0, days=0.0, sometimes={}, last=())
    violation = watch.violation or crash
    if violation is None and world.loop.errors:
        violation = "loop: " + "; ".join(world.loop.errors[:3])
    return Report(
        seed=world.plan.seed,
        violation=violation,
        trace=watch.trace,
        events=watch.events,
        days=world.loop.time() / 86_400,
        sometimes=dict(watch.sometimes),
        last=tuple(watch.last),
    )
