"""The documents of a city for a window of days, computed together with its neighbours in the list.

What the Earth's centre decides is the same for all cities, so fifty at once cost little more than one alone. The first
city of a chunk that is asked for has the whole chunk computed; the others find theirs ready.

Always true: a bundle is the same whether it was computed alone or in a chunk; a city whose numbers are wrong fails
alone; each bundle is handed out once and then forgotten.

Not here: where the documents go (precompute), what is in them (almanac).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import orjson

from apps.panchangam.almanac.document import documents
from apps.panchangam.almanac.festivals import Month, month_documents
from apps.panchangam.almanac.records import Place
from apps.panchangam.almanac.sky import Sky

CHUNK: Final = 50  # cities; measured by benchmarks/panchangam.py, which the decision in docs/adr quotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All that the nightly run makes for one city; bodies are JSON."""

    days: Sequence[tuple[date, bytes]]
    months: Sequence[tuple[Month, bytes]]

    @property
    def size(self) -> int:
        """Bytes of all bodies."""
        return sum(len(body) for _, body in self.days) + sum(len(body) for _, body in self.months)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The days that are computed ahead."""

    first: date
    days: int

    @property
    def last(self) -> date:
        """The last day."""
        return self.first + timedelta(days=self.days - 1)

    @property
    def months(self) -> list[Month]:
        """The months that the days touch, in order.

        >>> Window(first=date(2026, 12, 20), days=30).months
        [(2026, 12), (2027, 1)]
        """
        first, last = (day.year * 12 + day.month - 1 for day in (self.first, self.last))
        return [(number // 12, number % 12 + 1) for number in range(first, last + 1)]


class Bundles:
    """Makes bundles, a chunk of cities at a time."""

    def __init__(self, places: Sequence[Place], *, chunk: int = CHUNK) -> None:
        self._chunks = [tuple(places[at : at + chunk]) for at in range(0, len(places), chunk)]
        self._chunk_of = {place.slug: number for number, members in enumerate(self._chunks) for place in members}
        self._window: Window | None = None
        self._ready: dict[str, Bundle] = {}
        self._alone: Counter[int] = Counter()  # chunks that are made, with the cities since computed alone

    def take(self, place: Place, window: Window) -> Bundle:
        """Give the bundle of a place. Raises what the almanac raises for this place, OutsideKernel among it."""
        if window != self._window:
            self.forget()
            self._window = window
        number = self._chunk_of.get(place.slug)
        if number is None or place not in self._chunks[number]:
            return bundles_of([place], window)[0]  # joined by hand, or moved
        if place.slug not in self._ready and self._worth_a_chunk(number):
            self._make(number, window)
        found = self._ready.pop(place.slug, None)
        return found or bundles_of([place], window)[0]

    def forget(self) -> None:
        """Drop what was computed and not taken: another process did those cities."""
        self._window = None
        self._ready.clear()
        self._alone.clear()

    def _worth_a_chunk(self, number: int) -> bool:
        """Tell a second try of one city, computed alone, from a second pass over all."""
        if number not in self._alone:
            return True
        self._alone[number] += 1
        return self._alone[number] > 1

    def _make(self, number: int, window: Window) -> None:
        members = self._chunks[number]
        self._alone[number] = 0
        try:
            made = bundles_of(members, window)
        except Exception:  # noqa: BLE001 -- whoever is at fault fails alone when it is computed alone
            self._alone[number] = -len(members)
            return
        self._ready.update((place.slug, bundle) for place, bundle in zip(members, made, strict=True))


def bundles_of(places: Sequence[Place], window: Window) -> list[Bundle]:
    """Compute the bundles of some places in one go."""
    sky = Sky(window.first, window.last)
    rows = {id(place): number for number, place in enumerate(places)}  # cheaper than hashing a place thousands of times
    days: list[list[tuple[date, bytes]]] = [[] for _ in places]
    for document in documents(sky, places, window.first, window.last):
        days[rows[id(document.place)]].append((document.day, document.body))
    months: list[list[tuple[Month, bytes]]] = [[] for _ in places]
    for found in month_documents(places, window.months):
        months[rows[id(found.place)]].append(((found.year, found.month), orjson.dumps(found.document)))
    return [Bundle(days=made, months=festivals) for made, festivals in zip(days, months, strict=True)]
