"""Festivals as an iCalendar feed (RFC 5545) that calendar programs subscribe to.

Always true: an event of a festival keeps its UID in every feed; lines are folded at 75 octets and end in CRLF.

Not here: which festivals there are (almanac), serving them (api).
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]

CONTENT_TYPE: Final = "text/calendar; charset=utf-8"
FOLD: Final = 75  # octets of a line, the standard's limit
_ESCAPED: Final = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"})


def feed(city: str, slug: str, festivals: Sequence[Json], stamp: date) -> bytes:
    """Give the feed of a city; `stamp` is when it was made."""
    return b"".join(_folded(line) for line in _lines(city, slug, festivals, stamp))


def _lines(city: str, slug: str, festivals: Sequence[Json], stamp: date) -> Iterator[str]:
    yield from ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//rota//panchangam//EN", "CALSCALE:GREGORIAN")
    yield f"X-WR-CALNAME:{_text(f'Festivals in {city}')}"
    for festival in festivals:
        day = date.fromisoformat(festival["date"])
        yield "BEGIN:VEVENT"
        yield f"UID:{festival['id']}-{day:%Y%m%d}-{slug}@panchangam"
        yield f"DTSTAMP:{stamp:%Y%m%d}T000000Z"
        yield f"DTSTART;VALUE=DATE:{day:%Y%m%d}"
        yield f"DTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}"
        yield f"SUMMARY:{_text(festival['name'])}"
        yield f"DESCRIPTION:{_text(festival['rule'] + '. ' + festival['why']['sentence'])}"
        yield f"CATEGORIES:{_text(festival['kind'])}"
        yield "TRANSP:TRANSPARENT"
        yield "END:VEVENT"
    yield "END:VCALENDAR"


def _text(words: str) -> str:
    return words.translate(_ESCAPED)


def _folded(line: str) -> bytes:
    """Cut a line so that no piece is longer than the limit and no letter is cut through."""
    pieces: list[bytes] = []
    current = b""
    for letter in line:
        octets = letter.encode()
        if len(current) + len(octets) > FOLD - bool(pieces):
            pieces.append(current)
            current = b""
        current += octets
    pieces.append(current)
    return b"\r\n ".join(pieces) + b"\r\n"
