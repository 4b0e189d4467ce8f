"""Festival dates against published tables and official lists.

Always true: the vendored facts below stand alone; the shared file adds rows where it is present.

Not here: how single rules decide (test_festival_days), documents (test_festivals).
"""

import csv
from datetime import date
from pathlib import Path

import pytest

from apps.panchangam.almanac.festivals import festival_dates

DELHI = (28.6519, 77.2315)
PLACES = {
    "Delhi": DELHI,
    "Mumbai": (19.0728, 72.8826),
    "Chennai": (13.0878, 80.2785),
    "Kolkata": (22.5626, 88.363),
    "Thiruvananthapuram": (8.4855, 76.9492),
}
REFERENCE = Path(__file__).parents[4] / "shared" / "data" / "panchangam_reference.csv"

# What governments and almanacs printed, chosen where the plain tithi at sunrise would fail.
FACTS = """
dussehra Delhi 2003-10-05
dussehra Delhi 2018-10-19
dussehra Delhi 2022-10-05
dussehra Delhi 2026-10-20
holika_dahan Delhi 2016-03-23
holika_dahan Delhi 2023-03-07
holika_dahan Delhi 2026-03-03
holi Delhi 2026-03-04
diwali Delhi 2024-10-31
diwali Delhi 2025-10-20
raksha_bandhan Delhi 2022-08-11
raksha_bandhan Delhi 2023-08-30
janmashtami_smarta Delhi 2020-08-11
janmashtami Delhi 2020-08-12
janmashtami_smarta Delhi 2023-09-06
janmashtami Delhi 2023-09-07
janmashtami_smarta Delhi 2025-08-15
janmashtami Delhi 2025-08-16
anant_chaturdashi Mumbai 2019-09-12
maha_shivaratri Delhi 1983-02-11
vasant_panchami Delhi 1983-01-19
onam Thiruvananthapuram 2013-09-16
onam Thiruvananthapuram 2024-09-15
pongal Chennai 2026-01-14
pohela_boishakh Kolkata 2025-04-15
vishu Thiruvananthapuram 2023-04-15
durga_puja_ashtami Kolkata 2025-09-30
karthigai_deepam Chennai 2025-12-03
panguni_uthiram Chennai 2025-04-11
thai_poosam Chennai 2025-02-11
karwa_chauth Delhi 2025-10-10
makar_sankranti Delhi 2024-01-15
guru_nanak_jayanti Delhi 2026-11-24
varalakshmi_vratam Chennai 2018-08-24
varalakshmi_vratam Chennai 2019-08-09
varalakshmi_vratam Chennai 2025-08-08
""".split("\n")[1:-1]

AKSHAYA_TRITIYA = (
    "2015-04-21 2016-05-09 2017-04-28 2018-04-18 2019-05-07 2020-04-26 2021-05-14 2022-05-03 2023-04-22 2024-05-10 "
    "2025-04-30 2026-04-19"
).split()
EKADASHIS_2025 = (  # Smarta, without that of November, where almanacs part
    "01-10 01-25 02-08 02-24 03-10 03-25 04-08 04-24 05-08 05-23 06-06 06-21 07-06 07-21 08-05 08-19 09-03 09-17 "
    "10-03 10-17 11-15 12-01 12-15 12-30"
).split()
PRADOSH_2025 = (
    "01-11 01-27 02-09 02-25 03-11 03-27 04-10 04-25 05-09 05-24 06-08 06-23 07-08 07-22 08-06 08-20 09-05 09-19 "
    "10-04 10-18 11-03 11-17 12-02 12-17"
).split()


def _reference_rows():
    if not REFERENCE.exists():
        return []
    with REFERENCE.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["kind"] == "festival"]


ROWS = _reference_rows()


@pytest.mark.skipif(not ROWS, reason="needs ../shared/data/panchangam_reference.csv beside the repository")
def test_every_festival_row_of_the_reference_file_agrees():
    missed = []
    for row in ROWS:
        dates = festival_dates(row["festival"], float(row["lat"]), float(row["lon"]), int(row["year"]))
        if date.fromisoformat(row["date"]) not in dates:
            missed.append((row["festival"], row["city"], row["date"], dates))
    assert not missed
    assert len(ROWS) >= 94


@pytest.mark.parametrize("fact", FACTS)
def test_a_hard_year_falls_on_the_day_that_was_printed(fact):
    festival, city, day = fact.split()
    expected = date.fromisoformat(day)
    assert festival_dates(festival, *PLACES[city], expected.year) == [expected]


def test_akshaya_tritiya_is_right_in_twelve_years():
    found = [str(day) for year in range(2015, 2027) for day in festival_dates("akshaya_tritiya", *DELHI, year)]
    assert found == AKSHAYA_TRITIYA


def test_the_ekadashis_of_2025_are_those_of_the_published_list():
    found = [day.strftime("%m-%d") for day in festival_dates("ekadashi_smarta", *DELHI, 2025)]
    assert [day for day in found if not day.startswith("11-0")] == EKADASHIS_2025
    assert len(found) == 25


def test_the_pradosh_days_of_2025_are_those_of_the_published_list():
    assert [day.strftime("%m-%d") for day in festival_dates("pradosh_vrat", *DELHI, 2025)] == PRADOSH_2025


def test_a_gregorian_year_can_have_two_guru_gobind_festivals_and_the_next_none():
    assert len(festival_dates("guru_gobind_singh_jayanti", *DELHI, 2014)) == 2
    assert festival_dates("guru_gobind_singh_jayanti", *DELHI, 2015) == []
    assert [str(day) for day in festival_dates("shakambhari_purnima", *DELHI, 2028)] == ["2028-01-12", "2028-12-31"]
    assert festival_dates("shakambhari_purnima", *DELHI, 2029) == []


def test_festivals_are_kept_in_the_nija_month_and_padmini_in_the_adhika_month():
    # Adhika Jyeshtha 2026 ran from 17 May to 15 June; the nija month followed.
    assert festival_dates("ganga_dussehra", *DELHI, 2026)[0] > date(2026, 6, 15)
    assert date(2026, 5, 17) <= festival_dates("padmini_ekadashi", *DELHI, 2026)[0] <= date(2026, 6, 15)
    assert festival_dates("padmini_ekadashi", *DELHI, 2025) == []


def test_the_kshaya_month_of_1983_carries_the_festivals_of_both_its_names():
    first, last = date(1983, 1, 14), date(1983, 2, 13)
    for festival in ("shakambhari_purnima", "vasant_panchami", "maha_shivaratri"):
        dates = festival_dates(festival, *DELHI, 1983)
        assert [day for day in dates if first <= day <= last], festival


def test_borderline_festivals_differ_between_cities():
    differing = [
        (festival, year)
        for year in (2024, 2025, 2026)
        for festival in ("karwa_chauth", "sankashti_chaturthi", "naraka_chaturdashi")
        if festival_dates(festival, 27.1, 93.6, year) != festival_dates(festival, 22.2, 68.97, year)
    ]
    assert differing
