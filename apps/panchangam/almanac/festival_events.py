"""The occurrences of rules over a stretch of days: every limb a rule asks for, with its day at every place.

Always true: an occurrence holds one date a place, as a proleptic ordinal; 0 stands for a place where a condition of
the rule (the Sun's sign on the day) is not met; the same limb gives the same dates whatever the stretch.

Not here: how a day is chosen (festival_days), how it is written down (festivals).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from apps.panchangam.almanac import names
from apps.panchangam.almanac.festival_days import Bools, Calendar, Choice, Limb, choose
from apps.panchangam.almanac.festival_rules import REGIONS, Rule
from apps.panchangam.almanac.records import DAY_S, Ints, LunarMonth, OutsideKernel, Place
from apps.panchangam.almanac.sky import EARLIEST, LATEST, Sky, days

BEFORE: Final = timedelta(days=22)  # Aadi Perukku comes 17 days after the Sun's entry, candidates lie 3 days apart
AFTER: Final = timedelta(days=12)  # Varalakshmi comes up to 6 days before the full moon
SKY_MARGIN: Final = timedelta(days=45)  # a whole solar month and a lunar month on either side
MORNING_S: Final = 6 * 3600  # seconds after local mean midnight: which of two stars in a month counts is settled then


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One occurrence of a rule, at every place of the calendar."""

    rule: Rule
    limb: Limb
    limb_name: str
    choice: Choice
    ordinals: Ints  # the date of each place; 0: the rule does not apply there


def calendar_of(places: tuple[Place, ...], first: date, last: date) -> Calendar:
    """Compute the sky and the days that decide all festivals from `first` to `last`.

    Raises OutsideKernel if the months around them are not all in the ephemeris: a cut sky would lose festivals.
    """
    if not EARLIEST + SKY_MARGIN <= first <= last <= LATEST - SKY_MARGIN:
        message = (
            f"Expected festivals of days in order between {EARLIEST + SKY_MARGIN} and {LATEST - SKY_MARGIN}, found "
            f"{first} to {last}; the ephemeris does not cover the months around other days."
        )
        raise OutsideKernel(message)
    sky = Sky(first - SKY_MARGIN, last + SKY_MARGIN)
    return Calendar(sky, days(sky, places, first - BEFORE, last + AFTER))


class Finder:
    """Finds the limbs that rules ask for in the sky of a calendar."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.sky = calendar.sky
        sunrise = calendar.sunrise
        # Every candidate day of a limb between these lies in the table.
        self.earliest = float(sunrise[:, 1].max())
        self.latest = float(sunrise[:, -4].min())

    @cached_property
    def months(self) -> list[tuple[LunarMonth, int]]:
        """The lunar months whose thirty tithis are all known, with the position of the first."""
        tithis = self.sky.tithis
        found = []
        for month in self.sky.months:
            position = int(np.abs(tithis.start - month.start).argmin())
            whole = position + 30 <= len(tithis.index)
            if whole and abs(tithis.start[position] - month.start) < DAY_S / 24:
                found.append((month, position))
        return found

    def occurrences(self, rules: Iterable[Rule]) -> Iterator[Occurrence]:
        """Give every occurrence whose candidate days lie in the calendar's table."""
        first = self.calendar.table.dates[0].toordinal()
        for rule in rules:
            for limb, limb_name in self._limbs(rule):
                if self.earliest <= limb.begins_at and limb.ends_at <= self.latest:
                    choice = choose(rule, limb, self.calendar)
                    ordinals = self._shifted(rule, choice.day + first)
                    if rule.tithi and rule.sign >= 0:
                        ordinals = np.where(self._sun_in(rule.sign, choice.day), ordinals, 0)
                    yield Occurrence(rule=rule, limb=limb, limb_name=limb_name, choice=choice, ordinals=ordinals)

    def _limbs(self, rule: Rule) -> Iterator[tuple[Limb, str]]:
        if rule.star:
            return self._stars(rule)
        return self._tithis(rule) if rule.tithi else self._entries(rule)

    def _tithis(self, rule: Rule) -> Iterator[tuple[Limb, str]]:
        tithis = self.sky.tithis
        for month, position in self.months:
            if not _applies(rule, month):
                continue
            at = position + rule.tithi - 1
            adhika = "Adhika " if month.adhika else ""
            index = rule.month if rule.month is not None else month.name_index
            name = f"{adhika}{names.MONTHS[index]} {names.TITHIS[rule.tithi - 1]}"
            yield Limb(begins_at=float(tithis.start[at]), ends_at=float(tithis.end[at])), name

    def _entries(self, rule: Rule) -> Iterator[tuple[Limb, str]]:
        name = f"The Sun's entry into {names.RASHIS[rule.sign]}"
        for entry in self.sky.sankrantis:
            if entry.rashi == rule.sign:
                yield Limb(begins_at=entry.at, ends_at=entry.at), name

    def _stars(self, rule: Rule) -> Iterator[tuple[Limb, str]]:
        """Give one stretch of the star for each solar month."""
        entries = self.sky.sankrantis
        stars = self.sky.nakshatras
        name = f"{names.NAKSHATRAS[rule.star - 1]} nakshatra"
        for entry, after in pairwise(entries):
            if entry.rashi == rule.sign:
                at = self._star_of_month(rule, entry.at, after.at)
                if at is not None:
                    yield Limb(begins_at=float(stars.start[at]), ends_at=float(stars.end[at])), name

    def _star_of_month(self, rule: Rule, enters_at: float, leaves_at: float) -> int | None:
        """Pick the position of the stretch that counts in a solar month, which can hold two of them.

        It is the last one that ends in its month; one that the Sun's leaving cuts short counts only if there is no
        other. Mornings are those of the region's main place.
        """
        stars = self.sky.nakshatras
        near = np.flatnonzero(stars.index == rule.star)
        midnight_s = REGIONS[rule.region].lon / 15 * 3600
        start, end = stars.start[near], stars.end[near]
        morning = np.ceil((start + midnight_s - MORNING_S) / DAY_S) * DAY_S - midnight_s + MORNING_S
        morning = np.where(morning < end, morning, morning - DAY_S)
        inside = (enters_at <= morning) & (morning < leaves_at)
        if not inside.any():
            return None
        whole = inside & (end <= leaves_at)
        return int(near[whole if whole.any() else inside][-1])

    def _sun_in(self, sign: int, day: Ints) -> Bools:
        """Tell where the Sun stands in a sign at the sunrise of a day."""
        sunrise = self.calendar.sunrise[self.calendar.rows, day]
        return np.asarray(self.sky.sun_sidereal(sunrise) // 30 == sign)

    @staticmethod
    def _shifted(rule: Rule, ordinals: Ints) -> Ints:
        """Add the rule's days; with a weekday, go back to the last such day."""
        if rule.weekday is not None:
            ordinals = ordinals - (ordinals - 1 - rule.weekday) % 7
        return ordinals + rule.shift


def _applies(rule: Rule, month: LunarMonth) -> bool:
    """Tell whether a lunar month is one of the rule's; a month with two names carries the festivals of both."""
    if rule.leap != "any" and month.adhika != (rule.leap == "adhika"):
        return False
    return rule.month is None or rule.month in (month.name_index, month.kshaya_second)
