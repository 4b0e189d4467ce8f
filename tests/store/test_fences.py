"""What keeps two from ending one attempt, and one member from having two turns: the fences, one by one (G-7, G-12).

Always true: each fence stands alone here, so that one that is taken away is missed though the others would do.

Not here: scripts in which they come up by chance (test_contract).
"""

import apsw
import asyncpg
import pytest

from rota.define.outcome import Retryable
from rota.engine.settle import Ended, end_of
from rota.store import members, turns
from rota.store.port import query
from rota.store.sqlite import Sqlite
from tests.store.world import CATALOG, DAY_MS, ROSTER, USER_JOBS, call, claim, introduce

CAME = {"success": lambda: None, "retry": lambda: Retryable("busy"), "failure": lambda: ValueError("no")}
JOBS = {"one-off": "mail", "recurring": "daily"}
LOST = "UPDATE {turn} SET state = 'waiting', worker = NULL, leased_until = NULL, due_at = 1"
TAKEN = "UPDATE {turn} SET worker = 'w2'"


def _held(door, job):
    """A turn that worker w1 has claimed."""
    door.write(lambda: introduce("w1"))
    if job == "mail":
        door.write(lambda: turns.enqueue([call()]))
    else:
        door.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
        door.clock.ms += DAY_MS
    return door.write(lambda: claim("w1", [job], fused=door.fused)).run[0]


def _refused(door, held, came):
    """Whether nothing comes of an end: no answer, no row of the journal, and the turn runs on."""
    end = end_of(CATALOG, CATALOG.jobs[held.job], held, came, Ended("w1", held.claimed_at, 5, 0.0))
    settled = door.write(lambda: turns.settle([end], "w1", fused=door.fused))
    running = door.rows("turn", "state", f"WHERE id = {held.id}") == [("running",)]
    return not settled.accepted and running and door.rows("journal") == [] and door.rows("dead_letter") == []


@pytest.mark.parametrize("came", CAME)
@pytest.mark.parametrize("kind", JOBS)
def test_an_end_of_an_earlier_attempt_of_the_same_worker_is_refused(door, kind, came):
    first = _held(door, JOBS[kind])
    _write(door, LOST, first.id)
    second = door.write(lambda: claim("w1", [first.job], fused=door.fused)).run[0]
    assert (second.id, second.attempt) == (first.id, first.attempt + 1)
    assert _refused(door, first, CAME[came]())


@pytest.mark.parametrize("came", CAME)
@pytest.mark.parametrize("kind", JOBS)
def test_an_end_of_the_same_attempt_of_another_worker_is_refused(door, kind, came):
    held = _held(door, JOBS[kind])
    _write(door, TAKEN, held.id)
    assert _refused(door, held, CAME[came]())


@pytest.mark.parametrize("lost", [LOST, TAKEN], ids=["another attempt", "another worker"])
@pytest.mark.parametrize("name", ["put_steps", "put_progress"])
def test_what_a_run_notes_under_a_lease_that_was_taken_is_refused(door, name, lost):
    held = _held(door, "mail")
    _write(door, lost, held.id)
    door.write(lambda: claim("w1", ["mail"], fused=door.fused))
    values = {"steps": '{"a": 1}'} if name == "put_steps" else {"progress": "1/2"}
    assert not door.write(lambda: turns.fenced_write(name, held, "w1", **values))
    assert door.rows("turn", "steps, progress", f"WHERE id = {held.id}") == [(None, None)]


def test_a_lost_attempt_that_was_claimed_anew_is_not_given_back_again(door):
    first = _held(door, "mail")
    _write(door, LOST, first.id)
    second = door.write(lambda: claim("w1", ["mail"], fused=door.fused)).run[0]
    door.write(lambda: query("give_back", turn=first.id, attempt=first.attempt))
    assert door.rows("turn", "state, attempt", f"WHERE id = {first.id}") == [("running", second.attempt)]


def test_the_schema_has_one_turn_for_each_job_roster_and_member(door):
    """G-12: whatever the code above forgets to ask."""
    door.write(lambda: members.join(ROSTER, USER_JOBS, [members.Entry("a")]))
    columns = "job, roster, member, standing, priority, state"
    turn = door.db.dictionary.table("turn")
    again = f"INSERT INTO {turn} ({columns}) SELECT {columns} FROM {turn} WHERE job = 'daily'"
    with pytest.raises((apsw.ConstraintError, asyncpg.UniqueViolationError)):
        door.sql(again)
    alone = f"INSERT INTO {turn} ({columns}) SELECT {columns} FROM {turn} WHERE job = 'report'"
    with pytest.raises((apsw.ConstraintError, asyncpg.UniqueViolationError)):
        door.sql(alone)


def _write(door, text, turn):
    door.sql(f"{text.format(turn=door.db.dictionary.table('turn'))} WHERE id = {turn}")
    assert isinstance(door.db, Sqlite) or not door._view.is_in_transaction()
