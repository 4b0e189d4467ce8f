"""`rota.cache` as a user holds it: it opens the store on the first call.

Always true: a cache that cannot be reached changes no outcome; `get` is None then, and `set` does nothing.

Not here: the two backings, a table and Redis (cache.py).
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta
from typing import Protocol

from rota.cache import Cache, CacheStats

Duration = timedelta | str


class HasCache(Protocol):
    """An application, as its cache sees it."""

    async def opened_cache(self) -> Cache:
        """The cache, with the store open."""
        ...


class AppCache:
    """`rota.cache`: opens the store on the first call."""

    def __init__(self, rota: HasCache) -> None:
        self._rota = rota

    async def get(self, key: str) -> bytes | None:
        """The bytes of a key; None when there are none, and when the cache cannot be reached."""
        return await (await self._rota.opened_cache()).get(key)

    async def set(self, key: str, value: object, *, ttl: Duration) -> None:
        """Keep a value for a time: bytes as they are, text as UTF-8, anything else as compact JSON."""
        await (await self._rota.opened_cache()).set(key, value, ttl=ttl)

    async def set_many(self, pairs: Mapping[str, object] | Iterable[tuple[str, object]], *, ttl: Duration) -> int:
        """Keep many values for the same time, in few round trips; how many were kept."""
        return await (await self._rota.opened_cache()).set_many(pairs, ttl=ttl)

    async def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        return await (await self._rota.opened_cache()).delete(key)

    async def delete_prefix(self, prefix: str) -> int:
        """Forget every key that begins so; how many."""
        return await (await self._rota.opened_cache()).delete_prefix(prefix)

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins so, as an async iterator."""
        async for key in (await self._rota.opened_cache()).scan(prefix):
            yield key

    async def ttl(self, key: str) -> timedelta | None:
        """How long a key is still kept."""
        return await (await self._rota.opened_cache()).ttl(key)

    async def stats(self) -> CacheStats:
        """Hits, misses, errors, entries, bytes."""
        return await (await self._rota.opened_cache()).stats()
