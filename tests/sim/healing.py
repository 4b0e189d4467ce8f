"""The end of a world: the faults stop, and everything that was owed has to happen within a bound (liveness).

Always true: nothing is repaired by hand beyond what an operator would do: resume what is paused, let go what is held,
have one worker.

Not here: what may never be seen on the way (checks).
"""

import contextlib
from typing import TYPE_CHECKING

from rota import operate
from rota.errors import IllegalTransition, NotFound
from tests.sim.blows import Blows
from tests.sim.deeds import POISON
from tests.sim.door import CALM
from tests.sim.loop import rest
from tests.sim.plan_policies import backlog_s

if TYPE_CHECKING:
    from tests.sim.world import World

SLACK_MS = 60_000  # what is due for less than this in the end is simply being claimed
MARGIN_S = 30  # an attempt may outlive its time limit by this before it is reaped
SPREAD_S = 600  # catching up is spread over this
LATER_S = 3_700  # the longest snooze or postponement a handler asks for

_LATE = (
    "SELECT id, job, member, state, due_at, slot_at, run, attempt FROM rota_turn"
    " WHERE state <> 'held' AND paused = 0 AND due_at < ? ORDER BY due_at LIMIT 5"
)
_WAITING = (
    "SELECT id, job, member, due_at, slot_at, waits_for FROM rota_turn"
    " WHERE state = 'waiting' AND waits_for IS NOT NULL AND coalesce(slot_at, 0) < ? LIMIT 3"
)
_FORGOTTEN = "SELECT id, job, member, done FROM rota_turn WHERE state = 'waiting' AND standing = 1 AND due_at IS NULL"


async def heal(world: "World", blows: Blows) -> None:
    """Stop the faults but for the one that stays, wait for the bound, and look."""
    watch = world.watch
    watch.note("healing begins")
    began_at = watch.now_ms()
    world.deeds.calm = True
    world.weather = CALM
    watch.at_next_claim.clear()
    for site in list(world.sites):
        site.door.shut = site.door.half_open = site.door.read_only = False
        site.door.weather = CALM
        if site.frozen or site.blocked:
            site.thaw(world.loop)
        if site.dead:
            world.bury(site)
    await _as_an_operator_would(world)
    world.healing = True
    world.add_worker(newest=True)
    supervisor = world.loop.create_task(blows.supervise(), name="supervisor")
    watch.sometimes[f"healed with a broken {world.plan.broken}"] += world.plan.broken is not None
    if world.plan.broken == "receiver":
        world.add_worker(newest=True, half_open=True)
    if world.plan.broken == "poison":
        await world.enqueue(world.people, POISON, -1)
    await rest(_bound_s(world))
    supervisor.cancel()
    watch.note("healing is over")
    _look(world)
    waiting = watch.rows(_WAITING, began_at)
    if waiting:
        watch.fail("I-18", "still waiting for room after healing:", *waiting)


async def _as_an_operator_would(world: "World") -> None:
    store = world.people.store
    world.watch.stopped_at = None
    await operate.resume_all(store)
    for scope, name in world.watch.rows("SELECT scope, name FROM rota_pause WHERE ended_at IS NULL"):
        with contextlib.suppress(NotFound):  # its time was over and its member has left
            await operate.resume(store, **{scope: name})
    for (turn,) in world.watch.rows("SELECT id FROM rota_turn WHERE state = 'held'"):
        try:
            await operate.unhold(store, id=turn)
        except (IllegalTransition, NotFound):
            continue


def _bound_s(world: "World") -> float:
    """What was lost is reaped (hours later, one lease later), runs end, what was put off comes, what was missed too."""
    plan = world.plan
    lease_s = 15 * plan.pace
    reap_s = 2 * 2 * plan.pace
    longest = max(spec.timeout_ms for spec in world.catalog.jobs.values()) / 1000
    backoff = max((spec.retry.delay_ms(1, 1.0) or 0) for spec in world.catalog.jobs.values()) / 1000
    kills = 3 if plan.broken == "poison" else 0  # each costs a lease and a new worker
    rounds_s = (2 + 2 * kills) * (2 * lease_s + reap_s) + kills * 90 * plan.pace
    waits_s = backlog_s(world.jobs, plan.rosters) + 60 * plan.pace  # and what waits for another's end looks again
    return waits_s + rounds_s + longest + MARGIN_S + 4 * backoff + LATER_S + SPREAD_S


def _look(world: "World") -> None:
    """What must be true when all is well."""
    watch = world.watch
    now = watch.now_ms()
    backlog_ms = int(backlog_s(world.jobs, world.plan.rosters) * 1000)  # what a new slot may wait for room
    late = watch.rows(_LATE, now - SLACK_MS - backlog_ms)
    for checker in watch.checkers:
        checker.healed()
    if late:
        watch.fail("I-18", "still late after healing, now", now, ":", *late)
    for key, turn in world.acknowledged.items():
        if turn not in watch.ends:
            where = watch.turns.get(turn)
            if where is not None and now < (where.due_at or 0) < watch.latest_ms + LATER_S * 1000:
                continue  # the clock was set back: it comes when that shows its instant
            watch.fail("I-2", "the one-off", key, "was acknowledged as turn", turn, "and has not ended:", where)
    for turn, job, member, done in watch.rows(_FORGOTTEN):
        leaders = (1 << len(world.catalog.jobs[job].after)) - 1
        if leaders and done & leaders == leaders:
            watch.fail("I-18", "a follower waits though all it follows has ended:", turn, job, member)
    for job in world.catalog.jobs.values():
        if job.each is not None:
            _look_at_members(world, job.name, job.each)


def _look_at_members(world: "World", job: str, roster: str) -> None:
    without = world.watch.rows(
        "SELECT key FROM rota_member WHERE roster = ? AND key NOT IN"
        " (SELECT member FROM rota_turn WHERE job = ? AND roster = ?) LIMIT 3",
        *(roster, job, roster),
    )
    if without:
        world.watch.fail("G-1", "members without a turn of", job, ":", *without)
