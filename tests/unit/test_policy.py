"""Policies as they are written: the waits of retries, the bounds of every number, and names with holes.

Always true: each bound is tried on both of its sides.

Not here: what the engine makes of a policy.
"""

import math
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota import Batch, Cap, CatchUp, Limit, Retry
from rota.define.current import CURRENT
from rota.define.policy import check_template, filled_template, is_field, is_open_template
from rota.define.units import Rate
from rota.errors import BadInput, ConfigError

# -- retries ---------------------------------------------------------------------------------------


def test_a_plain_retry_is_three_tries_after_two_seconds_doubled_with_a_tenth_of_chance():
    plain = Retry()
    assert (plain.tries, plain.factor, plain.jitter, plain.first_ms, plain.max_ms) == (3, 2, 0.1, 2_000, 3_600_000)
    assert plain.delays_ms is None
    assert [plain.delay_ms(used, 0.0) for used in (0, 1, 2, 3, 4)] == [2_000, 2_000, 4_000, None, None]
    assert plain.delay_ms(1, 0.5) == 2_100


def test_listed_delays_are_as_many_tries_and_one_and_are_waited_without_chance():
    listed = Retry(delays=["10s", timedelta(seconds=20), "40s"])
    assert (listed.tries, listed.jitter, listed.delays_ms) == (4, 0.0, (10_000, 20_000, 40_000))
    assert [listed.delay_ms(used, 0.9) for used in (0, 1, 2, 3, 4)] == [10_000, 10_000, 20_000, 40_000, None]
    assert Retry(delays=["10s"], jitter=0.5).delay_ms(1, 0.5) == 12_500
    assert Retry(delays=("10s",), tries=2).tries == 2


@given(
    ms=st.tuples(st.integers(0, 10**7), st.integers(0, 10**9)),
    factor=st.floats(1, 1_000),
    jitter=st.floats(0, 1),
    used=st.integers(1, 999),
    dice=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_grows_by_its_factor_up_to_its_most_and_is_longer_by_its_chance_at_most(ms, factor, jitter, used, dice):
    first, most = ms
    waits = {"first": timedelta(milliseconds=first), "max": timedelta(milliseconds=most)}
    retry = Retry(tries=1_000, factor=factor, jitter=jitter, **waits)
    try:
        plain = min(most, int(first * float(factor) ** (used - 1)))
    except OverflowError:
        plain = most if first else 0
    delay = retry.delay_ms(used, dice)
    assert delay == plain + int(plain * jitter * dice)
    assert plain <= delay <= plain * 2


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ({"tries": 1}, {"tries": 0}, "tries= of Retry must be a whole number from 1 to 1,000, not 0"),
        ({"tries": 1_000}, {"tries": 1_001}, "from 1 to 1,000"),
        ({"tries": 2}, {"tries": True}, "whole number"),
        ({"tries": 2}, {"tries": 2.0}, "whole number"),
        ({"factor": 1}, {"factor": 0.99}, "factor= of Retry must be a number from 1 to 1,000"),
        ({"factor": 1_000}, {"factor": 1_000.5}, "factor= of Retry"),
        ({"factor": 1.5}, {"factor": True}, "factor= of Retry"),
        ({"factor": 1.5}, {"factor": "2"}, "factor= of Retry"),
        ({"factor": 1.5}, {"factor": math.nan}, "factor= of Retry"),
        ({"factor": 1.5}, {"factor": math.inf}, "factor= of Retry"),
        ({"jitter": 0}, {"jitter": -0.1}, "jitter= of Retry must be a number from 0 to 1"),
        ({"jitter": 1}, {"jitter": 1.1}, "jitter= of Retry"),
        ({"first": "0s"}, {"first": "soon"}, "first= of Retry"),
        ({"max": "0s"}, {"max": "later"}, "max= of Retry"),
        ({"delays": ["1s"]}, {"delays": []}, "1 to 100 entries, not 0"),
        ({"delays": ["1s"] * 100}, {"delays": ["1s"] * 101}, "1 to 100 entries, not 101"),
        ({"delays": ["1s"]}, {"delays": "1s"}, "must be a list"),
        ({"delays": ("1s",)}, {"delays": {"1s"}}, "must be a list"),
        ({"delays": ["1s"]}, {"delays": ["x"]}, "each of delays="),
        ({"delays": ["1s"], "tries": 2}, {"delays": ["1s"], "tries": 3}, "with 1 delays is 2 tries, not 3"),
    ],
)
def test_each_number_of_a_retry_has_its_bounds(right, wrong, sentence):
    Retry(**right)
    with pytest.raises(ConfigError, match=sentence):
        Retry(**wrong)


# -- the others ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "sentence"),
    [
        (Cap, (1,), (0,), "the number of Cap must be a whole number from 1 to 1,000,000, not 0"),
        (Cap, (1_000_000,), (1_000_001,), "the number of Cap"),
        (Cap, (1,), (True,), "the number of Cap"),
        (Cap, (1, "owner"), (1, "no name"), "by= of Cap"),
        (Cap, (1, None), (1, ""), "by= of Cap"),
        (Batch, (1,), (0,), "the size of Batch must be a whole number from 1 to 1,000, not 0"),
        (Batch, (1_000,), (1_001,), "the size of Batch"),
        (Batch, (1, "5s"), (1, "soon"), "pause= of Batch"),
        (Limit, ("a", "1/s"), ("a", "fast"), "the rate of Limit 'a'"),
        (Limit, ("a:{b}", "1/s"), ("a:{b", "1/s"), "the name of a Limit"),
        (CatchUp, ("none",), ("some",), "the kind of CatchUp"),
    ],
)
def test_what_a_policy_takes_and_what_it_refuses(kind, right, wrong, sentence):
    kind(*right)
    with pytest.raises(ConfigError, match=sentence):
        kind(*wrong)


def test_a_burst_is_the_worth_of_a_second_and_at_least_one_unless_it_is_given():
    bursts = {rate: Limit("a", rate).burst for rate in ("20/s", "1000/s", "1/s", "119/m", "120/m", "1000/h", "50/d")}
    assert bursts == {"20/s": 20, "1000/s": 1_000, "1/s": 1, "119/m": 1, "120/m": 2, "1000/h": 1, "50/d": 1}
    assert Limit("a", "20/s", burst=3).burst == 3
    assert Limit("a", "30/m").parsed == Rate(count=30, per_ms=60_000)
    assert Limit("a", "1/s", burst=1_000_000).burst == 1_000_000
    for wrong in (0, 1_000_001):
        with pytest.raises(ConfigError, match="burst= of Limit must be a whole number from 1 to 1,000,000"):
            Limit("a", "1/s", burst=wrong)


async def test_a_limit_is_paid_for_by_the_run_that_works_and_refused_where_there_is_none():
    class Payer:
        paid: ClassVar = []

        async def spend(self, limit, n=1):
            self.paid.append((limit.name, n))

    limit = Limit("a", "1/s")
    token = CURRENT.set(Payer())
    try:
        await limit.spend()
        await limit.spend(3)
    finally:
        CURRENT.reset(token)
    assert Payer.paid == [("a", 1), ("a", 3)]
    with pytest.raises(BadInput, match="'a' is spent outside of a handler"):
        await limit.spend()


def test_a_batch_has_no_pause_unless_it_is_given():
    assert (Batch(3).pause_ms, Batch(3, "5s").pause_ms) == (0, 5_000)


def test_what_was_missed_is_made_up_once_over_ten_minutes_unless_it_is_said_otherwise():
    plain = CatchUp()
    assert (plain.kind, plain.window_ms, plain.spread_ms, plain.most) == ("latest", None, 600_000, 100)
    said = CatchUp("all", window="7d", spread="1h", most=5)
    assert (said.window_ms, said.spread_ms, said.most) == (604_800_000, 3_600_000, 5)
    assert plain.describe() == "the newest missed slot is made up, spread over 10 min"
    assert said.describe() == "up to 5 missed slots are made up, spread over 1 h"
    assert CatchUp("none").describe() == "missed slots are not made up"
    CatchUp("all", most=1)
    CatchUp("all", most=10_000)
    for wrong in (0, 10_001):
        with pytest.raises(ConfigError, match="most= of CatchUp must be a whole number from 1 to 10,000"):
            CatchUp("all", most=wrong)


# -- names with holes ------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "can"), [("region", True), ("_r2", True), ("2r", False), ("", False), (None, False)])
def test_a_field_is_a_name_as_in_code(text, can):
    assert is_field(text) is can


def test_a_field_has_at_most_sixty_four_letters():
    assert is_field("a" * 64)
    assert not is_field("a" * 65)


@pytest.mark.parametrize("text", ["a", "a:{b}", "{a}{b}", "a" * 512])
def test_a_name_with_holes_comes_back_as_it_is(text):
    assert check_template(text, what="x") == text


@pytest.mark.parametrize("text", [None, "", " ", "a" * 513, "ä" * 257, "{a b}", "{}", "a}", "{a", "{a{b}}"])
def test_a_name_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match=r"^x m"):
        check_template(text, what="x")


def test_a_name_is_filled_only_when_every_value_is_there():
    assert filled_template("a:{b}:{c}", {"b": 1, "c": "x"}) == "a:1:x"
    assert filled_template("a:{b}:{c}", {"b": 1}) is None
    assert filled_template("a:{b}", {"b": None}) is None
    assert filled_template("a", {}) == "a"
    assert (is_open_template("a:{b}"), is_open_template("a")) == (True, False)
