"""The arithmetic of limits and cool-downs, against a token bucket that is written down in fractions and cannot round.

Always true: instants are whole milliseconds, as the store gives them; what is expected is worked out by hand or by the
token bucket, and not by the code that is tested.

Not here: room given away ahead of time (test_early_room), rows and claims (tests/engine/test_limits, tests/store).
"""

from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota import Batch, Cap, Limit, every
from rota.define.job import JobSpec, job_spec
from rota.define.units import Rate
from rota.turn.gates import (
    COOL_MOST_MS,
    COOL_MS,
    EARLY_MS,
    LATE_MS,
    LATE_PART,
    NS,
    PARK_MS,
    PROBE_MS,
    TOGETHER_MS,
    Bounds,
    Bucket,
    Keys,
    Verdict,
    bounds_of,
    filled,
    judge,
    keys_of,
    narrow,
    take,
    values_of,
)

NOW = 1_000_000
SECOND, MINUTE = Rate(count=1, per_ms=1_000), Rate(count=1, per_ms=60_000)
NOTHING = Bounds(limits=(), scope=None, serial=None, cap=None, cap_by=None, batch=None)


def bucket(rate: Rate = SECOND, burst: int = 1, scope: str = "b", **fields: Any) -> Bucket:
    one = Bucket(scope, **fields)
    one.paced(rate, burst)
    return one


def spec(**options: Any) -> JobSpec:
    def handler(region: str = "eu") -> None: ...

    return job_spec(handler, name="job", **options)


# -- what a job shares -----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"cap": 3}, {"cap": Cap(3)}])
def test_a_job_that_shares_nothing_but_its_number_of_places_is_claimed_plainly(options):
    assert bounds_of(spec(**options)) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"limit": Limit("a", "1/s")}, {"limits": (Limit("a", "1/s"),)}),
        ({"limit": [Limit("a", "1/s"), Limit("b", "2/s")]}, {"limits": (Limit("a", "1/s"), Limit("b", "2/s"))}),
        ({"scope": "s"}, {"scope": "s"}),
        ({"serial": "{region}"}, {"serial": "{region}"}),
        ({"cap": Cap(2, by="owner")}, {"cap": 2, "cap_by": "owner"}),
        ({"scope": "s", "cap": 4}, {"scope": "s", "cap": 4}),
        ({"each": "users", "schedule": every("1h"), "batch": Batch(7)}, {"batch": 7}),
    ],
)
def test_what_a_job_declares_is_what_its_runs_share(options, expected):
    assert bounds_of(spec(**options)) == NOTHING._replace(**expected)


def test_only_what_is_the_same_for_every_run_closes_the_job_as_a_whole():
    same, open_ = Limit("a", "1/s"), Limit("b:{region}", "1/s")
    assert (NOTHING.gated, NOTHING.keyed) == ((), False)
    assert NOTHING._replace(limits=(same,)).gated == ("a",)
    assert NOTHING._replace(limits=(same, open_), scope="s").gated == ("a", "s")
    assert NOTHING._replace(limits=(same,), scope="a").gated == ("a",)
    assert NOTHING._replace(limits=(open_,), scope="s:{region}").gated == ()
    assert not NOTHING._replace(limits=(same,), scope="s").keyed
    assert NOTHING._replace(limits=(same, open_)).keyed
    assert NOTHING._replace(limits=(same,), scope="s:{region}").keyed


def test_holes_may_name_arguments_data_the_member_and_its_owner():
    values = values_of({"region": "eu", "shop": 1}, {"region": "us", "size": "l"}, "ann", "acme")
    assert values == {"region": "us", "shop": 1, "size": "l", "member": "ann", "key": "ann", "owner": "acme"}
    assert filled("x:{region}:{owner}:{key}", values) == "x:us:acme:ann"
    assert filled("x", values) == "x"
    assert filled("x:{absent}", values) == "x:{absent}", "one bucket for all that have no value"
    assert filled("x:{owner}", values_of({}, {}, None, None)) == "x:{owner}"


def test_a_turn_shares_the_filled_names_of_what_its_job_declares():
    bounds = Bounds((Limit("a:{region}", "1/s"), Limit("b", "1/s")), "s:{owner}", "one:{owner}", 2, "region", None)
    keys = keys_of(bounds, "job", {"region": "eu", "owner": "acme"}, ["learned", "b", "learned"])
    assert keys == Keys(("a:eu", "b"), ("s:acme", "learned"), "one:acme", "job region=eu")
    assert keys.all_scopes == ("a:eu", "b", "s:acme", "learned")
    assert keys_of(NOTHING, "job", {}) == Keys((), (), None, None)
    assert keys_of(NOTHING._replace(cap=1, cap_by="owner"), "job", {}).cap == "job owner=None"


def test_a_scope_that_names_a_value_of_the_run_is_that_runs_alone():
    values = {"region": "eu", "shop": 17, "vip": True, "note": None}
    assert narrow("ads:eu", values)
    assert narrow("ads:x:17", values)
    assert narrow("eu", values)
    assert not narrow("ads", values)
    assert not narrow("eu:ads", values), "the first part says whose service it is"
    assert not narrow("ads:True", values)
    assert not narrow("ads:None", values)


# -- rates -----------------------------------------------------------------------------------------


def test_an_interval_is_rounded_up_so_that_a_rate_is_never_exceeded():
    assert bucket(Rate(count=20_000, per_ms=1_000)).interval_ns == 50_000
    assert bucket(Rate(count=3, per_ms=1_000)).interval_ns == 333_333_334
    assert bucket(Rate(count=1, per_ms=86_400_000)).interval_ns == 86_400_000 * NS


def test_of_two_declarations_of_one_name_the_slower_holds_with_its_burst():
    one = bucket(SECOND, burst=5)
    one.paced(MINUTE, 3)
    assert (one.interval_ns, one.burst) == (60_000 * NS, 3)
    one.paced(SECOND, 9)
    assert (one.interval_ns, one.burst) == (60_000 * NS, 3)
    one.paced(MINUTE, 8)
    assert one.burst == 3


def test_a_new_bucket_is_full_open_and_unknown():
    one = Bucket("b")
    assert (one.tat_ns, one.line_ns, one.cooling_until, one.failures, one.closed_until) == (0, 0, 0, 0, 0)
    assert (one.interval_ns, one.burst) == (0, 1)
    assert (one.limited, one.probing, one.changed, one.half_open) == (False, False, False, False)
    assert (one.kept_back, one.early_ns, one.together) == (False, 0, 1)


def test_a_first_declaration_holds_whatever_stood_there_before():
    one = Bucket("b", interval_ns=60_000 * NS, burst=9)
    one.paced(SECOND, 2)
    assert (one.interval_ns, one.burst, one.limited) == (1_000 * NS, 2, True)


def test_a_bucket_without_a_rate_has_room_for_all_and_keeps_nothing():
    one = Bucket("b")
    one.spend(NOW * NS, 5)
    one.promise(NOW * NS, again=False)
    assert one == Bucket("b")
    assert one.room_ns(NOW * NS, promised=False, n=10) == NOW * NS
    assert one.room_count(NOW) == 1_000_000
    assert one.open_at(NOW) == 0


def test_a_full_bucket_starts_its_burst_at_once_and_then_one_in_each_interval():
    one = bucket(SECOND, burst=3)
    counts = []
    for _ in range(3):
        counts.append(one.room_count(NOW))
        assert judge([one], NOW, promised=False) == Verdict(None)
        take([one], NOW)
    assert (counts, one.room_count(NOW)) == ([3, 2, 1], 0)
    assert judge([one], NOW, promised=False) == Verdict(NOW + 1_000, "b", cooling=False)
    assert one.open_at(NOW) == NOW + 1_000
    assert one.room_count(NOW + 999) == 0
    assert judge([one], NOW + 999, promised=False).start_at == NOW + 1_000
    assert one.room_count(NOW + 1_000) == 1
    assert (judge([one], NOW + 1_000, promised=False).start_at, one.open_at(NOW + 1_000)) == (None, 0)
    assert one.room_count(NOW + 3_500) == 3, "what was not used is kept up to the burst"
    assert one.room_count(NOW + 99_000) == 3


def test_several_are_taken_at_once_and_are_known_to_need_more_room():
    one = bucket(SECOND, burst=5)
    assert one.room_ns(NOW * NS, promised=True, n=5) == NOW * NS
    assert one.room_ns(NOW * NS, promised=True, n=7) == (NOW + 2_000) * NS
    one.spend(NOW * NS, 4)
    assert one.changed
    assert one.room_count(NOW) == 1
    assert one.room_ns(NOW * NS, promised=True, n=2) == (NOW + 1_000) * NS
    assert one.line_ns == one.tat_ns == (NOW + 4_000) * NS


@st.composite
def arrivals(draw, least_burst=1):
    """A rate, a burst, and arrivals: most close together, some after a long pause."""
    rate = Rate(count=draw(st.integers(1, 50)), per_ms=draw(st.sampled_from([1_000, 60_000, 3_600_000])))
    interval_ms = rate.per_ms // rate.count
    gaps = st.integers(0, 3) | st.integers(0, 2 * interval_ms) | st.integers(0, 20 * interval_ms)
    return rate, draw(st.integers(least_burst, 20)), draw(st.lists(gaps, min_size=1, max_size=60))


@given(arrivals())
def test_a_bucket_agrees_with_a_token_bucket_over_any_arrivals(given_):
    """Room or not, and if not the exact instant: the first whole millisecond at which there is a whole token."""
    rate, burst, gaps = given_
    one = bucket(rate, burst)
    interval = Fraction(one.interval_ns, NS)
    tokens, then, now = Fraction(burst), NOW, NOW
    for gap in gaps:
        now += gap
        tokens, then = min(Fraction(burst), tokens + (now - then) / interval), now
        assert one.room_count(now) == int(tokens)
        verdict = judge([one], now, promised=True)
        if tokens >= 1:
            assert (verdict, one.open_at(now)) == (Verdict(None), 0)
            assert take([one], now) == ()
            tokens -= 1
        else:
            start_at = ceil(now + (1 - tokens) * interval)
            assert verdict == Verdict(start_at, "b", cooling=False)
            assert one.open_at(now) == start_at


@given(arrivals(), st.data())
def test_in_any_stretch_no_more_starts_than_its_length_allows_and_the_burst(given_, data):
    rate, burst, gaps = given_
    one, now, starts = bucket(rate, burst), NOW, []
    for gap in gaps:
        now += gap
        n = data.draw(st.integers(1, burst))
        if one.room_ns(now * NS, promised=True, n=n) <= now * NS:
            one.spend(now * NS, n)
            starts += [now] * n
    for first in range(0, len(starts), 3):
        for last in range(first, len(starts)):
            assert last - first + 1 <= Fraction((starts[last] - starts[first]) * NS, one.interval_ns) + burst


# -- promises --------------------------------------------------------------------------------------


def test_who_finds_no_room_is_promised_the_end_of_the_line():
    one = bucket(SECOND, burst=2)
    take([one], NOW)
    take([one], NOW)
    told = []
    for _ in range(3):
        verdict = judge([one], NOW, promised=False)
        told.append(verdict.start_at)
        one.promise(NOW * NS, again=False)
    assert told == [NOW + 1_000, NOW + 2_000, NOW + 3_000]
    assert one.open_at(NOW) == NOW + 1_000, "then the first who waits may start"
    assert judge([one], NOW + 1_000, promised=False).start_at == NOW + 4_000, "room is there, but it is another's"
    assert judge([one], NOW + 1_000, promised=True).start_at is None
    assert one.room_ns((NOW + 1_000) * NS, promised=True) == (NOW + 1_000) * NS


def test_who_has_a_place_in_the_line_gets_no_second_one():
    one = bucket()
    take([one], NOW)
    one.changed = False
    one.promise(NOW * NS, again=True)
    assert (one.line_ns, one.changed) == (one.tat_ns, False)
    one.promise(NOW * NS, again=False)
    assert (one.line_ns, one.changed) == (one.tat_ns + 1_000 * NS, True)


def test_a_line_that_time_has_passed_begins_anew_at_now():
    one = bucket()
    take([one], NOW)
    one.promise(NOW * NS, again=False)
    later = NOW + 60_000
    assert judge([one], later, promised=False).start_at is None
    one.promise(later * NS, again=False)
    assert one.line_ns == (later + 1_000) * NS
    one.spend(later * NS)
    assert (one.tat_ns, one.line_ns) == ((later + 1_000) * NS, (later + 1_000) * NS)


@given(arrivals(least_burst=2))
def test_whoever_comes_at_the_instant_that_was_promised_finds_room(given_):
    """Nothing is promised twice: all that wait come when they were told to, and each may start.

    Of a burst of one this holds for intervals of whole milliseconds: others are rounded up at each start.
    """
    rate, burst, gaps = given_
    one, now, waiting = bucket(rate, burst), NOW, []
    for gap in gaps:
        now += gap
        for start_at in [at for at in waiting if at <= now]:
            waiting.remove(start_at)
            assert judge([one], start_at, promised=True).start_at is None
            take([one], start_at)
        start_at = judge([one], now, promised=False).start_at
        if start_at is None:
            take([one], now)
        else:
            assert start_at > now
            one.promise(now * NS, again=False)
            waiting.append(start_at)
    assert waiting == sorted(waiting)
    assert all((after - before + 1) * NS > one.interval_ns for before, after in pairwise(waiting))


# -- cool-downs ------------------------------------------------------------------------------------


def test_a_scope_that_said_when_is_closed_until_then_and_then_tried_by_one():
    one = Bucket("b")
    one.cool(NOW, 3_000)
    assert (one.cooling_until, one.failures, one.half_open) == (NOW + 3_000, 1, True)
    assert one.open_at(NOW) == NOW + 3_000
    assert judge([one], NOW + 2_999, promised=False) == Verdict(NOW + 3_000, "b", cooling=True)
    assert judge([one], NOW + 3_000, promised=False) == Verdict(None)
    assert (one.room_count(NOW + 2_999), one.room_count(NOW + 3_000)) == (0, 1)


def test_a_scope_that_does_not_say_when_cools_longer_each_time_up_to_a_quarter_of_an_hour():
    one, now, waits = Bucket("b"), NOW, []
    for _ in range(14):
        one.cool(now, None)
        waits.append(one.cooling_until - now)
        now = one.cooling_until
    assert waits[:6] == [60_000, 120_000, 240_000, 480_000, 900_000, 900_000]
    assert set(waits[5:]) == {COOL_MOST_MS}
    assert (COOL_MS, COOL_MOST_MS) == (60_000, 900_000)
    one.failures = 10**9  # no shift of so many bits is ever made
    one.cool(now, None)
    assert one.cooling_until == now + COOL_MOST_MS


def test_news_while_it_cools_only_lengthens_it_and_is_not_another_time():
    one = Bucket("b")
    one.cool(NOW, 60_000)
    one.cool(NOW + 1_000, 10_000)
    assert (one.cooling_until, one.failures) == (NOW + 60_000, 1)
    one.cool(NOW + 1_000, 90_000)
    assert (one.cooling_until, one.failures) == (NOW + 91_000, 1)
    one.cool(NOW + 91_000, 1_000)
    assert (one.cooling_until, one.failures) == (NOW + 92_000, 2), "it had ended: this is another time"


def test_one_probe_goes_and_the_others_wait_for_what_it_finds():
    one = Bucket("b")
    one.cool(NOW, 1_000)
    then = NOW + 1_000
    assert take([one], then) == ("b",)
    assert (one.probing, one.changed, one.cooling_until) == (True, True, then + PROBE_MS)
    assert judge([one], then, promised=True) == Verdict(then + PROBE_MS, "b", cooling=True)
    assert one.room_count(then) == 0


def test_a_probe_that_fails_closes_it_again_for_as_long_as_it_says():
    one = Bucket("b")
    one.cool(NOW, 1_000)
    then = NOW + 1_000
    take([one], then)
    one.cool(then + 500, 2_000)
    assert (one.cooling_until, one.failures, one.probing) == (then + 2_500, 2, False)


def test_a_probe_that_shows_nothing_lets_the_next_one_try_at_once():
    one = Bucket("b")
    one.cool(NOW, 1_000)
    take([one], NOW + 1_000)
    one.changed = False
    one.unproved(NOW + 1_500)
    assert (one.probing, one.cooling_until, one.changed) == (False, NOW + 1_500, True)
    assert one.failures == 1, "it is still not known to work"
    assert take([one], NOW + 1_500) == ("b",)


def test_only_who_had_a_probe_may_say_that_it_showed_nothing():
    one = Bucket("b")
    one.cool(NOW, 1_000)
    one.changed = False
    one.unproved(NOW + 500)
    assert (one.probing, one.cooling_until, one.changed) == (False, NOW + 1_000, False)


def test_a_refusal_empties_the_bucket_to_one_so_that_no_burst_follows_it():
    one = bucket(SECOND, burst=5)
    one.cool(NOW, 0)
    one.failures = 0
    assert one.room_count(NOW) == 1
    assert one.tat_ns == one.line_ns == (NOW + 4_000) * NS
    used = bucket(SECOND, burst=1)
    used.cool(NOW, 0)
    assert used.tat_ns == NOW * NS
    full = bucket(SECOND, burst=5, tat_ns=(NOW + 9_000) * NS, line_ns=(NOW + 12_000) * NS)
    full.cool(NOW, 0)
    assert (full.tat_ns, full.line_ns) == ((NOW + 9_000) * NS, (NOW + 12_000) * NS)


def test_a_scope_without_failures_needs_no_probe():
    one = bucket(SECOND, burst=2)
    assert take([one], NOW) == ()
    assert (one.half_open, one.probing, one.cooling_until) == (False, False, 0)


# -- several at once -------------------------------------------------------------------------------


def test_a_turn_waits_for_the_last_of_its_buckets_and_is_told_which():
    first, second = bucket(SECOND, scope="first"), bucket(MINUTE, scope="second")
    take([first, second], NOW)
    assert judge([first, second], NOW, promised=False) == Verdict(NOW + 60_000, "second", cooling=False)
    assert judge([second, first], NOW, promised=False) == Verdict(NOW + 60_000, "second", cooling=False)
    assert judge([first], NOW, promised=False) == Verdict(NOW + 1_000, "first", cooling=False)
    assert judge([], NOW, promised=False) == Verdict(None)
    same = bucket(SECOND, scope="same")
    take([same], NOW)
    assert judge([first, same], NOW, promised=False).scope == "first"


def test_cooling_is_told_where_it_lasts_as_long_as_the_rate_or_longer():
    one = bucket(SECOND)
    take([one], NOW)
    for cooling_until, cooling in ((NOW + 999, False), (NOW + 1_000, True), (NOW + 5_000, True)):
        one.cooling_until = cooling_until
        assert judge([one], NOW, promised=False) == Verdict(max(cooling_until, NOW + 1_000), "b", cooling)
        assert one.open_at(NOW) == max(cooling_until, NOW + 1_000)


def test_room_is_taken_in_all_buckets_and_each_that_is_half_open_has_its_probe():
    well, sick, ill = bucket(SECOND, scope="well"), bucket(SECOND, scope="sick"), Bucket("ill")
    sick.failures = ill.failures = 1
    assert take([well, sick, ill], NOW) == ("sick", "ill")
    assert [one.tat_ns for one in (well, sick, ill)] == [(NOW + 1_000) * NS, (NOW + 1_000) * NS, 0]
    assert [one.probing for one in (well, sick, ill)] == [False, True, True]


# -- exactly ---------------------------------------------------------------------------------------


def test_an_instant_between_two_milliseconds_is_the_later_one():
    one = bucket(Rate(count=3, per_ms=1_000))
    take([one], NOW)
    assert judge([one], NOW, promised=False).start_at == NOW + 334
    assert one.open_at(NOW) == NOW + 334
    assert judge([one], NOW + 333, promised=False).start_at == NOW + 334
    assert judge([one], NOW + 334, promised=False).start_at is None


def test_the_plain_waits_are_those_of_the_design():
    assert (PARK_MS, PROBE_MS, NS) == (30_000, 60_000, 1_000_000)
    assert (EARLY_MS, LATE_MS, LATE_PART, TOGETHER_MS) == (50, 25, 25, 25)
