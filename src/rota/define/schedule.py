"""Schedules as users write them: `every`, `cron`, `daily`, `weekly`.

Always true: a schedule is frozen and complete when made; what is wrong with it is a `ConfigError` where it is
written, and what is wrong with a member's day or time is a `BadInput` where the member joins.

Not here: the arithmetic of fixed periods (define/evenly) and of the wall clock (define/wallclock).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from rota.define.contract import Place, Schedule
from rota.define.cron import CronRule, cron_rule
from rota.define.evenly import Every, build_every
from rota.define.names import checked_zone
from rota.define.policy import is_field
from rota.define.units import (
    DAY_MS,
    HOUR_MS,
    WEEK_MS,
    WEEKDAYS,
    duration_ms,
    duration_text,
    duration_words,
    instant_ms,
    read_time_of_day,
    read_weekday,
    shown,
    time_of_day_text,
)
from rota.define.wallclock import (
    FIRST_DAY,
    LAST_DAY,
    Rule,
    count_slots,
    iso_weekday,
    last_slot,
    next_slot,
    nominal_gap,
    shortest_gap,
)
from rota.errors import BadInput, ConfigError

__all__ = ["Every", "Place", "Schedule", "WallClock", "cron", "daily", "every", "weekly"]

Duration = timedelta | str

_ANY_DAY = 0  # in place of an ISO weekday
_TWO_YEARS_MS = 731 * DAY_MS  # with a leap day
_YEARS_LOOKED_AHEAD = (2, 40, 400)  # the last for dates such as a fifth monday in February
# Gaps are the same in any two years under standing rules; callers with a clock ask `min_gap_since`.
_SINCE_MS = instant_ms(datetime(2026, 1, 1, tzinfo=UTC))
# Where members bring their own zones: none at all, and the ways in which clocks change today, by an hour in the north,
# by half an hour, and by two hours.
_ZONES_OF_MEMBERS = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll")


@dataclass(frozen=True, slots=True)
class DayTime:
    """One time of the day, on every day or on one weekday: the rule behind `daily` and `weekly`."""

    weekday: int
    at_ms: int

    @property
    def times(self) -> tuple[int, ...]:
        """The one time."""
        return (self.at_ms,)

    @property
    def free(self) -> bool:
        """A stated time is never free."""
        return False

    def day_from(self, day: int) -> int:
        """The first day of the rule that is this one or later."""
        return day if self.weekday == _ANY_DAY else day + (self.weekday - iso_weekday(day)) % 7

    def day_upto(self, day: int) -> int:
        """The last day of the rule that is this one or earlier."""
        return day if self.weekday == _ANY_DAY else day - (iso_weekday(day) - self.weekday) % 7


@dataclass(frozen=True, slots=True, kw_only=True)
class WallClock(Schedule):
    """A rule of the wall clock; `day` and `at` are numbers, or the names of data fields that hold them."""

    day: int | str
    at: int | str
    cron: CronRule | None
    zone: str | None
    spread_ms: int = field()  # said aloud, else the contract's property would be taken for a default

    @property
    def period_ms(self) -> int:
        """The nominal period: a day, a week, or the smallest gap of the expression in two years."""
        if self.cron is not None:
            return _nominal_cron_gap(self.cron)
        return DAY_MS if self.day == _ANY_DAY else WEEK_MS

    @property
    def min_gap_ms(self) -> int:
        """The shortest distance of two slots in two years, changes of the clocks included."""
        return self.min_gap_since(_SINCE_MS)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a member's data that the rule reads."""
        return tuple(part for part in (self.day, self.at) if isinstance(part, str))

    def next_slot(self, after_ms: int, place: Place) -> int | None:
        """The first slot strictly after an instant, or None where none comes any more."""
        slot = next_slot(self._rule(place.data), self._zone(place), after_ms - place.phase_ms)
        return None if slot is None else slot + place.phase_ms

    def last_slot(self, at_ms: int, place: Place) -> int | None:
        """The newest slot at or before an instant, or None where there is none."""
        slot = last_slot(self._rule(place.data), self._zone(place), at_ms - place.phase_ms)
        return None if slot is None else slot + place.phase_ms

    def count_between(self, after_ms: int, until_ms: int, place: Place) -> int:
        """How many slots lie in (after, until]."""
        phase = place.phase_ms
        return count_slots(self._rule(place.data), self._zone(place), after_ms - phase, until_ms - phase)

    def min_gap_since(self, at_ms: int) -> int:
        """The shortest distance of two slots in the two years after an instant; for members' own zones, the worst."""
        rule = self._rule_for_gaps()
        zones = _ZONES_OF_MEMBERS if self.zone is None else (self.zone,)
        gaps = [shortest_gap(rule, zone, at_ms, at_ms + _TWO_YEARS_MS) for zone in zones]
        return min((gap for gap in gaps if gap is not None), default=self.period_ms)

    def check_member(self, zone: str | None, data: Mapping[str, object]) -> None:  # noqa: ARG002 - any zone will do
        """Raise `BadInput` where the member lacks a day or time that the rule reads from its data."""
        self._rule(data)

    def describe(self) -> str:
        """The rule in words."""
        words = self._words()
        if self.zone is not None:
            words += f" {self.zone}"
        return words + (f", within {duration_words(self.spread_ms)}" if self.spread_ms else "")

    def signature(self) -> str:
        """A text that changes when, and only when, the slots do."""
        what = self.cron.canonical if self.cron is not None else f"{self.day} {self.at}"
        return f"wall {what} zone={self.zone or 'of the member'} within={self.spread_ms}"

    def _words(self) -> str:
        if self.cron is not None:
            return self.cron.describe()
        at = time_of_day_text(self.at) if isinstance(self.at, int) else self.at
        if isinstance(self.day, str):
            return f"weekly on the member's {self.day} at {at}"
        at = at if isinstance(self.at, int) else f"the member's {at}"
        return f"daily at {at}" if self.day == _ANY_DAY else f"weekly on {WEEKDAYS[self.day - 1]} at {at}"

    def _zone(self, place: Place) -> str:
        return self.zone or place.zone or "UTC"

    def _rule(self, data: Mapping[str, object]) -> Rule:
        if self.cron is not None:
            return self.cron
        day = self.day if isinstance(self.day, int) else _day_of(data, self.day)
        return DayTime(day, self.at if isinstance(self.at, int) else _time_of(data, self.at))

    def _rule_for_gaps(self) -> Rule:
        """The rule, or one that stands for all that members could choose: at noon every change of clocks counts."""
        if self.cron is not None:
            return self.cron
        day = self.day if isinstance(self.day, int) else 1
        return DayTime(day, self.at if isinstance(self.at, int) else 12 * HOUR_MS)


def _day_of(data: Mapping[str, object], name: str) -> int:
    found = read_weekday(data.get(name))
    if found is None:
        wanted = '"mon" to "sun" or 1 to 7'
        hint = f'; for the same day for all, write weekly("{name[:3]}", …)' if name[:3].lower() in WEEKDAYS else ""
        raise BadInput(f"the schedule needs the data field {name!r} to be {wanted}, {_found(data, name)}{hint}")
    return found


def _time_of(data: Mapping[str, object], name: str) -> int:
    found = read_time_of_day(data.get(name))
    if found is None:
        wanted = '"HH:MM" or "HH:MM:SS"'
        raise BadInput(f"the schedule needs the data field {name!r} to be {wanted}, {_found(data, name)}")
    return found


def _found(data: Mapping[str, object], name: str) -> str:
    return f"not {shown(data[name])}" if name in data else "but the member's data has no such field: add it"


@lru_cache(maxsize=256)
def _nominal_cron_gap(rule: CronRule) -> int:
    since = _SINCE_MS // DAY_MS
    for years in _YEARS_LOOKED_AHEAD:
        gap = nominal_gap(rule, since, since + 366 * years)
        if gap is not None:
            return gap
    return (LAST_DAY - FIRST_DAY) * DAY_MS  # one slot in all of the calendar


def every(
    period: Duration,
    *,
    slot: Duration | None = None,
    within: Duration | None = None,
    closed: Iterable[int | str] = (),
    zone: str = "UTC",
) -> Every:
    """Each member once in a period, spread evenly over its slots; a member's runs are exactly one period apart.

    A slot is an hour for a day or longer, else 1/24 of the period, or as long as `slot`. `within` bounds the offset
    inside the slot. `closed` lists slots without work: their numbers from 0 or, where the period is whole days,
    ranges of the day such as "02:00-05:00" in the standard time of `zone`; a slot is closed when a run in it could
    begin inside the range. Slot 0 begins on monday 1970-01-05 at 00:00 in the standard time of `zone`.
    Durations are "6h" or a `timedelta`. What cannot be is a `ConfigError`.

    >>> from rota import every
    >>> every("24h").describe(), every("24h", closed=["02:00-05:00"]).slot_count
    ('every 24 h', 24)
    """
    return build_every(period, slot=slot, within=within, closed=closed, zone=zone)


def cron(expression: str, *, zone: str | None = None, within: Duration | None = None) -> WallClock:
    """At the times of a cron expression with five fields, in `zone`, else the member's zone, else UTC.

    0 and 7 are sunday. A local time that does not exist runs at the first instant after the gap, one that exists twice
    runs the first time; with a free hour (`*` or `*/n`) the rule follows elapsed time. `within` spreads members over
    a window after the time. A wrong expression, or a date that never comes, is a `ConfigError`.

    >>> from rota import cron
    >>> cron("0 2 * * 1", zone="Europe/Berlin").period_ms
    604800000
    """
    return _wall_clock(_ANY_DAY, 0, zone=zone, within=within, rule=cron_rule(expression))


def daily(at: str, *, zone: str | None = None, within: Duration | None = None) -> WallClock:
    """Each day at a local time: "HH:MM", "HH:MM:SS", or the name of a data field that holds one.

    The zone is `zone`, else the member's, else UTC. `within` spreads members over a window after the time, each always
    at the same offset. A wrong time is a `ConfigError`; a member whose field holds none is `BadInput` at the join.

    >>> from rota import daily
    >>> daily("02:30", zone="Asia/Kolkata").describe()
    'daily at 02:30 Asia/Kolkata'
    """
    return _wall_clock(_ANY_DAY, _read_at(at), zone=zone, within=within)


def weekly(day: str | int, at: str, *, zone: str | None = None, within: Duration | None = None) -> WallClock:
    """Each week on a day ("mon" to "sun", 1 to 7) at a local time; either may name a data field that holds it.

    Zone, window and errors are those of `daily`.

    >>> from rota import weekly
    >>> weekly(day="digest_day", at="digest_time").describe()
    "weekly on the member's digest_day at digest_time"
    """
    found: int | str | None = read_weekday(day)
    if found is None and isinstance(day, str) and is_field(day):
        found = day
    if found is None:
        raise ConfigError(f'the day must be "mon" to "sun", 1 to 7 or the name of a data field, not {shown(day)}')
    return _wall_clock(found, _read_at(at), zone=zone, within=within)


def _read_at(at: object) -> int | str:
    found = read_time_of_day(at)
    if found is not None:
        return found
    if isinstance(at, str) and is_field(at):
        return at
    raise ConfigError(f'the time must be "HH:MM", "HH:MM:SS" or the name of a data field, not {shown(at)}')


def _wall_clock(
    day: int | str, at: int | str, *, zone: object, within: object, rule: CronRule | None = None
) -> WallClock:
    spread_ms = 0 if within is None else duration_ms(within, name="within=", error=ConfigError)
    found = WallClock(day=day, at=at, cron=rule, zone=checked_zone(zone, error=ConfigError), spread_ms=spread_ms)
    if spread_ms > found.period_ms:
        raise ConfigError(
            f"within= must be at most the {duration_text(found.period_ms)} between two slots, not {within}"
        )
    return found
