"""The passages of a document that many places share: the limbs of a day, and its place in the calendars.

Always true: a passage is written once for each combination that occurs and then only looked up; it is the inside of a
JSON object, without the braces.

Not here: what differs from place to place (document).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
import orjson

from apps.panchangam.almanac import names, slots, solar, years
from apps.panchangam.almanac.facts import SIGN, DayFacts
from apps.panchangam.almanac.iso import iso_texts
from apps.panchangam.almanac.records import Floats, Intervals, LunarMonth, Span

Item = dict[str, Any]


class Limbs:
    """The five limbs of each day, and the stretches that hang on them."""

    def __init__(self, facts: DayFacts) -> None:
        self._zone = facts.table.places[0].zone
        sky = facts.sky
        self._kinds = (
            ("tithis", _tithi, self._written(sky.tithis), facts.touching(sky.tithis)),
            ("nakshatras", _nakshatra, self._written(sky.nakshatras), facts.touching(sky.nakshatras)),
            ("padas", _pada, self._written(sky.padas), facts.touching(sky.padas)),
            ("yogas", _named(names.YOGAS), self._written(sky.yogas), facts.touching(sky.yogas)),
            ("karanas", _karana, self._written(sky.karanas), facts.touching(sky.karanas)),
            ("moonSigns", _named(names.RASHIS), self._written(sky.moon_signs), facts.touching(sky.moon_signs)),
            ("varjyam", None, *self._span(facts, slots.varjyams(sky.nakshatras))),
            ("amritKalam", None, *self._span(facts, slots.amrit_kalams(sky.nakshatras))),
        )
        self._known: dict[tuple[int, ...], bytes] = {}

    def of_day(self, column: int) -> Iterator[bytes]:
        """Give the passages of one day, place by place."""
        ends = [edge[:, column].tolist() for *_, edges in self._kinds for edge in edges]
        for key in zip(*ends, strict=True):
            passage = self._known.get(key)
            if passage is None:
                passage = self._known[key] = self._passage(key)
            yield passage

    def _passage(self, key: Sequence[int]) -> bytes:
        limbs = {}
        for number, (name, about, (index, start, end), _) in enumerate(self._kinds):
            low, high = key[2 * number : 2 * number + 2]
            limbs[name] = [
                (about(index[place]) if about else {}) | {"start": start[place], "end": end[place]}
                for place in range(low, high)
            ]
        limbs["bhadra"] = [
            {"start": item["start"], "end": item["end"]} for item in limbs["karanas"] if item["name"] == names.BHADRA
        ]
        return _inside(limbs)

    def _written(self, limb: Intervals) -> tuple[list[int], list[orjson.Fragment], list[orjson.Fragment]]:
        return limb.index.tolist(), _fragments(limb.start, self._zone), _fragments(limb.end, self._zone)

    def _span(self, facts: DayFacts, span: Span) -> tuple[Any, Any]:
        limb = Intervals(index=np.zeros(len(span.start), dtype=np.int64), start=span.start, end=span.end)
        return self._written(limb), facts.touching(limb)


class Calendar:
    """Months, years, seasons and solar calendars of each day."""

    def __init__(self, facts: DayFacts) -> None:
        self._facts = facts
        self._zone = facts.table.places[0].zone
        starts = facts.month_starts
        self._starts = list(zip(*(kind.tolist() for kind in starts), strict=True))
        # Places whose solar months all begin alike share their passages.
        groups: dict[str, int] = {}
        self._group = [groups.setdefault(repr(kinds), len(groups)) for kinds in self._starts]
        self._signs = (facts.tropical // SIGN).astype(np.int64), (facts.sun // SIGN).astype(np.int64)
        self._known: dict[tuple[int, int, tuple[int, int, int, int]], bytes] = {}

    def of_day(self, column: int) -> Iterator[bytes]:
        """Give the passages of one day, place by place."""
        month, krishna = (array[:, column].tolist() for array in (self._facts.month, self._facts.krishna))
        tropical, sidereal = (array[:, column].tolist() for array in self._signs)
        for row, when in enumerate(zip(month, krishna, tropical, sidereal, strict=True)):
            key = (column, self._group[row], when)
            passage = self._known.get(key)
            if passage is None:
                passage = self._known[key] = self._passage(column, row, when)
            yield passage

    def _passage(self, column: int, row: int, when: tuple[int, int, int, int]) -> bytes:
        month, krishna, tropical, sidereal = when
        lunar = self._facts.sky.months[month]
        era = years.eras(lunar)
        day = self._facts.table.dates[column]
        return _inside(
            {
                "paksha": names.PAKSHAS[krishna],
                "months": self._months(lunar, krishna=bool(krishna)),
                "years": {"shaka": era.shaka, "vikram": era.vikram, "gujarati": era.gujarati, "kali": era.kali},
                "samvatsaras": {
                    "south": _samvatsara(era.south),
                    "north": _samvatsara(era.north),
                    "gujarati": _samvatsara(era.west),
                },
                "ritu": {"drik": years.drik_ritu(tropical * SIGN), "vedic": years.vedic_ritu(sidereal * SIGN)},
                "ayana": {"drik": years.ayana(tropical * SIGN), "vedic": years.ayana(sidereal * SIGN)},
                "sunSign": {"index": sidereal + 1, "name": names.RASHIS[sidereal]},
                "solar": self._solar(row, day),
                "saka": _saka(day),
            }
        )

    def _months(self, month: LunarMonth, *, krishna: bool) -> Item:
        start, end = _fragments(np.array([month.start, month.end]), self._zone)
        return {
            "amanta": {
                "index": month.name_index + 1,
                "name": names.month_title(month.name_index, adhika=month.adhika, kshaya_second=month.kshaya_second),
                "adhika": month.adhika,
                "kshaya": month.kshaya_second is not None,
                "start": start,
                "end": end,
            },
            "purnimanta": {"name": years.purnimanta(month, krishna=krishna), "adhika": month.adhika},
        }

    def _solar(self, row: int, day: date) -> Item:
        starts = solar.MonthStarts(*self._starts[row])
        sankrantis = self._facts.sankrantis
        return {
            name: _solar_day(solar.solar_date(rule, getattr(starts, rule.starts), sankrantis, day), rule)
            for name, rule in solar.RULES.items()
        }


def _fragments(instants: Floats, zone: str) -> list[orjson.Fragment]:
    return [orjson.Fragment(text) for text in iso_texts(instants, zone).tolist()]


def _inside(members: Item) -> bytes:
    return orjson.dumps(members)[1:-1]


def _named(listed: Sequence[str]) -> Callable[[int], Item]:
    return lambda index: {"index": index, "name": listed[index - 1]}


def _tithi(index: int) -> Item:
    dark, number = divmod(index - 1, 15)
    return {"index": index, "name": names.TITHIS[index - 1], "paksha": names.PAKSHAS[dark], "number": number + 1}


def _nakshatra(index: int) -> Item:
    return {"index": index, "name": names.NAKSHATRAS[index - 1]}


def _pada(index: int) -> Item:
    mansion, quarter = divmod(index - 1, 4)
    return {"nakshatra": mansion + 1, "pada": quarter + 1}


def _karana(index: int) -> Item:
    return {"index": index, "name": names.KARANAS[index - 1]}


def _samvatsara(number: int) -> Item:
    return {"index": number, "name": names.SAMVATSARAS[number - 1]}


def _saka(day: date) -> Item:
    civil = years.saka_civil(day)
    return {"month": names.SAKA_MONTHS[civil.month], "day": civil.day, "year": civil.year}


def _solar_day(civil: solar.SolarDay, rule: solar.SolarRule) -> Item:
    item: Item = {"month": rule.months[civil.month], "day": civil.day}
    if civil.year is not None:
        item["year"] = civil.year
    if civil.samvatsara is not None:
        item["samvatsara"] = _samvatsara(civil.samvatsara)
    return item
