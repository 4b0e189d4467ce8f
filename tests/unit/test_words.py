"""Figures as sentences say them."""

from rota.insight.words import about, clock, share

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
NOON_MS = 1_767_268_800_000


def test_words_are_never_rounded_up():
    assert (share(9996, 10_000), share(10_000, 10_000), share(1, 3), share(0, 0)) == ("99.9%", "100%", "33.3%", "0%")
    assert [about(ms) for ms in (0, 420, 61_000, 42_600_000, 90_000_000, 40 * DAY_MS + HOUR_MS)] == [
        *["0 s", "420 ms", "1 min 1 s", "11 h 50 min", "1 d 1 h", "40 d"]
    ]
    assert clock(NOON_MS, NOON_MS) == "12:00"
    assert clock(NOON_MS - 2 * DAY_MS, NOON_MS, "Asia/Kolkata") == "Tue 17:30"
    assert clock(NOON_MS - 30 * DAY_MS, NOON_MS) == "2025-12-02 12:00"
