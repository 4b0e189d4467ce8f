"""Days that are known from outside, copied here as facts: numbers of an independent ephemeris, and printed pages."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest

from apps.panchangam.almanac import names, solar, years
from apps.panchangam.almanac.document import day_document
from apps.panchangam.almanac.facts import facts_of, sky_around
from apps.panchangam.almanac.lunations import lunations_between, months_of
from apps.panchangam.almanac.records import INDIAN_ZONE, Place, zone_of
from apps.panchangam.cities import city

IST = zone_of(INDIAN_ZONE)
DELHI = city("delhi").place


def ist(day, clock):
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=IST)


def at(text):
    return datetime.fromisoformat(text)


# city, day, sunrise, sunset, moonrise, moonset, first tithi and its end, nakshatra, yoga, karana, months, Shaka year
KNOWN = [
    ("mumbai", "2020-09-17", "06:26:28", "18:38:59", None, "18:53:28", 30, "2020-09-17T16:30:13", 11, 23, 60),
    ("jaipur", "2019-02-05", "07:10:27", "18:11:27", "07:28:37", "18:38:51", 1, "2019-02-06T05:15:34", 23, 17, 1),
    ("bhopal", "2025-11-05", "06:27:56", "17:39:46", "17:20:46", None, 15, "2025-11-05T18:49:18", 1, 16, 29),
    ("guwahati", "2023-02-22", "05:53:24", "17:19:59", "07:21:34", "19:36:42", 2, "2023-02-22T05:58:10", 25, 22, 4),
    (
        "thiruvananthapuram",
        "2018-12-07",
        "06:24:00",
        "18:03:02",
        None,
        "18:13:25",
        30,
        "2018-12-07T12:50:21",
        18,
        8,
        60,
    ),
    ("delhi", "1983-01-20", "07:14:20", "17:49:49", "11:00:50", "23:16:12", 6, "1983-01-20T22:44:53", 26, 20, 11),
    ("delhi", "2050-06-15", "05:22:54", "19:20:26", None, "15:32:15", 26, "2050-06-15T15:59:13", 1, 5, 52),
]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known[0]}-{known[1]}")
def test_a_known_day_comes_out_to_the_second_or_two(known):
    slug, day, sunrise, sunset, moonrise, moonset, tithi, tithi_end, nakshatra, yoga, karana = known
    found = day_document(city(slug).place, date.fromisoformat(day))
    for field, clock in (("sunrise", sunrise), ("sunset", sunset), ("moonrise", moonrise), ("moonset", moonset)):
        if clock is not None:
            assert abs(at(found[field]) - ist(day, clock)) <= timedelta(seconds=2), field
    assert found["tithis"][0]["index"] == tithi
    # After 2050 nobody knows how the Earth's rotation will run: 3 seconds more.
    assert abs(at(found["tithis"][0]["end"]) - datetime.fromisoformat(tithi_end).replace(tzinfo=IST)).seconds <= 5
    assert [found[limb][0]["index"] for limb in ("nakshatras", "yogas", "karanas")] == [nakshatra, yoga, karana]


def adhika_months(first, last):
    events = lunations_between(
        datetime(first, 1, 1, tzinfo=IST).timestamp(), datetime(last, 12, 31, tzinfo=IST).timestamp()
    )
    return [
        (datetime.fromtimestamp(month.start, IST).year, names.MONTHS[month.name_index])
        for month in months_of(events)
        if month.adhika
    ]


def test_the_intercalary_months_of_2001_to_2034_are_the_printed_ones():
    assert adhika_months(2001, 2034) == [
        (2001, "Ashwina"),
        (2004, "Shravana"),
        (2007, "Jyeshtha"),
        (2010, "Vaishakha"),
        (2012, "Bhadrapada"),
        (2015, "Ashadha"),
        (2018, "Jyeshtha"),
        (2020, "Ashwina"),
        (2023, "Shravana"),
        (2026, "Jyeshtha"),
        (2029, "Chaitra"),
        (2031, "Bhadrapada"),
        (2034, "Ashadha"),
    ]


def test_the_month_that_swallowed_another_in_1983_bears_two_names():
    month = day_document(DELHI, date(1983, 1, 25))["months"]["amanta"]
    assert month["name"] == "Pausha-Magha"
    assert month["kshaya"]
    assert month["start"].startswith("1983-01-14")
    assert month["end"].startswith("1983-02-13")


@pytest.mark.parametrize(
    ("day", "shaka", "samvatsaras"),
    [
        (date(2020, 12, 31), 1942, {"south": 34, "north": 47, "gujarati": 46}),
        (date(2026, 9, 28), 1948, {"south": 40, "north": 53, "gujarati": 51}),
    ],
)
def test_the_years_of_printed_pages(day, shaka, samvatsaras):
    document = day_document(DELHI, day)
    # The Gujarati year changes in autumn: it has caught up by December, and is one behind in September.
    gujarati = shaka + 135 - (day.month < 10)
    assert document["years"] == {
        "shaka": shaka,
        "vikram": shaka + 135,
        "gujarati": gujarati,
        "kali": shaka + 3179,
    }
    assert {kind: entry["index"] for kind, entry in document["samvatsaras"].items()} == samvatsaras


def test_the_cycle_of_sixty_is_named_as_printed():
    found = {kind: entry["name"] for kind, entry in day_document(DELHI, date(2026, 9, 28))["samvatsaras"].items()}
    assert found == {"south": "Parabhava", "north": "Siddharthi", "gujarati": "Pingala"}


def test_the_seasons_and_courses_of_new_years_eve_2020_differ_by_school():
    document = day_document(DELHI, date(2020, 12, 31))
    assert document["ritu"] == {"drik": "Shishira", "vedic": "Hemanta"}
    assert document["ayana"] == {"drik": "Uttarayana", "vedic": "Dakshinayana"}


@pytest.mark.parametrize(
    ("calendar", "slug", "day", "expected"),
    [
        ("bengali", "kolkata", date(2020, 12, 31), ("Poush", 16, 1427)),
        ("bengali", "kolkata", date(2022, 1, 24), ("Magh", 10, 1428)),
        ("malayalam", "thiruvananthapuram", date(2026, 8, 17), ("Chingam", 1, 1202)),
        ("tamil", "chennai", date(2025, 11, 16), ("Karthigai", 1, None)),
        ("tamil", "chennai", date(2026, 4, 14), ("Chithirai", 1, None)),
    ],
)
def test_dates_of_solar_calendars(calendar, slug, day, expected):
    found = day_document(city(slug).place, day)["solar"][calendar]
    assert (found["month"], found["day"], found.get("year")) == expected


def test_a_sankranti_after_sunset_moves_the_tamil_month_and_not_the_odia_one():
    # The Sun entered Makara on 14 January 2019 at 19:51, after every Indian sunset.
    document = day_document(city("chennai").place, date(2019, 1, 15))
    assert document["solar"]["tamil"]["month"] == "Thai"
    assert document["solar"]["tamil"]["day"] == 1
    assert document["solar"]["odia"]["day"] == 2
    assert document["solar"]["bengali"]["day"] == 1


def test_a_solar_month_can_begin_on_different_days_in_the_east_and_in_the_west():
    # Between the sunsets of Itanagar and Dwarka lies more than an hour; a sankranti inside it parts the two.
    east, west = city("itanagar").place, city("dwarka").place
    parted = 0
    for year in range(2001, 2036):
        facts = facts_of(sky_around(date(year, 1, 20)), [east, west], date(year, 1, 20), date(year, 1, 20))
        starts = solar.month_starts(facts.sankrantis, [east, west])
        assert (np.abs(np.diff(starts.civil, axis=0)) == 0).all()
        parted += int(np.any(np.diff(starts.tamil, axis=0) != 0))
    assert parted > 0


@pytest.mark.parametrize(
    ("day", "month", "number", "year"),
    [
        (date(2024, 3, 21), 0, 1, 1946),
        (date(2025, 3, 22), 0, 1, 1947),
        (date(2025, 3, 21), 11, 30, 1946),
        (date(2024, 2, 29), 11, 10, 1945),
        (date(2026, 1, 26), 10, 6, 1947),
        (date(2026, 8, 15), 4, 24, 1948),
    ],
)
def test_the_national_calendar(day, month, number, year):
    found = years.saka_civil(day)
    assert (found.month, found.day, found.year) == (month, number, year)


def test_slots_of_a_printed_page():
    # drikpanchang.com, New Delhi, 26 January 2022: minutes.
    slots = day_document(Place(lat=28.6356, lon=77.2244), date(2022, 1, 26))["slots"]
    for name, start, end in (
        ("rahuKalam", "12:34", "13:54"),
        ("yamaganda", "08:33", "09:53"),
        ("gulika", "11:13", "12:34"),
        ("brahmaMuhurta", "05:26", "06:19"),
    ):
        for edge, clock in (("start", start), ("end", end)):
            assert abs(at(slots[name][edge]) - ist("2022-01-26", f"{clock}:00")) <= timedelta(seconds=120), name
    assert slots["abhijit"] is None  # a Wednesday


def test_the_first_hora_and_choghadiya_of_each_weekday():
    sunday = date(2026, 11, 22)
    lords, first, night = [], [], []
    for number in range(7):
        document = day_document(DELHI, sunday + timedelta(days=number))
        lords.append(document["hora"]["day"][0]["lord"])
        first.append(document["choghadiya"]["day"][0]["name"])
        night.append(document["choghadiya"]["night"][0]["name"])
    assert lords == ["Sun", "Moon", "Mars", "Mercury", "Jupiter", "Venus", "Saturn"]
    assert first == ["Udveg", "Amrit", "Rog", "Labh", "Shubh", "Chal", "Kaal"]
    assert night == ["Shubh", "Chal", "Kaal", "Udveg", "Amrit", "Rog", "Labh"]
