"""The solar calendars of the regions: Tamil, Malayalam, Bengali, Odia and Punjabi.

Always true: a month begins on the day that the region's rule gives to a sankranti, at the very place that asks: rules
that look at sunset take the sunset there.

Not here: sankrantis themselves (lunations), the civil Saka calendar (years).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from apps.panchangam.almanac import horizon, names, years
from apps.panchangam.almanac.curves import Curves
from apps.panchangam.almanac.ephemeris import STEP_S
from apps.panchangam.almanac.records import DAY_S, EPOCH, Ints, Place, Sankranti

BANGABDA_FROM = 593  # years behind the Gregorian year in which Boishakh falls
KOLLAM_FROM = 824
MESHA, SIMHA = 0, 4  # the signs that open the years
MAKARA = 9  # the first sign the Sun enters in a Gregorian year
DAYTIME_BEFORE_APARAHNA = 3 / 5
LATEST_START_S = 2 * DAY_S  # no month opens later after its sankranti
CURVES_KEPT = 64  # sankrantis; a few KB each
CELLS_AROUND = 16  # two days each way, more than any zone shifts a noon


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarRule:
    """A region's calendar: names of the months from Mesha on, the rule for their first days, and the count of years."""

    months: tuple[str, ...]
    starts: str  # a field of MonthStarts
    opens: int = MESHA
    behind: int | None = None  # years behind the Gregorian year in which the region's year opens; None: no count
    cyclic: bool = False  # the year has a name in the cycle of sixty


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarDay:
    """A day of a solar calendar: the month counted from Mesha as 0, the day from 1."""

    month: int
    day: int
    year: int | None
    samvatsara: int | None


class MonthStarts(NamedTuple):
    """First days of the solar months of some sankrantis, as days since 1970: arrays (places, sankrantis)."""

    civil: Ints
    tamil: Ints
    malayalam: Ints
    bengali: Ints


RULES = {
    "tamil": SolarRule(months=names.TAMIL_MONTHS, starts="tamil", cyclic=True),
    "malayalam": SolarRule(months=names.MALAYALAM_MONTHS, starts="malayalam", opens=SIMHA, behind=KOLLAM_FROM),
    "bengali": SolarRule(months=names.BENGALI_MONTHS, starts="bengali", behind=BANGABDA_FROM),
    "odia": SolarRule(months=names.ODIA_MONTHS, starts="civil"),
    "punjabi": SolarRule(months=names.PUNJABI_MONTHS, starts="civil"),
}


def month_starts(sankrantis: Sequence[Sankranti], places: Sequence[Place]) -> MonthStarts:
    """Give the first days of the solar months that the sankrantis open, at each place, by each region's rule."""
    columns = [_starts_of(sankranti.at, places) for sankranti in sankrantis]
    return MonthStarts(*(np.stack(kind, axis=1) for kind in zip(*columns, strict=True)))


def solar_date(rule: SolarRule, starts: Sequence[int], sankrantis: Sequence[Sankranti], day: date) -> SolarDay:
    """Give a day's date in a region's calendar, from the first days of its months at one place."""
    number = (day - EPOCH).days
    position = int(np.searchsorted(starts, number, side="right")) - 1
    sankranti = sankrantis[position]
    opened = _opened(sankranti, rule.opens)
    return SolarDay(
        month=sankranti.rashi,
        day=number - int(starts[position]) + 1,
        year=None if rule.behind is None else opened - rule.behind,
        samvatsara=years.south_samvatsara(opened - years.SHAKA_FROM) if rule.cyclic else None,
    )


def _opened(sankranti: Sankranti, sign: int) -> int:
    """Give the Gregorian year in which the solar year opened, with its sign, that the sankranti belongs to."""
    entered = EPOCH + timedelta(seconds=sankranti.at)
    return entered.year if sign <= sankranti.rashi < MAKARA else entered.year - 1


def _starts_of(at: float, places: Sequence[Place]) -> MonthStarts:
    offsets = np.array([place.offset_s(at) for place in places])
    civil = ((at + offsets) // DAY_S).astype(np.int64)
    noons = (civil * DAY_S + DAY_S / 2 - offsets)[:, None]
    rise, fall = (
        events[:, 0] for events in horizon.sun_events(_curves_around(at), horizon.ground_of(places), noons, range(1))
    )
    aparahna = rise + (fall - rise) * DAYTIME_BEFORE_APARAHNA
    return MonthStarts(civil, civil + ~(at < fall), civil + ~(at < aparahna), civil + 1)


@lru_cache(maxsize=CURVES_KEPT)
def _curves_around(at: float) -> Curves:
    cell = int(at // STEP_S)
    return Curves(cell - CELLS_AROUND, cell + CELLS_AROUND)
