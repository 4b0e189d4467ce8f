"""Wall-clock schedules against brute force: a walk over every minute of a few weeks around a change of the clocks."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.define.schedule import Place, cron, daily, weekly
from rota.define.units import DAY_MS, MINUTE_MS, WEEKDAYS, instant_ms

# A zone and a stretch of time in which its clocks do something.
STRETCHES = {
    "berlin forward": ("Europe/Berlin", datetime(2026, 3, 22, tzinfo=UTC)),
    "berlin back": ("Europe/Berlin", datetime(2026, 10, 18, tzinfo=UTC)),
    "new york forward": ("America/New_York", datetime(2026, 3, 1, tzinfo=UTC)),
    "new york back": ("America/New_York", datetime(2026, 10, 25, tzinfo=UTC)),
    "half an hour forward": ("Australia/Lord_Howe", datetime(2026, 9, 27, tzinfo=UTC)),
    "half an hour back": ("Australia/Lord_Howe", datetime(2026, 3, 29, tzinfo=UTC)),
    "no change": ("Asia/Kolkata", datetime(2026, 3, 22, tzinfo=UTC)),
    "forward at midnight": ("America/Sao_Paulo", datetime(2017, 10, 8, tzinfo=UTC)),
    "back at midnight": ("America/Sao_Paulo", datetime(2017, 2, 12, tzinfo=UTC)),
    "a day that never was": ("Pacific/Apia", datetime(2011, 12, 24, tzinfo=UTC)),
    "back over midnight": ("America/St_Johns", datetime(2005, 10, 23, tzinfo=UTC)),
    "into the next day": ("America/Nuuk", datetime(2024, 3, 24, tzinfo=UTC)),
    "two hours": ("Antarctica/Troll", datetime(2026, 3, 22, tzinfo=UTC)),
}
DAYS = 14
ZONES = st.sampled_from(sorted(STRETCHES))
MINUTES = st.integers(0, 1439)
OFFSETS = st.integers(0, DAYS * DAY_MS - 1)


@cache
def walked(stretch):
    """Each minute of the stretch (and of some days around it) as (instant, what the local clock reads)."""
    zone, start = STRETCHES[stretch]
    first = start - timedelta(days=3)
    moments = [first + timedelta(minutes=minute) for minute in range((DAYS + 6) * 1440)]
    return [(instant_ms(at), at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for at in moments]


def first_at_or_after(stretch, wall):
    """The first instant at which the local clock reads `wall` or later."""
    return next((at for at, reading in walked(stretch) if reading >= wall), None)


def local_days(stretch):
    """Every date that a calendar on the wall would show, whether or not the zone lived through it."""
    first, last = walked(stretch)[0][1].date(), walked(stretch)[-1][1].date()
    return [first + timedelta(days=day) for day in range(1, (last - first).days)]


def expected_at_times(stretch, fits_day, minutes):
    """Brute force for rules with stated times."""
    walls = [
        datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
        for day in local_days(stretch)
        if fits_day(day)
        for minute in minutes
    ]
    return sorted({first_at_or_after(stretch, wall) for wall in walls} - {None})


def assert_agrees(schedule, stretch, expected, phase_ms=0, data=None):
    """Every question of the engine, over the whole stretch, against the list."""
    zone, start = STRETCHES[stretch]
    place = Place(phase_ms, zone, data or {})
    begin, end = instant_ms(start), instant_ms(start) + DAYS * DAY_MS
    expected = [slot + phase_ms for slot in expected]
    inside = [slot for slot in expected if begin < slot <= end]
    found, at = [], begin
    while (at := schedule.next_slot(at, place)) <= end:
        found.append(at)
    assert found == inside
    assert schedule.slots_between(begin, end, place, 10_000) == inside
    assert schedule.slots_between(begin, end, place, 2) == inside[-2:]
    assert schedule.count_between(begin, end, place) == len(inside)
    for at in (begin, end, *inside, *(slot - 1 for slot in inside)):
        before = [slot for slot in expected if slot <= at]
        if before:
            assert schedule.last_slot(at, place) == before[-1]
        assert schedule.count_between(begin, at, place) == len([slot for slot in inside if slot <= at])


@settings(max_examples=60, deadline=None)
@given(stretch=ZONES, minute=MINUTES, phase_ms=st.sampled_from([0, 1, 7 * MINUTE_MS, 90 * MINUTE_MS]))
def test_daily_is_the_first_instant_at_which_the_clock_reads_the_time_or_later(stretch, minute, phase_ms):
    schedule = daily(f"{minute // 60:02}:{minute % 60:02}", within="2h")
    assert_agrees(schedule, stretch, expected_at_times(stretch, lambda _: True, [minute]), phase_ms)


@pytest.mark.parametrize("stretch", sorted(STRETCHES))
@pytest.mark.parametrize("at", ["00:00", "00:30", "01:30", "02:00", "02:15", "02:30", "03:00", "23:30", "23:59"])
def test_daily_near_the_change_agrees_with_the_walk(stretch, at):
    minute = int(at[:2]) * 60 + int(at[3:])
    assert_agrees(daily(at), stretch, expected_at_times(stretch, lambda _: True, [minute]))


@settings(max_examples=40, deadline=None)
@given(stretch=ZONES, minute=MINUTES, day=st.integers(1, 7))
def test_weekly_from_the_member_s_data_agrees_with_the_walk(stretch, minute, day):
    data = {"day": WEEKDAYS[day - 1], "time": f"{minute // 60:02}:{minute % 60:02}"}
    expected = expected_at_times(stretch, lambda date: date.isoweekday() == day, [minute])
    assert_agrees(weekly(day="day", at="time"), stretch, expected, data=data)


@settings(max_examples=40, deadline=None)
@given(
    stretch=ZONES,
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=4),
    weekdays=st.sets(st.integers(0, 6), min_size=1, max_size=6),
)
def test_cron_with_stated_hours_agrees_with_the_walk(stretch, minutes, hours, weekdays):
    text = " ".join([listed(minutes), listed(hours), "*", "*", listed(weekdays)])
    times = [hour * 60 + minute for hour in hours for minute in minutes]
    expected = expected_at_times(stretch, lambda date: date.isoweekday() % 7 in weekdays, times)
    assert_agrees(cron(text), stretch, expected)


@settings(max_examples=30, deadline=None)
@given(
    stretch=ZONES,
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=2),
    step=st.sampled_from([1, 2, 5, 6]),
    weekdays=st.sets(st.integers(0, 6), min_size=1, max_size=7),
)
def test_cron_with_a_free_hour_runs_at_every_reading_that_fits(stretch, minutes, step, weekdays):
    text = f"{listed(minutes)} {'*' if step == 1 else f'*/{step}'} * * {listed(weekdays)}"
    expected = [
        at
        for at, reading in walked(stretch)
        if reading.minute in minutes and reading.hour % step == 0 and reading.isoweekday() % 7 in weekdays
    ]
    assert_agrees(cron(text), stretch, expected)


@pytest.mark.parametrize("stretch", sorted(STRETCHES))
def test_half_hours_come_in_order_where_two_days_are_interleaved(stretch):
    expected = [at for at, reading in walked(stretch) if reading.minute % 30 == 0]
    assert_agrees(cron("*/30 * * * *"), stretch, expected)


def listed(numbers):
    return ",".join(map(str, sorted(numbers)))


@settings(max_examples=60, deadline=None)
@given(
    stretch=ZONES,
    text=st.sampled_from(["*/30 * * * *", "0 2 * * 1", "30 1-3 * * *", "15 23 * * *", "0 0 L * *", "0 */6 1-7 * 1"]),
    after=OFFSETS,
)
def test_next_and_last_are_inverse(stretch, text, after):
    zone, start = STRETCHES[stretch]
    schedule, place, at = cron(text, zone=zone), Place(), instant_ms(start) + after
    following = schedule.next_slot(at, place)
    assert following > at
    assert schedule.last_slot(following, place) == following
    assert schedule.count_between(at, following, place) == 1
    assert schedule.last_slot(following - 1, place) <= at


@settings(max_examples=30, deadline=None)
@given(stretch=ZONES, hour=st.integers(0, 23))
def test_no_gap_is_shorter_than_the_promised_one(stretch, hour):
    zone, start = STRETCHES[stretch]
    schedule = cron(f"30 {hour},{(hour + 3) % 24} * * *", zone=zone)
    begin = instant_ms(start)
    slots = schedule.slots_between(begin, begin + DAYS * DAY_MS, Place(), 100)
    least = min(later - earlier for earlier, later in pairwise(slots))
    assert schedule.min_gap_since(begin) <= least
    year = schedule.slots_between(begin, begin + 731 * DAY_MS, Place(), 2_000)
    assert schedule.min_gap_since(begin) == min(later - earlier for earlier, later in pairwise(year))
