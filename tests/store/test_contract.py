"""The contract of the store: any script of operations leaves on each database what the model says (reliability 5a).

`SCRIPTS` and `STEPS` in the environment make it long: 3000 and 120 before a release.

Always true: a database that passes this is a store.

Not here: the operations of a script (machine, acts), what should happen (model).
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from rota.define.outcome import Fail
from rota.engine.settle import Ended, end_of
from rota.store import members, turns
from rota.store.port import query
from rota.store.sqlite import Sqlite
from tests.store.acts import StoreMachine
from tests.store.world import CATALOG, DAY_MS, ROSTER, START_MS, USER_JOBS, Door, HeldClock, call, claim, introduce

STEPS = int(os.environ.get("STEPS", "40"))
SCRIPTS = {"sqlite": 300, "postgres": 80, "both": 60}  # what fits into the budget of the folder on two slow cores
SOMETIMES = (
    *("claimed", "put back", "cap full", "stopped", "fenced", "hold", "cancel", "run_now", "recurring succeeded"),
    *("doubted", "silent", "beat after a leap"),
)


def _play(kind: str, doors: Callable[[], Sequence[Door]]) -> Counter[str]:
    seen: Counter[str] = Counter()
    machine = type("Contract", (StoreMachine,), {"doors": staticmethod(doors), "seen": seen})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("SCRIPTS", SCRIPTS[kind])),
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            deadline=None,
        ),
    )
    return seen


@pytest.fixture
def fresh_sqlite(clock: HeldClock, runner: asyncio.Runner) -> Callable[[], Door]:
    """A new store in memory for each script."""
    opened: list[Door] = []

    def fresh() -> Door:
        while opened:
            opened.pop().close()
        clock.ms = START_MS
        opened.append(Door(Sqlite(":memory:", clock=clock), clock, runner))
        opened[0].open()
        return opened[0]

    return fresh


@pytest.fixture
def fresh_postgres(postgres_door: Door) -> Callable[[], Door]:
    """The same store on PostgreSQL, emptied for each script."""

    def fresh() -> Door:
        postgres_door.clock.ms = START_MS
        postgres_door.empty()
        return postgres_door

    return fresh


def test_any_script_on_sqlite_does_what_the_model_says(fresh_sqlite):
    seen = _play("sqlite", lambda: [fresh_sqlite()])
    assert not {what for what in SOMETIMES if not seen[what]}, f"the scripts have stopped trying something: {seen}"


def test_any_script_on_postgresql_does_what_the_model_says(fresh_postgres):
    _play("postgres", lambda: [fresh_postgres()])


def test_any_script_leaves_equal_tables_on_both_databases(fresh_sqlite, fresh_postgres):
    _play("both", lambda: [fresh_sqlite(), fresh_postgres()])


def test_a_key_whose_time_runs_out_in_the_middle_of_an_enqueue_stands_for_the_run_that_is_answered(door):
    """G-2: between two statements the store's clock goes on."""
    door.write(lambda: introduce("w1"))
    door.write(lambda: turns.enqueue([call(key="k")]))
    held = door.write(lambda: claim(fused=door.fused)).run
    ends = [end_of(CATALOG, CATALOG.jobs["mail"], held[0], None, Ended("w1", held[0].claimed_at, 5, 0.0))]
    door.write(lambda: turns.settle(ends, "w1"))
    expires_at = door.rows("key", "turn, expires_at")[0][1]
    door.clock.ms, door.clock.tick_ms = expires_at - 2, 1
    turn, made = door.write(lambda: turns.enqueue([call(key="k")]))[0]
    assert door.rows("key", "turn") == [(turn,)]
    assert made == bool(door.rows("turn", "id", "WHERE job = 'mail'"))


def test_followers_of_two_jobs_that_end_in_one_batch_are_due(door):
    """Both leaders' news is for one row, and an UPDATE takes one row of news for it."""
    door.write(lambda: introduce("w1"))
    door.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    door.clock.ms += DAY_MS
    held = [one for one in door.write(lambda: claim(fused=door.fused)).run if one.member == "a"]
    ends = [end_of(CATALOG, CATALOG.jobs[one.job], one, None, Ended("w1", one.claimed_at, 5, 0.0)) for one in held]
    door.write(lambda: turns.settle(ends, "w1"))
    assert door.rows("turn", "job, due_at, done", "WHERE job = 'digest'") == [("digest", door.clock.ms, 3)]


def test_the_sums_of_an_hour_are_the_same_however_its_ends_are_written(door):
    """One-offs, a standing turn and a failure: some leave their sums with their end, some in a statement of its own."""
    door.write(lambda: introduce("w1"))
    door.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    door.write(lambda: turns.enqueue([call(), call(), call()]))
    door.clock.ms += DAY_MS
    held = {}
    for one in door.write(lambda: claim(fused=door.fused)).run:
        held.setdefault(one.job, []).append(one)
    failed = held["mail"].pop()
    ends = [_well(one) for one in (*held["mail"], held["daily"][0])]
    ends.append(end_of(CATALOG, CATALOG.jobs["mail"], failed, Fail("no"), Ended("w1", failed.claimed_at, 5, 0.0)))
    door.write(lambda: turns.settle(ends, "w1", fused=door.fused))
    late = held["daily"][0].claimed_at - held["daily"][0].due_at
    assert door.rows("rollup", "job, worker, runs, succeeded, dead, busy_ms, late_ms", "ORDER BY job") == [
        ("daily", "w1", 1, 1, 0, 5, late),
        ("mail", "w1", 3, 2, 1, 15, 3 * DAY_MS),
    ]


def test_leaders_that_end_while_their_follower_runs_count_for_the_run_after(door):
    """G-13: each slot of the leaders has a run of the follower."""

    def leaders_end():
        held = [one for one in door.write(lambda: claim(fused=door.fused)).run if one.member == "a"]
        leading = [one for one in held if one.job != "digest"]
        door.write(lambda: turns.settle([_well(one) for one in leading], "w1"))
        return [one for one in held if one.job == "digest"]

    door.write(lambda: introduce("w1"))
    door.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    door.clock.ms += DAY_MS
    leaders_end()
    (follower,) = [one for one in door.write(lambda: claim(fused=door.fused)).run if one.job == "digest"]
    door.clock.ms += DAY_MS
    leaders_end()
    assert door.rows("turn", "state, due_at", "WHERE job = 'digest'") == [("running", follower.due_at)]
    door.write(lambda: turns.settle([_well(follower)], "w1"))
    ((due_at, slot_at),) = door.rows("turn", "due_at, slot_at", "WHERE job = 'digest'")
    assert due_at == door.clock.ms
    assert slot_at > follower.slot_at


def _well(claimed):
    return end_of(CATALOG, CATALOG.jobs[claimed.job], claimed, None, Ended("w1", claimed.claimed_at, 5, 0.0))


def test_a_worker_that_ends_a_lost_attempt_and_its_repeat_in_one_batch_ends_one(door):
    """G-5, G-7: the turn is the same, the attempt is not."""
    door.write(lambda: introduce("w1"))
    door.write(lambda: turns.enqueue([call(key="k")]))
    first = door.write(lambda: claim(fused=door.fused)).run[0]
    door.write(lambda: query("give_back", turn=first.id, attempt=first.attempt))
    second = door.write(lambda: claim(fused=door.fused)).run[0]
    ends = [
        end_of(CATALOG, CATALOG.jobs["mail"], one, came, Ended("w1", one.claimed_at, 5, 0.0))
        for one, came in ((first, Fail("late")), (second, None))
    ]
    settled = door.write(lambda: turns.settle(ends, "w1"))
    assert [settled.took(end) for end in ends] == [False, True]
    assert door.rows("journal", "turn, attempt, outcome") == [(first.id, 2, "succeeded")]
    assert door.rows("dead_letter") == []
