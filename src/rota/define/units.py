"""Durations, rates, instants and times of the day, from what people write to whole milliseconds.

Always true: what comes out is an int in milliseconds (or a frozen `Rate`); a text made here reads back to the same
number; what cannot be taken is one sentence that names the thing, the form expected and the value found.

Not here: zones (define/names) and anything that knows what time it is (clock).
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rota.errors import BadInput, RotaError

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
MOST_DURATION_MS = 3_660 * DAY_MS  # ten years and some days: longer is a slip of the pen

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # ISO order: monday is 1

_UNITS = {"d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS, "ms": 1}
_WORDS = {"d": "d", "h": "h", "m": "min", "s": "s", "ms": "ms"}
_RATE_EXACT = 100  # a rate in whole numbers is within half a percent from here on
_RATE_UNITS = {unit: _UNITS[unit] for unit in "smhd"}
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9})s)?(?:(\d{1,12})ms)?", re.ASCII)
_RATE = re.compile(r"(\d{1,9})/([smhd])", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SHOWN = 60  # characters of a wrong value that a message repeats: enough to recognise it


def shown(value: object) -> str:
    """A wrong value as a message shows it: short, on one line, never failing."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not hide the sentence it would be part of
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def duration_ms(value: object, *, name: str, least: int = 0, error: type[RotaError] = BadInput) -> int:
    """The milliseconds of a `timedelta` or a text such as "1h30m"; parts of a millisecond count as a whole one."""
    if isinstance(value, timedelta):
        found = -(-value // _MILLISECOND)
    elif isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None or not value:
            raise error(f'{name} must be a duration such as "250ms", "10m" or "1h30m", not {shown(value)}')
        found = sum(int(count or 0) * size for count, size in zip(match.groups(), _UNITS.values(), strict=True))
    else:
        raise error(f'{name} must be a duration such as "10m" or a timedelta, not {shown(value)}')
    if found < least:
        raise error(f"{name} must be at least {duration_text(least)}, not {shown(value)}")
    if found > MOST_DURATION_MS:
        raise error(f"{name} must be at most {duration_text(MOST_DURATION_MS)}, not {shown(value)}")
    return found


def duration_text(ms: int) -> str:
    """The shortest text that `duration_ms` reads as this many milliseconds: "1h30m"."""
    return "".join(f"{count}{unit}" for count, unit in _parts(ms)) or "0s"


def duration_words(ms: int) -> str:
    """The same for people: "1 h 30 min"."""
    return " ".join(f"{count} {_WORDS[unit]}" for count, unit in _parts(ms)) or "0 s"


def _parts(ms: int) -> list[tuple[int, str]]:
    parts = []
    for unit, size in _UNITS.items():
        count, ms = divmod(ms, size)
        if count:
            parts.append((count, unit))
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many in so long."""

    count: int
    per_ms: int

    def __str__(self) -> str:
        unit = next(unit for unit, size in _RATE_UNITS.items() if size == self.per_ms)
        return f"{self.count}/{unit}"


def rate(text: object, *, name: str = "rate", error: type[RotaError] = BadInput) -> Rate:
    """A rate such as "20/s", "30/m", "1000/h" or "50/d"."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0:
        raise error(f'{name} must be a rate such as "20/s", "30/m", "1000/h" or "50/d", not {shown(text)}')
    return Rate(count=int(match[1]), per_ms=_RATE_UNITS[match[2]])


def rate_text(value: object) -> str:
    """A rate as text: as it is, or from a number of calls a second, such as services name in a header (0.0167)."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for unit, per_ms in _RATE_UNITS.items():
            count = value * per_ms / SECOND_MS
            if count >= _RATE_EXACT or unit == "d":
                return str(rate(f"{max(1, round(count))}/{unit}" if math.isfinite(count) and count > 0 else value))
    return str(rate(value))


def instant_ms(value: object, *, name: str = "the instant", error: type[RotaError] = BadInput) -> int:
    """The milliseconds since 1970 UTC of an aware `datetime`; parts of a millisecond are dropped."""
    if not isinstance(value, datetime):
        raise error(f"{name} must be an aware datetime, not {shown(value)}")
    if value.utcoffset() is None:
        raise error(f"{name} must be an aware datetime, but {value.isoformat()} has no zone: add tzinfo=")
    return (value - _EPOCH) // _MILLISECOND


def instant(ms: int) -> datetime:
    """The aware datetime, in UTC, of these milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=ms)


def instant_text(ms: int) -> str:
    """ISO 8601 with Z, milliseconds only where there are some: "2026-01-01T00:00:00Z"."""
    text = instant(ms).isoformat(timespec="milliseconds" if ms % SECOND_MS else "seconds")
    return text.removesuffix("+00:00") + "Z"


def read_time_of_day(value: object) -> int | None:
    """The milliseconds after midnight of "HH:MM" or "HH:MM:SS", or None where the value is no such text."""
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return int(match[1]) * HOUR_MS + int(match[2]) * MINUTE_MS + int(match[3] or 0) * SECOND_MS


def time_of_day_text(ms: int) -> str:
    """The text "HH:MM", with seconds only where there are some."""
    minutes, rest = divmod(ms, MINUTE_MS)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{rest // SECOND_MS:02}" if rest else text


def read_weekday(value: object) -> int | None:
    """The ISO number, 1 to 7, of "mon" … "sun", 1 … 7 or "1" … "7", or None where the value is none of them."""
    if isinstance(value, str):
        word = value.lower()
        if word in WEEKDAYS:
            return WEEKDAYS.index(word) + 1
        return int(word) if word in {"1", "2", "3", "4", "5", "6", "7"} else None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(WEEKDAYS):
        return value
    return None
