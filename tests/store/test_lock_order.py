"""Turns are locked in the order of their ids, whoever writes them (rule 10 of reliability 4): no two wait in a ring.

Always true: one side holds the first turn; while the other waits for it, the turns after it are free.

Not here: ends and claims (test_races), eight workers at once (tests/strain/overlap).
"""

import asyncio

from rota import Retryable
from rota.store import members, operators, turns
from rota.store.operators import Which
from tests.store.test_races import DEED, RULES, _held, _settle, race
from tests.store.world import LEASE_MS, ROSTER, USER_JOBS, claim

__all__ = ["race"]
HOUR_MS = 3_600_000


async def test_a_cancel_locks_the_followers_of_its_turn_with_it_and_not_after_it(race):
    follower = Which(roster="users", member="ann", job="digest")
    await race.first.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("ann")]))
    await race.first.write(lambda: operators.run_now(follower, RULES, DEED))
    await race.first.write(lambda: claim(fused=True), "shared")
    await race.first.write(lambda: members.leave(ROSTER, ["ann"]))  # what runs stays, and is older than what comes now
    await race.first.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("ann")]))
    ids = {job: turn for turn, job in await race.rows("SELECT id, job FROM rota.turn WHERE member = 'ann'")}
    leader = "daily"
    assert ids["digest"] < ids[leader]
    await race.first.write(lambda: operators.run_now(Which(roster="users", member="ann", job=leader), RULES, DEED))
    holding = await race.first.before_commit(lambda: operators.find(follower))
    led = Which(turn=ids[leader]), Which(roster="users", member="ann", job=leader)
    for which in led:
        cancelling = await race.waiting(lambda which=which: operators.cancel(which, RULES, DEED))
        free = await race.rows(f"SELECT id FROM rota.turn WHERE id = {ids[leader]} FOR UPDATE SKIP LOCKED")
        assert free == [(ids[leader],)]
        cancelling.cancel()
        await asyncio.gather(cancelling, return_exceptions=True)
    race.first.go.set()
    await holding


async def test_a_beat_that_moves_last_instants_locks_them_in_the_order_of_their_turns(race):
    held = sorted(await _held(race, count=3))
    await race.first.write(_settle(held[:1], Retryable("busy")))
    race.clock.ms += HOUR_MS
    await race.first.write(lambda: claim(fused=True), "shared")  # and so the first lies last on the disk
    race.clock.ms += 2 * HOUR_MS
    holding = await race.first.before_commit(lambda: operators.find(Which(turn=held[0].id)))
    beating = await race.waiting(lambda: turns.beat_at_once("w1", LEASE_MS, 3, None))
    free = await race.rows("SELECT id FROM rota.turn FOR UPDATE SKIP LOCKED")
    race.first.go.set()
    await asyncio.gather(holding, beating)
    assert sorted(free) == [(one.id,) for one in held[1:]]
