"""`Retry-After` in both forms, and rates that a service tells in a header."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.errors import BadInput
from rota.http import retry_after
from rota.http.headers import calls_per_second

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CAP = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0),
        ("3", 3),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("900", 900),
        ("901", 900),
        ("9" * 5_000, 900),
        ("0" * 5_000 + "7", 7),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30),
        ("Sunday, 22-Nov-26 12:00:30 GMT", 30),
        ("Sun Nov 22 12:00:30 2026", 30),
        ("Sun, 22 Nov 2026 13:00:30 +0100", 30),
        ("Sun, 22 Nov 2026 11:59:00 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 22 Nov 2099 12:00:00 GMT", 900),
    ],
)
def test_both_forms_of_retry_after_are_read(value, wait):
    assert retry_after(value, NOW) == timedelta(seconds=wait)


@pytest.mark.parametrize(
    "value",
    [None, "", "-5", "-0.5", "soon", "1e3", "0x10", "٣", "3, 3", "Sun, 99 Nov 2026 12:00:00 GMT", "Sun, 22 Nov", "nan"],
)
def test_what_is_no_retry_after_is_none(value):
    assert retry_after(value, NOW) is None


def test_the_cap_can_be_chosen():
    assert retry_after("86400", NOW, most="6h") == timedelta(hours=6)
    assert retry_after("86400", NOW, most=timedelta(minutes=1)) == timedelta(minutes=1)
    with pytest.raises(BadInput, match="most= of retry_after"):
        retry_after("1", NOW, most="long")


@given(st.text())
def test_no_text_breaks_it(value):
    found = retry_after(value, NOW)
    assert found is None or timedelta() <= found <= CAP


@given(st.integers(min_value=0, max_value=10**30))
def test_any_number_of_seconds_is_kept_up_to_the_cap(count):
    assert retry_after(str(count), NOW) == timedelta(seconds=min(count, 900))


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001 - zone follows
def test_any_date_is_kept_between_nothing_and_the_cap(then):
    then = then.replace(tzinfo=UTC, microsecond=0)
    found = retry_after(format_datetime(then, usegmt=True), NOW)
    assert found == min(max(then - NOW, timedelta()), CAP)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("20", 20.0), ("2.0", 2.0), ("0.0167", 0.0167), (" 1 ", 1.0)]
    + [(value, None) for value in ("1e-9", "0", "-1", "nan", "inf", "1e9", "fast", "2/s", "", None)],
)
def test_a_rate_in_a_header_is_a_number_of_calls_a_second(value, expected):
    assert calls_per_second(value) == expected


@given(st.text())
def test_no_text_breaks_a_rate(value):
    found = calls_per_second(value)
    assert found is None or 1 / 86_400 <= found <= 1_000_000
