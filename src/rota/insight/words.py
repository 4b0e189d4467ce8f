"""Durations, instants and counts as sentences say them.

Always true: a duration has at most two units and is never rounded up; 100% means all.

Not here: the sentences.
"""

from rota.define.names import zone_of
from rota.define.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, duration_words, instant

_STEPS = (
    (10 * DAY_MS, DAY_MS),
    (DAY_MS, HOUR_MS),
    (HOUR_MS, MINUTE_MS),
    (10 * MINUTE_MS, MINUTE_MS),
    (SECOND_MS, SECOND_MS),
)


def about(ms: int) -> str:
    """A duration with its two largest units: "11 h 50 min", "3 min 2 s", "420 ms"."""
    ms = max(0, ms)
    for least, step in _STEPS:
        if ms >= least:
            return duration_words(ms - ms % step)
    return duration_words(ms)


def clock(at_ms: int, now_ms: int, zone: str = "UTC") -> str:
    """An instant as a time of the day, with the day where it is not within 20 hours, in a zone that is named once."""
    moment = instant(at_ms).astimezone(zone_of(zone))
    if abs(now_ms - at_ms) < 20 * HOUR_MS:
        return f"{moment:%H:%M}"
    if abs(now_ms - at_ms) < 6 * DAY_MS:
        return f"{moment:%a %H:%M}"
    return f"{moment:%Y-%m-%d %H:%M}"


def share(part: int, whole: int) -> str:
    """A percentage with one decimal, rounded down: 99.96% is 99.9%."""
    if whole <= 0:
        return "0%"
    tenths = part * 1000 // whole
    return f"{tenths // 10}%" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10}%"


def many(count: int, one: str, more: str) -> str:
    """A count with its verb or noun: "1 is", "17 are"."""
    return f"{count:,} {one if count == 1 else more}"


def short(text: str, most: int = 120) -> str:
    """The first line of a message, cut where a sentence would lose its reader."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= most else line[: most - 1] + "…"
