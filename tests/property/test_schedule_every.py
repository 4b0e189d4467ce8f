"""`every`: exact gaps, slots that fill the period, and closed slots."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.define.schedule import Place, every
from rota.define.units import DAY_MS, HOUR_MS
from rota.errors import ConfigError

PERIODS = st.integers(1, 400 * DAY_MS)
INSTANTS = st.integers(-(10**12), 4 * 10**12)


@given(period_ms=PERIODS, at=INSTANTS, share=st.floats(0, 1, exclude_max=True))
def test_slots_are_the_anchor_and_the_phase_and_whole_periods(period_ms, at, share):
    schedule = every(timedelta(milliseconds=period_ms))
    place = Place(int(period_ms * share))
    following, last = schedule.next_slot(at, place), schedule.last_slot(at, place)
    assert last <= at < following
    assert following - last == period_ms
    assert (following - schedule.anchor_ms - place.phase_ms) % period_ms == 0
    assert schedule.next_slot(following, place) - following == period_ms


@given(period_ms=PERIODS, at=INSTANTS, length=st.integers(0, 30), rest=st.integers(0, 10**9), most=st.integers(0, 40))
def test_slots_between_are_counted_exactly(period_ms, at, length, rest, most):
    schedule, place = every(timedelta(milliseconds=period_ms)), Place(period_ms // 3)
    until = at + length * period_ms + rest % period_ms
    expected, slot = [], schedule.next_slot(at, place)
    while slot <= until:
        expected.append(slot)
        slot += period_ms
    assert schedule.count_between(at, until, place) == len(expected)
    assert schedule.slots_between(at, until, place, most) == (expected[-most:] if most else [])


@given(period_ms=PERIODS)
def test_slots_fill_the_period_in_whole_milliseconds(period_ms):
    schedule = every(timedelta(milliseconds=period_ms))
    assert schedule.slot_count * schedule.slot_ms == period_ms
    wanted = 24 if period_ms < DAY_MS else period_ms // HOUR_MS
    assert schedule.slot_count == max(parts for parts in range(1, wanted + 1) if period_ms % parts == 0)


@pytest.mark.parametrize(
    ("period", "count", "slot_ms"),
    [("24h", 24, HOUR_MS), ("7d", 168, HOUR_MS), ("6h", 24, 900_000), ("100ms", 20, 5), ("36h", 36, HOUR_MS)],
)
def test_the_plain_slot_is_an_hour_or_a_24th(period, count, slot_ms):
    assert (every(period).slot_count, every(period).slot_ms) == (count, slot_ms)


def test_the_anchor_is_the_first_monday_in_standard_time():
    assert every("24h").anchor_ms == 4 * DAY_MS
    assert every("24h", zone="Europe/Berlin").anchor_ms == 4 * DAY_MS - HOUR_MS
    assert every("24h", zone="Australia/Sydney").anchor_ms == 4 * DAY_MS - 10 * HOUR_MS
    assert every("24h", zone="Europe/Dublin").anchor_ms == 4 * DAY_MS
    assert every("24h", zone="Asia/Kolkata").anchor_ms == 4 * DAY_MS - 19_800_000


def test_a_slot_given_by_hand_cuts_the_period():
    schedule = every("7d", slot="24h", within="1h")
    assert (schedule.slot_count, schedule.slot_ms, schedule.within_ms) == (7, DAY_MS, HOUR_MS)
    assert schedule.balanced is True


def test_no_spread_and_the_smallest_period_and_slot_are_a_millisecond():
    assert every("24h", within="0s").within_ms == 1
    assert every("1ms").slot_ms == 1
    assert every("24h", slot="1ms").slot_count == DAY_MS


def test_closed_slots_are_numbers_or_ranges_of_the_day():
    assert every("24h", closed=[3, "02:00-03:00"]).closed == {2, 3}
    assert every("24h", closed=["22:30-01:00"]).closed == {22, 23, 0}
    assert every("24h", closed=["22:00-24:00"]).closed == {22, 23}
    assert every("7d", slot="24h", within="1h", closed=["02:00-05:00"]).closed == frozenset()
    assert len(every("7d", closed=["02:00-05:00"]).closed) == 21


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"closed": range(24)}, "closes all 24"),
        ({"closed": ["00:00-24:00"]}, "closes all 24"),
        ({"closed": [24]}, "from 0 to 23"),
        ({"closed": "02:00-05:00"}, "a list"),
        ({"closed": ["2-5"]}, "must be such as"),
        ({"slot": "7h"}, "without rest"),
        ({"within": "2h"}, "must fit"),
        ({"zone": "Mars/Olympus"}, "IANA"),
        ({"zone": None}, 'IANA name such as "UTC", not None'),
        ({"closed": 7}, "must be a list of slot numbers"),
        ({"closed": [True]}, "from 0 to 23 .* not True"),
        ({"closed": [2.0]}, r"from 0 to 23 .* not 2\.0"),
        ({"closed": ["25:00-02:00"]}, "a range .* must be such as"),
        ({"closed": ["02:00-25:00"]}, "a range .* must be such as"),
        ({"closed": ["02:00-02:00"]}, "a range .* must be such as"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        every("24h", **options)


def test_ranges_of_the_day_need_a_period_of_whole_days():
    with pytest.raises(ConfigError, match="whole days"):
        every("6h", closed=["02:00-05:00"])


def test_the_signature_changes_when_and_only_when_the_slots_do():
    same = {
        every("24h").signature(),
        every("1d").signature(),
        every("24h", slot="1h", zone="Africa/Abidjan").signature(),
    }
    assert len(same) == 1
    others = [every("25h"), every("24h", slot="2h"), every("24h", within="1m"), every("24h", closed=[1])]
    assert len({schedule.signature() for schedule in others} | same) == 5
