"""Cron expressions: five fields of text, read by a library, as a rule of the wall clock.

Always true: a rule that exists has slots; an expression that is wrong, or names a date that never comes, is refused
where it is written, with the field at fault.

Not here: what happens when clocks change (define/wallclock). As in Debian's cron, the two day fields must both fit
where one of them begins with a star, and either may fit where none does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache

from cronsim import CronSim, CronSimError

from rota.define.units import HOUR_MS, MINUTE_MS, shown
from rota.define.wallclock import EPOCH_ORDINAL, FIRST_DAY, LAST_DAY, date_of
from rota.errors import ConfigError

_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31 or L",
    "month": "1-12 or jan-dec",
    "day-of-week": "0-7 or sun-sat, 0 and 7 being sunday",
}
_MOST_TEXT = 200  # characters: the longest sensible expression, a list of all minutes, is shorter
_MOST_MONTHS = 400 * 12  # after 400 years the calendar repeats: what has not come by then never comes
_MONTHS = 12
_STAND_IN = datetime(2000, 1, 1, tzinfo=UTC)  # the parser wants an instant; its answer does not depend on it


@dataclass(frozen=True, slots=True, kw_only=True)
class CronRule:
    """One expression; two expressions with the same slots are equal."""

    canonical: str
    times: tuple[int, ...] = field(compare=False, repr=False)
    free: bool = field(compare=False, repr=False)
    text: str = field(compare=False)
    parsed: CronSim = field(compare=False, repr=False)

    def day_from(self, day: int) -> int | None:
        """The first day of the rule that is this one or later."""
        if day > LAST_DAY:
            return None
        first = date_of(max(day, FIRST_DAY))
        month = first.year * _MONTHS + first.month - 1
        for ahead in range(month, month + _MOST_MONTHS):
            for found in _days_of_month(self, ahead):
                if found >= day:
                    return found
        return None

    def day_upto(self, day: int) -> int | None:
        """The last day of the rule that is this one or earlier."""
        if day < FIRST_DAY:
            return None
        last = date_of(min(day, LAST_DAY))
        month = last.year * _MONTHS + last.month - 1
        for back in range(month, max(month - _MOST_MONTHS, _MONTHS), -1):
            for found in reversed(_days_of_month(self, back)):
                if found <= day:
                    return found
        return None

    def describe(self) -> str:
        """The expression, and what the library says it means."""
        words: str = self.parsed.explain()
        return f"cron {self.text} ({words[:1].lower()}{words[1:]})"


@lru_cache(maxsize=4_096)
def _days_of_month(rule: CronRule, month: int) -> tuple[int, ...]:
    """The days of the rule in a month, which is counted from the year 0."""
    year, index = divmod(month, _MONTHS)
    if index + 1 not in rule.parsed.months:
        return ()
    begin = date(year, index + 1, 1).toordinal()
    end = date(year + (index + 1) // _MONTHS, (index + 1) % _MONTHS + 1, 1).toordinal()
    fits = rule.parsed.match_day
    return tuple(day - EPOCH_ORDINAL for day in range(begin, end) if fits(date.fromordinal(day)))


def cron_rule(expression: object) -> CronRule:
    """Read an expression such as "0 2 * * 1"; `ConfigError` names the field at fault."""
    if not isinstance(expression, str) or len(expression) > _MOST_TEXT:
        raise ConfigError(f'a cron expression must be text such as "0 2 * * 1", not {shown(expression)}')
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        raise ConfigError(
            f"a cron expression must have five fields (minute hour day-of-month month day-of-week), "
            f"but {shown(expression)} has {len(parts)}"
        )
    parsed = _parsed(parts)
    if parsed is None:
        raise ConfigError(_fault(parts, expression))
    rule = CronRule(
        canonical=_canonical(parsed, free=_is_free(parts[1])),
        times=tuple(
            hour * HOUR_MS + minute * MINUTE_MS for hour in sorted(parsed.hours) for minute in _minutes(parsed)
        ),
        free=_is_free(parts[1]),
        text=" ".join(parts),
        parsed=parsed,
    )
    if rule.day_from(FIRST_DAY) is None:
        raise ConfigError(f"the cron expression {shown(expression)} names a date that never comes: choose another day")
    return rule


def _minutes(parsed: CronSim) -> list[int]:
    return sorted(parsed.minutes)


def _is_free(hours: str) -> bool:
    return hours == "*" or hours.startswith("*/")


def _parsed(parts: list[str]) -> CronSim | None:
    try:
        return CronSim(" ".join(parts), _STAND_IN)
    except CronSimError:
        return None


def _fault(parts: list[str], expression: str) -> str:
    """The sentence about the first field that is wrong by itself, or about a date that never comes."""
    for index, (name, allowed) in enumerate(_FIELDS.items()):
        alone = ["*"] * len(_FIELDS)
        alone[index] = parts[index]
        if _parsed(alone) is None:
            return (
                f"the {name} field of the cron expression {shown(expression)} must be {allowed}, "
                f"with lists, ranges and steps, but it is {parts[index]!r}"
            )
    return f"the cron expression {shown(expression)} names a date that never comes: choose another day"


def _canonical(parsed: CronSim, *, free: bool) -> str:
    """A text that two expressions share only when their slots are the same; kept in stores, so it never changes.

    The reverse holds too, but for days that are counted from the end of a month: 1-30,L is every day in other words.
    """
    weekdays = {_sunday_is_0(item) for item in parsed.weekdays}
    every_day, every_weekday = parsed.days >= set(range(1, 32)), weekdays >= set(range(7))
    both = parsed.day_and
    if not both and (every_day or every_weekday):
        days, week, both = "*", "*", True
    else:
        days = "*" if every_day else _listed(parsed.days)
        week = "*" if every_weekday else _listed(weekdays)
    join = "and" if both else "or"
    return (
        f"{_listed(parsed.minutes)} {_listed(parsed.hours)} {days} {join} {week} {_listed(parsed.months)} free={free}"
    )


def _sunday_is_0(weekday: int | tuple[int, int]) -> int | tuple[int, int]:
    """A weekday, or the nth of a month, with one number for sunday, which may be written as 0 or 7."""
    return (weekday[0] % 7, weekday[1]) if isinstance(weekday, tuple) else weekday % 7


def _listed(items: Iterable[object]) -> str:
    return ",".join(sorted(str(item).replace(" ", "") for item in items))
