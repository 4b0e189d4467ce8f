"""The cache: one meaning over the table and over Redis, and an outage that changes nothing but an answer."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from rota import operate
from rota.cache import ANSWER_S, OPEN_S, RedisCache, cache_of
from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.errors import BadInput, ConfigError, StoreUnavailable
from rota.events import Events
from rota.insight import runs
from rota.store.chores import prefix_range, sweep_cache
from rota.store.store import Store, database


@asynccontextmanager
async def store_at(url="sqlite:///:memory:", clock=None):
    clock = clock or Clock()
    store = Store(database(url, clock=clock), clock=clock, catalog=Catalog(), events=Events())
    await store.db.open()
    yield store
    await store.db.close()


class HeldClock(Clock):
    """Its steady time is moved by the test."""

    def __init__(self):
        super().__init__()
        self.steady = 1000.0

    def monotonic(self):
        return self.steady


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def kind(request):
    return request.param


@pytest.fixture
async def cache(kind, request):
    url = "sqlite:///:memory:" if kind != "postgres" else request.getfixturevalue("postgres_url")
    redis_url = request.getfixturevalue("redis_url") if kind == "redis" else None
    async with store_at(url) as store:
        found = cache_of(store, redis_url)
        yield found
        await found.close()


async def every(cache, prefix=""):
    return sorted([key async for key in cache.scan(prefix)])


async def test_bytes_stay_as_they_are_text_is_utf8_and_the_rest_is_compact_json(cache):
    for value, kept in [
        (b"\x00\xff\n", b"\x00\xff\n"),
        (b"", b""),
        (bytearray(b"x"), b"x"),
        ("ü\x00", "ü\x00".encode()),
        ({"b": 1, "a": [None, True, 1.5]}, b'{"b":1,"a":[null,true,1.5]}'),
        (7, b"7"),
    ]:
        await cache.set("k", value, ttl="1h")
        assert await cache.get("k") == kept


async def test_an_entry_ends(cache):
    await cache.set("k", "v", ttl=timedelta(hours=1))
    left = await cache.ttl("k")
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert await cache.ttl("other") is None
    await cache.set("k", "v", ttl="1ms")
    deadline = time.monotonic() + 5
    while await cache.get("k") is not None:
        assert time.monotonic() < deadline
    assert await cache.ttl("k") is None
    assert await every(cache) == []
    assert await cache.delete("k") is False


async def test_a_foreign_format_of_keys_is_written_exactly(cache):
    keys = ["analyse_data:u7", "a/b c", "क:2026", "x*[1]?^\\-", "\U0010ffff"]
    await cache.set_many({key: key for key in keys}, ttl="1h")
    assert await every(cache) == sorted(keys)
    assert [await cache.get(key) for key in keys] == [key.encode() for key in keys]


async def test_delete_takes_a_key_or_a_prefix_and_nothing_else(cache):
    keys = ["p:1", "p:2", "p", "p*", "p*1", "q:1", "P:1", "p\U0010ffff", "p\U0010ffff1"]
    await cache.set_many([(key, "v") for key in keys], ttl="1h")
    assert await cache.delete("q:1") is True
    assert await cache.delete("q:1") is False
    assert await cache.delete_prefix("p*") == 2
    assert await cache.delete_prefix("p\U0010ffff") == 2
    assert await every(cache, "p:") == ["p:1", "p:2"]
    assert await cache.delete_prefix("p") == 3
    assert await every(cache) == ["P:1"]
    assert await cache.delete_prefix("") == 1


async def test_many_are_taken_in_batches_and_the_last_of_a_key_stays(cache):
    pairs = [(f"k:{n:05}", f"{n}" * 3) for n in range(2_500)]
    assert await cache.set_many([*pairs, ("k:00007", "new")], ttl="1h") == 2_500
    assert await cache.get("k:02499") == b"249924992499"
    assert await cache.get("k:00007") == b"new"
    assert len(await every(cache, "k:")) == 2_500
    stats = await cache.stats()
    assert (stats.kind, stats.hits, stats.misses, stats.errors, stats.entries) == (cache.kind, 2, 0, 0, 2_500)
    assert stats.bytes > 2_500 * 3
    assert await cache.get("none") is None
    assert (await cache.stats()).misses == 1
    assert await cache.delete_prefix("k:") == 2_500


async def test_what_cannot_be_kept_gets_a_sentence(cache):
    for key in ("", "x" * 513, "a\x00b", "\ud800", 7):
        with pytest.raises(BadInput, match="cache key"):
            await cache.set(key, "v", ttl="1h")
    for ttl in ("", "0s", "never", 60):
        with pytest.raises(BadInput, match="ttl"):
            await cache.set("k", "v", ttl=ttl)
    for value in ({"x": float("nan")}, {1: 2}, object(), "\ud800"):
        with pytest.raises(BadInput, match="the value of 'k'"):
            await cache.set("k", value, ttl="1h")
    assert await every(cache) == []


def test_a_prefix_is_a_range_of_bytes():
    words = ["", "a", "a\x01", "a\U0010ffff", "a\ud7ffx", "a\ue000", "b", "\U0010ffff", "\U0010ffff\U0010ffff", "ab"]
    for prefix in words:
        first, beyond = prefix_range(prefix)
        for word in words:
            inside = first.encode() <= word.encode() < beyond.encode()
            assert inside == word.startswith(prefix), (prefix, word)


async def test_the_table_gives_what_is_over_back_a_batch_at_a_time():
    async with store_at() as store:
        cache = cache_of(store)
        await cache.set_many({f"k{n}": "v" for n in range(10)}, ttl="1ms")
        await cache.set("young", "v", ttl="1h")
        deadline = time.monotonic() + 5
        while await cache.get("k9") is not None:
            assert time.monotonic() < deadline
        assert await store.write(sweep_cache) == 10
        assert (await cache.stats()).entries == 1


async def test_clearing_is_recorded(cache, kind):
    async with store_at() as store:
        cache = cache_of(store) if kind != "redis" else cache
        await cache.set_many({"p:1": "v", "p:2": "v", "q": "v"}, ttl="1h")
        assert await operate.clear_cache(store, cache, prefix="p:", by="ana", reason="wrong ayanamsa") == 2
        assert await operate.clear_cache(store, cache) == 1
        rows = await runs.audit(store)
        assert [(row.target, row.number, row.by) for row in rows] == [("cache:*", 1, "local"), ("cache:p:*", 2, "ana")]


async def test_a_table_that_cannot_be_reached_is_a_miss(monkeypatch):
    async with store_at() as store:
        cache = cache_of(store)

        async def away(*_, **__):
            raise StoreUnavailable("gone")

        monkeypatch.setattr(store.db, "read", away)
        monkeypatch.setattr(store.db, "write", away)
        assert await cache.get("k") is None
        await cache.set("k", "v", ttl="1h")
        assert await cache.delete_prefix("k") == 0
        assert await every(cache) == []
        stats = await cache.stats()
        assert (stats.misses, stats.errors, stats.entries, stats.bytes) == (1, 5, None, None)


async def test_a_redis_that_is_gone_costs_one_wait_and_is_found_again(redis_server, redis_url):
    clock = HeldClock()
    cache = RedisCache(redis_url, clock)
    await cache.set("k", "v", ttl="1h")
    redis_server.stop()
    try:
        assert await cache.get("k") is None
        await cache.set("k", "v", ttl="1h")
        assert await cache.set_many({"a": "1"}, ttl="1h") == 0
        assert await cache.delete("k") is False
        assert await every(cache) == []
        stats = await cache.stats()
        assert (stats.errors, stats.entries) == (7, None)
    finally:
        redis_server.start()
    assert await cache.get("k") is None
    clock.steady += OPEN_S + 0.1
    await cache.set("k", "v", ttl="1h")
    assert await cache.get("k") == b"v"
    await cache.close()


async def test_a_frozen_redis_holds_nobody_up(redis_server, redis_url):
    cache = RedisCache(redis_url, Clock())
    await cache.set("k", "v", ttl="1h")
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answers = await asyncio.gather(*[cache.get("k") for _ in range(20)])
        assert time.monotonic() - began < 4 * ANSWER_S
        assert answers == [None] * 20
        began = time.monotonic()
        assert await cache.get("k") is None
        assert time.monotonic() - began < ANSWER_S / 2
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    await cache.close()


async def test_while_it_is_left_alone_one_request_tries_again_and_the_others_go_on(redis_server, redis_url):
    clock = HeldClock()
    cache = RedisCache(redis_url, clock)
    redis_server.stop()
    try:
        await cache.get("k")
        clock.steady += OPEN_S + 0.1
        began = time.monotonic()
        assert await asyncio.gather(*[cache.get("k") for _ in range(50)]) == [None] * 50
        assert time.monotonic() - began < 4 * ANSWER_S
    finally:
        redis_server.start()
    await cache.close()


async def test_a_foreign_type_under_our_key_is_a_miss_and_no_outage(redis_server, redis_url):
    cache = RedisCache(redis_url, Clock())
    redis_server.command("rpush", "k", "1")
    redis_server.command("set", "forever", "1")
    assert await cache.get("k") is None
    await cache.set("other", "v", ttl="1h")
    assert await cache.get("other") == b"v"
    assert (await cache.stats()).errors == 1
    assert await cache.ttl("forever") is None
    assert await cache.delete("k") is True
    await cache.close()


async def test_a_blocked_event_loop_is_not_taken_for_an_outage(redis_server, redis_url):
    cache = RedisCache(redis_url, Clock())
    await cache.set("k", "v", ttl="1h")
    asking = asyncio.ensure_future(cache.get("k"))
    await asyncio.sleep(0)
    deadline = time.monotonic() + 2 * ANSWER_S
    while time.monotonic() < deadline:
        pass
    assert await asking == b"v"
    assert (await cache.stats()).errors == 0
    await cache.close()


def test_a_cache_url_that_cannot_be_read_gets_a_sentence():
    with pytest.raises(ConfigError, match="redis://host:6379/0"):
        RedisCache("memcached://x", Clock())
