"""The arithmetic of local clocks at its edges: changes to the second, both ends of the calendar, gaps of slots.

Always true: what is expected is worked out by hand, from what the zones' laws say.

Not here: many rules in many zones against a walk over minutes (tests/property/test_schedule_wallclock), rules as they
are written (test_define_schedule).
"""

from calendar import monthrange
from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from rota.define.cron import cron_rule
from rota.define.schedule import DayTime, Place, cron, daily, weekly
from rota.define.units import DAY_MS, HOUR_MS, MINUTE_MS, instant_ms
from rota.define.wallclock import (
    date_of,
    first_reading,
    iso_weekday,
    nominal_gap,
    offset_at,
    segments_around,
    shortest_gap,
)

BEGIN, END = instant_ms(datetime(1900, 1, 1, tzinfo=UTC)), instant_ms(datetime(9000, 1, 1, tzinfo=UTC))
FAR = 4 * 10**14  # beyond what the calendar has room for
BERLIN = "Europe/Berlin"


def at(*parts: int) -> int:
    return instant_ms(datetime(*parts, tzinfo=UTC))


def day(year: int, month: int, of_month: int) -> int:
    return at(year, month, of_month) // DAY_MS


# -- days and offsets ------------------------------------------------------------------------------


def test_days_are_counted_from_1970_and_know_their_weekday():
    assert date_of(0) == date(1970, 1, 1)
    assert date_of(-1) == date(1969, 12, 31)
    assert date_of(20_454) == date(2026, 1, 1)
    assert [iso_weekday(one) for one in range(-4, 5)] == [7, 1, 2, 3, 4, 5, 6, 7, 1]


@pytest.mark.parametrize(
    ("zone", "instant", "offset_ms"),
    [
        ("UTC", at(2026, 1, 1), 0),
        (BERLIN, at(2026, 3, 29, 0, 59, 59), HOUR_MS),
        (BERLIN, at(2026, 3, 29, 1), 2 * HOUR_MS),
        ("America/St_Johns", at(2026, 1, 1), -(3 * HOUR_MS + 30 * MINUTE_MS)),
        ("Africa/Monrovia", at(1971, 1, 1), -(44 * MINUTE_MS + 30_000)),
    ],
)
def test_an_offset_is_how_far_the_local_clock_is_ahead(zone, instant, offset_ms):
    assert offset_at(instant, zone) == offset_ms


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        (BERLIN, at(2026, 3, 29, 1)),
        (BERLIN, at(2026, 10, 25, 1)),
        ("Australia/Lord_Howe", at(2026, 4, 4, 15)),
        ("America/St_Johns", at(2005, 10, 30, 2, 31)),
        ("Pacific/Apia", at(2011, 12, 30, 10)),
        ("Pacific/Kwajalein", at(1993, 8, 21, 12)),
        ("Africa/Monrovia", at(1972, 1, 7, 0, 44, 30)),
        ("Europe/Dublin", at(1916, 5, 21, 2, 25, 21)),
        ("Europe/Dublin", at(1916, 10, 1, 2, 25, 21)),
    ],
)
def test_two_stretches_meet_at_the_very_second_at_which_the_clocks_change(zone, change):
    around = segments_around(change // DAY_MS, zone)
    assert [end for _, end, _ in around[:-1]] == [change]
    assert all(one[1] == other[0] for one, other in pairwise(around))
    before, after = around
    assert (before[2], after[2]) == (offset_at(change - 1_000, zone), offset_at(change, zone))
    assert before[2] != after[2]


def test_a_reading_that_no_stretch_reaches_is_a_fault_and_not_a_slot():
    assert first_reading(5, ((0, 10, 0),)) == 5
    with pytest.raises(AssertionError, match="every reading"):
        first_reading(10, ((0, 10, 0),))


def test_a_day_in_the_farthest_west_that_was_left_out_begins_where_the_next_one_does():
    schedule, place = daily("08:00", zone="Pacific/Kwajalein"), Place()
    told = [at(1993, 8, 20, 20), at(1993, 8, 21, 12), at(1993, 8, 21, 20), at(1993, 8, 22, 20)]
    assert schedule.slots_between(at(1993, 8, 20), at(1993, 8, 23), place, 10) == told
    assert schedule.count_between(at(1993, 8, 20), at(1993, 8, 23), place) == 4


# -- both ends of the calendar ---------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [daily("00:00"), cron("0 0 * * *")])
def test_the_first_slot_is_on_the_first_day_of_1900_and_the_last_on_the_first_of_9000(schedule):
    place = Place()
    assert schedule.next_slot(-FAR, place) == schedule.next_slot(BEGIN - 1, place) == BEGIN
    assert schedule.next_slot(BEGIN, place) == BEGIN + DAY_MS
    assert (schedule.last_slot(BEGIN, place), schedule.last_slot(BEGIN - 1, place)) == (BEGIN, None)
    assert schedule.last_slot(FAR, place) == schedule.last_slot(END, place) == END
    assert schedule.last_slot(END - 1, place) == END - DAY_MS
    assert (schedule.next_slot(END - 1, place), schedule.next_slot(END, place)) == (END, None)


@pytest.mark.parametrize("schedule", [daily("00:00"), cron("0 0 * * *")])
def test_slots_are_counted_up_to_both_ends_and_not_beyond(schedule):
    place = Place()
    assert schedule.count_between(-FAR, BEGIN + DAY_MS, place) == 2
    assert schedule.count_between(END - 2 * DAY_MS, FAR, place) == 2
    assert schedule.count_between(END, FAR, place) == 0


def test_a_rule_of_one_day_in_a_year_has_one_slot_for_each_of_them():
    assert cron("0 0 1 1 *").count_between(at(2000, 1, 1), at(2400, 1, 1), Place()) == 400


def test_of_a_day_of_change_only_the_slots_after_the_instant_are_counted():
    schedule, place = cron("0 1,4,9 * * *", zone=BERLIN), Place()  # on that day at 00:00, 02:00 and 07:00 UTC
    until = at(2026, 3, 29, 20)
    counts = [schedule.count_between(at(2026, 3, 29, hour), until, place) for hour in (0, 1, 2, 6, 7)]
    assert counts == [2, 2, 1, 1, 0]
    assert schedule.count_between(at(2026, 3, 29, 1), at(2026, 3, 29, 6), place) == 1


@pytest.mark.parametrize("month", range(1, 13))
def test_a_rule_of_one_month_has_the_days_of_that_month_and_no_others(month):
    schedule, place = cron(f"0 0 * {month} *"), Place()
    _, days = monthrange(2027, month)
    first, last = at(2027, month, 1), at(2027, month, days)
    assert schedule.next_slot(at(2027, 1, 1) - 1, place) == first
    assert schedule.last_slot(at(2027, 12, 31), place) == last
    assert schedule.slots_between(first - 1, at(2027, 12, 31), place, 40) == list(range(first, last + 1, DAY_MS))
    assert schedule.count_between(at(2027, 1, 1) - 1, at(2027, 12, 31), place) == days


# -- distances -------------------------------------------------------------------------------------


def test_the_shortest_gap_counts_both_ends_of_its_stretch_of_days():
    noon = DayTime(0, 12 * HOUR_MS)
    assert shortest_gap(noon, "UTC", at(2026, 1, 1), at(2026, 1, 1, 23)) is None
    assert shortest_gap(noon, "UTC", at(2026, 1, 1), at(2026, 1, 2)) == DAY_MS
    assert shortest_gap(noon, BERLIN, at(2026, 3, 28, 23), at(2026, 3, 29)) == 23 * HOUR_MS
    assert shortest_gap(noon, BERLIN, at(2026, 10, 24), at(2026, 10, 25)) == 25 * HOUR_MS
    assert shortest_gap(noon, BERLIN, at(2026, 10, 24), at(2026, 10, 27)) == DAY_MS


def test_gaps_inside_a_day_of_change_count_and_those_inside_plain_days_too():
    assert cron("30 1,2,3 * * *", zone=BERLIN).min_gap_ms == 30 * MINUTE_MS  # 02:30 is 03:00 in spring
    assert cron("0 1,4,9 * * *", zone="UTC").min_gap_ms == 3 * HOUR_MS
    assert cron("0 1,20 * * *", zone="UTC").min_gap_ms == 5 * HOUR_MS
    assert cron("0 0,10,11,20 * * *", zone="UTC").min_gap_ms == HOUR_MS
    assert weekly("mon", "12:00", zone=BERLIN).min_gap_ms == 7 * DAY_MS - HOUR_MS


def test_the_shortest_gap_at_the_end_of_the_calendar_is_that_of_the_slots_that_are_left():
    rule = cron_rule("0 0 * * *")
    assert shortest_gap(rule, "UTC", END - DAY_MS, FAR) == DAY_MS
    assert shortest_gap(rule, "UTC", END, FAR) is None


@pytest.mark.parametrize(
    ("expression", "gap_ms"),
    [
        ("0 1,4,9 * * *", 3 * HOUR_MS),
        ("0 1,20 * * *", 5 * HOUR_MS),
        ("0 6 * * *", DAY_MS),
        ("0 6,7 * * 1", HOUR_MS),
        ("0 6,18 * * 1,2", 12 * HOUR_MS),
        ("0 0 1 * *", 28 * DAY_MS),
    ],
)
def test_the_nominal_gap_is_the_smallest_in_a_day_or_from_one_day_to_the_next(expression, gap_ms):
    assert nominal_gap(cron_rule(expression), day(2026, 1, 1), day(2026, 12, 31)) == gap_ms


def test_the_nominal_gap_looks_at_the_days_it_was_asked_for_and_at_the_one_after_them():
    new_year = cron_rule("0 0 1 1 *")
    assert nominal_gap(new_year, day(2026, 1, 1), day(2026, 1, 1)) == 365 * DAY_MS
    assert nominal_gap(new_year, day(2023, 12, 31), day(2025, 1, 1)) == 365 * DAY_MS
    assert nominal_gap(new_year, day(2024, 1, 1), day(2024, 12, 31)) == 366 * DAY_MS
    assert nominal_gap(new_year, day(2026, 1, 2), day(2026, 12, 31)) is None
    assert nominal_gap(new_year, END // DAY_MS, END // DAY_MS + 400) is None
    assert nominal_gap(new_year, END // DAY_MS + 1, END // DAY_MS + 400) is None
    assert nominal_gap(cron_rule("0 3,5 1 1 *"), END // DAY_MS, END // DAY_MS) == 2 * HOUR_MS
