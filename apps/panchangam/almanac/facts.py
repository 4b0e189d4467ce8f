"""What is known of each day at each place, as arrays: which stretches touch it, where Sun and Moon stand.

Always true: everything is as at the day's begin (its sunrise; local midnight where there is none); positions point into
the sky's lists.

Not here: names and text (document), comparison with published tables (reference).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache

import numpy as np

from apps.panchangam.almanac import solar
from apps.panchangam.almanac.lunations import sankrantis_between
from apps.panchangam.almanac.records import DayTable, Floats, Intervals, Ints, Place, Sankranti
from apps.panchangam.almanac.sky import EARLIEST, LATEST, Sky, days

SKIES_KEPT = 36  # months; 200 KB each, enough for three years of single days
SIGN = 30.0  # degrees


@dataclass(frozen=True, kw_only=True, eq=False)
class DayFacts:
    """The sky over a table of days; the arrays are (places, days)."""

    sky: Sky
    table: DayTable

    def touching(self, limb: Intervals) -> tuple[Ints, Ints]:
        """Give the first position and the one after the last of a limb's stretches that touch each day."""
        return limb.touching(self.table.begin, self.table.end)

    def at_begin(self, limb: Intervals) -> Ints:
        """Give the index of the limb that is current when each day begins."""
        return limb.index[limb.at(self.table.begin)]

    @cached_property
    def month(self) -> Ints:
        """Positions in the sky's months."""
        starts = np.array([month.start for month in self.sky.months])
        return np.searchsorted(starts, self.table.begin, side="right") - 1

    @cached_property
    def krishna(self) -> Ints:
        """Give 1 in the dark half of the month, else 0."""
        return (self.at_begin(self.sky.tithis) - 1) // 15

    @cached_property
    def sun(self) -> Floats:
        """Sidereal longitude of the Sun, degrees."""
        return self.sky.sun_sidereal(self.table.begin)

    @cached_property
    def moon(self) -> Floats:
        """Sidereal longitude of the Moon, degrees."""
        return self.sky.moon_sidereal(self.table.begin)

    @cached_property
    def tropical(self) -> Floats:
        """Apparent tropical longitude of the Sun, degrees."""
        return self.sky.sun_tropical(self.table.begin)

    @cached_property
    def ayanamsa(self) -> Floats:
        """Lahiri ayanamsa, degrees."""
        return self.sky.ayanamsa(self.table.begin)

    @cached_property
    def sankrantis(self) -> list[Sankranti]:
        """The sankrantis whose solar months the days can be in, whichever day a region's rule opens them on."""
        first = self.table.begin.min() - solar.LATEST_START_S
        return sankrantis_between(first, self.table.end.max())[:-1]

    @cached_property
    def month_starts(self) -> solar.MonthStarts:
        """First days of the solar months of these sankrantis, at each place."""
        return solar.month_starts(self.sankrantis, self.table.places)


def facts_of(sky: Sky, places: Sequence[Place], first: date, last: date, *, hindu: bool = False) -> DayFacts:
    """Give the facts of the days first to last at some places."""
    return DayFacts(sky=sky, table=days(sky, places, first, last, hindu=hindu))


def sky_around(day: date) -> Sky:
    """Give the sky over the month of a day, from memory if it was asked for lately; OutsideKernel as for Sky."""
    if not EARLIEST <= day <= LATEST:
        return Sky(day, day)  # which refuses with the reason
    return _sky_of_month(day.year, day.month)


@lru_cache(maxsize=SKIES_KEPT)
def _sky_of_month(year: int, month: int) -> Sky:
    first = date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    last = date.fromordinal(following.toordinal() - 1)
    return Sky(max(first, EARLIEST), min(last, LATEST))
