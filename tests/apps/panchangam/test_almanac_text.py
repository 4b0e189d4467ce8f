"""Cities, and the writing of instants."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.panchangam.almanac import names
from apps.panchangam.almanac.iso import iso_texts
from apps.panchangam.cities import TIERS, UnknownCity, cities, city, tier


def test_a_tier_holds_the_smaller_tiers_in_order():
    slugs = [[entry.slug for entry in tier(name)] for name in TIERS]
    assert [len(each) for each in slugs] == [10, 50, 200, 500]
    for small, big in pairwise(slugs):
        assert big[: len(small)] == small
    assert slugs[-1] == [entry.slug for entry in cities()]
    assert len(set(slugs[-1])) == 500


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("bangalore", "bengaluru"),
        ("GURGAON", "gurugram"),
        ("Trichy", "tiruchirappalli"),
        ("bombay", "mumbai"),
        ("New Delhi", "delhi"),
        ("new-delhi", "delhi"),
        ("  Port  Blair ", "port-blair"),
        ("MUMBAI", "mumbai"),
    ],
)
def test_a_city_is_found_by_slug_name_or_alias_in_any_case(name, slug):
    assert city(name).slug == slug


def test_every_slug_and_name_finds_a_city_and_every_slug_its_own():
    for entry in cities():
        assert city(entry.slug) is entry
        assert city(entry.name.upper())


def test_an_unknown_city_is_answered_with_the_nearest_spelling():
    with pytest.raises(UnknownCity, match="did you mean 'bengaluru'"):
        city("Bengalru")
    with pytest.raises(UnknownCity, match="give a slug such as 'mumbai'"):
        city("zzzz")


def test_an_unknown_tier_is_answered_with_the_tiers():
    with pytest.raises(UnknownCity, match="IN_TOP10, IN_TOP50, IN_TOP200, ALL"):
        tier("TOP5")


@given(st.lists(st.floats(-2.2e9, 2.6e9) | st.just(float("nan")), min_size=1, max_size=20))
def test_an_instant_is_written_as_the_standard_library_writes_it(instants):
    india = timezone(timedelta(hours=5, minutes=30))
    found = iso_texts(np.array(instants), "Asia/Kolkata").tolist()
    for instant, text in zip(instants, found, strict=True):
        if np.isnan(instant):
            assert text == b"null"
        else:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(np.floor(instant + 0.5)))
            assert text == f'"{moment.astimezone(india).isoformat()}"'.encode()


def test_missing_instants_alone_are_nulls():
    assert iso_texts(np.array([[np.nan, np.nan]]), "Asia/Kolkata").tolist() == [[b"null", b"null"]]


def test_other_zones_follow_their_clocks():
    before, after = (datetime(2026, 11, 1, hour, tzinfo=UTC).timestamp() for hour in (5, 7))
    texts = iso_texts(np.array([before, after]), "America/New_York").tolist()
    assert texts == [b'"2026-11-01T01:00:00-04:00"', b'"2026-11-01T02:00:00-05:00"']


def test_the_lists_of_names_are_as_long_as_what_they_count():
    lengths = {
        "TITHIS": 30,
        "NAKSHATRAS": 27,
        "YOGAS": 27,
        "KARANAS": 60,
        "MONTHS": 12,
        "RASHIS": 12,
        "SAMVATSARAS": 60,
        "VARAS": 7,
    }
    for name, length in lengths.items():
        listed = getattr(names, name)
        assert len(listed) == length
        assert len(set(listed)) == (11 if name == "KARANAS" else length)
