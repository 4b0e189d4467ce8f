"""The festivals and observances of places: dates of one, lists of a year, documents of a month.

Always true: a date is computed for the place asked about; many places at once give what each gives alone; a festival
that falls twice in a Gregorian year, or not at all, is given twice, or not at all.

Not here: the rules (festival_rules, observances), the choice of the day (festival_days), the words (why).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from apps.panchangam.almanac.festival_days import Calendar
from apps.panchangam.almanac.festival_events import Finder, calendar_of
from apps.panchangam.almanac.festival_records import Record, records_of
from apps.panchangam.almanac.festival_rules import REGIONS, Rule
from apps.panchangam.almanac.layout import CONVENTIONS, ENGINE, SCHEMA_VERSION, SUNRISE
from apps.panchangam.almanac.observances import ALL_RULES, rules_of
from apps.panchangam.almanac.overrides import Override, overrides
from apps.panchangam.almanac.records import Place

Month: TypeAlias = tuple[int, int]  # year, month

# Years of single places, 1.5 MB each: a table of 35 years is asked about one festival after the other.
_YEARS_KEPT: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A day that could have been the festival's, with the share of the window that the limb covers on it."""

    date: date
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Festival:
    """One festival at one place; instants are aware and on the place's clock, None where there is none.

    `begins_at` and `ends_at` bound the tithi or nakshatra (both are the moment of a sankranti); `official` are dates
    that authorities print although the rule gives `date`.
    """

    id: str
    name: str
    date: date
    kind: str
    region: str
    rule: str
    limb: str
    begins_at: datetime
    ends_at: datetime
    window: str | None
    window_begins_at: datetime | None
    window_ends_at: datetime | None
    parana_begins_at: datetime | None
    parana_ends_at: datetime | None
    why: str
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...]
    official: tuple[Override, ...]


class MonthDocument(NamedTuple):
    """The festivals of one place in one month, as JSON is made of."""

    place: Place
    year: int
    month: int
    document: dict[str, object]


def festival_dates(festival_id: str, lat: float, lon: float, year: int) -> list[date]:
    """Give all dates of a festival in a Gregorian year at a place, in order.

    An alias or a group such as `ekadashi_smarta` will do; the dates are those of the Indian clock. Raises
    UnknownFestival for a name that is none, OutsideKernel for a year that the ephemeris does not cover.

    >>> festival_dates("diwali", 28.6519, 77.2315, 2024)
    [datetime.date(2024, 10, 31)]
    >>> len(festival_dates("pradosh_vrat", 28.6519, 77.2315, 2025))
    24
    """
    rules = rules_of(festival_id)
    first, last = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
    found = Finder(_year_calendar(Place(lat=lat, lon=lon), year)).occurrences(rules)
    ordinals = {int(occurrence.ordinals[0]) for occurrence in found}
    return [date.fromordinal(ordinal) for ordinal in sorted(ordinals) if first <= ordinal <= last]


def festivals_of_year(place: Place, year: int) -> list[Festival]:
    """Give all festivals and observances of a Gregorian year at a place, in order of date.

    >>> [festival.name for festival in festivals_of_year(Place(lat=28.6519, lon=77.2315), 2026) if festival.official]
    []
    """
    return [_festival(record) for record in _year_records(place, year, ALL_RULES)]


def region_calendar(region: str, year: int) -> list[Festival]:
    """Give the calendar of a region: its own festivals and the observances, computed for its main city.

    Where an authority of the region, or of the whole country, prints another date, that date is given; the sentence of
    `why` still tells of the rule's. Raises KeyError for a region that is none.

    >>> calendar = region_calendar("north", 2023)
    >>> [(day.date.isoformat(), len(day.official)) for day in calendar if day.id == "makar_sankranti"]
    [('2023-01-14', 1)]
    """
    main = REGIONS[region]
    place = Place(lat=main.lat, lon=main.lon, slug=main.main_city, name=main.name)
    rules = [rule for rule in ALL_RULES if rule.region in (region, "national")]
    records = (_officially(record, region) for record in _year_records(place, year, rules))
    return sorted((_festival(record) for record in records), key=lambda festival: (festival.date, festival.id))


def month_document(place: Place, year: int, month: int) -> dict[str, object]:
    """Give the document of one month at one place.

    >>> document = month_document(Place(lat=28.6519, lon=77.2315, slug="delhi"), 2024, 10)
    >>> [festival["date"] for festival in document["festivals"] if festival["id"] == "dussehra"]
    ['2024-10-12']
    """
    return next(month_documents([place], [(year, month)])).document


def month_documents(places: Sequence[Place], months: Sequence[Month]) -> Iterator[MonthDocument]:
    """Give the documents of all places for consecutive months, place by place.

    Sky and days are computed once for all; each document equals the one that `month_document` gives.
    """
    first, last = _span_of(months)
    calendar = calendar_of(tuple(places), first, last)
    lists: list[dict[Month, list[Record]]] = [{month: [] for month in months} for _ in places]
    day_months = _months_of_days(first, last)
    for occurrence in Finder(calendar).occurrences(ALL_RULES):
        for number, ordinal, record in records_of(occurrence, calendar, first.toordinal(), last.toordinal()):
            lists[number][day_months[ordinal]].append(record)
    polar = _polar_months(calendar, months)
    for number, (place, found) in enumerate(zip(places, lists, strict=True)):
        for month, records in found.items():
            records.sort(key=_order)
            yield MonthDocument(place, *month, _document(place, month, records, polar=number in polar[month]))


@lru_cache(maxsize=_YEARS_KEPT)
def _year_calendar(place: Place, year: int) -> Calendar:
    return calendar_of((place,), date(year, 1, 1), date(year, 12, 31))


def _year_records(place: Place, year: int, rules: Sequence[Rule]) -> list[Record]:
    """Give the records of a year at one place, in order."""
    calendar = _year_calendar(place, year)
    first, last = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
    records = [
        record
        for occurrence in Finder(calendar).occurrences(rules)
        for _, _, record in records_of(occurrence, calendar, first, last)
    ]
    return sorted(records, key=_order)


def _order(record: Record) -> tuple[str, str]:
    return record["date"], record["id"]


def _span_of(months: Sequence[Month]) -> tuple[date, date]:
    """Give the first and the last day of consecutive months."""
    numbers = [year * 12 + month - 1 for year, month in months]
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(
            f"Expected consecutive (year, month) pairs, found {list(months)}; ask for each stretch by itself."
        )
    first = date(*months[0], 1)
    after = divmod(numbers[-1] + 1, 12)
    return first, date.fromordinal(date(after[0], after[1] + 1, 1).toordinal() - 1)


def _months_of_days(first: date, last: date) -> dict[int, Month]:
    """Give the month of each ordinal between two days, both included."""
    days = (date.fromordinal(ordinal) for ordinal in range(first.toordinal(), last.toordinal() + 1))
    return {day.toordinal(): (day.year, day.month) for day in days}


def _polar_months(calendar: Calendar, months: Sequence[Month]) -> dict[Month, set[int]]:
    """Give for each month the places that have a day without sunrise or sunset in it."""
    found: dict[Month, set[int]] = {month: set() for month in months}
    columns, rows = np.nonzero(calendar.table.polar.T)
    for column, row in zip(columns.tolist(), rows.tolist(), strict=True):
        day = calendar.table.dates[column]
        if (day.year, day.month) in found:
            found[day.year, day.month].add(row)
    return found


def _document(place: Place, month: Month, records: list[Record], *, polar: bool) -> dict[str, object]:
    """Put a month's records together."""
    return {
        "v": SCHEMA_VERSION,
        "engine": ENGINE,
        "status": "polar" if polar else "ok",
        "place": {
            "slug": place.slug,
            "name": place.name,
            "state": place.state,
            "latitude": place.lat,
            "longitude": place.lon,
            "zone": place.zone,
        },
        "year": month[0],
        "month": month[1],
        "conventions": {"sunrise": SUNRISE[False], **CONVENTIONS},
        "festivals": records,
    }


def _officially(record: Record, region: str) -> Record:
    """Put the date that an authority of the region prints in the place of the rule's."""
    for entry in overrides().get((record["id"], int(record["date"][:4])), ()):
        if entry.region in (region, "national"):
            return record | {"date": entry.date.isoformat()}
    return record


def _festival(record: Record) -> Festival:
    """Read a record back into a Festival."""
    window, parana = record["window"] or {}, record.get("parana") or {}
    return Festival(
        id=record["id"],
        name=record["name"],
        date=date.fromisoformat(record["date"]),
        kind=record["kind"],
        region=record["region"],
        rule=record["rule"],
        limb=record["interval"]["name"],
        begins_at=datetime.fromisoformat(record["interval"]["start"]),
        ends_at=datetime.fromisoformat(record["interval"]["end"]),
        window=window.get("name"),
        window_begins_at=_instant(window.get("start")),
        window_ends_at=_instant(window.get("end")),
        parana_begins_at=_instant(parana.get("start")),
        parana_ends_at=_instant(parana.get("end")),
        why=record["why"]["sentence"],
        candidates=tuple(
            Candidate(date=date.fromisoformat(day["date"]), percent=day["percent"])
            for day in record["why"]["candidates"]
        ),
        notes=tuple(record["notes"]),
        official=tuple(_override(record["id"], entry) for entry in record["official"]),
    )


def _override(festival_id: str, entry: Record) -> Override:
    day = date.fromisoformat(entry["date"])
    return Override(festival=festival_id, year=day.year, region=entry["region"], date=day, source=entry["source"])


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
