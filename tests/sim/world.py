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
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from rota import Member, Rota
from rota.define.catalog import Catalog
from rota.define.link import DEFAULT_CAUSES
from rota.engine import chores, keeper, tick, worker
from rota.engine.enqueue import Enqueuer
from rota.engine.tick import Tick, Wish
from rota.engine.worker import Settings, Worker
from rota.errors import ConfigError, StoreError
from rota.events import Events
from rota.store.store import Store
from rota.turn import gates
from tests.sim import healing
from tests.sim.blows import DRAIN_S, Blows
from tests.sim.checks import Watch
from tests.sim.checks_leases import Leases
from tests.sim.checks_policies import Policies
from tests.sim.checks_slots import Slots
from tests.sim.checks_sums import Effects, Kept, Order, Places, Runs
from tests.sim.deeds import Deeds
from tests.sim.door import CALM, Door, Street
from tests.sim.loop import Process, SimClock, Stuck, VirtualLoop, rest
from tests.sim.people import People
from tests.sim.plan import ZONES, Plan, plan_of
from tests.sim.plan_policies import OWNERS, REGIONS

LEASE_MS, POLL_MS = 15_000, 1_000  # the defaults, at pace 1
REMEMBERED_MS = 86_400_000  # a key stands for its run for so long after the end (G-2)

_EFFECTS = "CREATE TABLE sim_effect (id integer PRIMARY KEY, turn integer, run integer, attempt integer)"
_REQUEUED = "SELECT 1 FROM rota_dead_letter WHERE turn = ? AND requeued_as IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one world."""

    seed: int
    violation: str | None
    trace: str
    events: int
    days: float
    sometimes: dict[str, int]
    figures: dict[str, float]
    last: tuple[str, ...]
    cpu_s: float = 0.0  # what it cost


class Site(Process):
    """A process of the world, with its door, its clock and its own view of the store."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(name)
        dice = Random(f"{world.plan.seed} {name}")
        self.door = Door(world.database, world.watch, world.street, name, dice)
        self.door.weather = world.weather
        self.clock = SimClock(world.loop, world.plan.start_ms, dice, name)
        self.door.own_clock, self.door.store_clock = self.clock, world.store_clock
        events = Events()
        events.listen(lambda event: world.watch.told(self, event.name))
        self.store = Store(self.door, clock=self.clock, catalog=world.catalog, events=events)
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
        self.deeds = Deeds(self)
        self.jobs = plan.jobs
        self.rota = self._declared()
        self.catalog = self.rota.catalog  # the newest release's
        self.street = Street()
        self.weather = plan.weather
        self.sites: list[Site] = []
        self.gone: list[Site] = []  # kept until the end: what is killed is never tidied up either
        self.healing = False
        self._made = 0
        self.acknowledged: dict[str, int] = {}  # key of a one-off: the turn that was acknowledged for it
        self.watch: Watch
        self.slots: Slots
        self.kept: Kept
        self.policies: Policies
        self.database: Any
        self.people: Site

    # -- declaring ---------------------------------------------------------------------------------

    def _declared(self) -> Rota:
        """An application with the rosters of the plan and the jobs as they are now."""
        rota = Rota("sqlite:///:memory:", clock=self.store_clock, cache="")
        self.rosters = {name: rota.roster(name) for name in self.plan.rosters}
        for one in self.jobs:
            options = dict(one.options)
            if one.roster is not None:
                options["each"] = self.rosters[one.roster]
            handler = self.deeds.handler(one)
            try:
                job = rota.job(one.name, **options)(handler)
            except ConfigError:  # a cool-off that the calendar leaves no room for
                options.pop("min_gap", None)
                job = rota.job(one.name, **options)(handler)
            for place, scope in enumerate(one.links, 1):
                job.fallback(on=Exception if place > 1 else DEFAULT_CAUSES, scope=scope)(self.deeds.link(one, place))
        self.one_off = job  # it is the last
        return rota

    def release(self, dice: Random) -> bool:
        """Declare another rule for one job, as a new release does; what starts from here on has it."""
        able = [one for one in self.jobs if one.later is not None]
        if not able:
            return False
        chosen = dice.choice(able)
        changed = replace(
            chosen, options={**chosen.options, "schedule": chosen.later}, later=chosen.options["schedule"]
        )
        self.jobs = tuple(changed if one is chosen else one for one in self.jobs)
        self.watch.sometimes["a rule changed by a release"] += 1
        self.watch.note("a release changes", chosen.name, "to", changed.options["schedule"])
        self.slots.former[chosen.name].append(self.catalog.jobs[chosen.name])
        self.catalog = self.watch.catalog = self.people.store.catalog = self._declared().catalog
        return True

    # -- processes ---------------------------------------------------------------------------------

    def site(self, name: str) -> Site:
        """A new process."""
        self._made += 1
        site = Site(self, f"{name}{self._made}")
        self.sites.append(site)
        return site

    def add_worker(self, *, newest: bool = False, half_open: bool = False) -> Site:
        """A new worker, as a deployment or a supervisor starts it; `half_open`: no answer ever reaches it."""
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
        site.door.half_open = half_open
        site.worker = Worker(site.store, settings, self.rota._duties(site.store))
        self._pace(site.worker._chores)
        site.task = site.start(self.loop, site.worker.run())
        site.task.add_done_callback(lambda task: self._over(site, task))
        return site

    def _older(self) -> Catalog:
        """What the release before declared: it does not know the newest job (G-9)."""
        known = Catalog()
        for roster in self.catalog.rosters.values():
            known.add_roster(roster)
        for spec in list(self.catalog.jobs.values())[:-1]:
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

    async def enqueue(self, site: Site, key: str, number: int = 1) -> None:
        """Add a one-off under a key; what is unknown is repeated later under the same key (G-2)."""
        dice = Random(f"{self.plan.seed} {key}")
        delay = None if dice.random() < 0.7 else f"{dice.randint(1, 10_000)}s"
        job = self.one_off.options(key=key, delay=delay, priority=dice.choice((None, None, -7, 7)))
        turn, created = await site.enqueuer.one(job._fresh(job.spec.arguments.bind((number,), {})))
        self.watch.sometimes["enqueued" if created else "enqueued before"] += 1
        known = self.acknowledged.get(key, turn)
        if known != turn and not self._forgotten(known):
            self.watch.fail("G-2", "the key", key, "stands for two runs:", known, turn)
        if turn not in self.watch.turns and turn not in self.watch.ends:
            self.watch.fail("I-1", "the one-off", key, "was acknowledged as turn", turn, "which was never there")
        self.acknowledged[key] = turn

    def _forgotten(self, turn: int) -> bool:
        """Whether a key may stand for another run: its own ended long enough ago, or was requeued."""
        ended_at = self.kept.ended_at.get(turn)
        if self.watch.rows(_REQUEUED, turn):
            return True
        latest = max(self.watch.latest_ms, self.watch.now_ms())  # what the clock has shown, it has shown
        return turn not in self.watch.turns and ended_at is not None and latest >= ended_at + REMEMBERED_MS

    def remembered(self) -> list[str]:
        """Keys that were acknowledged and must still be known."""
        return [key for key, turn in self.acknowledged.items() if not self._forgotten(turn)]

    def _knows(self, who: str, job: str) -> bool:
        return all(job in site.store.catalog.jobs for site in (*self.sites, *self.gone) if site.name == who)

    def workers(self) -> list[Site]:
        """The workers that are there, frozen ones included."""
        return [site for site in self.sites if site.worker is not None]

    def able(self) -> list[Site]:
        """Workers that know every job and hear every answer."""
        known = self.catalog.jobs
        return [
            one for one in self.workers() if not one.door.half_open and one.store.catalog.jobs.keys() == known.keys()
        ]

    def _pace(self, duties: chores.Chores) -> None:
        for duty in duties._table:
            duty.every_s *= self.plan.pace

    # -- the course --------------------------------------------------------------------------------

    async def live(self) -> None:
        """The whole course: founded, in danger, healed."""
        await self._found()
        blows = Blows(self)
        for _ in range(self.plan.workers):
            self.add_worker()
        tasks = [*blows.begin(), *People(self, blows).begin()]
        await rest(self.plan.length_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await healing.heal(self, blows)

    async def _found(self) -> None:
        store = await self.rota.opened()
        self.database = store.db
        raw = self.database._inline.raw
        raw.execute(_EFFECTS)
        self.watch = watch = Watch(self.loop, self.catalog, raw, self.store_clock.now_ms)
        watch.knows = self._knows
        retain = store.retain
        keep = {"rota_journal": retain.journal, "rota_dead_letter": retain.dead, "rota_audit": retain.audit}
        self.slots, self.kept = Slots(watch), Kept(watch, keep)
        self.policies = Policies.of(watch)
        plain = (Runs(watch), Order(watch), self.slots, Effects(watch), Places(watch, self.plan.concurrency), self.kept)
        plain = (*plain, Leases(watch))
        watch.checkers = [*plain, *self.policies.all]
        self.people = self.site("people")
        self.people.door.weather = CALM
        self.rota._store = self.people.store
        self.rota.enqueuer._store = self.people.store
        for name, count in self.plan.rosters.items():
            newcomers = [self.newcomer(f"m{number}", self.dice) for number in range(count)]
            await self.rosters[name].join_many(newcomers)
        self.people.door.weather = self.weather

    @staticmethod
    def newcomer(key: str, dice: Random) -> Member:
        """A member with a zone, a day and a time of its own."""
        data = {
            "at": dice.choice(("02:30", "01:59", "09:00", "00:00", "23:30")),
            "day": dice.choice(("mon", "wed", "sun")),
            "region": dice.choice(REGIONS),
        }
        zone, owner = dice.choice((*ZONES, None)), dice.choice(OWNERS)
        return Member(key, zone, data, owner, weight=dice.choice((1, 1, 1, 2)))


@contextmanager
def paced(pace: float) -> Iterator[None]:
    """What the engine does by the second is done `pace` times as slowly, so that weeks can be lived in moments."""
    kept = (chores.NAP_S, keeper.AWAY_MS, keeper.AGAIN_S, tick.LEASE_MS, worker.BACKOFF_S, gates.PARK_MS)
    gates.PARK_MS = int(gates.PARK_MS * pace)
    chores.NAP_S *= pace
    keeper.AWAY_MS = int(keeper.AWAY_MS * pace)
    keeper.AGAIN_S *= pace
    tick.LEASE_MS = int(tick.LEASE_MS * pace)
    worker.BACKOFF_S = tuple(wait_s * pace for wait_s in worker.BACKOFF_S)
    try:
        yield
    finally:
        chores.NAP_S, keeper.AWAY_MS, keeper.AGAIN_S, tick.LEASE_MS, worker.BACKOFF_S, gates.PARK_MS = kept


def live(seed: int) -> Report:
    """Live the world of a seed from beginning to end."""
    return live_plan(plan_of(seed))


def live_plan(plan: Plan) -> Report:
    """Live a world from beginning to end."""
    world = World(plan)
    log = logging.getLogger("rota")
    log.disabled, hook = True, sys.unraisablehook
    sys.unraisablehook = lambda _what: None  # coroutines of killed processes are never tidied up
    warnings.simplefilter("ignore", RuntimeWarning)
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()  # what is imported is not looked at again after each world
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
        for _ in range(3):  # what awaits in its `finally` outlives the first collection
            gc.collect()
        log.disabled, sys.unraisablehook = False, hook
    return report


def _report(world: World, crash: str | None) -> Report:
    watch = getattr(world, "watch", None)
    if watch is None:
        return Report(
            seed=world.plan.seed, violation=crash, trace="", events=0, days=0.0, sometimes={}, figures={}, last=()
        )
    violation = watch.violation or crash
    if violation is None and world.loop.errors:
        violation = "loop: " + "; ".join(world.loop.errors[:3])
    return Report(
        seed=world.plan.seed,
        violation=violation,
        trace=watch.trace,
        events=watch.events,
        days=world.loop.time() / 86_400,
        sometimes={name: count for name, count in watch.sometimes.items() if count},
        figures=watch.figures,
        last=tuple(watch.last),
    )
