"""Lists and documents of festivals: properties over many places and years, and what a record tells.

Always true: many places at once give what each gives alone.

Not here: single dates (test_festivals_reference), single rules (test_festival_days).
"""

import csv
import json
from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.panchangam.almanac.festival_rules import LUNAR, REGIONS, RULES, SOLAR
from apps.panchangam.almanac.festivals import (
    festival_dates,
    festivals_of_year,
    month_document,
    month_documents,
    region_calendar,
)
from apps.panchangam.almanac.observances import ALL_RULES, EKADASHI_IDS, UnknownFestival, rules_of
from apps.panchangam.almanac.overrides import BadOverride, overrides, read_overrides
from apps.panchangam.almanac.records import OutsideKernel, Place
from apps.panchangam.almanac.why import percent, rule_text

DELHI = Place(lat=28.6519, lon=77.2315, slug="delhi")
CITIES = [
    DELHI,
    Place(lat=22.2394, lon=68.9678, slug="dwarka"),
    Place(lat=27.0844, lon=93.6053, slug="itanagar"),
    Place(lat=8.4855, lon=76.9492, slug="thiruvananthapuram"),
    Place(lat=34.1526, lon=77.5771, slug="leh"),
    Place(lat=51.5, lon=-0.12, zone="Europe/London", slug="london"),
]
YEARS = range(2001, 2036)


@pytest.mark.parametrize("months", [[(2026, 10), (2026, 11)], [(2025, 12), (2026, 1)], [(2026, 5), (2026, 6)]])
def test_many_places_and_months_at_once_give_what_each_gives_alone(months):
    together = list(month_documents(CITIES, months))
    assert [(found.place, found.year, found.month) for found in together] == [
        (place, *month) for place in CITIES for month in months
    ]
    for found in together:
        assert found.document == month_document(found.place, found.year, found.month)


@settings(max_examples=15, deadline=None)
@given(
    lat=st.floats(min_value=8, max_value=35),
    lon=st.floats(min_value=68, max_value=97),
    year=st.integers(min_value=1901, max_value=2050),
    month=st.integers(min_value=1, max_value=12),
)
def test_a_month_is_the_part_of_the_year_that_falls_in_it(lat, lon, year, month):
    place = Place(lat=lat, lon=lon)
    of_year = [(f.id, str(f.date)) for f in festivals_of_year(place, year) if f.date.month == month]
    of_month = [(record["id"], record["date"]) for record in month_document(place, year, month)["festivals"]]
    assert of_month == of_year


@pytest.mark.parametrize("rule", LUNAR, ids=lambda rule: rule.id)
def test_an_annual_festival_comes_once_in_every_lunar_year(rule):
    dates = [day for year in YEARS for day in festival_dates(rule.id, DELHI.lat, DELHI.lon, year)]
    gaps = [(later - sooner).days for sooner, later in pairwise(dates)]
    # A lunar year has 353 to 356 days, or 383 to 386 with an adhika month; a choice or a Friday moves a day.
    slack = 7 if rule.weekday is not None else 2
    assert all(352 - slack <= gap <= 357 + slack or 382 - slack <= gap <= 387 + slack for gap in gaps), gaps
    assert len(dates) in (34, 35, 36)


@pytest.mark.parametrize("rule", SOLAR, ids=lambda rule: rule.id)
def test_a_festival_of_the_sun_comes_once_in_every_year(rule):
    assert all(len(festival_dates(rule.id, 13.0878, 80.2785, year)) == 1 for year in YEARS)


@pytest.mark.parametrize("year", [2004, 2023, 2026, 2029])
def test_no_festival_stands_twice_on_a_day_and_the_list_is_in_order(year):
    found = [(festival.date, festival.id) for festival in festivals_of_year(DELHI, year)]
    assert found == sorted(found)
    assert max(Counter(found).values()) == 1


@pytest.mark.parametrize("year", [2023, 2024, 2025, 2026])
def test_a_year_has_24_to_26_ekadashis_and_the_vaishnava_one_never_comes_before(year):
    smarta = festival_dates("ekadashi_smarta", DELHI.lat, DELHI.lon, year)
    vaishnava = festival_dates("ekadashi_vaishnava", DELHI.lat, DELHI.lon, year)
    assert 24 <= len(smarta) <= 26
    for day in smarta[1:-1]:
        assert {day, day + timedelta(days=1)} & set(vaishnava)


def test_parana_follows_the_fast_after_the_first_quarter_of_dwadashi():
    fasts = [festival for festival in festivals_of_year(DELHI, 2025) if festival.id in EKADASHI_IDS]
    assert fasts
    for fast in fasts:
        assert fast.parana_begins_at is not None
        assert fast.parana_begins_at.date() == fast.date + timedelta(days=1)
        assert fast.parana_begins_at > fast.ends_at
        assert fast.parana_ends_at is None or fast.parana_ends_at > fast.parana_begins_at


def test_parana_waits_for_the_end_of_hari_vasara():
    # Where the fast is broken long after sunrise, the first quarter of Dwadashi is what was waited for.
    fasts = [festival for festival in festivals_of_year(DELHI, 2025) if festival.id in EKADASHI_IDS]
    waiting = [fast for fast in fasts if fast.parana_ends_at and fast.parana_begins_at.hour >= 8]
    assert waiting
    for fast in waiting:
        dwadashi = fast.parana_ends_at - fast.ends_at
        assert abs(fast.parana_begins_at - fast.ends_at - dwadashi / 4) <= timedelta(seconds=1)


def test_a_dwadashi_that_misses_the_sunrise_leaves_parana_open_and_is_noted():
    (fast,) = [f for f in festivals_of_year(DELHI, 2025) if f.id == "dev_uthani_ekadashi"]
    assert fast.date == date(2025, 11, 2)
    assert fast.parana_ends_at is None
    assert "2025-11-01" in fast.notes[0]


def test_an_ekadashi_of_two_sunrises_keeps_the_first_and_notes_the_second():
    (fast,) = [f for f in festivals_of_year(DELHI, 2021) if f.id == "apara_ekadashi"]
    assert fast.date == date(2021, 6, 5)
    assert fast.notes == ("Ekadashi has two sunrises; some almanacs keep the second, 2021-06-06.",)
    assert festival_dates("apara_ekadashi_vaishnava", DELHI.lat, DELHI.lon, 2021) == [date(2021, 6, 6)]


def test_diwali_2024_says_why_and_names_the_other_school():
    (diwali,) = [festival for festival in festivals_of_year(DELHI, 2024) if festival.id == "diwali"]
    assert diwali.date == date(2024, 10, 31)
    assert diwali.begins_at.strftime("%d %H:%M") == "31 15:53"
    assert diwali.ends_at.strftime("%d %H:%M") == "01 18:17"
    assert [(str(day.date), day.percent) for day in diwali.candidates] == [("2024-10-31", 100), ("2024-11-01", 27)]
    assert diwali.why.endswith("100 % of pradosha on 2024-10-31 and 27 % on 2024-11-01; the larger share decides.")
    assert "2024-11-01" in diwali.notes[0]
    (undisputed,) = [festival for festival in festivals_of_year(DELHI, 2023) if festival.id == "diwali"]
    assert undisputed.notes == ()


def test_holika_dahan_2026_tells_of_bhadra():
    (holika,) = [festival for festival in festivals_of_year(DELHI, 2026) if festival.id == "holika_dahan"]
    assert "Bhadra" in holika.why
    (holi,) = [festival for festival in festivals_of_year(DELHI, 2026) if festival.id == "holi"]
    assert holi.why.endswith("Holi is kept on 2026-03-04.")


def test_every_record_of_a_year_is_complete():
    for festival in festivals_of_year(DELHI, 2026):
        assert festival.why.endswith(".")
        assert festival.rule
        assert festival.region in REGIONS
        assert festival.begins_at <= festival.ends_at
        assert festival.window is None or festival.window_begins_at <= festival.window_ends_at
        assert all(0 <= day.percent <= 100 for day in festival.candidates)


def test_weekdays_give_pradosh_and_sankashti_their_names():
    for festival in festivals_of_year(DELHI, 2025):
        if festival.id == "pradosh_vrat":
            prefix = ("Soma", "Bhauma", "Budha", "Guru", "Shukra", "Shani", "Ravi")[festival.date.weekday()]
            assert festival.name == f"{prefix} Pradosh Vrat"
        if festival.id == "sankashti_chaturthi":
            assert festival.name.startswith("Angarki") == (festival.date.weekday() == 1)


def test_ids_are_unique_but_for_the_two_halves_of_pradosh():
    counts = Counter(rule.id for rule in ALL_RULES)
    assert {festival_id for festival_id, count in counts.items() if count > 1} == {"pradosh_vrat"}
    assert {rule.region for rule in ALL_RULES} <= set(REGIONS)
    assert len(RULES) == len({rule.id for rule in RULES})


def test_regions_lie_where_the_table_of_cities_puts_their_main_city():
    table = Path(__file__).parents[3] / "apps" / "panchangam" / "data" / "india_cities.csv"
    with table.open(encoding="utf-8", newline="") as lines:
        cities = {row["slug"]: (float(row["latitude"]), float(row["longitude"])) for row in csv.DictReader(lines)}
    for region in REGIONS.values():
        if region.main_city != "india":
            assert cities[region.main_city] == (region.lat, region.lon)


def test_an_official_date_stands_beside_the_rules_date_and_replaces_it_in_a_regions_calendar():
    assert festival_dates("makar_sankranti", DELHI.lat, DELHI.lon, 2023) == [date(2023, 1, 15)]
    (in_city,) = [festival for festival in festivals_of_year(DELHI, 2023) if festival.id == "makar_sankranti"]
    assert in_city.date == date(2023, 1, 15)
    assert [official.date for official in in_city.official] == [date(2023, 1, 14)]
    (in_region,) = [day for day in region_calendar("north", 2023) if day.id == "makar_sankranti"]
    assert in_region.date == date(2023, 1, 14)
    assert in_region.official[0].source.startswith("Government of India")


def test_every_official_date_differs_from_the_rule_by_a_few_days_at_most():
    for (festival, year), entries in overrides().items():
        ruled = festival_dates(festival, DELHI.lat, DELHI.lon, year)
        for entry in entries:
            assert entry.date not in ruled
            assert min(abs((entry.date - day).days) for day in ruled) <= 2


@pytest.mark.parametrize(
    "row",
    [
        "holy,2023,national,2023-03-08,a list",
        "holi,soon,national,2023-03-08,a list",
        "holi,2023,atlantis,2023-03-08,a list",
        "holi,2023,national,8 March,a list",
        "holi,2023,national,2023-03-08,",
        "holi,2023,national",
    ],
)
def test_a_bad_row_of_official_dates_gets_one_clear_sentence(row):
    with pytest.raises(BadOverride, match=r"^Expected .* line 2 .*Correct the line\.$"):
        read_overrides(["festival,year,region,date,source", row])


def test_an_unknown_festival_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownFestival, match="write 'diwali'"):
        festival_dates("divali", DELHI.lat, DELHI.lon, 2025)


def test_years_beyond_the_kernel_are_refused_and_never_cut_short():
    for year in (1899, 2053):
        with pytest.raises(OutsideKernel, match="Expected festivals of days"):
            festivals_of_year(DELHI, year)
    assert len(festival_dates("diwali", DELHI.lat, DELHI.lon, 1900)) == 1
    assert len(festival_dates("diwali", DELHI.lat, DELHI.lon, 2052)) == 1


def test_months_that_do_not_follow_each_other_are_refused():
    with pytest.raises(ValueError, match="consecutive"):
        list(month_documents([DELHI], [(2025, 1), (2025, 3)]))
    with pytest.raises(ValueError, match="consecutive"):
        list(month_documents([DELHI], []))


@pytest.mark.parametrize("month", [6, 12])
def test_a_place_without_sunrise_has_festivals_all_the_same(month):
    place = Place(lat=78.22, lon=15.65, zone="Europe/Oslo", slug="longyearbyen")
    document = month_document(place, 2025, month)
    assert document["status"] == "polar"
    assert len(document["festivals"]) >= 15
    assert month_document(DELHI, 2025, month)["status"] == "ok"


def test_a_document_is_json_with_version_and_engine():
    document = json.loads(json.dumps(month_document(DELHI, 2024, 10)))
    assert {"v", "engine", "status", "place", "year", "month", "conventions", "festivals"} == set(document)
    (diwali,) = [record for record in document["festivals"] if record["id"] == "diwali"]
    assert diwali["interval"]["start"] == "2024-10-31T15:53:22+05:30"
    assert diwali["window"]["name"] == "pradosha"


def test_the_year_boundary_and_the_leap_day_are_ordinary_days():
    december = month_document(DELHI, 2025, 12)["festivals"]
    assert ("pausha_putrada_ekadashi", "2025-12-30") in [(record["id"], record["date"]) for record in december]
    assert all(record["date"].startswith("2024-02") for record in month_document(DELHI, 2024, 2)["festivals"])


def test_every_rule_can_be_said_in_words():
    texts = {rule_text(rule) for rule in ALL_RULES}
    assert all(text[0].isupper() for text in texts)
    assert rule_text(rules_of("lohri")[0]).endswith("then the day before")
    assert rule_text(rules_of("varalakshmi_vratam")[0]).endswith("then the last Friday on or before it")


@settings(deadline=None)
@given(st.floats(min_value=0, max_value=1))
def test_a_share_is_never_rounded_to_nothing_or_all(share):
    assert (percent(share) == 0) == (share == 0)
    assert (percent(share) == 100) == (share == 1)
