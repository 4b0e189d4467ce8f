"""Official dates that differ from the rule: a table beside the rules, never a patch of them.

Always true: an entry names its festival, year, region, date and source; the date that the rule gives is still told.

Not here: the rules (festival_rules), the choice between the two dates (the reader's; festivals shows both).
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from apps.panchangam.almanac.festival_rules import REGIONS
from apps.panchangam.almanac.observances import rules_of

_COLUMNS = ("festival", "year", "region", "date", "source")


class BadOverride(ValueError):
    """A row of the table of official dates cannot be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A date that an authority printed for a festival, a year and a region."""

    festival: str
    year: int
    region: str
    date: date
    source: str


def read_overrides(lines: Iterable[str]) -> tuple[Override, ...]:
    """Read the rows of a table of official dates; a row that cannot be taken raises BadOverride.

    >>> rows = ["festival,year,region,date,source", "vaisakhi,2025,national,2025-04-13,a printed list"]
    >>> read_overrides(rows)[0].date
    datetime.date(2025, 4, 13)
    """
    return tuple(_override(number, row) for number, row in enumerate(csv.DictReader(lines), start=2))


def _override(number: int, row: dict[str, str]) -> Override:
    """Check one row."""
    try:
        festival, year, region, day, source = (row[column].strip() for column in _COLUMNS)
        entry = Override(
            festival=rules_of(festival)[0].id,
            year=int(year),
            region=region,
            date=date.fromisoformat(day),
            source=source,
        )
    except (AttributeError, KeyError, ValueError) as error:
        raise BadOverride(
            f"Expected {', '.join(_COLUMNS)} in line {number} of the official dates, found {dict(row)}: {error}. "
            "Correct the line."
        ) from error
    if region not in REGIONS or not source:
        raise BadOverride(
            f"Expected a region of {', '.join(REGIONS)} and a source in line {number} of the official dates, "
            f"found {region!r} and {source!r}. Correct the line."
        )
    return entry


@cache
def overrides() -> MappingProxyType[tuple[str, int], tuple[Override, ...]]:
    """Give the official dates by festival and year."""
    table = files("apps.panchangam").joinpath("data/overrides.csv").read_text(encoding="utf-8")
    found: dict[tuple[str, int], tuple[Override, ...]] = {}
    for entry in read_overrides(table.splitlines()):
        key = entry.festival, entry.year
        found[key] = (*found.get(key, ()), entry)
    return MappingProxyType(found)
