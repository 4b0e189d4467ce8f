"""Rules of the wall clock: which instants are "02:30 local" and "every Tuesday at nine", whatever clocks are doing.

Always true: a local time that does not exist is the first instant after the gap, one that exists twice is the first
of the two, and both follow from one definition: *the first instant at which the local clock reads this or later*. A
`free` rule follows elapsed time instead: each instant whose local reading fits, in both copies of a repeated hour.

Not here: reading cron expressions (define/cron), member data and windows (define/schedule).

Instants are milliseconds UTC. A *wall* is what a local clock reads, as milliseconds since its own 1970-01-01 00:00; a
*day* is a local date, as days since then.
"""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

from rota.define.names import zone_of
from rota.define.units import DAY_MS, HOUR_MS, SECOND_MS

FIRST_DAY = (date(1900, 1, 1) - date(1970, 1, 1)).days  # no slot before: nobody's schedule reaches there
LAST_DAY = (date(9000, 1, 1) - date(1970, 1, 1)).days  # no slot after: `datetime` ends soon after
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

_MOST_OFFSET_MS = 16 * HOUR_MS  # no zone was ever further from UTC (Manila before 1845 came closest)
_PROBE_MS = 3 * HOUR_MS  # between two looks at an offset: no zone ever changed twice in so short a time
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Segment = tuple[int, int, int]  # from, until (instants, the end excluded), offset in ms


class Rule(Protocol):
    """Which days, and which times of those days."""

    @property
    def times(self) -> tuple[int, ...]:
        """Milliseconds after midnight, ascending."""

    @property
    def free(self) -> bool:
        """Whether the rule follows elapsed time, so that it runs in both copies of a repeated hour."""

    def day_from(self, day: int) -> int | None:
        """The first day of the rule that is this one or later."""

    def day_upto(self, day: int) -> int | None:
        """The last day of the rule that is this one or earlier."""


def date_of(day: int) -> date:
    """The calendar's name for a day."""
    return date.fromordinal(EPOCH_ORDINAL + day)


def iso_weekday(day: int) -> int:
    """1 for monday to 7 for sunday; day 0 was a thursday."""
    return (day + 3) % 7 + 1


def offset_at(at_ms: int, zone: str) -> int:
    """How far the local clock is ahead of UTC at this instant, in ms."""
    moment = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone_of(zone))
    offset = moment.utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)


@lru_cache(maxsize=16_384)
def segments_around(day: int, zone: str) -> tuple[Segment, ...]:
    """The stretches of constant offset that cover every instant whose local date could be this day."""
    start, end = day * DAY_MS - _MOST_OFFSET_MS, (day + 1) * DAY_MS + _MOST_OFFSET_MS
    found: list[Segment] = []
    begun, offset = start, offset_at(start, zone)
    for probe in range(start + _PROBE_MS, end + _PROBE_MS, _PROBE_MS):
        ahead = offset_at(probe, zone)
        if ahead != offset:
            change = _change_between(probe - _PROBE_MS, probe, zone)
            found.append((begun, change, offset))
            begun, offset = change, ahead
    return (*found, (begun, end + _PROBE_MS, offset))


def _change_between(before: int, after: int, zone: str) -> int:
    """The first instant with the new offset; changes fall on whole seconds."""
    old = offset_at(before, zone)
    low, high = before // SECOND_MS, -(-after // SECOND_MS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_at(middle * SECOND_MS, zone) == old else (low, middle)
    return high * SECOND_MS


def first_reading(wall: int, segments: tuple[Segment, ...]) -> int:
    """The first instant at which the local clock reads this wall time or later."""
    for start, end, offset in segments:
        at = max(start, wall - offset)
        if at < end:
            return at
    raise AssertionError("the segments around a day cover every reading of that day")


@lru_cache(maxsize=4_096)
def _unusual_slots(day: int, zone: str, times: tuple[int, ...], free: bool) -> tuple[int, ...]:  # noqa: FBT001
    """The slots of a day near a change of the clocks, ascending, each once."""
    segments = segments_around(day, zone)
    walls = [day * DAY_MS + time for time in times]
    if not free:
        return tuple(sorted({first_reading(wall, segments) for wall in walls}))
    every_reading = {wall - offset for start, end, offset in segments for wall in walls if start <= wall - offset < end}
    return tuple(sorted(every_reading))


def _slots_of_day(rule: Rule, zone: str, day: int) -> tuple[int, tuple[int, ...]]:
    """The slots of a day of the rule, as a base and ascending distances from it."""
    segments = segments_around(day, zone)
    if len(segments) == 1:
        return day * DAY_MS - segments[0][2], rule.times
    return 0, _unusual_slots(day, zone, rule.times, rule.free)


def next_slot(rule: Rule, zone: str, after_ms: int) -> int | None:
    """The first slot strictly after an instant, or None where there is none before the year 9000."""
    best: int | None = None
    day = rule.day_from(max(FIRST_DAY, (after_ms - _MOST_OFFSET_MS) // DAY_MS))
    while day is not None and day <= LAST_DAY:
        if best is not None and best <= day * DAY_MS - _MOST_OFFSET_MS:
            break
        base, distances = _slots_of_day(rule, zone, day)
        index = bisect_right(distances, after_ms - base)
        if index < len(distances) and (best is None or base + distances[index] < best):
            best = base + distances[index]
        day = rule.day_from(day + 1)
    return best


def last_slot(rule: Rule, zone: str, at_ms: int) -> int | None:
    """The newest slot at or before an instant, or None where there is none since the year 1900."""
    best: int | None = None
    day = rule.day_upto(min(LAST_DAY, (at_ms + _MOST_OFFSET_MS) // DAY_MS))
    while day is not None and day >= FIRST_DAY:
        if best is not None and best >= (day + 1) * DAY_MS + _MOST_OFFSET_MS:
            break
        base, distances = _slots_of_day(rule, zone, day)
        index = bisect_right(distances, at_ms - base)
        if index and (best is None or base + distances[index - 1] > best):
            best = base + distances[index - 1]
        day = rule.day_upto(day - 1)
    return best


def count_slots(rule: Rule, zone: str, after_ms: int, until_ms: int) -> int:
    """How many slots lie in (after, until]."""
    count, unusual = 0, set[int]()
    day = rule.day_from(max(FIRST_DAY, (after_ms - _MOST_OFFSET_MS) // DAY_MS))
    last = min(LAST_DAY, (until_ms + _MOST_OFFSET_MS) // DAY_MS)
    while day is not None and day <= last:
        base, distances = _slots_of_day(rule, zone, day)
        low, high = bisect_right(distances, after_ms - base), bisect_right(distances, until_ms - base)
        if base:
            count += max(0, high - low)
        else:  # near a change two days may share a slot, so these are collected and counted once
            unusual.update(distances[low:high])
        day = rule.day_from(day + 1)
    return count + len(unusual)


def shortest_gap(rule: Rule, zone: str, since_ms: int, until_ms: int) -> int | None:
    """The smallest distance of two slots on the days of this stretch, or None where fewer than two come."""
    found = set[int]()
    day, last = rule.day_from(since_ms // DAY_MS), until_ms // DAY_MS
    while day is not None and day <= last:
        base, distances = _slots_of_day(rule, zone, day)
        # Of a plain day the first and the last slot will do: its inner gaps are those of the rule, added below.
        found.update((base + distances[0], base + distances[-1]) if base else distances)
        day = rule.day_from(day + 1)
    slots = sorted(found)
    return min((later - earlier for row in (slots, rule.times) for earlier, later in pairwise(row)), default=None)


def nominal_gap(rule: Rule, since_day: int, until_day: int) -> int | None:
    """The smallest distance of two slots as the calendar tells it, without any change of the clocks."""
    times = rule.times
    least = min((later - earlier for earlier, later in pairwise(times)), default=None)
    day = rule.day_from(since_day)
    while day is not None and day <= until_day:
        following = rule.day_from(day + 1)
        if following is None:
            break
        gap = (following - day) * DAY_MS + times[0] - times[-1]
        least = gap if least is None else min(least, gap)
        day = following
    return least
