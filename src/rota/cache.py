"""A cache with an end for each entry: bytes by key, in Redis or in the store's own table, behind one port.

Always true: keys and bytes are the application's own, nothing is added to them; a cache that cannot be reached or
answers nonsense is counted and changes nothing but the time an answer takes: reading gives None, writing does nothing.

Not here: results kept with a turn (`keep="latest"`), clearing with a record in the audit (operate).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from rota.clock import Clock
from rota.define.names import check_json, scalar_fault
from rota.define.units import duration_ms, shown
from rota.errors import BadInput, ConfigError, StoreError
from rota.store.chores import prefix_range
from rota.store.port import query
from rota.store.store import Store

__all__ = ["Cache", "CacheStats", "RedisCache", "TableCache", "cache_of"]

T = TypeVar("T")
Duration = timedelta | str
Kind = Literal["table", "redis"]

ANSWER_S = 0.25  # what a request may wait for a cache before it goes on without
OPEN_S = 3.0  # after a failure the cache is left alone for so long: a guess
MOST_KEY_BYTES = 512  # UTF-8
MOST_VALUE_BYTES = 16 * 1024 * 1024  # a guess; larger things belong into a store of their own
BATCH = 1_000  # keys of one round trip or statement
BATCH_BYTES = 1024 * 1024  # bytes of one round trip: at 4 MB a second it still fits into ANSWER_S
TABLE_BATCH_BYTES = 8 * 1024 * 1024  # bytes of one statement
SIZED = 1_000_000  # entries of the table that are counted for `stats`


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """Hits, misses and errors of this process, and what the backing holds (None where it cannot be reached)."""

    kind: Kind
    hits: int
    misses: int
    errors: int
    entries: int | None
    bytes: int | None


class Cache(Protocol):
    """What an application may do with the cache, whatever is behind it."""

    kind: Kind

    async def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None when it is absent, over, or the cache cannot be reached."""
        ...

    async def set(self, key: str, value: object, *, ttl: Duration) -> None:
        """Keep a value: bytes as they are, text as UTF-8, anything else as compact JSON."""
        ...

    async def set_many(self, pairs: Mapping[str, object] | Iterable[tuple[str, object]], *, ttl: Duration) -> int:
        """Keep many values; how many were taken, which is fewer where the cache could not be reached."""
        ...

    async def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Forget every key that begins so; how many there were."""
        ...

    def scan(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins so; what is written meanwhile may or may not be among them."""
        ...

    async def ttl(self, key: str) -> timedelta | None:
        """How long a key still lives, or None when it is absent."""
        ...

    async def stats(self) -> CacheStats:
        """What the cache has done and holds."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


def cache_of(store: Store, url: str | None = None) -> Cache:
    """The cache at a Redis URL, or without one the table of the store. Nothing is connected yet.

    Raises ConfigError for a URL that is not one of Redis, or when the package for it is missing.
    """
    if url is None:
        return TableCache(store)
    return RedisCache(url, store.clock)


class TableCache:
    """The cache in the store's own table, with the same meaning as in Redis."""

    kind: Kind = "table"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hits = self._misses = self._errors = 0

    async def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""
        _checked_key(key)
        rows = await self._tried(lambda: self._store.read(lambda: query("cache_get", key=key)))
        if not rows:
            self._misses += 1
            return None
        self._hits += 1
        return bytes(rows[0][0])

    async def set(self, key: str, value: object, *, ttl: Duration) -> None:
        """Keep a value."""
        await self.set_many({key: value}, ttl=ttl)

    async def set_many(self, pairs: Mapping[str, object] | Iterable[tuple[str, object]], *, ttl: Duration) -> int:
        """Keep many values, at most 1,000 in one statement and one transaction."""
        ttl_ms = _ttl_ms(ttl)
        taken = 0
        for chunk in _chunks(_entries(pairs), TABLE_BATCH_BYTES):
            rows, first = [], 1
            for key, value in chunk:
                rows.append((key, first, len(value)))
                first += len(value)
            joined = b"".join(
                [*(value for _, value in chunk), b"\0"]
            )  # never empty: SQLite cuts nothing out of nothing
            done = await self._tried(
                lambda: self._store.write(lambda: query("cache_put", rows, joined=joined, ttl_ms=ttl_ms))  # noqa: B023 -- awaited at once
            )
            if done is None:
                return taken
            taken += len(chunk)
        return taken

    async def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        _checked_key(key)
        rows = await self._tried(lambda: self._store.write(lambda: query("cache_delete", key=key)))
        return bool(rows and rows[0][0])

    async def delete_prefix(self, prefix: str) -> int:
        """Forget every key that begins so, in short transactions; how many there were."""
        first, beyond = _range(prefix)
        count = 0
        while True:
            rows = await self._tried(
                lambda: self._store.write(lambda: query("cache_delete_range", first=first, beyond=beyond, most=BATCH))
            )
            count += sum(1 for row in rows or () if row[0])
            if rows is None or len(rows) < BATCH:
                return count

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins so, in their order."""
        first, beyond = _range(prefix)
        while True:
            start = first
            rows = await self._tried(
                lambda: self._store.read(lambda: query("cache_scan", first=start, beyond=beyond, most=BATCH))  # noqa: B023 -- awaited at once
            )
            for row in rows or ():
                yield row[0]
            if rows is None or len(rows) < BATCH:
                return
            first = rows[-1][0] + "\x01"  # the least key after it: keys hold no NUL

    async def ttl(self, key: str) -> timedelta | None:
        """How long a key still lives, or None."""
        _checked_key(key)
        rows = await self._tried(lambda: self._store.read(lambda: query("cache_ttl", key=key)))
        return timedelta(milliseconds=rows[0][0]) if rows else None

    async def stats(self) -> CacheStats:
        """What this process asked for, and what the table holds."""
        rows = await self._tried(lambda: self._store.read(lambda: query("cache_size", most=SIZED)))
        entries, size = (int(rows[0][0]), int(rows[0][1])) if rows else (None, None)
        return CacheStats(
            kind=self.kind, hits=self._hits, misses=self._misses, errors=self._errors, entries=entries, bytes=size
        )

    async def close(self) -> None:
        """The store closes itself."""

    async def _tried(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await ask()
        except StoreError:
            self._errors += 1
            return None


class RedisCache:
    """The cache in a Redis or Valkey, plain or a cluster's proxy: every command names one key.

    After a failure it is left alone for a few seconds, so that an outage costs one wait and not one for each request.
    """

    kind: Kind = "redis"

    def __init__(self, url: str, clock: Clock) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError, ResponseError
        except ModuleNotFoundError as error:
            raise ConfigError("a cache in Redis needs the package redis: pip install 'rota[redis]'") from error
        try:
            self._client: Any = Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=ANSWER_S)
        except ValueError as error:
            raise ConfigError(f"the cache URL {shown(url)} cannot be read: expected redis://host:6379/0") from error
        self._clock = clock
        self._away = (RedisError, OSError, TimeoutError)
        self._answered = ResponseError
        self._closed_until = 0.0
        self._failing = False
        self._hits = self._misses = self._errors = 0

    async def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""
        _checked_key(key)
        value: bytes | None = await self._tried(lambda: self._client.get(key))
        if value is None:
            self._misses += 1
        else:
            self._hits += 1
        return value

    async def set(self, key: str, value: object, *, ttl: Duration) -> None:
        """Keep a value."""
        _checked_key(key)
        encoded, ttl_ms = _encoded(key, value), _ttl_ms(ttl)
        await self._tried(lambda: self._client.set(key, encoded, px=ttl_ms))

    async def set_many(self, pairs: Mapping[str, object] | Iterable[tuple[str, object]], *, ttl: Duration) -> int:
        """Keep many values, one command each, up to 1,000 in one round trip."""
        ttl_ms = _ttl_ms(ttl)
        taken = 0
        for chunk in _chunks(_entries(pairs), BATCH_BYTES):
            done = await self._pipelined([("SET", key, value, "PX", ttl_ms) for key, value in chunk])
            if done is None:
                return taken
            taken += len(chunk)
        return taken

    async def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        _checked_key(key)
        return bool(await self._tried(lambda: self._client.delete(key)))

    async def delete_prefix(self, prefix: str) -> int:
        """Forget every key that begins so, a batch at a time; how many there were."""
        count = 0
        async for keys in self._scanned(prefix):
            done = await self._pipelined([("UNLINK", key) for key in keys])
            if done is None:
                break
            count += sum(int(one) for one in done)
        return count

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins so, in no order; each once in a batch, though Redis may name one again later."""
        async for keys in self._scanned(prefix):
            for key in keys:
                yield key.decode(errors="surrogateescape")

    async def _scanned(self, prefix: str) -> AsyncIterator[list[bytes]]:
        pattern = _range(prefix)[0].translate(_GLOB) + "*"
        cursor = 0
        while True:
            at = cursor
            answer = await self._tried(lambda: self._client.scan(at, match=pattern, count=BATCH))  # noqa: B023 -- awaited at once
            if answer is None:
                return
            cursor, keys = int(answer[0]), answer[1]
            if keys:
                yield keys
            if cursor == 0:
                return

    async def ttl(self, key: str) -> timedelta | None:
        """How long a key still lives, or None; one that somebody else wrote without an end has none either."""
        _checked_key(key)
        left: int | None = await self._tried(lambda: self._client.pttl(key))
        return timedelta(milliseconds=left) if left is not None and left >= 0 else None

    async def stats(self) -> CacheStats:
        """What this process asked for, and what the whole Redis holds."""
        entries: int | None = await self._tried(self._client.dbsize)
        memory: dict[str, Any] | None = await self._tried(lambda: self._client.info("memory"))
        size = int(memory["used_memory"]) if memory is not None and "used_memory" in memory else None
        return CacheStats(
            kind=self.kind, hits=self._hits, misses=self._misses, errors=self._errors, entries=entries, bytes=size
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _pipelined(self, commands: Sequence[tuple[object, ...]]) -> list[Any] | None:
        async def run() -> list[Any]:
            async with self._client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                found: list[Any] = await pipe.execute()
                return found

        return await self._tried(run)

    async def _tried(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, or None after a failure; while the circuit is open, None at once."""
        now = self._clock.monotonic()
        if now < self._closed_until:
            self._errors += 1
            return None
        if self._failing:
            self._closed_until = now + ANSWER_S  # one request tries, the others go on without
        try:
            answer = await self._in_time(ask)
        except self._answered:
            self._errors += 1  # a wrong type under our key, or no memory left: it is there, so it is asked again
            return None
        except self._away:
            self._errors += 1
            self._failing = True
            self._closed_until = self._clock.monotonic() + OPEN_S
            return None
        self._failing, self._closed_until = False, 0.0
        return answer

    async def _in_time(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Wait for an answer no longer than `ANSWER_S`, not counting a time in which the event loop was blocked."""
        task = asyncio.ensure_future(ask())
        try:
            began = self._clock.monotonic()
            done, _ = await asyncio.wait({task}, timeout=ANSWER_S)
            if not done and self._clock.monotonic() - began > ANSWER_S * 1.2:
                done, _ = await asyncio.wait({task}, timeout=ANSWER_S)
            if not done:
                raise TimeoutError
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=ANSWER_S)


_GLOB = str.maketrans({letter: f"\\{letter}" for letter in "\\*?[]^-"})


def _checked_key(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise BadInput(f"a cache key must be text of 1 to {MOST_KEY_BYTES} bytes, not {shown(key)}")
    fault = scalar_fault(key)
    if fault:
        raise BadInput(f"the cache key {shown(key)} {fault}")
    if len(key.encode()) > MOST_KEY_BYTES:
        raise BadInput(f"the cache key {shown(key)} has {len(key.encode())} bytes: at most {MOST_KEY_BYTES} are kept")
    return key


def _range(prefix: str) -> tuple[str, str]:
    if scalar_fault(prefix):
        raise BadInput(f"a prefix of cache keys must be text, not {shown(prefix)}")
    return prefix_range(prefix)


def _ttl_ms(ttl: Duration) -> int:
    return duration_ms(ttl, name="ttl", least=1)


def _entries(pairs: Mapping[str, object] | Iterable[tuple[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Checked keys with their bytes; of a key that comes twice, the last."""
    for key, value in dict(pairs).items():
        yield _checked_key(key), _encoded(key, value)


def _encoded(key: str, value: object) -> bytes:
    encoded = _bytes(key, value)
    if len(encoded) > MOST_VALUE_BYTES:
        raise BadInput(f"the value of {shown(key)} has {len(encoded):,} bytes: at most {MOST_VALUE_BYTES:,} are kept")
    return encoded


def _bytes(key: str, value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise BadInput(f"the value of {shown(key)} contains half of a surrogate pair: remove it") from None
    check_json(value, what=f"the value of {shown(key)}")
    return msgspec.json.encode(value)


def _chunks(entries: Iterable[tuple[str, bytes]], most_bytes: int) -> Iterator[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    size = 0
    for entry in entries:
        if chunk and (len(chunk) == BATCH or size + len(entry[1]) > most_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += len(entry[1])
    if chunk:
        yield chunk
