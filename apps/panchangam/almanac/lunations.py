"""New moons and sankrantis of the years, and the lunar months they make.

Always true: a Gregorian year's events are computed once for each process and kept; they equal what any range of days
would find, because they come from the same grid samples.

Not here: names of months (names), solar calendars and eras (years).
"""

from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from apps.panchangam.almanac.curves import MARGIN, at_place, reach
from apps.panchangam.almanac.ephemeris import (
    GRID_FIRST,
    GRID_LAST,
    JD_1970,
    PER_DAY,
    STEP_S,
    TURN,
    Longitudes,
    longitudes,
    to_unix,
)
from apps.panchangam.almanac.records import DAY_S, EPOCH, Floats, Ints, LunarMonth, Sankranti

YEARS_KEPT = 160  # every year the kernel has; a year weighs 1 KB
REACH = 5  # samples on each side of an estimate: the inner ones reach 6 h, the estimates err by less than 4 h
SIGN = 30.0  # degrees
MAKARA = 9  # the sign the Sun enters in January
MOONS_A_YEAR = 12.3685
MOON_MONTH_DAYS = 29.530588861
SUN_YEAR_DAYS = 365.25636


class Lunation(NamedTuple):
    """A conjunction and the sidereal sign (0 = Mesha) in which it happens."""

    at: float
    rashi: int


class YearEvents(NamedTuple):
    """What happens in a Gregorian year (UTC), in order."""

    new_moons: tuple[Lunation, ...]
    sankrantis: tuple[Sankranti, ...]


@lru_cache(maxsize=YEARS_KEPT)
def events_of(year: int) -> YearEvents:
    """Give the new moons and sankrantis of a Gregorian year, as far as the kernel has it."""
    first = round((year - 2000) * MOONS_A_YEAR) - 1
    moons = _blocks(_mean_conjunctions(np.arange(first, first + 16)))
    suns = _blocks(_sun_reaches((MAKARA + np.arange(-1, 14, dtype=np.float64)) * SIGN, year))
    where = longitudes(np.concatenate([moons, suns]))
    count = len(moons)
    at_moons = Longitudes(where.sun[:count], where.moon[:count])
    at_suns = where.sun[count:]
    return YearEvents(
        tuple(event for event in _new_moons(moons, at_moons) if _year_of(event.at) == year),
        tuple(event for event in _sankrantis(suns, at_suns) if _year_of(event.at) == year),
    )


def _new_moons(grid: Ints, where: Longitudes) -> list[Lunation]:
    apart = where.moon - where.sun
    place = reach(apart, np.rint(apart[:, REACH] / TURN) * TURN)
    signs = at_place(where.sun, place) % TURN // SIGN
    return [Lunation(at, int(sign)) for at, sign in zip(_instants(grid, place), signs, strict=True)]


def _sankrantis(grid: Ints, sun: Floats) -> list[Sankranti]:
    signs = np.rint(sun[:, REACH] / SIGN)
    instants = _instants(grid, reach(sun, signs * SIGN))
    return [Sankranti(rashi=int(sign % 12), at=at) for at, sign in zip(instants, signs, strict=True)]


def lunations_between(first: float, last: float) -> list[Lunation]:
    """Give the conjunctions from the second last before `first` to the second after `last`."""
    years = range(_year_of(first - 70 * DAY_S), _year_of(last + 70 * DAY_S) + 1)
    events = [event for year in years for event in events_of(year).new_moons]
    times = [event.at for event in events]
    low, high = np.searchsorted(times, [first, last], side="right")
    return events[max(low - 2, 0) : high + 2]


def sankrantis_between(first: float, last: float) -> list[Sankranti]:
    """Give the entries from the last one at or before `first` to the first one after `last`."""
    years = range(_year_of(first - 40 * DAY_S), _year_of(last + 40 * DAY_S) + 1)
    events = [event for year in years for event in events_of(year).sankrantis]
    times = [event.at for event in events]
    low, high = np.searchsorted(times, [first, last], side="right")
    return events[max(low - 1, 0) : high + 1]


def months_of(events: list[Lunation]) -> list[LunarMonth]:
    """Make the amanta months between conjunctions.

    The name follows the sign in which the month begins; a month within one sign is adhika and bears the name of the
    next, one that skips a sign is kshaya and bears two.
    """
    months = []
    for begin, end in pairwise(events):
        signs = (end.rashi - begin.rashi) % 12
        name = (begin.rashi + 1) % 12
        months.append(
            LunarMonth(
                start=begin.at,
                end=end.at,
                name_index=name,
                adhika=signs == 0,
                kshaya_second=(name + 1) % 12 if signs == 2 else None,
                # Chaitra begins in March or April, so a month's start less its number of months names the year.
                year=_year_of(begin.at - name * MOON_MONTH_DAYS * DAY_S),
            )
        )
    return months


def _mean_conjunctions(number: Ints) -> Floats:
    """Estimate conjunctions counted from January 2000 as days since 1970 TT, good to a quarter of an hour."""
    t: Floats = number / 1_236.85
    sun = np.radians(2.5534 + 29.10535670 * number)
    moon = np.radians(201.5643 + 385.81693528 * number)
    node = np.radians(160.7108 + 390.67050284 * number)
    days: Floats = 2_451_550.09766 - JD_1970 + MOON_MONTH_DAYS * number + 0.00015437 * t * t
    days += 0.17241 * np.sin(sun) - 0.40720 * np.sin(moon) + 0.01608 * np.sin(2 * moon) + 0.01039 * np.sin(2 * node)
    days += 0.00739 * np.sin(moon - sun) - 0.00514 * np.sin(moon + sun) + 0.00208 * np.sin(2 * sun)
    return days


def _sun_reaches(longitude: Floats, year: int) -> Floats:
    """Estimate when the sidereal Sun reaches longitudes, counted on from Makara in January, as days since 1970."""
    perihelion = np.radians(longitude - 259)  # degrees, near enough for the whole span of the kernel
    equation: Floats = 1.915 * np.sin(perihelion) + 0.02 * np.sin(2 * perihelion)
    makara = (year - 2000) * SUN_YEAR_DAYS + (date(2000, 1, 14) - EPOCH).days + 0.83
    return makara + (longitude - 270 - equation + 0.37) / TURN * SUN_YEAR_DAYS


def _blocks(days: Floats) -> Ints:
    """Give the grid numbers around each estimate that the kernel covers, one row for each."""
    centre: Ints = np.rint(days * PER_DAY).astype(np.int64)
    covered = centre[(centre - REACH >= GRID_FIRST) & (centre + REACH <= GRID_LAST)]
    grid: Ints = covered[:, None] + np.arange(-REACH, REACH + 1)
    return grid


def _instants(grid: Ints, place: Floats) -> list[float]:
    instants: list[float] = to_unix((grid[:, MARGIN] + place) * STEP_S).tolist()
    return instants


def _year_of(instant: float) -> int:
    return datetime.fromtimestamp(instant, UTC).year
