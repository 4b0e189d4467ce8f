"""Schedules as they are written: words, signatures, and what is refused with which sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.define.schedule import Place, cron, daily, every, weekly
from rota.define.units import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from rota.define.wallclock import FIRST_DAY, LAST_DAY
from rota.errors import BadInput, ConfigError

HOURS = ",".join(sorted(map(str, range(24))))


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("61 * * * *", "minute field"),
        ("* 24 * * *", "hour field"),
        ("* * 0 * *", "day-of-month field"),
        ("* * * 13 *", "month field"),
        ("* * * * 8", "day-of-week field"),
        ("*/0 * * * *", "minute field"),
        ("5-1 * * * *", "minute field"),
        ("* * * *", "has 4"),
        ("0 * * * * *", "has 6"),
        ("@daily", "has 1"),
        ("", "has 0"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 */31 * 1#5", "never comes"),  # the first day of a month as its fifth monday: each by itself is fine
        (None, "must be text"),
    ],
)
def test_a_wrong_cron_expression_names_the_field_at_fault(expression, sentence):
    with pytest.raises(ConfigError, match=sentence):
        cron(expression)


@given(st.text(alphabet="0123456789*/-,#LW monfeb?²", max_size=24))
def test_any_text_is_a_rule_with_slots_or_a_config_error(text):
    try:
        schedule = cron(text)
    except ConfigError:
        return
    following = schedule.next_slot(0, Place())
    assert following is not None
    assert schedule.last_slot(following, Place()) == following


def test_sunday_is_0_and_7_and_equal_rules_have_equal_signatures():
    assert cron("0 0 * * 0").signature() == cron("0 0 * * 7").signature() == cron("0 0 * * sun").signature()
    assert cron("*/15 * * * *").signature() == cron("0,15,30,45 */1 * * *").signature()
    assert cron("0 0-23 * * *").signature() != cron("0 * * * *").signature()
    assert cron("0 0 1-31 * 1").signature() == cron("0 0 * * *").signature()
    assert daily("02:30").signature() == daily("02:30:00").signature() != daily("02:31").signature()
    assert (
        daily("02:30", zone="UTC").signature() != daily("02:30").signature() != daily("02:30", within="1m").signature()
    )


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (every("6h"), "every 6 h"),
        (every("1h30m"), "every 1 h 30 min"),
        (daily("02:30", zone="Asia/Kolkata"), "daily at 02:30 Asia/Kolkata"),
        (daily("at"), "daily at the member's at"),
        (weekly("sun", "09:00:30", within="15m"), "weekly on sun at 09:00:30, within 15 min"),
        (weekly(day="digest_day", at="digest_time"), "weekly on the member's digest_day at digest_time"),
    ],
)
def test_a_schedule_says_what_it_is(schedule, words):
    assert schedule.describe() == words


def test_periods_and_shortest_gaps():
    assert daily("08:00").period_ms == DAY_MS
    assert weekly(1, "08:00").period_ms == WEEK_MS
    assert cron("0 2 1 * *").period_ms == 28 * DAY_MS
    assert cron("0 1,4 * * *").period_ms == 3 * HOUR_MS
    assert cron("0 0 29 2 *").period_ms == 1461 * DAY_MS
    assert daily("08:00", zone="Europe/Berlin").min_gap_ms == 23 * HOUR_MS
    assert daily("08:00", zone="Asia/Kolkata").min_gap_ms == DAY_MS
    assert daily("08:00", zone="Australia/Lord_Howe").min_gap_ms == DAY_MS - 30 * MINUTE_MS
    assert daily("digest_time").min_gap_ms == 22 * HOUR_MS
    assert every("24h").min_gap_ms == DAY_MS


def test_a_member_without_a_usable_day_or_time_is_refused():
    schedule = weekly(day="digest_day", at="digest_time")
    schedule.check_member("UTC", {"digest_day": 7, "digest_time": "09:00"})
    for data in ({}, {"digest_day": "someday", "digest_time": "09:00"}, {"digest_day": "sun", "digest_time": "9"}):
        with pytest.raises(BadInput, match="digest_"):
            schedule.check_member("UTC", data)
    with pytest.raises(BadInput, match='weekly\\("mon"'):
        weekly("monday", "09:00").check_member(None, {})


@pytest.mark.parametrize("at", ["24:00", "9:00", "09:60", 900, None, "nine o'clock"])
def test_a_wrong_time_is_refused_where_it_is_written(at):
    with pytest.raises(ConfigError, match="HH:MM"):
        daily(at)


@pytest.mark.parametrize("day", [0, 8, True, "some day", None])
def test_a_wrong_day_is_refused_where_it_is_written(day):
    with pytest.raises(ConfigError, match="mon"):
        weekly(day, "09:00")


def test_a_window_longer_than_the_period_is_refused():
    with pytest.raises(ConfigError, match="within="):
        daily("09:00", within="25h")
    assert daily("09:00", within="24h").spread_ms == DAY_MS


def test_slots_end_with_the_calendar_and_do_not_fail():
    far = 4 * 10**14
    assert daily("09:00").next_slot(far, Place()) is None
    assert cron("0 9 * * *").next_slot(far, Place()) is None
    assert daily("09:00").last_slot(-far, Place()) is None
    assert cron("0 9 * * *").last_slot(-far, Place()) is None


def test_what_a_rule_reads_of_a_member_is_named_and_a_missing_field_is_told_apart_from_a_wrong_one():
    schedule = weekly("day", "at")
    assert schedule.fields == ("day", "at")
    assert weekly(3, "at").fields == ("at",)
    assert (daily("02:30").fields, cron("0 2 * * *").fields) == ((), ())
    with pytest.raises(BadInput, match=r"'day' .* but the member's data has no such field: add it"):
        schedule.check_member(None, {"at": "09:00"})
    with pytest.raises(BadInput, match=r"'at' .*, not '9'"):
        schedule.check_member(None, {"day": "mon", "at": "9"})


def test_a_stated_time_is_never_free_and_a_rule_without_any_zone_is_in_utc():
    rule = daily("02:30")
    assert rule._rule({}).free is False
    assert rule.next_slot(0, Place(0)) == 9_000_000
    assert rule.next_slot(0, Place(0, "Asia/Kolkata")) == 75_600_000


def test_a_day_that_is_no_text_and_no_number_of_a_day_is_refused():
    with pytest.raises(ConfigError, match="the day must be"):
        weekly(9, "09:00")
    with pytest.raises(ConfigError, match="the day must be"):
        weekly(2.5, "09:00")


def test_the_nominal_period_of_a_rare_date_is_found_decades_ahead():
    assert cron("0 0 29 2 *").period_ms == 4 * 365 * DAY_MS + DAY_MS
    assert cron("0 2 * * *").period_ms == DAY_MS
    assert cron("0 0 1 1 *").period_ms == 365 * DAY_MS


def test_an_expression_has_at_most_two_hundred_letters_and_is_told_with_what_it_means():
    padded = "0 2 * * 1".ljust(200)
    assert cron(padded).describe().startswith("cron 0 2 * * 1 (")
    with pytest.raises(ConfigError, match="must be text"):
        cron(padded + " ")


def test_the_days_of_a_rule_reach_to_both_ends_of_the_calendar_and_not_beyond():
    rule = cron("0 0 * * *").cron
    assert rule is not None
    assert (rule.day_from(LAST_DAY), rule.day_from(LAST_DAY + 1)) == (LAST_DAY, None)
    assert (rule.day_upto(FIRST_DAY), rule.day_upto(FIRST_DAY - 1)) == (FIRST_DAY, None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0 0 1-31 * 1", "0 0 * * *", True),  # any day of the month, or a monday
        ("0 0 5 * 0-6", "0 0 * * *", True),
        ("0 0 5 * 1-7", "0 0 * * *", True),
        ("0 0 */1 * 1", "0 0 * * 1", True),  # where a star begins a field both must fit
        ("0 0 */2 * 1", "0 0 1-31/2 * 1", False),
        ("0 0 5 * 1", "0 0 5 * *", False),
        ("0 0 * * 0", "0 0 * * 7", True),
        ("0 0 5 * 1-6", "0 0 * * *", False),
        ("0 0 2-31,L * *", "0 0 * * *", False),  # 31 kinds of days, but not the first
        ("0 0 1-31,L * *", "0 0 * * *", True),
        ("0 0 5 * 1#1,2,3,4,5,6,0", "0 0 * * *", False),  # seven kinds of weekdays, but of mondays only the first
        ("0 0 * * 7#2", "0 0 * * 0#2", True),
        ("0 0 * * 7L", "0 0 * * 0L", True),
        ("0 0 * * 1#2", "0 0 * * 1#3", False),
        ("0 0 * * 6#1", "0 0 * * 7#1", False),
    ],
)
def test_expressions_have_one_signature_when_and_only_when_their_slots_are_the_same(one, other, same):
    assert (cron(one).signature() == cron(other).signature()) is same


def test_rules_that_differ_keep_their_days_apart_in_the_same_process():
    """Days are remembered by rule: what was taken for equal would be given the days of the other."""
    every_day, but_the_first = cron("0 0 * * *"), cron("0 0 2-31,L * *")
    begin = 1_767_225_600_000  # 2026-01-01, a first day of a month
    assert every_day.last_slot(begin, Place()) == begin
    assert but_the_first.last_slot(begin, Place()) == begin - DAY_MS
    assert but_the_first.next_slot(begin - 1, Place()) == begin + DAY_MS


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (cron("30 2 * * *"), "wall 30 2 * and * 1,10,11,12,2,3,4,5,6,7,8,9 free=False zone=of the member within=0"),
        (cron("0 * 1,15 1 7", zone="UTC"), f"wall 0 {HOURS} 1,15 or 0 1 free=True zone=UTC within=0"),
        (cron("0 2 L 2-3 *", within="1m"), "wall 0 2 -1000 and * 2,3 free=False zone=of the member within=60000"),
        (cron("0 2 * 1 1#2"), "wall 0 2 * and (1,2) 1 free=False zone=of the member within=0"),
        (daily("02:30"), "wall 0 9000000 zone=of the member within=0"),
        (weekly("sun", "at"), "wall 7 at zone=of the member within=0"),
    ],
)
def test_signatures_lie_in_stores_and_read_the_same_in_every_release(schedule, text):
    assert schedule.signature() == text
