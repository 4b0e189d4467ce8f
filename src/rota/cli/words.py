"""Figures as people read them: counts, shares, durations with two units, times in their zone.

Always true: a share below 100% is never rounded up to it; an instant comes in and goes out as it stands in JSON.

Not here: what is said about them (the commands), the forms that programs read (define/units.py).
"""

from datetime import datetime, tzinfo
from typing import Final

MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
MOST_PLAIN: Final = 999_999  # larger counts are told in millions


class Words:
    """How figures are told in one zone."""

    def __init__(self, zone: tzinfo | None, now: datetime) -> None:
        """`zone`: None is the machine's own; `now` decides whether a time needs its day."""
        self._zone = zone
        self._now = now.astimezone(zone)

    @property
    def zone_name(self) -> str:
        """What the zone calls itself now."""
        return self._now.tzname() or "UTC"

    def now(self) -> str:
        """The time of day now."""
        return self._now.strftime("%H:%M")

    def at(self, instant: str | None) -> str:
        """A time of day, with its day where that is not today."""
        if instant is None:
            return "–"
        then = datetime.fromisoformat(instant).astimezone(self._zone)
        if then.date() == self._now.date():
            return then.strftime("%H:%M:%S" if then.second else "%H:%M")
        near = abs((then - self._now).total_seconds()) < 6 * DAY_S
        return then.strftime("%a %H:%M" if near else "%Y-%m-%d %H:%M")

    def since(self, instant: str | None) -> str:
        """How long ago, or in how long, an instant is."""
        if instant is None:
            return "–"
        seconds = (self._now - datetime.fromisoformat(instant)).total_seconds()
        return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def count(number: int) -> str:
    """A count: 48,213, or 1.42 M."""
    return f"{number:,}" if abs(number) <= MOST_PLAIN else f"{number / 1_000_000:.2f} M"


def share(part: int, whole: int) -> str:
    """A share that says 100% only when it is all."""
    if whole <= 0:
        return "–"
    if part >= whole:
        return "100%"
    return f"{part * 1000 // whole / 10:.1f}%"


def duration(seconds: float | None) -> str:
    """A duration with at most two units: 11 h 50 m, 1.8 s, 420 ms."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR_S:
        minutes, rest = divmod(whole, MINUTE_S)
        return f"{minutes} m {rest} s" if rest else f"{minutes} m"
    if whole < DAY_S:
        hours, rest = divmod(whole // MINUTE_S, 60)
        return f"{hours} h {rest} m" if rest else f"{hours} h"
    days, rest = divmod(whole // HOUR_S, 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def many(number: int, one: str, more: str | None = None) -> str:
    """A count with its noun."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"
