"""What happens to a world from outside: processes freeze, die and are deployed anew, clocks lie, the store is away.

Always true: each kind comes at its own rate, at instants from dice of its own, so that leaving one out leaves the
others as they were.

Not here: what handlers do (deeds), what people do (people), what a single call to the database suffers (door).
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from tests.sim.checks_leases import leap_ms
from tests.sim.loop import rest

if TYPE_CHECKING:
    from tests.sim.world import Site, World

HOUR_S = 3600.0
DRAIN_S = 25.0  # the grace of a drain
GONE_S = 2.0  # after the grace (G-18)
STEP_S = 1_800  # how far the store's clock steps at most
SKEW_MS = 10 * 365 * 86_400_000  # a worker's clock may be wrong by any amount: ten years
CAUGHT = 0.75  # of all leaps are at an instant at which something runs
LOOKS = 200  # for such an instant
BLOCK_S = 250  # below the five minutes after which a lease is let go

_RUNNING = "SELECT 1 FROM rota_turn WHERE state = 'running' LIMIT 1"


async def again(dice: Random, rate: float, happen: Callable[[], Awaitable[None]]) -> None:
    """Let it happen for ever, so often an hour."""
    while True:
        await rest(dice.expovariate(rate) * HOUR_S)
        await happen()


def long_s(dice: Random, pace: float) -> float:
    """From a second to three leases, of a world in which everything takes `pace` times as long."""
    return 10 ** (dice.random() * 1.65) * pace


class Blows:
    """Everything that happens to the processes of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def begin(self) -> list[asyncio.Task[None]]:
        """Start it all; each kind is a task of its own."""
        world, plan = self._world, self._world.plan
        tasks = [world.loop.create_task(self.supervise(), name="supervisor")]
        if plan.tick_every_s is not None:
            tasks.append(world.loop.create_task(self._tick(plan.tick_every_s), name="cron"))
        for kind, rate in plan.blows.items():
            dice = Random(f"{plan.seed} blow {kind}")
            happen = getattr(self, f"_{kind}")
            tasks.append(world.loop.create_task(again(dice, rate, lambda h=happen, d=dice: h(d)), name=kind))
        return tasks

    async def supervise(self) -> None:
        """Keep up the number of workers, as an orchestrator does."""
        dice = Random(f"{self._world.plan.seed} supervisor")
        while True:
            await rest(60 * self._world.plan.pace * (0.5 + dice.random()))
            for site in self._world.workers():
                if site.dead:
                    self._world.bury(site)
            if len(self._world.workers()) < self._world.plan.workers:
                self._world.add_worker()
            if self._world.healing and not self._world.able():
                self._world.add_worker(newest=True)

    async def _tick(self, every_s: float) -> None:
        while True:
            await rest(every_s)
            self._world.add_tick()

    def _victim(self, dice: Random) -> "Site | None":
        sites = [
            site
            for site in self._world.sites
            if site.task is not None and not (site.frozen or site.blocked or site.dead)
        ]
        return dice.choice(sites) if sites else None

    def _long_s(self, dice: Random) -> float:
        return long_s(dice, self._world.plan.pace)

    async def _freeze(self, dice: Random) -> None:
        if dice.random() < 0.5:
            seconds = self._long_s(dice)
            self._world.watch.at_next_claim.append(lambda who: self.freeze_claimer(who, seconds))
        else:
            self._freeze_now(self._victim(dice), self._long_s(dice))

    def freeze_claimer(self, who: str, seconds: float) -> None:
        """Right between the claim and the start."""
        sites = [site for site in self._world.sites if site.name == who]
        if sites:
            self._world.watch.sometimes["frozen between claim and start"] += 1
            self._freeze_now(sites[0], seconds)

    def _freeze_now(self, site: "Site | None", seconds: float) -> None:
        if site is not None and not site.frozen:
            self._world.watch.sometimes["freeze"] += 1
            self._world.watch.note(site.name, "freezes for", seconds)
            site.freeze()
            self._world.thaw_in(site, seconds)

    async def _block(self, dice: Random) -> None:
        """A handler holds up the loop; the thread that keeps the lease goes on."""
        site = self._victim(dice)
        if site is not None:
            self._world.watch.sometimes["block"] += 1
            self._world.watch.note(site.name, "is blocked")
            site.block()
            self._world.thaw_in(site, dice.random() * BLOCK_S)

    async def _kill(self, dice: Random) -> None:
        site = self._victim(dice)
        if site is not None:
            self._world.killed(site)

    async def _drain(self, dice: Random) -> None:
        """A deployment: one worker goes and another comes."""
        site = self._victim(dice)
        if site is not None and site.worker is not None:
            self._see_off(site, cut=dice.random() < 0.3, hurry=dice.random() < 0.3)
            self._world.add_worker()

    def _see_off(self, site: "Site", *, cut: bool, hurry: bool) -> None:
        """Tell a worker to drain; `cut`: its store is gone too; `hurry`: it is told twice."""
        assert site.worker is not None
        self._world.watch.sometimes["drain"] += 1
        self._world.watch.note(site.name, "is told to drain")
        site.worker.stop()
        site.door.shut = site.door.shut or cut
        if hurry:
            site.worker.stop()
        self._world.loop.create_task(self._see_it_gone(site, 0 if hurry else DRAIN_S))

    async def _see_it_gone(self, site: "Site", grace_s: float) -> None:
        """A worker told to drain is gone within the grace and two seconds, store or no store (G-18)."""
        told_at = self._world.loop.time()
        stood_still = site.frozen or site.blocked
        # Calls to the store may be on their way, out and back.
        await rest(grace_s + GONE_S + 2 * self._world.plan.weather.most_s)
        stood_still = stood_still or site.frozen or site.blocked or site.thawed_at >= told_at
        if not site.dead and not stood_still:
            self._world.watch.fail(
                "G-18", site.name, "is still there", grace_s, "+", GONE_S, "s after it was told to drain"
            )

    async def _release(self, dice: Random) -> None:
        """A deployment that changes a rule: old and new releases are about together for a while (G-16, G-26)."""
        if self._world.release(dice):
            for site in self._world.workers():
                if site.worker is not None and not site.dead:
                    self._see_off(site, cut=False, hurry=False)
                    self._world.add_worker(newest=True)

    async def _shut(self, dice: Random) -> None:
        """One process cannot reach the database."""
        site = self._victim(dice)
        if site is not None:
            self._world.watch.sometimes["partition"] += 1
            site.door.shut = True
            await rest(self._long_s(dice))
            site.door.shut = False

    async def _half_open(self, dice: Random) -> None:
        """What one process sends reaches the database; what the database answers does not reach the process."""
        site = self._victim(dice)
        if site is not None:
            self._world.watch.sometimes["half open"] += 1
            site.door.half_open = True
            await rest(self._long_s(dice))
            site.door.half_open = False

    async def _outage(self, dice: Random) -> None:
        """Nobody can."""
        self._world.watch.sometimes["outage"] += 1
        seconds = self._long_s(dice)
        self._world.watch.note("outage of", seconds)
        for site in self._world.sites:
            site.door.shut = True
        await rest(seconds)
        for site in self._world.sites:
            site.door.shut = False

    async def _read_only(self, dice: Random) -> None:
        """The database answers and takes no writes, as a standby or a full disk does."""
        self._world.watch.sometimes["read only"] += 1
        seconds = self._long_s(dice)
        self._world.watch.note("read only for", seconds)
        for site in self._world.sites:
            site.door.read_only = True
        await rest(seconds)
        for site in self._world.sites:
            site.door.read_only = False

    async def _step(self, dice: Random) -> None:
        """The store's clock steps."""
        seconds = dice.randint(-STEP_S, STEP_S)
        self._world.watch.sometimes["step back" if seconds < 0 else "step forward"] += 1
        self._world.watch.sometimes["clock steps"] += 1
        self._world.watch.note("clock steps by", seconds)
        self._set_by(seconds * 1000)

    async def _leap(self, dice: Random) -> None:
        """The store's clock is set, ahead or back by more than is believed at once."""
        world = self._world
        by_ms = leap_ms(world.plan) * dice.choice((-2, -1, 1, 2))
        if dice.random() < CAUGHT:
            await self._something_runs()
        world.watch.sometimes["leap"] += 1
        world.watch.sometimes["leap back"] += by_ms < 0
        world.watch.note("clock leaps by", by_ms)
        self._set_by(by_ms)

    async def _something_runs(self) -> None:
        """Wait until a turn is running, but not for ever: a clock that leaps over a sleeping house proves little."""
        for _ in range(LOOKS):
            if self._world.watch.rows(_RUNNING):
                return
            await rest(self._world.plan.pace)

    def _set_by(self, by_ms: int) -> None:
        watch = self._world.watch
        watch.latest_ms = max(watch.latest_ms, watch.now_ms())
        self._world.store_clock.skew_ms += by_ms

    async def _skew(self, dice: Random) -> None:
        """A process's own clock is wrong."""
        site = self._victim(dice)
        if site is not None:
            self._world.watch.sometimes["skew"] += 1
            site.clock.skew_ms = dice.randint(-SKEW_MS, SKEW_MS)
