"""Properties that hold for any place and day: contiguity, and results that do not depend on how they were asked for."""

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.panchangam.almanac.document import day_document, documents
from apps.panchangam.almanac.facts import facts_of
from apps.panchangam.almanac.records import Place
from apps.panchangam.almanac.sky import Sky, days
from apps.panchangam.cities import cities

DAYS = st.dates(min_value=date(1900, 1, 1), max_value=date(2050, 12, 31))
INDIAN = st.sampled_from([city.place for city in cities()])
FEW = settings(max_examples=25)


def place_at(lat, lon):
    return Place(lat=lat, lon=lon, zone=f"Etc/GMT{-round(lon / 15):+d}")


PLACES = st.builds(place_at, st.floats(-90, 90), st.floats(-180, 180))


@FEW
@given(DAYS, st.integers(0, 40))
def test_stretches_of_every_limb_are_contiguous_and_count_on(first, length):
    sky = Sky(first, first + timedelta(days=length))
    for limb, size, most_hours in (
        (sky.tithis, 30, 27),
        (sky.karanas, 60, 13.5),
        (sky.nakshatras, 27, 28),
        (sky.padas, 108, 7),
        (sky.yogas, 27, 28),
        (sky.moon_signs, 12, 65),
    ):
        assert (limb.start[1:] == limb.end[:-1]).all()
        assert (limb.end > limb.start).all()
        assert (limb.end - limb.start).max() < most_hours * 3600
        assert (limb.index[1:] == limb.index[:-1] % size + 1).all()


@FEW
@given(DAYS)
def test_a_boundary_is_where_the_longitudes_say(day):
    sky = Sky(day, day)
    apart = sky.elongation(sky.tithis.start) - (sky.tithis.index - 1) * 12
    moon = sky.moon_sidereal(sky.nakshatras.start) - (sky.nakshatras.index - 1) * 360 / 27
    both = sky.moon_sidereal(sky.yogas.start) + sky.sun_sidereal(sky.yogas.start) - (sky.yogas.index - 1) * 360 / 27
    for miss in (apart, moon, both):
        assert (np.abs((miss + 180) % 360 - 180) < 1e-7).all()


@FEW
@given(DAYS)
def test_a_lunar_month_has_thirty_tithis_and_begins_with_the_first(day):
    sky = Sky(day - timedelta(days=40), day + timedelta(days=40))
    whole = [month for month in sky.months if sky.tithis.start[0] < month.start and month.end < sky.tithis.end[-1]]
    assert whole
    for month in whole:
        inside = (sky.tithis.start > month.start - 1) & (sky.tithis.start < month.end - 1)
        assert sky.tithis.index[inside].tolist() == list(range(1, 31))
        assert abs(sky.tithis.start[inside][0] - month.start) < 1e-3


@FEW
@given(DAYS, INDIAN)
def test_the_first_of_each_list_is_what_is_current_at_sunrise(day, place):
    document = day_document(place, day)
    assert document["sunrise"] == document["begin"]
    for limb in ("tithis", "nakshatras", "yogas", "karanas", "padas", "moonSigns"):
        listed = document[limb]
        assert listed[0]["start"] <= document["sunrise"] <= listed[0]["end"]
        assert listed[-1]["start"] <= document["nextSunrise"] <= listed[-1]["end"]
    assert document["paksha"] == document["tithis"][0]["paksha"]


@FEW
@given(DAYS, INDIAN)
def test_slots_lie_inside_their_half_of_the_day(day, place):
    document = day_document(place, day)
    for name in ("rahuKalam", "yamaganda", "gulika", "vijaya"):
        assert document["sunrise"] <= document["slots"][name]["start"] < document["slots"][name]["end"]
        assert document["slots"][name]["end"] <= document["sunset"]
    for table in (document["choghadiya"], document["hora"]):
        parts = [*table["day"], *table["night"]]
        assert parts[0]["start"] == document["sunrise"]
        assert parts[-1]["end"] == document["nextSunrise"]
        assert all(one["end"] == two["start"] for one, two in pairwise(parts))


@FEW
@given(DAYS.filter(lambda day: day < date(2050, 11, 1)), st.integers(1, 40), st.data())
def test_a_document_made_among_many_equals_the_one_made_alone(first, length, data):
    last = first + timedelta(days=length - 1)
    some = data.draw(st.lists(INDIAN, min_size=1, max_size=4, unique_by=lambda place: place.slug))
    bulk = {
        (document.place.slug, document.day): document.body
        for document in documents(Sky(first, last), some, first, last)
    }
    assert len(bulk) == len(some) * length
    place = data.draw(st.sampled_from(some))
    day = first + timedelta(days=data.draw(st.integers(0, length - 1)))
    assert orjson.loads(bulk[place.slug, day]) == day_document(place, day)


@FEW
@given(DAYS, PLACES)
def test_anywhere_on_the_globe_days_are_contiguous_and_nothing_raises(day, place):
    table = facts_of(Sky(day, day + timedelta(days=3)), [place], day, day + timedelta(days=3)).table
    assert (table.begin[:, 1:] == table.end[:, :-1]).all()
    assert np.isfinite(table.begin).all()
    assert (table.end > table.begin).all()
    for event in (table.moonrise, table.moonset):
        known = ~np.isnan(event)
        assert ((event >= table.begin) & (event < table.end))[known].all()
    usual = ~table.polar
    assert ((table.sunrise < table.sunset) & (table.sunset < table.next_sunrise))[usual].all()
    documents_of_place = list(documents(Sky(day, day), [place], day, day))
    assert orjson.loads(documents_of_place[0].body)["status"] == ("ok" if usual[0, 0] else "polar")


@FEW
@given(DAYS, st.floats(-60, 60), st.floats(-180, 180))
def test_daytime_is_as_long_as_the_suns_declination_makes_it(day, lat, lon):
    sky = Sky(day, day)
    table = days(sky, [place_at(lat, lon)], day, day, hindu=True)
    tropical = np.radians(sky.sun_tropical((table.sunrise + table.sunset) / 2))[0, 0]
    declination = np.arcsin(np.sin(tropical) * np.sin(np.radians(23.44)))
    half_arc = np.degrees(np.arccos(-np.tan(np.radians(lat)) * np.tan(declination))) / 15
    daytime = (table.sunset - table.sunrise)[0, 0] / 3600
    assert abs(daytime - 2 * half_arc) < 0.05
