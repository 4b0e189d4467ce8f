"""What happens to a world from outside: processes freeze, die and are deployed anew, clocks are wrong, people act.

Always true: each kind comes at its own rate from the plan, at instants drawn from the seed; a person who gets no
answer does not know whether the act happened, and the audit must show it at most once.

Not here: what handlers do (deeds), what a single call to the database suffers (door).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

from rota import operate, rosters
from rota.errors import Conflict, NotFound, StoreError
from tests.sim.loop import rest
from tests.sim.plan import ZONES

if TYPE_CHECKING:
    from tests.sim.world import Site, World

HOUR_S = 3600.0
DRAIN_S = 25.0  # the grace of a drain
GONE_S = 2.0  # after the grace (G-18)
UNRECORDED = frozenset({"leave", "rejoin", "move", "enqueue"})  # what members and customers do, not operators
STEP_S = 1_800  # how far the store's clock steps at most
SKEW_MS = 10 * 365 * 86_400_000  # a worker's clock may be wrong by any amount: ten years


class Chaos:
    """Everything that happens to one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._dice = Random(f"{world.plan.seed} chaos")
        self._keys = 0
        self._deeds = 0
        self._unsure: list[str] = []  # keys of one-offs nobody knows about yet

    def begin(self) -> list[asyncio.Task[None]]:
        """Start it all; each kind is a task of its own."""
        world, plan = self._world, self._world.plan
        loop = world.loop
        tasks = [loop.create_task(self._supervise(), name="supervisor")]
        if plan.tick_every_s is not None:
            tasks.append(loop.create_task(self._tick(plan.tick_every_s), name="cron"))
        for kind, rate in plan.blows.items():
            tasks.append(loop.create_task(self._again(rate, getattr(self, f"_{kind}")), name=kind))
        for kind, rate in plan.acts.items():
            act = self._act(kind, getattr(self, f"_{kind}"))
            tasks.append(world.people.start(loop, self._again(rate, act)))
        return tasks

    async def _again(self, rate: float, happen: Callable[[], Awaitable[None]]) -> None:
        while True:
            await rest(self._dice.expovariate(rate) * HOUR_S)
            await happen()

    async def _supervise(self) -> None:
        """Keep up the number of workers, as an orchestrator does."""
        while True:
            await rest(60 * self._world.plan.pace * (0.5 + self._dice.random()))
            for site in self._world.workers():
                if site.dead:
                    self._world.bury(site)
            if len(self._world.workers()) < self._world.plan.workers:
                self._world.add_worker()

    async def _tick(self, every_s: float) -> None:
        while True:
            await rest(every_s)
            self._world.add_tick()

    # -- blows -------------------------------------------------------------------------------------

    def _victim(self) -> "Site | None":
        sites = [site for site in self._world.sites if site.task is not None and not site.frozen and not site.dead]
        return self._dice.choice(sites) if sites else None

    def _long_s(self) -> float:
        """From a second to three leases."""
        return 10 ** (self._dice.random() * 1.65) * self._world.plan.pace

    async def _freeze(self) -> None:
        if self._dice.random() < 0.5:
            self._world.watch.at_next_claim.append(self._freeze_claimer)
        else:
            self._freeze_now(self._victim(), self._long_s())

    def _freeze_claimer(self, who: str) -> None:
        """Right between the claim and the start."""
        sites = [site for site in self._world.sites if site.name == who]
        if sites:
            self._world.watch.sometimes["frozen between claim and start"] += 1
            self._freeze_now(sites[0], self._long_s())

    def _freeze_now(self, site: "Site | None", seconds: float) -> None:
        if site is not None and not site.frozen:
            self._world.watch.sometimes["freeze"] += 1
            self._world.watch.note(site.name, "freezes for", seconds)
            site.freeze()
            self._world.thaw_in(site, seconds)

    async def _kill(self) -> None:
        site = self._victim()
        if site is not None:
            self._world.killed(site)

    async def _drain(self) -> None:
        """A deployment: one worker goes and another comes."""
        site = self._victim()
        if site is not None and site.worker is not None:
            self._world.watch.sometimes["drain"] += 1
            self._world.watch.note(site.name, "is told to drain")
            site.worker.stop()
            site.door.shut = site.door.shut or self._dice.random() < 0.3
            hurry = self._dice.random() < 0.3
            if hurry:
                site.worker.stop()
            self._world.add_worker()
            self._world.loop.create_task(self._see_it_gone(site, 0 if hurry else DRAIN_S))

    async def _see_it_gone(self, site: "Site", grace_s: float) -> None:
        """A worker told to drain is gone within the grace and two seconds, store or no store (G-18)."""
        told_at = self._world.loop.time()
        # Calls to the store may be on their way, out and back.
        await rest(grace_s + GONE_S + 2 * self._world.plan.weather.most_s)
        stood_still = site.frozen or site.thawed_at >= told_at
        if not site.dead and not stood_still:
            self._world.watch.fail(
                "G-18", site.name, "is still there", grace_s, "+", GONE_S, "s after it was told to drain"
            )

    async def _shut(self) -> None:
        """One process cannot reach the database."""
        site = self._victim()
        if site is not None:
            self._world.watch.sometimes["partition"] += 1
            site.door.shut = True
            await rest(self._long_s())
            site.door.shut = False

    async def _outage(self) -> None:
        """Nobody can."""
        self._world.watch.sometimes["outage"] += 1
        seconds = self._long_s()
        self._world.watch.note("outage of", seconds)
        for site in self._world.sites:
            site.door.shut = True
        await rest(seconds)
        for site in self._world.sites:
            site.door.shut = False

    async def _step(self) -> None:
        """The store's clock steps."""
        seconds = self._dice.randint(-STEP_S, STEP_S)
        self._world.watch.sometimes["step back" if seconds < 0 else "step forward"] += 1
        self._world.watch.note("clock steps by", seconds)
        self._world.store_clock.skew_ms += seconds * 1000

    async def _skew(self) -> None:
        """A process's own clock is wrong."""
        site = self._victim()
        if site is not None:
            self._world.watch.sometimes["skew"] += 1
            site.clock.skew_ms = self._dice.randint(-SKEW_MS, SKEW_MS)

    # -- people ------------------------------------------------------------------------------------

    def _act(self, kind: str, act: Callable[[str], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
        async def once() -> None:
            self._deeds += 1
            by = f"person {self._deeds}"
            watch = self._world.watch
            done: bool | None = None
            try:
                done = await act(by)
            except StoreError:
                watch.note(kind, by, "unknown")
            except (Conflict, NotFound) as error:
                watch.sometimes[f"{kind} refused"] += 1
                watch.note(kind, by, error)
            else:
                watch.sometimes[kind if done else f"{kind} in vain"] += 1
                watch.note(kind, by, "done" if done else "nothing")
            self._check_audit(kind, by, done)

        return once

    def _check_audit(self, kind: str, by: str, done: bool | None) -> None:
        """An act that was acknowledged is on record once, one that is unknown at most once (I-20)."""
        if kind in UNRECORDED:
            return
        ((rows,),) = self._world.watch.rows("SELECT count(*) FROM rota_audit WHERE by = ?", by)
        if rows > 1 or (done and rows == 0):
            self._world.watch.fail("I-20", kind, by, "left", rows, "audit rows")

    @property
    def _store(self) -> Any:
        return self._world.people.store

    def _some_job(self) -> str:
        return self._dice.choice([one.name for one in self._world.plan.jobs if one.name != "one_off"])

    def _someone(self, roster: str) -> str:
        return f"m{self._dice.randrange(self._world.plan.rosters[roster])}"

    def _turn(self) -> tuple[str, str | None]:
        """A job and somebody it is for."""
        job = self._some_job()
        roster = self._world.rota.catalog.jobs[job].each
        return job, None if roster is None else self._someone(roster)

    def _named(self) -> dict[str, Any]:
        job, member = self._turn()
        roster = self._world.rota.catalog.jobs[job].each
        return {"job": job} | ({} if member is None else {"member": f"{roster}/{member}"})

    async def _run_now(self, by: str) -> bool:
        job, member = self._turn()
        started = await operate.run_now(self._store, job, member, by=by)
        return started.created

    def _target(self) -> dict[str, str]:
        roster = self._dice.choice([*self._world.plan.rosters])
        return self._dice.choice(
            [{"job": self._some_job()}, {"roster": roster}, {"member": f"{roster}/{self._someone(roster)}"}]
        )

    async def _pause(self, by: str) -> bool:
        until = None
        if self._dice.random() < 0.5:
            until_ms = self._store.clock.now_ms() + self._dice.randint(1, 100_000) * 1000
            until = datetime.fromtimestamp(until_ms / 1000, UTC)
        await operate.pause(self._store, **self._target(), reason="test", until=until, by=by)
        return True

    async def _resume(self, by: str) -> bool:
        """Ends the oldest pause, or one that is not there."""
        return await operate.resume(self._store, **self._target(), by=by)

    async def _stop(self, by: str) -> bool:
        if self._dice.random() < 0.5:  # at the worst moment: somebody has claimed and not started yet
            claimed = asyncio.Event()
            self._world.watch.at_next_claim += [self._freeze_claimer, lambda _who: claimed.set()]
            await claimed.wait()
        running, wait = self._dice.choice(("finish", "cancel")), self._dice.choice((None, 30))
        done = await operate.stop_all(self._store, "test", running=running, wait=wait, by=by)
        watch = self._world.watch
        if watch.rows("SELECT 1 FROM rota_pause WHERE scope = 'all' AND ended_at IS NULL"):  # nobody resumed meanwhile
            watch.stopped_at = watch.now_ms()
        watch.sometimes["stop with runs"] += bool(done.running)
        self._world.loop.create_task(self._resume_later())
        return True

    async def _resume_later(self) -> None:
        """Nobody leaves everything stopped for ever."""
        await rest(self._dice.random() * 2 * HOUR_S)
        await self._act("resume_all", self._resume_all)()

    async def _resume_all(self, by: str) -> bool:
        self._world.watch.stopped_at = None  # from here on it may have happened
        catch_up = self._dice.choice((None, None, "latest", "all", "none"))
        return await operate.resume_all(self._store, catch_up=catch_up, by=by)

    async def _hold(self, by: str) -> bool:
        return bool(await operate.hold(self._store, **self._named(), reason="test", by=by))

    async def _unhold(self, by: str) -> bool:
        return bool(await operate.unhold(self._store, **self._named(), by=by))

    async def _cancel(self, by: str) -> bool:
        return bool(await operate.cancel(self._store, **self._named(), by=by))

    async def _requeue(self, by: str) -> bool:
        letters = self._world.watch.rows("SELECT id, error FROM rota_dead_letter ORDER BY id")
        if not letters:
            return False
        letter, error = self._dice.choice(letters)
        if error is not None and self._dice.random() < 0.3:
            return bool(await operate.requeue(self._store, error=error, spread="1h", by=by))
        return bool(await operate.requeue(self._store, id=letter, by=by))

    async def _leave(self, by: str) -> bool:
        roster = self._dice.choice([*self._world.plan.rosters])
        return await rosters.leave(self._store, roster, self._someone(roster))

    async def _rejoin(self, by: str) -> bool:
        roster = self._dice.choice([*self._world.plan.rosters])
        member = self._world.newcomer(self._someone(roster))
        return bool(await rosters.join_many(self._store, roster, [member]))

    async def _move(self, by: str) -> bool:
        """Somebody moves to another zone, or wants another time."""
        roster = self._dice.choice([*self._world.plan.rosters])
        new = self._world.newcomer("x")
        given = self._dice.choice([{"zone": self._dice.choice(ZONES)}, {"data": new.data}, {"weight": 3}])
        await rosters.update(self._store, roster, self._someone(roster), **given)
        return True

    async def _enqueue(self, by: str) -> bool:
        if not self._unsure:
            self._keys += 1
            self._unsure.append(f"key{self._keys}")
        await self._world.enqueue(self._world.people, self._unsure[-1])
        self._unsure.pop()
        return True

    async def _rebalance(self, by: str) -> bool:
        job = self._some_job()
        return bool((await rosters.rebalance(self._store, job, by=by)).moves)
