"""Documents as readers ask for them: from the cache, and where it has none, computed and put back.

Always true: what is read from the cache is given on only when this release wrote it; a miss, a stranger's value or a
cache that is away costs milliseconds and nothing else; a document is the answer before it is in the cache.

Not here: HTTP (api), the nightly run (precompute).
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from datetime import date, timedelta
from typing import Any, Final, Protocol

import orjson

from apps.panchangam import keys
from apps.panchangam.almanac.document import documents
from apps.panchangam.almanac.facts import sky_around
from apps.panchangam.almanac.festivals import Month, month_documents
from apps.panchangam.almanac.layout import ENGINE, SCHEMA_VERSION
from apps.panchangam.almanac.records import Place

OURS: Final = b'{"v":%d,"engine":"%b",' % (SCHEMA_VERSION, ENGINE.encode())  # how every document begins

WAIT_S: Final = 0.002  # what a reader of a fresh document waits for the cache: a guess, most writes take half of it

_log = logging.getLogger("panchangam")


class Cache(Protocol):
    """What is needed of `rota.cache`."""

    async def get(self, key: str) -> bytes | None:
        """Give the bytes of a key."""

    def set_many(self, pairs: Sequence[tuple[str, object]], *, ttl: timedelta) -> Coroutine[Any, Any, object]:
        """Keep many values for a time."""


def compute_days(place: Place, first: date, last: date) -> list[bytes]:
    """Compute the documents of the days first to last, of one month. Raises OutsideKernel."""
    return [document.body for document in documents(sky_around(first), [place], first, last)]


def compute_day(place: Place, day: date) -> bytes:
    """Compute the document of a day. Raises OutsideKernel."""
    (body,) = compute_days(place, day, day)
    return body


def compute_months(place: Place, months: Sequence[Month]) -> list[bytes]:
    """Compute the festivals of consecutive months. Raises OutsideKernel."""
    return [orjson.dumps(found.document) for found in month_documents([place], months)]


class Shelf:
    """Gives documents, cached or fresh."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._writing: set[asyncio.Task[object]] = set()

    async def day(self, place: Place, day: date) -> bytes:
        """Give the document of a day. Raises OutsideKernel."""
        (body,) = await self.days(place, day, day)
        return body

    async def days(self, place: Place, first: date, last: date) -> list[bytes]:
        """Give the documents of the days first to last; if one is missing all are computed, in one go."""
        wanted = [date.fromordinal(ordinal) for ordinal in range(first.toordinal(), last.toordinal() + 1)]
        names = [keys.day_key(place.slug, day) for day in wanted]
        found = await self._get_all(names)
        if found is None:
            found = compute_days(place, first, last)
            await self._keep(names, found, keys.DAY_TTL)
        return found

    async def festivals(self, place: Place, months: Sequence[Month]) -> list[bytes]:
        """Give the festivals of consecutive months; likewise. Raises OutsideKernel."""
        names = [keys.festivals_key(place.slug, *month) for month in months]
        found = await self._get_all(names)
        if found is None:
            found = compute_months(place, months)
            await self._keep(names, found, keys.FESTIVALS_TTL)
        return found

    async def summary(self) -> bytes | None:
        """Give the summary of the last pass, if it is still kept."""
        found = await self._get_all([keys.SUMMARY])
        return found[0] if found else None

    async def settle(self) -> None:
        """Wait until everything that was computed is in the cache."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _get_all(self, names: Sequence[str]) -> list[bytes] | None:
        found = []
        for name in names:
            body = await self._cache.get(name)
            if body is None or not body.startswith(OURS):
                return None
            found.append(body)
        return found

    async def _keep(self, names: Sequence[str], bodies: Sequence[bytes], ttl: timedelta) -> None:
        """Put documents into the cache; a reader waits for that a moment and no longer."""
        pairs = list(zip(names, bodies, strict=True))
        writing = asyncio.ensure_future(self._cache.set_many(pairs, ttl=ttl))
        self._writing.add(writing)
        writing.add_done_callback(self._written)
        await asyncio.wait({writing}, timeout=WAIT_S)

    def _written(self, writing: asyncio.Task[object]) -> None:
        self._writing.discard(writing)
        if not writing.cancelled() and (error := writing.exception()) is not None:
            _log.warning("documents could not be put into the cache: %r", error)
