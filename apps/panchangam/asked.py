"""What people ask for, read: a city, a date, a year, a month, an instant.

Always true: a value that cannot be taken raises BadInput, an unknown city NotFound, each with one sentence that says
what was expected, what was found and what to do; the command line and the read API read alike.

Not here: the answers.
"""

import re
from datetime import date, datetime

from apps.panchangam.almanac.records import Place, zone_of
from apps.panchangam.almanac.sky import EARLIEST, LATEST
from apps.panchangam.cities import UnknownCity, city
from rota.errors import BadInput, NotFound

_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"0?[1-9]|1[0-2]")
YEARS = range(EARLIEST.year + 1, LATEST.year)  # those that the ephemeris covers whole
SHOWN = 80  # letters of a wrong value that a sentence repeats


def read_place(name: str) -> Place:
    """Give the place of a city by slug, name or alias, in any case.

    >>> read_place("Bangalore").slug
    'bengaluru'
    """
    try:
        return city(name[:SHOWN]).place
    except UnknownCity as error:
        raise NotFound(str(error)) from None


def read_date(text: str, today: date) -> date:
    """Give a date of the form 2026-01-31, or `today` for that word.

    >>> read_date("2026-01-31", today=date(2026, 1, 1))
    datetime.date(2026, 1, 31)
    """
    if text.lower() == "today":
        return today
    try:
        found = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        found = None
    if found is None:
        raise BadInput(
            f"Expected a date such as {today} or the word today, found {text[:SHOWN]!r}; write year-month-day."
        )
    if not EARLIEST <= found <= LATEST:
        raise BadInput(f"Expected a date from {EARLIEST} to {LATEST}, found {found}; the ephemeris reaches no further.")
    return found


def read_year(text: str) -> int:
    """Give a year that the ephemeris covers whole."""
    if not (_YEAR.fullmatch(text) and text.isascii() and int(text) in YEARS):
        raise BadInput(f"Expected a year from {YEARS[0]} to {YEARS[-1]}, found {text[:SHOWN]!r}; give four digits.")
    return int(text)


def read_month(text: str) -> int:
    """Give a month, 1 to 12; `01` will do."""
    if not _MONTH.fullmatch(text):
        raise BadInput(f"Expected a month from 1 to 12, found {text[:SHOWN]!r}; give its number.")
    return int(text)


def read_instant(text: str, place: Place) -> datetime:
    """Give an instant of the form 2026-01-31T10:30; without an offset it is on the place's clock."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"Expected an instant such as 2026-01-31T10:30, found {text[:SHOWN]!r}; write it as ISO 8601."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=zone_of(place.zone))
