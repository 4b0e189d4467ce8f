"""What people do to a world: operators intervene, members come, go and change their rules, customers repeat themselves.

Always true: a person who gets no answer does not know whether the act happened, and the audit must show it at most
once; each kind of act has dice of its own.

Not here: what happens to processes and clocks (blows).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

from rota import operate, rosters
from rota.errors import Conflict, NotFound, StoreError
from tests.sim.blows import HOUR_S, Blows, again, long_s
from tests.sim.loop import rest
from tests.sim.plan import ZONES

if TYPE_CHECKING:
    from tests.sim.world import World

UNRECORDED = frozenset({"leave", "rejoin", "move", "enqueue", "repeat"})  # members and customers, not operators


class People:
    """Everybody outside of one world."""

    def __init__(self, world: "World", blows: Blows) -> None:
        self._world = world
        self._blows = blows
        self._keys = 0
        self._deeds = 0
        self._unsure: list[str] = []  # keys of one-offs nobody knows about yet

    def begin(self) -> list[asyncio.Task[None]]:
        """Start it all; each kind is a task of its own."""
        world, tasks = self._world, []
        for kind, rate in world.plan.acts.items():
            dice = Random(f"{world.plan.seed} act {kind}")
            act = getattr(self, f"_{kind}")
            once = self._act(kind, lambda by, a=act, d=dice: a(by, d))
            tasks.append(world.people.start(world.loop, again(dice, rate, once)))
        return tasks

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

    def _some_job(self, dice: Random) -> str:
        return dice.choice([one.name for one in self._world.plan.jobs if one.name != "one_off"])

    def _someone(self, roster: str, dice: Random) -> str:
        return f"m{dice.randrange(self._world.plan.rosters[roster])}"

    def _some_roster(self, dice: Random) -> str:
        return dice.choice([*self._world.plan.rosters])

    def _turn(self, dice: Random) -> tuple[str, str | None]:
        """A job and somebody it is for."""
        job = self._some_job(dice)
        roster = self._world.catalog.jobs[job].each
        return job, None if roster is None else self._someone(roster, dice)

    def _named(self, dice: Random) -> dict[str, Any]:
        job, member = self._turn(dice)
        roster = self._world.catalog.jobs[job].each
        return {"job": job} | ({} if member is None else {"member": f"{roster}/{member}"})

    # -- operators ---------------------------------------------------------------------------------

    async def _run_now(self, by: str, dice: Random) -> bool:
        job, member = self._turn(dice)
        started = await operate.run_now(self._store, job, member, by=by)
        return started.created

    def _target(self, dice: Random) -> dict[str, str]:
        roster = self._some_roster(dice)
        return dice.choice(
            [{"job": self._some_job(dice)}, {"roster": roster}, {"member": f"{roster}/{self._someone(roster, dice)}"}]
        )

    async def _pause(self, by: str, dice: Random) -> bool:
        until = None
        if dice.random() < 0.5:
            until_ms = self._store.clock.now_ms() + dice.randint(1, 100_000) * 1000
            until = datetime.fromtimestamp(until_ms / 1000, UTC)
        await operate.pause(self._store, **self._target(dice), reason="test", until=until, by=by)
        return True

    async def _resume(self, by: str, dice: Random) -> bool:
        """Ends the oldest pause, or one that is not there."""
        return await operate.resume(self._store, **self._target(dice), by=by)

    async def _stop(self, by: str, dice: Random) -> bool:
        if dice.random() < 0.5:  # at the worst moment: somebody has claimed and not started yet
            claimed = asyncio.Event()
            seconds = long_s(dice, self._world.plan.pace)
            self._world.watch.at_next_claim += [
                lambda who: self._blows.freeze_claimer(who, seconds),
                lambda _who: claimed.set(),
            ]
            await claimed.wait()
        running, wait = dice.choice(("finish", "cancel")), dice.choice((None, 30))
        done = await operate.stop_all(self._store, "test", running=running, wait=wait, by=by)
        watch = self._world.watch
        if watch.rows("SELECT 1 FROM rota_pause WHERE scope = 'all' AND ended_at IS NULL"):  # nobody resumed meanwhile
            watch.stopped_at = watch.now_ms()
        watch.sometimes["stop with runs"] += bool(done.running)
        self._world.loop.create_task(self._resume_later(dice))
        return True

    async def _resume_later(self, dice: Random) -> None:
        """Nobody leaves everything stopped for ever."""
        await rest(dice.random() * 2 * HOUR_S)
        await self._act("resume_all", lambda by: self._resume_all(by, dice))()

    async def _resume_all(self, by: str, dice: Random) -> bool:
        self._world.watch.stopped_at = None  # from here on it may have happened
        catch_up = dice.choice((None, None, "latest", "all", "none"))
        return await operate.resume_all(self._store, catch_up=catch_up, by=by)

    async def _hold(self, by: str, dice: Random) -> bool:
        return bool(await operate.hold(self._store, **self._named(dice), reason="test", by=by))

    async def _unhold(self, by: str, dice: Random) -> bool:
        return bool(await operate.unhold(self._store, **self._named(dice), by=by))

    async def _cancel(self, by: str, dice: Random) -> bool:
        return bool(await operate.cancel(self._store, **self._named(dice), by=by))

    async def _requeue(self, by: str, dice: Random) -> bool:
        letters = self._world.watch.rows("SELECT id, error FROM rota_dead_letter ORDER BY id")
        if not letters:
            return False
        letter, error = dice.choice(letters)
        if error is not None and dice.random() < 0.3:
            return bool(await operate.requeue(self._store, error=error, spread="1h", by=by))
        return bool(await operate.requeue(self._store, id=letter, by=by))

    async def _rebalance(self, by: str, dice: Random) -> bool:
        job = self._some_job(dice)
        return bool((await rosters.rebalance(self._store, job, by=by)).moves)

    # -- members and customers ---------------------------------------------------------------------

    async def _leave(self, by: str, dice: Random) -> bool:
        roster = self._some_roster(dice)
        return await rosters.leave(self._store, roster, self._someone(roster, dice))

    async def _rejoin(self, by: str, dice: Random) -> bool:
        roster = self._some_roster(dice)
        member = self._world.newcomer(self._someone(roster, dice), dice)
        return bool(await rosters.join_many(self._store, roster, [member]))

    async def _move(self, by: str, dice: Random) -> bool:
        """Somebody moves to another zone, or wants another time."""
        roster = self._some_roster(dice)
        new = self._world.newcomer("x", dice)
        given = dice.choice([{"zone": dice.choice(ZONES)}, {"data": new.data}, {"weight": 3}])
        await rosters.update(self._store, roster, self._someone(roster, dice), **given)
        return True

    async def _enqueue(self, by: str, dice: Random) -> bool:
        if not self._unsure:
            self._keys += 1
            self._unsure.append(f"key{self._keys}")
        await self._world.enqueue(self._world.people, self._unsure[-1])
        self._unsure.pop()
        return True

    async def _repeat(self, by: str, dice: Random) -> bool:
        """A request that was answered comes again, as from a client that lost the answer (G-2)."""
        known = self._world.remembered()
        if not known:
            return False
        key = dice.choice(known)
        await self._world.enqueue(self._world.people, key)
        return True
