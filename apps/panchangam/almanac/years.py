"""Years and eras, the cycle of sixty, names of purnimanta months, seasons, and the civil Saka calendar.

Always true: a lunar year is that of the month which holds the sunrise; an adhika Chaitra belongs to the year it opens.

Not here: lunar months themselves (lunations), solar calendars of the regions (solar).
"""

from calendar import isleap
from dataclasses import dataclass
from datetime import date

from apps.panchangam.almanac import names
from apps.panchangam.almanac.records import LunarMonth

SHAKA_FROM = 78  # years behind the Gregorian year in which Chaitra falls
VIKRAM_AHEAD = 135  # years ahead of Shaka
KALI_AHEAD = 3_179
KARTIKA = 7  # the month that opens the Gujarati year
CYCLE = 60  # names of years


@dataclass(frozen=True, slots=True, kw_only=True)
class Eras:
    """Years current in a lunar month; the samvatsaras are 1-based numbers in the cycle of sixty."""

    shaka: int
    vikram: int
    gujarati: int
    kali: int
    south: int
    north: int
    west: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CivilDay:
    """A day of a calendar with numbered days: the month counted from 0, the day from 1."""

    month: int
    day: int
    year: int


def eras(month: LunarMonth) -> Eras:
    """Give the years of a lunar month.

    >>> eras(LunarMonth(start=0, end=0, name_index=5, adhika=False, kshaya_second=None, year=2026)).shaka
    1948
    """
    shaka = month.year - SHAKA_FROM
    vikram = shaka + VIKRAM_AHEAD
    gujarati = vikram if month.name_index >= KARTIKA else vikram - 1
    return Eras(
        shaka=shaka,
        vikram=vikram,
        gujarati=gujarati,
        kali=shaka + KALI_AHEAD,
        south=south_samvatsara(shaka),
        north=(vikram + 9) % CYCLE + 1,
        west=(gujarati + 8) % CYCLE + 1,
    )


def south_samvatsara(shaka: int) -> int:
    """Give the number in the cycle of sixty by the southern count, which the Tamil year shares."""
    return (shaka + 11) % CYCLE + 1


def purnimanta(month: LunarMonth, *, krishna: bool) -> str:
    """Name the purnimanta month of a half: the dark half bears the next month's name, but in an adhika month."""
    if month.adhika or not krishna:
        return names.month_title(month.name_index, adhika=month.adhika, kshaya_second=month.kshaya_second)
    last = month.name_index if month.kshaya_second is None else month.kshaya_second
    return names.month_title((last + 1) % 12)


def drik_ritu(tropical: float) -> str:
    """Name the season by the tropical Sun: Vasanta is 330 to 30 degrees."""
    return names.RITUS[int((tropical + 30) % 360 // 60)]


def vedic_ritu(sidereal: float) -> str:
    """Name the season by the sidereal Sun: Vasanta is Mesha and Vrishabha."""
    return names.RITUS[int(sidereal % 360 // 60)]


def ayana(longitude: float) -> str:
    """Name the Sun's course: northward from 270 to 90 degrees (drik: tropical, vedic: sidereal)."""
    return names.DAKSHINAYANA if 90 <= longitude % 360 < 270 else names.UTTARAYANA


def saka_civil(day: date) -> CivilDay:
    """Give the day of the Indian national calendar.

    >>> saka_civil(date(2024, 3, 21))
    CivilDay(month=0, day=1, year=1946)
    """
    year = day.year if day >= _saka_new_year(day.year) else day.year - 1
    lengths = [31 if isleap(year) else 30, *[31] * 5, *[30] * 6]
    left = (day - _saka_new_year(year)).days
    month = 0
    while left >= lengths[month]:
        left -= lengths[month]
        month += 1
    return CivilDay(month=month, day=left + 1, year=year - SHAKA_FROM)


def _saka_new_year(year: int) -> date:
    return date(year, 3, 21 if isleap(year) else 22)
