"""Room that is given away a moment before its instant, or to several at once; and what of a burst is kept back.

Always true: instants are whole milliseconds; what is expected is worked out by hand.

Not here: rates, promises and cool-downs (test_gates), claims (tests/engine/test_limits, tests/strain).
"""

import pytest

from rota.define.units import Rate
from rota.turn.gates import NS, Bucket, Verdict, judge, soon, take

NOW = 1_000_000
SECOND = Rate(count=1, per_ms=1_000)


def bucket(rate: Rate = SECOND, burst: int = 1, tat_ns: int = 0, scope: str = "b") -> Bucket:
    one = Bucket(scope, tat_ns)
    one.paced(rate, burst)
    return one


def test_only_a_burst_too_small_to_make_up_for_a_late_claim_is_given_away_ahead_of_time():
    early = {}
    for burst in (1, 2, 6, 7):
        one = bucket(Rate(count=100, per_ms=1_000), burst)  # one in ten milliseconds
        one.timed(50)
        early[burst] = one.early_ns
    assert early == {1: 50 * NS, 2: 50 * NS, 6: 0, 7: 0}
    unlimited = Bucket("b")
    unlimited.timed(50)
    assert unlimited.early_ns == 0


def test_what_is_claimed_ahead_of_time_is_within_it_and_the_scope_opens_by_half_of_it_sooner():
    one = bucket(SECOND)
    one.timed(50)
    take([one], NOW)
    assert [one.room_count(NOW + ms) for ms in (0, 949, 950, 1_000)] == [0, 0, 1, 1]
    assert one.open_at(NOW) == NOW + 975
    assert one.open_at(NOW + 949) == NOW + 975
    assert one.open_at(NOW + 950) == 0
    one.cooling_until = NOW + 980
    assert (one.open_at(NOW), one.open_at(NOW + 950)) == (NOW + 980, NOW + 980)


def test_a_turn_may_be_claimed_a_little_before_its_instant_but_not_past_those_who_wait():
    one = bucket(SECOND)
    one.timed(50)
    take([one], NOW)
    for at, told in ((NOW + 949, False), (NOW + 950, True), (NOW + 999, True)):
        assert soon([one], judge([one], at, promised=False), at, promised=False) == told
    one.promise(NOW * NS, again=False)
    at = NOW + 960
    assert soon([one], judge([one], at, promised=True), at, promised=True)
    assert not soon([one], judge([one], at, promised=True), at, promised=False)
    assert soon([one], Verdict(None), at, promised=True) is False, "it may start now"
    assert soon([one], Verdict(at + 1, "b", cooling=True), at, promised=True) is False, "a cool-down is no estimate"
    assert soon([bucket(SECOND), one], Verdict(at + 1, "b"), at, promised=True)


def test_nobody_passes_those_who_wait_for_one_of_several_buckets():
    awaited, idle = bucket(scope="awaited"), bucket(scope="idle")
    for one in (awaited, idle):
        one.timed(50)
        take([one], NOW)
    awaited.promise(NOW * NS, again=False)
    at, both = NOW + 960, [awaited, idle]
    assert soon(both, judge(both, at, promised=True), at, promised=True)
    assert not soon(both, judge(both, at, promised=True), at, promised=False)


def test_room_taken_for_a_start_soon_is_that_of_the_instant_it_starts_at():
    one = bucket(SECOND)
    one.timed(50)
    take([one], NOW)
    take([one], NOW + 960, NOW + 1_000)
    assert one.tat_ns == (NOW + 2_000) * NS
    free = bucket(SECOND)
    take([free], NOW, NOW + 40)
    assert free.tat_ns == (NOW + 1_040) * NS, "it had room before: the run starts later all the same"
    for room_at in (NOW + 39, NOW + 40):
        exact = bucket(SECOND, tat_ns=room_at * NS)
        take([exact], NOW, NOW + 40)
        assert exact.tat_ns == (NOW + 1_040) * NS
    awaited = bucket(SECOND)
    awaited.promise(NOW * NS, again=False)
    take([awaited], NOW, NOW + 40)
    assert awaited.tat_ns == (NOW + 1_040) * NS, "that others wait for it changes nothing for who has his place"


@pytest.mark.parametrize(
    ("count", "burst", "together"),
    [(200, 200, 5), (200, 8, 4), (200, 1, 1), (200, 3, 1), (10, 100, 1), (1_000, 1_000, 25)],
)
def test_a_long_backlog_is_looked_at_when_there_is_room_for_several(count, burst, together):
    one = bucket(Rate(count=count, per_ms=1_000), burst)
    one.patient()
    assert one.together == together
    for _ in range(one.burst):
        take([one], NOW)
    assert one.open_at(NOW) == NOW + together * 1_000 // count
    unlimited = Bucket("b")
    unlimited.patient()
    assert unlimited.together == 1


def test_a_fraction_of_a_millisecond_is_not_lost_where_a_start_soon_is_told_in_whole_ones():
    one = bucket(Rate(count=3, per_ms=1_000))
    one.timed(50)
    take([one], NOW)
    take([one], NOW + 320, NOW + 334)
    assert one.tat_ns == NOW * NS + 2 * 333_333_334


@pytest.mark.parametrize(
    ("count", "burst", "left"),
    [
        (200, 200, 195),  # five are refilled in 25 milliseconds
        (1_000, 100, 96),  # 25 would be, but that is more than one part in 25
        (1_000, 24, 24),  # nothing of a small one
        (10, 100, 100),  # nothing is refilled so soon
    ],
)
def test_of_a_large_burst_as_much_is_kept_back_as_is_refilled_until_handlers_begin(count, burst, left):
    one = bucket(Rate(count=count, per_ms=1_000), burst)
    one.timed(50)
    assert one.burst == left
    one.timed(50)
    assert one.burst == left, "once is enough"
    unlimited = Bucket("b", burst=100)
    unlimited.timed(50)
    assert (unlimited.burst, unlimited.kept_back) == (100, False)


def test_a_slower_declaration_that_comes_later_keeps_back_its_own_part():
    one = bucket(Rate(count=1_000, per_ms=1_000), 100)
    one.timed(50)
    one.paced(Rate(count=200, per_ms=1_000), 200)
    one.timed(50)
    assert one.burst == 195
    one.paced(Rate(count=1_000, per_ms=1_000), 100)
    one.timed(50)
    assert one.burst == 195, "the faster one says nothing"
