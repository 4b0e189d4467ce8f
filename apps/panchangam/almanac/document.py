"""Documents of days: everything about a day at a place, as JSON.

Always true: what the Earth's centre decides is written once and shared by all places; a document is the same whether
it was made alone or among thousands.

Not here: the shape of the document (layout), festivals (festivals), where documents are kept.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import orjson

from apps.panchangam.almanac import layout, names, slots
from apps.panchangam.almanac.facts import DayFacts, facts_of, sky_around
from apps.panchangam.almanac.iso import iso_texts
from apps.panchangam.almanac.passages import Calendar, Limbs
from apps.panchangam.almanac.records import Floats, Place
from apps.panchangam.almanac.sky import Sky


class Document(NamedTuple):
    """One day at one place; the body is JSON."""

    place: Place
    day: date
    body: bytes


def day_document(place: Place, day: date, *, hindu: bool = False) -> dict[str, Any]:
    """Give everything about a day at a place.

    Instants are ISO 8601 on the place's clock. Where the Sun does not rise or set, `status` is `polar`, what hangs on
    it is null, and the limbs are those of local midnight. Raises OutsideKernel for days before November 1899 or after
    mid-July 2053.

    >>> delhi = Place(lat=28.6519, lon=77.2315)
    >>> document = day_document(delhi, date(2026, 5, 20))
    >>> document["sunrise"], document["months"]["amanta"]["name"], document["tithis"][0]["name"]
    ('2026-05-20T05:27:45+05:30', 'Adhika Jyeshtha', 'Shukla Chaturthi')
    """
    facts = facts_of(sky_around(day), [place], day, day, hindu=hindu)
    document: dict[str, Any] = orjson.loads(next(_pour(facts, hindu=hindu)).body)
    return document


def documents(sky: Sky, places: Sequence[Place], first: date, last: date, *, hindu: bool = False) -> Iterator[Document]:
    """Give the documents of all places for the days first to last, day by day within each zone.

    `sky` must cover the days. They are made while they are read: nothing holds more than one zone's text.
    """
    for zone in dict.fromkeys(place.zone for place in places):
        together = [place for place in places if place.zone == zone]
        yield from _pour(facts_of(sky, together, first, last, hindu=hindu), hindu=hindu)


def _pour(facts: DayFacts, *, hindu: bool) -> Iterator[Document]:
    """Fill the weekdays' templates; all places have the same zone."""
    table = facts.table
    holes = _holes(facts)
    texts = iso_texts(np.stack(list(holes.values()), axis=-1).swapaxes(0, 1), table.places[0].zone)
    shared = _Shared(facts)
    keys = [name.encode() for name in holes]
    for column, day in enumerate(table.dates):
        template = layout.template(slots.weekday(day), hindu=hindu)
        passages = shared.of_day(column)
        for place, instants, passage in zip(table.places, texts[column].tolist(), passages, strict=True):
            filled = dict(zip(keys, instants, strict=True))
            filled |= passage
            yield Document(place, day, template % filled)


def _holes(facts: DayFacts) -> dict[str, Floats]:
    """Give every instant that differs from place to place, by the name of its hole."""
    table = facts.table
    holes = {
        "begin": table.begin,
        "end": table.end,
        "sunrise": table.sunrise,
        "sunset": table.sunset,
        "nextSunrise": table.next_sunrise,
        "previousSunset": table.previous_sunset,
        "moonrise": table.moonrise,
        "moonset": table.moonset,
    }
    for name, span in slots.day_slots(table).items():
        holes[f"{name}.start"], holes[f"{name}.end"] = span
    for name, parts in (("choghadiya", slots.EIGHTHS), ("hora", slots.HORAS)):
        edges = slots.edges(table, parts)
        holes |= {f"{name}.{number}": edges[..., number] for number in range(edges.shape[-1])}
    return holes


_POSITIONS = (
    b'"sun":{"longitude":%.5f,"tropicalLongitude":%.5f},"moon":{"longitude":%.5f,"elongation":%.5f,'
    b'"illumination":%.4f,"phase":"%b"},"ayanamsa":%.5f'
)
_PHASES = [name.encode() for name in names.MOON_PHASES]


class _Shared:
    """The passages that are the same for many places, and the few numbers that are not."""

    def __init__(self, facts: DayFacts) -> None:
        self._facts = facts
        self._limbs = Limbs(facts)
        self._calendar = Calendar(facts)
        self._polar = facts.table.polar
        self._places = [_place(place) for place in facts.table.places]
        elongation = (facts.moon - facts.sun) % 360
        self._phases = ((elongation + 22.5) % 360 // 45).astype(np.int64)
        self._numbers = np.stack(
            [
                facts.sun,
                facts.tropical,
                facts.moon,
                elongation,
                (1 - np.cos(np.radians(elongation))) / 2,
                facts.ayanamsa,
            ],
            axis=-1,
        )

    def of_day(self, column: int) -> Iterator[dict[bytes, bytes]]:
        """Give the shared holes of one day, place by place."""
        day = orjson.dumps(self._facts.table.dates[column])
        rows = zip(
            self._places,
            self._polar[:, column].tolist(),
            self._numbers[:, column].tolist(),
            self._phases[:, column].tolist(),
            self._limbs.of_day(column),
            self._calendar.of_day(column),
            strict=True,
        )
        for place, no_sun, (sun, tropical, moon, apart, light, shift), phase, limbs, calendar in rows:
            yield {
                b"status": b'"polar"' if no_sun else b'"ok"',
                b"date": day,
                b"place": place,
                b"positions": _POSITIONS % (sun, tropical, moon, apart, light, _PHASES[phase], shift),
                b"limbs": limbs,
                b"calendar": calendar,
            }


def _place(place: Place) -> bytes:
    return orjson.dumps(
        {
            "slug": place.slug,
            "name": place.name,
            "state": place.state,
            "latitude": place.lat,
            "longitude": place.lon,
            "zone": place.zone,
        }
    )
