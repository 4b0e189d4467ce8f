"""`every(period)`: a fixed period cut into slots, over which members are spread by load.

Always true: a member's slots are `anchor + phase + k × period`, exactly, whatever clocks, zones and runs do.

Not here: choosing a member's slot and offset (turn/slots).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rota.define.contract import Place, Schedule
from rota.define.names import checked_zone
from rota.define.units import (
    DAY_MS,
    HOUR_MS,
    duration_ms,
    duration_text,
    duration_words,
    instant_ms,
    read_time_of_day,
    shown,
)
from rota.define.wallclock import offset_at
from rota.errors import ConfigError

_FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05 00:00 UTC
_PARTS_OF_SHORT_PERIODS = 24  # a period below a day is cut like a day into its hours
# One of the two is standard time, north or south. A fixed year, so that an anchor stays where it is.
_STANDARD_AT = (instant_ms(datetime(2026, 1, 1, tzinfo=UTC)), instant_ms(datetime(2026, 7, 1, tzinfo=UTC)))
_RANGE = re.compile(r"([0-9:]{5,8})-([0-9:]{5,8})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Every(Schedule):
    """A fixed period; `within_ms` bounds the offset in a slot, `closed` holds the indexes of slots without work."""

    period_ms: int = field()  # said aloud, else the contract's property would be taken for a default
    slot_ms: int
    within_ms: int
    closed: frozenset[int]
    anchor_ms: int

    @property
    def balanced(self) -> bool:
        """Members are spread over the slots."""
        return True

    @property
    def slot_count(self) -> int:
        """How many slots the period has, closed ones included."""
        return self.period_ms // self.slot_ms

    def next_slot(self, after_ms: int, place: Place) -> int:
        """The first slot strictly after an instant."""
        return after_ms + self.period_ms - (after_ms - self.anchor_ms - place.phase_ms) % self.period_ms

    def last_slot(self, at_ms: int, place: Place) -> int:
        """The newest slot at or before an instant."""
        return at_ms - (at_ms - self.anchor_ms - place.phase_ms) % self.period_ms

    def count_between(self, after_ms: int, until_ms: int, place: Place) -> int:
        """How many slots lie in (after, until]."""
        first = self.anchor_ms + place.phase_ms
        return max(0, (until_ms - first) // self.period_ms - (after_ms - first) // self.period_ms)

    def slots_between(self, after_ms: int, until_ms: int, place: Place, most: int) -> list[int]:
        """The slots in (after, until], ascending; where there are more than `most`, the newest of them."""
        count = min(most, self.count_between(after_ms, until_ms, place))
        last = self.last_slot(until_ms, place)
        return [last - back * self.period_ms for back in range(count - 1, -1, -1)]

    def describe(self) -> str:
        """The rule in words."""
        closed = f", {len(self.closed)} of {self.slot_count} slots closed" if self.closed else ""
        # A day is said in hours: "every 1 d" reads like a slip.
        period = "24 h" if self.period_ms == DAY_MS else duration_words(self.period_ms)
        return f"every {period}{closed}"

    def signature(self) -> str:
        """A text that changes when, and only when, the slots do."""
        closed = ",".join(map(str, sorted(self.closed)))
        cut = f"slot={self.slot_ms} within={self.within_ms} closed={closed}"
        return f"every {self.period_ms} anchor={self.anchor_ms} {cut}"


def build_every(
    period: object, *, slot: object = None, within: object = None, closed: object = (), zone: object = "UTC"
) -> Every:
    """Check what was written and work out the slots; every fault is a `ConfigError`."""
    period_ms = duration_ms(period, name="the period of every()", least=1, error=ConfigError)
    slot_ms = _plain_slot_ms(period_ms) if slot is None else _given_slot_ms(slot, period_ms)
    within_ms = slot_ms
    if within is not None:
        # An offset lies below its bound, so "no spread at all" is a bound of one millisecond.
        within_ms = max(1, duration_ms(within, name="within= of every()", error=ConfigError))
    if within_ms > slot_ms:
        raise ConfigError(f"within= of every() must fit into a slot of {duration_text(slot_ms)}, not {shown(within)}")
    rule = Every(
        period_ms=period_ms,
        slot_ms=slot_ms,
        within_ms=within_ms,
        closed=_closed_slots(closed, period_ms, slot_ms, within_ms),
        anchor_ms=_FIRST_MONDAY_MS - _standard_offset_ms(zone),
    )
    if len(rule.closed) == rule.slot_count:
        raise ConfigError(f"closed= of every() closes all {rule.slot_count} slots: leave at least one open")
    return rule


def _plain_slot_ms(period_ms: int) -> int:
    parts = _PARTS_OF_SHORT_PERIODS if period_ms < DAY_MS else period_ms // HOUR_MS
    while period_ms % parts:
        parts -= 1
    return period_ms // parts


def _given_slot_ms(slot: object, period_ms: int) -> int:
    slot_ms = duration_ms(slot, name="slot= of every()", least=1, error=ConfigError)
    if period_ms % slot_ms:
        raise ConfigError(
            f"slot= of every() must divide the period of {duration_text(period_ms)} without rest, not {shown(slot)}"
        )
    return slot_ms


def _standard_offset_ms(zone: object) -> int:
    name = checked_zone(zone, error=ConfigError)
    if name is None:
        raise ConfigError('zone= of every() must be an IANA name such as "UTC", not None')
    return min(offset_at(at_ms, name) for at_ms in _STANDARD_AT)


def _closed_slots(closed: object, period_ms: int, slot_ms: int, within_ms: int) -> frozenset[int]:
    """The indexes of closed slots, from indexes and from ranges of the day such as "02:00-05:00"."""
    if isinstance(closed, str) or not isinstance(closed, Iterable):
        raise ConfigError(f'closed= of every() must be a list of slot numbers or "02:00-05:00", not {shown(closed)}')
    count, found = period_ms // slot_ms, set[int]()
    for entry in closed:
        if isinstance(entry, str):
            found.update(_slots_in_range(entry, period_ms, slot_ms, within_ms))
        elif isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < count:
            found.add(entry)
        else:
            raise ConfigError(
                f'each of closed= of every() must be a slot from 0 to {count - 1} or a range such as "02:00-05:00", '
                f"not {shown(entry)}"
            )
    return frozenset(found)


def _slots_in_range(entry: str, period_ms: int, slot_ms: int, within_ms: int) -> list[int]:
    """The slots whose work could begin inside a range of the day; "22:00-04:00" goes over midnight."""
    match = _RANGE.fullmatch(entry)
    start = read_time_of_day(match[1]) if match else None
    end = (DAY_MS if match[2] == "24:00" else read_time_of_day(match[2])) if match else None
    if start is None or end is None or start == end:
        raise ConfigError(f'a range in closed= of every() must be such as "02:00-05:00", not {shown(entry)}')
    if period_ms % DAY_MS:
        raise ConfigError(
            f"closed={entry!r} is a range of the day, but a period of {duration_text(period_ms)} is not whole days: "
            "give slot numbers"
        )
    length = (end - start) % DAY_MS or DAY_MS
    begins = [(index, index * slot_ms % DAY_MS) for index in range(period_ms // slot_ms)]
    return [
        index for index, begin in begins if (begin - start) % DAY_MS < length or (start - begin) % DAY_MS < within_ms
    ]
