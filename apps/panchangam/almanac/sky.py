"""The sky over a stretch of days: all boundaries of the limbs, the months, and the day table of any places.

Always true: what depends on the Earth's centre only is computed once and shared by every place; samples lie on a
grid fixed in absolute time, so a result does not depend on how the days were cut into stretches.

Not here: positions of Sun and Moon (ephemeris), rise and set (horizon), names (names), windows of a day (windows).
"""

from collections.abc import Sequence
from datetime import date
from functools import cached_property

import numpy as np

from apps.panchangam.almanac import ephemeris, horizon, lunations
from apps.panchangam.almanac.curves import Curves
from apps.panchangam.almanac.ephemeris import STEP_S, TURN
from apps.panchangam.almanac.records import (
    DAY_S,
    EPOCH,
    DayTable,
    Floats,
    Intervals,
    LunarMonth,
    OutsideKernel,
    Place,
    Sankranti,
)

__all__ = ["DayTable", "Intervals", "LunarMonth", "OutsideKernel", "Place", "Sankranti", "Sky", "days"]

EARLIEST = date(1899, 11, 1)  # the kernel begins on 1899-07-29; two months before are needed, and samples to spare
LATEST = date(2053, 7, 15)  # it ends on 2053-10-09
BEFORE_DAYS = 3.0  # the longest stretch (a yoga) lasts 27 h and a zone is up to 14 h from Greenwich
AFTER_DAYS = 4.0
MANSION = TURN / 27  # degrees of a nakshatra or a yoga
PADA = MANSION / 4
KARANA = 6.0  # degrees


class Sky:
    """The geocentric almanac of the days `first` to `last`, both included.

    All instants are float64 Unix seconds UTC. The intervals reach at least two days beyond both ends, so every
    stretch that touches a day of the range is there whole. Raises OutsideKernel beyond 1899-11-01 … 2053-07-15.

    >>> sky = Sky(date(2026, 5, 20), date(2026, 5, 20))
    >>> [(month.name_index, month.adhika) for month in sky.months][1]
    (2, True)
    """

    def __init__(self, first: date, last: date) -> None:
        if not EARLIEST <= first <= last <= LATEST:
            raise OutsideKernel(
                f"Expected days in order between {EARLIEST} and {LATEST}, found {first} to {last}; "
                f"the ephemeris {ephemeris.KERNEL} does not reach further."
            )
        self.first = first
        self.last = last
        self.begin = (first - EPOCH).days * DAY_S - BEFORE_DAYS * DAY_S
        self.end = (last - EPOCH).days * DAY_S + AFTER_DAYS * DAY_S
        self.curves = Curves(int(self.begin // STEP_S), int(-(-self.end // STEP_S)))

    @cached_property
    def karanas(self) -> Intervals:
        """Half lunar days, index 1 to 60."""
        raw = self.curves.raw
        return self._intervals(raw.moon - raw.sun, KARANA, 60)

    @cached_property
    def tithis(self) -> Intervals:
        """Lunar days, index 1 to 30."""
        return _every(self.karanas, 2)

    @cached_property
    def padas(self) -> Intervals:
        """Quarters of the mansions, index 1 to 108: nakshatra (i - 1) // 4 + 1, pada (i - 1) % 4 + 1."""
        return self._intervals(self.curves.raw.moon, PADA, 108)

    @cached_property
    def nakshatras(self) -> Intervals:
        """Moon's mansions, index 1 to 27."""
        return _every(self.padas, 4)

    @cached_property
    def moon_signs(self) -> Intervals:
        """Sidereal signs of the Moon, index 1 to 12."""
        return _every(self.padas, 9)

    @cached_property
    def yogas(self) -> Intervals:
        """Sums of Sun and Moon, index 1 to 27."""
        raw = self.curves.raw
        return self._intervals(raw.moon + raw.sun, MANSION, 27)

    @cached_property
    def sankrantis(self) -> list[Sankranti]:
        """Entries of the Sun: the last one before the range to the first one after it, at least one on each side."""
        return lunations.sankrantis_between(self.begin, self.end)

    @cached_property
    def new_moons(self) -> Floats:
        """Conjunctions, from two before the range to two after it."""
        return np.array([event.at for event in self._lunations])

    @cached_property
    def months(self) -> list[LunarMonth]:
        """Amanta months in order: those that touch the range and one more on each side."""
        return lunations.months_of(self._lunations)

    @cached_property
    def _lunations(self) -> list[lunations.Lunation]:
        return lunations.lunations_between(self.begin, self.end)

    def sun_sidereal(self, instants: Floats) -> Floats:
        """Sidereal longitude of the Sun, degrees 0 to 360."""
        return self.curves.value("sun", ephemeris.to_tt(instants)) % TURN

    def moon_sidereal(self, instants: Floats) -> Floats:
        """Sidereal longitude of the Moon, degrees 0 to 360."""
        return self.curves.value("moon", ephemeris.to_tt(instants)) % TURN

    def elongation(self, instants: Floats) -> Floats:
        """Moon minus Sun, degrees 0 to 360."""
        tt = ephemeris.to_tt(instants)
        return (self.curves.value("moon", tt) - self.curves.value("sun", tt)) % TURN

    def sun_tropical(self, instants: Floats) -> Floats:
        """Apparent longitude of the Sun on the true equinox of date, degrees 0 to 360."""
        tt = ephemeris.to_tt(instants)
        return (self.curves.value("sun", tt) + self.curves.value("tropical", tt)) % TURN

    def ayanamsa(self, instants: Floats) -> Floats:
        """Mean Lahiri ayanamsa, degrees."""
        return ephemeris.ayanamsa(ephemeris.to_tt(instants))

    def _intervals(self, values: Floats, step: float, count: int) -> Intervals:
        numbers, tt = self.curves.crossings(values, step)
        unix = ephemeris.to_unix(tt)
        return Intervals(index=numbers[:-1] % count + 1, start=unix[:-1], end=unix[1:])


def days(sky: Sky, places: Sequence[Place], first: date, last: date, *, hindu: bool = False) -> DayTable:
    """Give the table of risings and settings of the days first to last, which lie within the sky's range.

    `hindu` takes the centre of the Sun's disc without refraction instead of the upper limb with it.
    """
    if not sky.first <= first <= last <= sky.last:
        raise ValueError(
            f"Expected days within {sky.first} to {sky.last}, found {first} to {last}; make the sky wider."
        )
    return horizon.day_table(sky.curves, places, first, last, hindu=hindu)


def _every(intervals: Intervals, size: int) -> Intervals:
    """Join stretches in groups of `size`, from the first one that begins a group."""
    offset = -(int(intervals.index[0]) - 1) % size
    start = intervals.start[offset::size]
    return Intervals(
        index=(intervals.index[offset::size][: len(start) - 1] - 1) // size + 1, start=start[:-1], end=start[1:]
    )
