"""Handlers begin a little after their claims: what a bucket keeps back for that; and probes that showed nothing."""

import pytest

from rota.define.units import Rate
from rota.turn.gates import EARLY_MS, NS, Bucket, take

NOW = 1_000_000


@pytest.mark.parametrize(
    ("count", "burst", "kept"),
    [(200, 200, 195), (200, 50, 48), (200, 24, 24), (30, 30, 30), (1_000, 1_000, 975), (1, 1_000, 1_000)],
)
def test_a_fast_limit_keeps_a_little_of_its_burst_for_starts_that_come_after_their_claims(count, burst, kept):
    one = Bucket("b")
    one.paced(Rate(count=count, per_ms=1_000), burst)
    assert one.burst == burst
    one.timed(EARLY_MS)
    assert one.burst == kept
    assert one.room_count(NOW) == kept


def test_a_second_that_begins_with_the_burst_holds_no_more_starts_than_rate_and_burst_though_they_come_late():
    one = Bucket("b")
    one.paced(Rate(count=200, per_ms=1_000), 200)
    one.timed(EARLY_MS)
    starts = []
    for now in range(NOW, NOW + 2_000):
        while one.room_ns(now * NS, promised=True) <= now * NS:
            take([one], now)
            starts.append(max(now, NOW + 25))  # the first claims are slow to start
    most = max(sum(at <= other < at + 1_000 for other in starts) for at in starts[::20])
    assert most <= 400


def test_a_probe_that_showed_nothing_lets_the_next_one_try_at_once():
    one = Bucket("b", failures=1)
    assert take([one], NOW) == ("b",)
    one.unproved(NOW + 7)
    assert (one.probing, one.cooling_until, one.changed) == (False, NOW + 7, True)
    one.changed = False
    one.unproved(NOW + 9)
    assert (one.cooling_until, one.changed) == (NOW + 7, False)
