"""The edge cases: missing and doubled tithis, a Moon that does not rise, polar days, the ends of the kernel."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from apps.panchangam.almanac import ephemeris
from apps.panchangam.almanac.document import day_document, documents
from apps.panchangam.almanac.facts import facts_of
from apps.panchangam.almanac.records import OutsideKernel, Place
from apps.panchangam.almanac.sky import EARLIEST, LATEST, Sky, days
from apps.panchangam.cities import city, tier

DELHI = city("delhi").place
TROMSO = Place(lat=69.65, lon=18.96, zone="Europe/Oslo")


def tithi_names(slug, day):
    return [tithi["name"] for tithi in day_document(city(slug).place, day)["tithis"]]


def test_a_tithi_without_a_sunrise_is_the_middle_one_of_three():
    assert tithi_names("jaipur", date(2029, 7, 19)) == ["Shukla Ashtami", "Shukla Navami", "Shukla Dashami"]


def test_a_tithi_with_two_sunrises_fills_the_first_day_and_opens_the_second():
    assert tithi_names("chennai", date(2026, 8, 24)) == ["Shukla Dwadashi"]
    assert tithi_names("chennai", date(2026, 8, 25)) == ["Shukla Dwadashi", "Shukla Trayodashi"]


def test_a_day_can_have_no_moonrise_and_another_no_moonset():
    assert day_document(city("thiruvananthapuram").place, date(2018, 12, 7))["moonrise"] is None
    assert day_document(city("bhopal").place, date(2025, 11, 5))["moonset"] is None


def test_the_moon_may_rise_after_midnight_and_still_belongs_to_the_day_before():
    document = day_document(Place(lat=28.6356, lon=77.2244), date(2022, 1, 26))
    assert document["moonrise"].startswith("2022-01-27T02:0")


def test_the_adhika_month_of_2026_has_its_first_and_last_sunrise_as_printed():
    def adhika(day):
        return day_document(DELHI, day)["months"]["amanta"]["adhika"]

    assert [adhika(day) for day in (date(2026, 5, 16), date(2026, 5, 17))] == [False, True]
    assert [adhika(day) for day in (date(2026, 6, 14), date(2026, 6, 15), date(2026, 6, 16))] == [True, True, False]


def test_both_halves_of_an_adhika_month_keep_its_name_while_others_part():
    assert day_document(DELHI, date(2026, 6, 9))["months"]["purnimanta"]["name"] == "Adhika Jyeshtha"
    dark = day_document(DELHI, date(2026, 9, 28))["months"]
    assert (dark["amanta"]["name"], dark["purnimanta"]["name"]) == ("Bhadrapada", "Ashwina")


def test_the_sunrise_convention_is_printed_and_moves_the_sunrise_by_minutes():
    usual = day_document(DELHI, date(2023, 2, 22))
    hindu = day_document(DELHI, date(2023, 2, 22), hindu=True)
    assert "upper limb" in usual["conventions"]["sunrise"]
    assert "centre" in hindu["conventions"]["sunrise"]
    later = datetime.fromisoformat(hindu["sunrise"]) - datetime.fromisoformat(usual["sunrise"])
    assert timedelta(minutes=3) < later < timedelta(minutes=5)


def test_a_tithi_that_ends_minutes_after_sunrise_flips_with_the_convention():
    # In Guwahati on 18 July 2026 Chaturthi ends at 04:43:13, between the two sunrises.
    place, day = city("guwahati").place, date(2026, 7, 18)
    found = [day_document(place, day, hindu=hindu)["tithis"][0]["name"] for hindu in (False, True)]
    assert found == ["Shukla Chaturthi", "Shukla Panchami"]


@pytest.mark.parametrize("day", [date(2026, 6, 21), date(2026, 12, 21)])
def test_a_polar_day_has_a_status_and_nulls_and_still_its_tithis(day):
    document = day_document(TROMSO, day)
    assert document["status"] == "polar"
    for field in ("sunrise", "sunset", "nextSunrise"):
        assert document[field] is None
    assert document["slots"]["rahuKalam"] == {"start": None, "end": None}
    assert document["choghadiya"]["day"][0]["start"] is None
    assert document["begin"].startswith(f"{day}T00:00:00")
    assert document["tithis"]
    assert document["tithis"][0]["start"] <= document["begin"] < document["tithis"][0]["end"]


def test_between_polar_seasons_the_arctic_has_ordinary_days():
    document = day_document(TROMSO, date(2026, 3, 21))
    assert document["status"] == "ok"
    assert document["sunrise"].startswith("2026-03-21T05:")


@pytest.mark.parametrize("lat", [90.0, -90.0])
def test_the_poles_do_not_crash(lat):
    assert day_document(Place(lat=lat, lon=0.0, zone="UTC"), date(2026, 1, 1))["status"] == "polar"


def test_a_moon_that_only_grazes_the_horizon_gives_no_clipped_time():
    # 64 degrees north: each moonrise found stands on the horizon, none is a guess that did not settle.
    place = Place(lat=64.1, lon=-21.9, zone="UTC")
    first, last = date(2025, 1, 1), date(2025, 12, 31)
    sky = Sky(first, last)
    rises = days(sky, [place], first, last).moonrise
    rises = rises[~np.isnan(rises)]
    tt = ephemeris.to_tt(rises)
    hour = np.radians(sky.curves.value("moon_hour", tt) + place.lon)
    sine = sky.curves.value("moon_sin_declination", tt)
    altitude = np.sin(np.radians(place.lat)) * sine
    altitude += np.cos(np.radians(place.lat)) * np.sqrt(1 - sine * sine) * np.cos(hour)
    assert len(rises) > 200
    assert np.abs(altitude - sky.curves.value("moon_sin_altitude", tt)).max() < 1e-6


def test_the_ends_of_the_kernel_are_a_clear_error():
    for day in (EARLIEST - timedelta(days=1), LATEST + timedelta(days=1), date(1, 1, 1), date(9999, 12, 31)):
        with pytest.raises(OutsideKernel, match="1899-11-01 and 2053-07-15"):
            day_document(DELHI, day)
    for day in (EARLIEST, LATEST):
        assert day_document(DELHI, day)["status"] == "ok"


def test_days_outside_the_sky_are_refused_and_not_extrapolated():
    with pytest.raises(ValueError, match="make the sky wider"):
        days(Sky(date(2026, 1, 1), date(2026, 1, 2)), [DELHI], date(2026, 1, 1), date(2026, 1, 3))


@pytest.mark.parametrize(("lat", "lon"), [(91, 0), (0, 181), (float("nan"), 0)])
def test_a_place_off_the_globe_is_refused(lat, lon):
    with pytest.raises(ValueError, match="degrees north and east"):
        Place(lat=lat, lon=lon)


def test_leap_days_and_the_turn_of_the_year_are_ordinary_days():
    table = days(Sky(date(2024, 2, 28), date(2024, 3, 1)), [DELHI], date(2024, 2, 28), date(2024, 3, 1))
    assert [day.isoformat() for day in table.dates] == ["2024-02-28", "2024-02-29", "2024-03-01"]
    for last in (date(2025, 12, 31), date(2024, 2, 29)):
        today, tomorrow = day_document(DELHI, last), day_document(DELHI, last + timedelta(days=1))
        assert today["nextSunrise"] == tomorrow["sunrise"]
        assert today["sunset"] == tomorrow["previousSunset"]
        assert today["end"] == tomorrow["begin"]


def test_the_sun_rises_nearly_two_hours_earlier_in_the_east_than_in_the_west():
    day = date(2026, 6, 1)
    facts = facts_of(Sky(day, day), [city("itanagar").place, city("dwarka").place], day, day)
    east, west = facts.table.sunrise[:, 0]
    assert 1.5 * 3600 < west - east < 2 * 3600


def test_places_of_several_zones_can_be_asked_for_together():
    places = [
        DELHI,
        Place(lat=40.71, lon=-74.01, zone="America/New_York"),
        Place(lat=-36.85, lon=174.76, zone="Pacific/Auckland"),
    ]
    day = date(2026, 11, 1)  # the clocks of New York go back on this day
    found = {document.place.zone: document for document in documents(Sky(day, day), places, day, day)}
    assert set(found) == {"Asia/Kolkata", "America/New_York", "Pacific/Auckland"}
    for document in found.values():
        assert day_document(document.place, day)["sunrise"].startswith("2026-11-01T0")
    assert day_document(places[1], day)["sunrise"].endswith("-05:00")
    assert day_document(places[1], day)["previousSunset"].endswith("-04:00")


def test_india_keeps_its_half_hour_in_every_year():
    # The war-time clocks of 1942 to 1945 and the local times before 1906 are not the almanac's.
    for day in (date(1902, 1, 1), date(1943, 6, 1), date(2026, 1, 1)):
        assert day_document(city("kolkata").place, day)["sunrise"].endswith("+05:30")


def test_dynamical_time_runs_ahead_by_the_published_seconds():
    def delta(*day):
        return float(ephemeris.delta_s(datetime(*day, tzinfo=UTC).timestamp()))

    assert delta(2026, 1, 1) == pytest.approx(69.184)
    assert delta(1999, 1, 1) == pytest.approx(64.184)
    assert delta(1998, 12, 31, 23, 59, 59) == pytest.approx(63.184)
    assert delta(1950, 1, 1) == pytest.approx(29.1, abs=0.3)
    assert delta(1900, 1, 1) == pytest.approx(-2.8, abs=0.3)
    assert abs(delta(1972, 1, 1) - delta(1971, 12, 31)) < 0.2
    instants = np.array([datetime(year, 7, 1, tzinfo=UTC).timestamp() for year in range(1900, 2053)])
    assert np.abs(ephemeris.to_unix(ephemeris.to_tt(instants)) - instants).max() < 1e-6


def test_the_ayanamsa_at_the_epoch_is_lahiris():
    at_2000 = datetime(2000, 1, 1, 12, tzinfo=UTC).timestamp() - 64.184
    assert float(ephemeris.ayanamsa(ephemeris.to_tt(at_2000))) == pytest.approx(23 + 51 / 60 + 25.5324 / 3600, abs=1e-7)


def test_a_month_of_two_hundred_cities_is_one_document_for_each_day_and_city():
    first, last = date(2026, 11, 21), date(2026, 12, 20)
    places = [entry.place for entry in tier("IN_TOP200")]
    made = list(documents(Sky(first, last), places, first, last))
    assert len({(document.place.slug, document.day) for document in made}) == len(made) == 6_000
    assert all(document.body.startswith(b'{"v":1,') and document.body.endswith(b"}") for document in made)
