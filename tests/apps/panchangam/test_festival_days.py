"""The choice of a day on a made-up calendar: every day has its sunrise at six and its sunset at eighteen.

Always true: the expected day is worked out by hand from the hours.

Not here: the real sky (test_festivals_reference).
"""

from datetime import date, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.panchangam.almanac.festival_days import Calendar, Limb, Reason, choose
from apps.panchangam.almanac.festival_rules import SHRAVANA_STAR, Rule
from apps.panchangam.almanac.records import DAY_S, EPOCH, DayTable, Intervals, Place

FIRST = date(2024, 1, 1)
COUNT = 8
START = (FIRST - EPOCH).days * DAY_S
PLACE = Place(lat=0, lon=0, zone="UTC")


def at(day, hour):
    return START + day * DAY_S + hour * 3600


def hours(hour):
    return np.array([[at(day, hour) for day in range(COUNT)]])


def sky(*, star=None, bhadra_ends=None):
    """Make a sky that knows one nakshatra and one karana."""
    start, end = star or (at(-30, 0), at(-29, 0))
    stars = Intervals(index=np.array([SHRAVANA_STAR]), start=np.array([start]), end=np.array([end]))
    ends = bhadra_ends if bhadra_ends is not None else at(-30, 0)
    halves = Intervals(index=np.array([29]), start=np.array([ends - 1]), end=np.array([ends]))
    return SimpleNamespace(nakshatras=stars, karanas=halves)


def calendar(moonrise=20, **events):
    table = DayTable(
        places=[PLACE],
        dates=tuple(FIRST + timedelta(days=day) for day in range(COUNT)),
        sunrise=hours(6),
        sunset=hours(18),
        next_sunrise=hours(30),
        previous_sunset=hours(-6),
        moonrise=hours(moonrise),
        moonset=hours(moonrise + 12),
        begin=hours(6),
        end=hours(30),
    )
    return Calendar(sky(**events), table)


def chosen(begin, end, *, days=None, **rule):
    choice = choose(Rule(id="x", name="X", **rule), Limb(begins_at=begin, ends_at=end), days or calendar())
    return int(choice.day[0]), Reason(choice.reason[0])


def test_one_day_with_the_window_is_the_day():
    assert chosen(at(2, 10), at(3, 9), window="pradosha") == (2, Reason.ONLY)


@pytest.mark.parametrize(
    ("two", "expected"),
    [("first", (2, Reason.FIRST)), ("last", (3, Reason.LAST)), ("more", (3, Reason.MORE))],
)
def test_two_days_are_settled_as_the_rule_says(two, expected):
    # Pradosha is 18:00 to 20:24: half an hour of it on the first day, all of it on the second.
    assert chosen(at(2, 19.9), at(3, 21), window="pradosha", two=two) == expected


def test_equal_shares_keep_the_first_day():
    assert chosen(at(2, 17), at(3, 21), window="pradosha", two="more") == (2, Reason.EQUAL)


@pytest.mark.parametrize(("none", "expected"), [("start", (2, Reason.NONE_START)), ("next", (3, Reason.NONE_NEXT))])
def test_no_day_with_the_window_falls_back_as_the_rule_says(none, expected):
    assert chosen(at(2, 21), at(3, 17), window="pradosha", none=none) == expected


def test_before_sunrise_the_day_of_beginning_is_the_one_before():
    assert chosen(at(3, 3), at(3, 23), window="pradosha") == (3, Reason.ONLY)
    assert chosen(at(3, 3), at(3, 17), window="pradosha") == (2, Reason.NONE_START)


def test_an_instant_counts_at_the_beginning_and_not_at_the_end():
    assert chosen(at(2, 6), at(3, 5), window="sunrise") == (2, Reason.ONLY)
    assert chosen(at(2, 7), at(3, 6), window="sunrise") == (2, Reason.NONE_START)


def test_a_day_without_moonrise_cannot_be_the_moonrise_day():
    days = calendar()
    days.table.moonrise[0, 2] = np.nan
    assert chosen(at(2, 10), at(3, 9), window="moonrise", none="next", days=days) == (3, Reason.NONE_NEXT)


def test_three_muhurtas_after_sunrise_hold_the_sunrise_day():
    # Three of fifteen muhurtas of twelve hours are two hours and twenty-four minutes.
    assert chosen(at(2, 10), at(3, 8.5), window="pratah", method="holds3") == (3, Reason.HOLDS)
    assert chosen(at(2, 10), at(3, 8.3), window="pratah", method="holds3") == (2, Reason.DOES_NOT_HOLD)


def test_ram_navami_takes_the_second_day_when_a_window_is_wholly_covered():
    rule = {"window": "madhyahna", "two": "more", "method": "ram_navami"}  # madhyahna is 10:48 to 13:12
    assert chosen(at(2, 10), at(3, 11), **rule) == (3, Reason.WHOLE)
    assert chosen(at(2, 11.5), at(3, 11.5), **rule) == (2, Reason.MORE)
    assert chosen(at(2, 14), at(3, 10), **rule) == (3, Reason.NO_WINDOW)


def test_nag_panchami_goes_back_when_it_is_short_and_came_early():
    assert chosen(at(2, 8), at(3, 7), method="nag_panchami") == (2, Reason.EARLY)
    assert chosen(at(2, 9), at(3, 7), method="nag_panchami") == (3, Reason.ONLY)
    assert chosen(at(2, 8), at(3, 9), method="nag_panchami") == (3, Reason.ONLY)


def test_govardhan_needs_nine_muhurtas_of_the_second_day():
    rule = {"window": "nine_muhurtas", "method": "govardhan"}  # 06:00 to 13:12
    assert chosen(at(2, 15), at(3, 13.5), **rule) == (3, Reason.HOLDS)
    assert chosen(at(2, 15), at(3, 13), **rule) == (2, Reason.DOES_NOT_HOLD)


class TestDussehra:
    """Aparahna is 13:12 to 15:36; a ghati is 24 minutes."""

    rule = {"window": "aparahna", "two": "more", "method": "dussehra"}  # noqa: RUF012  read only

    def test_an_overlap_below_a_ghati_does_not_count(self):
        assert chosen(at(2, 15.4), at(3, 14), **self.rule) == (3, Reason.ONLY)

    def test_of_two_days_the_one_with_shravana_wins(self):
        days = calendar(star=(at(3, 12), at(4, 9)))
        assert chosen(at(2, 13), at(3, 14), days=days, **self.rule) == (3, Reason.STAR)

    def test_of_two_days_with_shravana_the_first_wins(self):
        days = calendar(star=(at(2, 12), at(3, 14)))
        assert chosen(at(2, 15), at(3, 15), days=days, **self.rule) == (2, Reason.FIRST)

    def test_of_two_days_without_shravana_the_larger_share_wins(self):
        assert chosen(at(2, 15), at(3, 15), **self.rule) == (3, Reason.MORE)

    def test_shravana_moves_a_single_day_on_if_the_next_holds_three_muhurtas(self):
        days = calendar(star=(at(2, 20), at(3, 18)))
        assert chosen(at(2, 10), at(3, 9), days=days, **self.rule) == (3, Reason.STAR_SECOND)
        assert chosen(at(2, 10), at(3, 8), days=days, **self.rule) == (2, Reason.ONLY)

    def test_without_aparahna_the_sunrise_day_is_kept(self):
        assert chosen(at(2, 15.5), at(3, 13), **self.rule) == (3, Reason.NO_WINDOW)


class TestHolika:
    """Pradosha is 18:00 to 20:24, midnight 24:00, three and a half praharas end at 16:30."""

    rule = {"window": "pradosha", "two": "last", "method": "holika"}  # noqa: RUF012  read only

    def test_of_two_days_the_last_wins(self):
        assert chosen(at(2, 17), at(3, 19), **self.rule) == (3, Reason.LAST)

    def test_bhadra_past_midnight_moves_it_on_if_purnima_holds(self):
        days = calendar(bhadra_ends=at(3, 5))
        assert chosen(at(2, 17), at(3, 17), days=days, **self.rule) == (3, Reason.BHADRA)
        assert chosen(at(2, 17), at(3, 16), days=days, **self.rule) == (2, Reason.ONLY)

    def test_bhadra_that_ends_before_midnight_does_not_move_it(self):
        days = calendar(bhadra_ends=at(2, 23.5))
        assert chosen(at(2, 17), at(3, 17), days=days, **self.rule) == (2, Reason.ONLY)


def test_a_vaishnava_ekadashi_needs_a_dawn_without_dashami():
    assert chosen(at(2, 3), at(3, 2), method="vaishnava") == (2, Reason.DAWN)
    assert chosen(at(2, 5), at(3, 2), method="vaishnava") == (3, Reason.DAWN_NEXT)
    assert chosen(at(2, 5), at(3, 7), method="vaishnava") == (3, Reason.LAST)
    assert chosen(at(2, 7), at(3, 5), method="vaishnava") == (3, Reason.DAWN_NEXT)


def test_an_entry_of_the_sun_is_cut_by_sunset_by_sunrise_or_not_at_all():
    before, after = at(2, 17), at(2, 19)
    assert chosen(before, before, method="cut", window="sunset") == (2, Reason.BEFORE_CUT)
    assert chosen(after, after, method="cut", window="sunset") == (3, Reason.AFTER_CUT)
    assert chosen(at(2, 2), at(2, 2), method="cut", window="sunset") == (2, Reason.BEFORE_CUT)
    assert chosen(at(2, 2), at(2, 2), method="cut", window="sunrise") == (2, Reason.BEFORE_CUT)
    assert chosen(before, before, method="cut", window="sunrise") == (3, Reason.AFTER_CUT)
    assert chosen(after, after, method="civil") == (2, Reason.CIVIL)


@settings(deadline=None)
@given(
    begin=st.floats(min_value=0, max_value=23.99),
    length=st.floats(min_value=19, max_value=27),
    window=st.sampled_from(["madhyahna", "aparahna", "sayahna", "purvahna", "pradosha", "nishita", "arunodaya"]),
    two=st.sampled_from(["first", "last", "more"]),
)
def test_a_day_that_meets_the_window_is_chosen_whenever_there_is_one(begin, length, window, two):
    days = calendar()
    start, end = at(2, 6 + begin), at(2, 6 + begin + length)
    span = days.window(window)
    touched = [day for day in range(COUNT) if span.start[0, day] < end and start < span.end[0, day]]
    day, reason = chosen(start, end, window=window, two=two, days=days)
    if not touched:
        assert (day, reason) == (2, Reason.NONE_START)
    elif two == "more":
        shares = [min(end, span.end[0, day]) - max(start, span.start[0, day]) for day in touched]
        assert shares[touched.index(day)] == pytest.approx(max(shares))
    else:
        assert day == (touched[0] if two == "first" else touched[-1])
