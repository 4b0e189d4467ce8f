"""What a beat gives back after the clock has leapt, statement by statement (G-19).

Always true: the clock is the test's, so an hour passes at once.

Not here: who is doubted, silent or lost in any script (test_contract), watching them (tests/engine/test_leaps.py).
"""

import pytest

from rota.store import reaping, turns
from tests.store.world import LEASE_MS, call, claim, introduce

HOUR_MS = 3_600_000


def _beats(door):
    """Every way a beat is written on this database."""
    ways = [turns.beat, turns.beat_at_once] if door.fused else [turns.beat]
    return [lambda way=way: way("w1", LEASE_MS, 1, None) for way in ways]


def _claimed(door):
    """An attempt of w1, and the last instant it has."""
    for worker in ("w1", "w2"):
        door.write(lambda worker=worker: introduce(worker))
    door.write(lambda: turns.enqueue([call(), call()]))
    mine = door.write(lambda: claim("w1", ["mail"], most=1, fused=door.fused)).run[0]
    door.write(lambda: claim("w2", ["mail"], most=1, fused=door.fused))
    return mine


def _last_instants(door):
    return dict(door.rows("turn", "worker, leased_until", "WHERE state = 'running'"))


@pytest.mark.parametrize("place", [0, 1])
def test_a_beat_after_a_leap_moves_the_last_instants_of_its_own_runs_by_as_much(door, place):
    if place >= len(_beats(door)):
        place = 0
    mine = _claimed(door)
    before = _last_instants(door)
    door.clock.ms += LEASE_MS + HOUR_MS + 1
    assert door.write(_beats(door)[place]).attempts == {mine.id: mine.attempt}
    assert _last_instants(door) == {"w1": before["w1"] + LEASE_MS + HOUR_MS + 1, "w2": before["w2"]}
    assert door.write(_beats(door)[place]).attempts == {mine.id: mine.attempt}
    assert _last_instants(door)["w1"] == before["w1"] + LEASE_MS + HOUR_MS + 1
    assert {one.worker for one in door.write(reaping.doubted)} == {"w2"}


@pytest.mark.parametrize("late_ms", [LEASE_MS // 3, LEASE_MS + HOUR_MS, -2 * HOUR_MS])
def test_a_beat_in_time_or_after_a_small_step_or_one_back_moves_nothing(door, late_ms):
    _claimed(door)
    before = _last_instants(door)
    door.clock.ms += late_ms
    for beat in _beats(door):
        door.write(beat)
    assert _last_instants(door) == before


def test_what_a_silent_worker_held_is_lost_and_a_beat_since_then_keeps_it(door):
    mine = _claimed(door)
    seen_at = door.clock.ms
    door.clock.ms += LEASE_MS + HOUR_MS + 1
    silent = [("w1", seen_at)]
    assert door.write(lambda: reaping.lost(10)) == []
    assert [(one.id, worker) for one, worker in door.write(lambda: reaping.lost(10, silent))] == [(mine.id, "w1")]
    door.write(_beats(door)[0])
    assert door.write(lambda: reaping.lost(10, silent)) == []
