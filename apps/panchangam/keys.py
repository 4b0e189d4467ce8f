"""Names and lifetimes of what is kept in the cache: the one place that spells them.

Always true: a city is its slug, a date is ISO, year and month are plain integers without leading noughts.

Not here: what the documents hold (almanac), who writes and reads them (precompute, shelf).
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

DAYS: Final = "panchangam:"
FESTIVALS: Final = "festivals:"
SUMMARY: Final = "precompute:summary"
PARTS: Final = "precompute:part:"  # what each process did of a pass; added up they are the summary
PREFIXES: Final = (DAYS, FESTIVALS, "precompute:")

DAY_TTL: Final = timedelta(days=7)
FESTIVALS_TTL: Final = timedelta(days=30)
SUMMARY_TTL: Final = timedelta(hours=24)


def day_key(city: str, day: date) -> str:
    """Give the key of a day's document.

    >>> day_key("mumbai", date(2026, 1, 2))
    'panchangam:mumbai:2026-01-02'
    """
    return f"{DAYS}{city}:{day.isoformat()}"


def festivals_key(city: str, year: int, month: int) -> str:
    """Give the key of a month's festivals.

    >>> festivals_key("mumbai", 2026, 1)
    'festivals:mumbai:2026:1'
    """
    return f"{FESTIVALS}{city}:{year}:{month}"


def part_key(first: date, process: str) -> str:
    """Give the key of what one process did of the pass that begins with a day."""
    return f"{PARTS}{first.isoformat()}:{process}"


def prefixes_of(city: str) -> Iterator[str]:
    """Give what all keys of a city begin with."""
    yield f"{DAYS}{city}:"
    yield f"{FESTIVALS}{city}:"


def city_of(key: str) -> str:
    """Give the city of a day's or a month's key."""
    return key.split(":", 2)[1]
