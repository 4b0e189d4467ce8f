"""The records that the almanac's parts hand to each other.

Always true: an instant is a float64 of Unix seconds UTC and `nan` means that there is no such event; an index of a
limb counts from 1 as the almanacs do, an index of a sign or a month counts from 0 (Mesha, Chaitra); arrays over
places and days have the shape (places, days).

Not here: how any of it is computed (ephemeris, horizon, sky) or named (names).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import cache
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

DAY_S = 86_400.0  # seconds
INDIAN_OFFSET_S = 19_800  # seconds east of UTC; the almanac keeps it for all years, wartime clocks included
INDIAN_ZONE = "Asia/Kolkata"
EPOCH = date(1970, 1, 1)


class OutsideKernel(ValueError):
    """A date was asked for that the ephemeris kernel does not cover."""


class Span(NamedTuple):
    """One stretch of time, or arrays of them: both ends in Unix seconds UTC."""

    start: Floats
    end: Floats


@cache
def zone_of(name: str) -> tzinfo:
    """Give the zone by its name; India is +05:30 in every year."""
    if name == INDIAN_ZONE:
        return timezone(timedelta(seconds=INDIAN_OFFSET_S), "IST")
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A point on the globe: degrees north and east, and the zone whose calendar it keeps."""

    lat: float
    lon: float
    zone: str = INDIAN_ZONE
    slug: str = ""
    name: str = ""
    state: str = ""
    elevation_m: float = 0.0  # data only: the horizon is that of the sea, as in the published almanacs

    def __post_init__(self) -> None:
        """Refuse coordinates that are not on the globe."""
        if not (-90 <= self.lat <= 90 and -180 <= self.lon <= 180):
            raise ValueError(
                f"Expected a latitude of -90 to 90 and a longitude of -180 to 180 degrees, found {self.lat} and "
                f"{self.lon}; give degrees north and east."
            )

    def offset_s(self, instant: float) -> float:
        """Give the seconds that this place's clocks are ahead of UTC at an instant."""
        if self.zone == INDIAN_ZONE:
            return INDIAN_OFFSET_S
        delta = datetime.fromtimestamp(instant, zone_of(self.zone)).utcoffset()
        return delta.total_seconds() if delta else 0.0

    def date_of(self, instant: float) -> date:
        """Give the civil date of an instant on this place's calendar."""
        return datetime.fromtimestamp(instant, zone_of(self.zone)).date()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervals:
    """A limb of the almanac as contiguous stretches: `end[i] == start[i + 1]`, increasing."""

    index: Ints  # counted from 1, as in the lists of names
    start: Floats
    end: Floats

    def at(self, instants: Floats | float) -> Ints:
        """Give the position (not the index) of the stretch that holds each instant; an end belongs to the next."""
        return np.searchsorted(self.end, instants, side="right")

    def touching(self, begin: Floats | float, end: Floats | float) -> tuple[Ints, Ints]:
        """Give `lo` and `hi` so that positions lo … hi-1 are the stretches that meet [begin, end)."""
        return self.at(begin), np.searchsorted(self.start, end, side="left")


@dataclass(frozen=True, slots=True, kw_only=True)
class LunarMonth:
    """An amanta month, new moon to new moon."""

    start: float
    end: float
    name_index: int  # 0 = Chaitra
    adhika: bool
    kshaya_second: int | None  # the second name of a month that swallowed one
    year: int  # the Gregorian year in which this lunar year's Chaitra began: Shaka = year - 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Sankranti:
    """The Sun's entry into a sidereal sign (0 = Mesha)."""

    rashi: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayTable:
    """Risings and settings of each Hindu day at each place; the arrays are (places, days)."""

    places: Sequence[Place]
    dates: tuple[date, ...]
    sunrise: Floats
    sunset: Floats
    next_sunrise: Floats
    previous_sunset: Floats
    moonrise: Floats  # the first in [sunrise, next sunrise)
    moonset: Floats
    begin: Floats  # the sunrise, or local midnight where the Sun does not rise or set: never nan
    end: Floats  # the next day's begin

    def column(self, day: date) -> int:
        """Give the second index of a date; a date that is not in the table raises KeyError."""
        number = (day - self.dates[0]).days
        if 0 <= number < len(self.dates):
            return number
        raise KeyError(day)

    @property
    def polar(self) -> NDArray[np.bool_]:
        """True where the day has no sunrise, no sunset or no sunrise after it."""
        return np.isnan(self.sunrise + self.sunset + self.next_sunrise)
