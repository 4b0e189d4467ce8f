"""Durations, rates, instants, names, keys, zones, JSON, outcomes: what is taken and what is refused."""

import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota import errors
from rota.define.names import (
    checked_key,
    checked_name,
    checked_run_key,
    checked_zone,
    clean_text,
    data_text,
    json_text,
    nearest,
    read_json,
)
from rota.define.outcome import Fail, Hold, PauseJob, RateLimited, Retryable, Skip, Snooze
from rota.define.units import duration_ms, duration_text, instant_ms, instant_text, rate, read_weekday
from rota.errors import BadInput, ConfigError


@given(st.integers(0, 3660 * 86_400_000))
def test_a_duration_reads_back_from_its_text_and_from_a_timedelta(ms):
    assert duration_ms(duration_text(ms), name="it") == ms
    assert duration_ms(timedelta(milliseconds=ms), name="it") == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("2s", 2_000), ("10m", 600_000), ("6h", 21_600_000), ("7d", 604_800_000), ("1h30m", 5_400_000)],
)
def test_the_forms_of_a_duration(text, ms):
    assert duration_ms(text, name="it") == ms


def test_a_part_of_a_millisecond_counts_as_a_whole_one():
    assert duration_ms(timedelta(microseconds=1), name="it") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "10",
        "10 m",
        "m",
        "30m1h",
        "1.5h",
        "-1s",
        "\u0661s",
        "1w",
        10,
        True,
        None,
        timedelta(-1),
        "3661d",
    ],
)
def test_what_is_no_duration_is_refused_with_its_name(wrong):
    with pytest.raises(BadInput, match="timeout"):
        duration_ms(wrong, name="timeout")
    with pytest.raises(ConfigError, match="timeout"):
        duration_ms(wrong, name="timeout", error=ConfigError)


def test_rates_are_counts_per_unit():
    assert [(rate(text).count, rate(text).per_ms) for text in ("20/s", "30/m", "1000/h", "50/d")] == [
        (20, 1_000),
        (30, 60_000),
        (1_000, 3_600_000),
        (50, 86_400_000),
    ]
    assert str(rate("30/m")) == "30/m"
    for wrong in ("0/s", "20", "20/w", "-1/s", "1.5/s", 20, None):
        with pytest.raises(BadInput, match="20/s"):
            rate(wrong)


def test_an_instant_without_a_zone_is_refused():
    assert instant_ms(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000
    for wrong in (datetime(2026, 1, 1), "2026-01-01", 0, None):  # noqa: DTZ001 - naive on purpose
        with pytest.raises(BadInput, match="aware"):
            instant_ms(wrong)


def test_instants_are_written_with_z_and_milliseconds_only_where_there_are_some():
    assert instant_text(1_767_225_600_000) == "2026-01-01T00:00:00Z"
    assert instant_text(1_767_225_600_001) == "2026-01-01T00:00:00.001Z"


def test_weekdays_are_words_or_iso_numbers():
    assert [read_weekday(day) for day in ("mon", "SUN", 1, 7, "7")] == [1, 7, 1, 7, 7]
    assert [read_weekday(day) for day in ("monday", 0, 8, True, None, "²", 1.0)] == [None] * 7


@pytest.mark.parametrize("name", ["a", "Daily_update.v2-eu", "a" * 64])
def test_a_name_is_a_letter_and_up_to_63_more(name):
    assert checked_name(name, what="job") == name


@pytest.mark.parametrize("name", ["", "1a", "a b", "ä", "a/b", "a" * 65, "a\n", None, 1])
def test_other_names_are_refused(name):
    with pytest.raises(BadInput, match="name of a job"):
        checked_name(name, what="job")


@pytest.mark.parametrize("key", ["s1", "ü" * 256, "a b", "…", "a.b", "0"])
def test_keys_are_kept_byte_for_byte(key):
    assert checked_key(key, what="member key") == key


@pytest.mark.parametrize(
    "key", ["", " a", "a\t", ".", "..", "a/b", "a\x00", "a\x7f", "\ud800", "x" * 513, "ü" * 257, 1, None, b"a"]
)
def test_other_keys_are_refused(key):
    with pytest.raises(BadInput, match="member key"):
        checked_key(key, what="member key")


def test_only_the_key_of_a_one_off_may_have_a_slash():
    assert checked_run_key("order/7") == "order/7"
    with pytest.raises(BadInput, match="key of a one-off"):
        checked_run_key(" order")


def test_an_unknown_zone_names_the_nearest():
    assert checked_zone("Asia/Kolkata") == "Asia/Kolkata"
    assert checked_zone(None) is None
    for wrong, meant in [("Europe/Berln", "Europe/Berlin"), ("asia/kolkata", "Asia/Kolkata")]:
        with pytest.raises(BadInput, match=meant):
            checked_zone(wrong)
    for wrong in ("", "../etc/passwd", "localtime", "Europe", "a\x00", 5):
        with pytest.raises(BadInput, match="zone"):
            checked_zone(wrong)


def test_nearest_ends_a_sentence():
    assert nearest("digset", ["digest", "welcome"]) == ": did you mean 'digest'?"
    assert nearest("xyz", ["digest", "welcome"]) == ": known are digest, welcome"
    assert nearest("xyz", []) == ""


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_plain_json_reads_back_equal_and_is_canonical(value):
    text = json_text(value, what="data")
    assert read_json(text, what="data") == value
    assert json_text(read_json(text, what="data"), what="data") == text


@pytest.mark.parametrize(
    "wrong",
    [float("nan"), float("-inf"), 2**63, -(2**63) - 1, "\x00", "\udc00", {1: 2}, {"\x00": 1}, {1}, b"", object(), 1j],
)
def test_what_a_store_would_lose_is_refused_with_its_path(wrong):
    with pytest.raises(BadInput, match=r"data.*a\[1\]"):
        json_text({"a": [0, wrong]}, what="data")


def test_depth_and_size_are_bounded():
    deep: list[object] = []
    for _ in range(64):
        deep = [deep]
    with pytest.raises(BadInput, match="deeper"):
        json_text(deep, what="data")
    assert json_text(deep[0], what="data")
    with pytest.raises(BadInput, match="bytes"):
        json_text("x" * 262_143, what="data")


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "NaN", "[" * 100_000, "1" * 5_000, "", "nonsense", '"\\u0000"'])
def test_json_from_outside_obeys_the_same_rules(text):
    with pytest.raises(BadInput, match="body"):
        read_json(text, what="body")


def test_data_must_be_a_dict():
    assert data_text({"b": 1, "a": 2}) == '{"a":2,"b":1}'
    for wrong in ([], "x", None, 0):
        with pytest.raises(BadInput, match="dict"):
            data_text(wrong)


@given(st.text(st.characters(), max_size=60), st.integers(8, 100))
def test_a_cleaned_text_can_be_stored_and_is_bounded(text, most):
    cleaned = clean_text(text, most=most)
    assert len(cleaned.encode()) <= most
    assert "\x00" not in cleaned


@pytest.mark.parametrize(
    "outcome",
    [
        Retryable("503", after="30s"),
        Retryable(),
        RateLimited("amazon", after=timedelta(seconds=2)),
        Snooze("10m"),
        Skip("closed"),
        Hold("consent"),
        Fail("gone"),
        PauseJob("bad key"),
    ],
)
def test_an_outcome_survives_the_way_back_from_another_process(outcome):
    found = pickle.loads(pickle.dumps(outcome))  # noqa: S301 - as the process pool does it
    assert type(found) is type(outcome)
    assert (found.reason, found.after_ms, getattr(found, "scope", None)) == (
        outcome.reason,
        outcome.after_ms,
        getattr(outcome, "scope", None),
    )


def test_outcomes_carry_bounded_text_and_whole_milliseconds():
    assert Snooze(timedelta(seconds=1)).after_ms == 1_000
    assert (RateLimited("amazon", "2s").scope, RateLimited("amazon", "2s").after_ms) == ("amazon", 2_000)
    assert len(Fail("ü" * 20_000).reason.encode()) <= 16_384
    with pytest.raises(BadInput, match="after= of Snooze"):
        Snooze("soon")
    with pytest.raises(Skip, match="closed"):
        raise Skip("closed")


def test_every_error_has_a_code_of_its_own():
    classes = [getattr(errors, name) for name in errors.__all__]
    assert len({each.code for each in classes}) == len(classes)
    assert all(issubclass(each, errors.RotaError) for each in classes)
