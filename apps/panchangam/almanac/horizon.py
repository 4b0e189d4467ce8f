"""Risings and settings of Sun and Moon, for all places and days at once.

Always true: a day is labelled with the civil date of the noon that follows its sunrise; what does not happen is
`nan`, never a clipped time; the horizon is that of the sea.

Not here: the positions themselves (ephemeris, curves); windows and slots of the day (windows, slots).
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np

from apps.panchangam.almanac.curves import Curves
from apps.panchangam.almanac.ephemeris import STEP_S, TURN, to_tt, to_unix
from apps.panchangam.almanac.records import (
    DAY_S,
    EPOCH,
    DayTable,
    Floats,
    Place,
    zone_of,
)

NEWTON_STEPS = 4  # three reach a millisecond below 50 degrees, where days are never nearly endless
POLAR_STEPS = 12  # above 50 degrees, a guess with room
STEEP_LAT = 50.0  # degrees
QUARTER = 90.0  # degrees: a guess at the half arc
SETTLED = 1e-4  # samples, a second: a body that grazes the horizon and never meets it keeps the solver moving
RISING, SETTING = -1, 1


class _Body(NamedTuple):
    """What the solver needs of one body: its curves' channels, and the altitude at which it rises."""

    hour: str
    declination: str
    altitude: str
    upper_limb: bool = True


_SUN = _Body("sun_hour", "sun_sin_declination", "sun_sin_altitude")
_SUN_CENTRE = _SUN._replace(upper_limb=False)
_MOON = _Body("moon_hour", "moon_sin_declination", "moon_sin_altitude")


class Ground(NamedTuple):
    """The places as columns, in the units of the solver."""

    lon: Floats
    sin: Floats
    cos: Floats
    steps: int


def day_table(curves: Curves, places: Sequence[Place], first: date, last: date, *, hindu: bool = False) -> DayTable:
    """Give the table of the days first … last, which the curves cover with three days to spare on each side."""
    count = (last - first).days + 1
    dates = tuple(first + timedelta(days=number) for number in range(count))
    ground = ground_of(places)
    noons = np.array([[_clock_noon(place, first)] for place in places])
    rise, fall = sun_events(curves, ground, noons, range(-1, count + 1), hindu=hindu)
    begin = np.where(np.isnan(rise), _midnights(places, dates, rise), rise)
    begin, end = begin[:, 1:-1], begin[:, 2:]
    moonrise, moonset = _moon_events(curves, ground, begin, end)
    return DayTable(
        places=places,
        dates=dates,
        sunrise=rise[:, 1:-1],
        sunset=fall[:, 1:-1],
        next_sunrise=rise[:, 2:],
        previous_sunset=fall[:, :-2],
        moonrise=moonrise,
        moonset=moonset,
        begin=begin,
        end=end,
    )


def sun_events(
    curves: Curves, ground: Ground, noons: Floats, numbers: range, *, hindu: bool = False
) -> tuple[Floats, Floats]:
    """Give sunrises and sunsets of the days counted from the one that has the clock noons (a column)."""
    body = _SUN_CENTRE if hindu else _SUN
    transit = np.rint((curves.value("sun_hour", to_tt(noons)) + ground.lon) / TURN) + np.array(numbers)
    return _solve(curves, ground, body, transit, RISING), _solve(curves, ground, body, transit, SETTING)


def ground_of(places: Sequence[Place]) -> Ground:
    """Prepare places for the solver."""
    lat = np.array([[place.lat] for place in places])
    lon = np.array([[place.lon] for place in places])
    steep = bool((np.abs(lat) > STEEP_LAT).any())
    radians = np.radians(lat)
    return Ground(lon, np.sin(radians), np.cos(radians), POLAR_STEPS if steep else NEWTON_STEPS)


def _clock_noon(place: Place, day: date) -> float:
    noon = (day - EPOCH).days * DAY_S + DAY_S / 2
    return noon - place.offset_s(noon)


def _midnights(places: Sequence[Place], dates: Sequence[date], rise: Floats) -> Floats:
    """Give local midnights of the dates and one more on each side, at the places where a sunrise is missing."""
    result = np.full(rise.shape, np.nan)
    wanted = [dates[0] - timedelta(days=1), *dates, dates[-1] + timedelta(days=1)]
    for row in np.flatnonzero(np.isnan(rise).any(axis=1)).tolist():
        zone = zone_of(places[row].zone)
        result[row] = [datetime.combine(day, time(), zone).timestamp() for day in wanted]
    return result


def _moon_events(curves: Curves, ground: Ground, begin: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Give the first moonrise and moonset in each [begin, end)."""
    turns = (curves.value("moon_hour", to_tt(begin[:, :1])) + ground.lon) / TURN
    # The Moon passes the meridian less than once a day, so these transits hold every event of the days.
    transit = np.floor(turns) + np.arange(begin.shape[1] + 3)
    rising, setting = (_solve(curves, ground, _MOON, transit, way) for way in (RISING, SETTING))
    return _first_in(rising, begin, end), _first_in(setting, begin, end)


def _first_in(events: Floats, begin: Floats, end: Floats) -> Floats:
    """Pick for each [begin, end) the first event of its row, all rows in one search."""
    row, column = np.nonzero(~np.isnan(events))
    if not len(row):
        return np.full(begin.shape, np.nan)
    known = events[row, column]
    apart = 2 * (max(known.max(), end.max()) - min(known.min(), begin.min()))  # keeps the rows in order
    base = begin.min()
    rows = np.arange(len(begin))[:, None]
    found = np.searchsorted(known - base + row * apart, begin - base + rows * apart)
    found = np.minimum(found, len(known) - 1)
    event = known[found]
    return np.where((row[found] == rows) & (event >= begin) & (event < end), event, np.nan)


def _solve(curves: Curves, ground: Ground, body: _Body, transit: Floats, way: int) -> Floats:
    """Find when hour angle + longitude = 360 * transit -/+ half arc, by Newton's method, all at once."""
    hour = curves.cubic(body.hour)
    declination = curves.cubic(body.declination)
    altitude = curves.cubic(body.altitude)
    goal = TURN * transit - ground.lon
    samples = curves.inner(body.hour)
    x = np.interp(goal + way * QUARTER, samples, np.arange(len(samples), dtype=np.float64))
    cosine = step = x
    for _ in range(ground.steps):
        cell = np.minimum(x.astype(np.int64), hour.shape[1] - 1)
        f = x - cell
        h0, h1, h2, h3 = (row.take(cell) for row in hour)
        s0, s1, s2, s3 = (row.take(cell) for row in declination)
        sine = s0 + f * (s1 + f * (s2 + f * s3))
        slope = s1 + f * (2 * s2 + 3 * f * s3)
        rest = 1 - sine * sine
        up = altitude[0].take(cell) + f * altitude[1].take(cell) if body.upper_limb else 0.0
        numerator = up - ground.sin * sine
        denominator = ground.cos * np.sqrt(rest)
        cosine = numerator / denominator
        bounded = np.clip(cosine, -1.0, 1.0)
        arc = np.degrees(np.arccos(bounded))
        # d(arc)/d(sine): the change of the half arc while the body's declination changes.
        turn = np.sqrt(np.maximum(1 - bounded * bounded, 1e-4))
        drift = np.degrees((ground.sin - up * sine) / (denominator * rest * turn)) * slope
        miss = h0 + f * (h1 + f * (h2 + f * h3)) - goal - way * arc
        step = miss / (h1 + f * (2 * h2 + 3 * f * h3) - way * drift)
        x = np.clip(x - step, 0, hour.shape[1] - 1e-6)
    result = to_unix(curves.start + x * STEP_S)
    return np.where((np.abs(cosine) > 1) | (np.abs(step) > SETTLED), np.nan, result)
