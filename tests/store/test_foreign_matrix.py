"""Every kind of connection × what rota does on it × how the caller's transaction ends.

The caller's transaction decides and stays the caller's; what fails inside leaves it usable (G-6, G-7).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rota import Rota, Run, TickSummary, every
from rota.errors import LeaseLost
from rota.store import turns
from rota.store.foreign import run_on
from rota.store.port import query
from rota.store.sql import Call
from rota.turn.records import Fresh
from tests.store.callers import POSTGRES, SQLITE, Caller, caller_on, store_address


class Shop:
    """An application with one job of each kind, and a caller with a table in the same database."""

    caller: Caller

    def __init__(self, url: str) -> None:
        self.rota = Rota(url)
        self.users = self.rota.roster("users")
        self.runs: asyncio.Queue[Run] = asyncio.Queue()
        self.over = asyncio.Event()

        @self.rota.job
        async def mail(to: str) -> None: ...

        @self.rota.job(each=self.users, schedule=every("24h"))
        async def greet() -> None: ...

        @self.rota.job(keep="latest")
        async def count(run: Run) -> None:
            self.runs.put_nowait(run)
            await self.over.wait()
            self.over.clear()

        self.mail, self.count = mail, count

    async def note(self, name: str) -> None:
        """What the application itself writes."""
        await self.caller.execute(f"INSERT INTO effect VALUES ('{name}')")

    async def effects(self) -> list[str]:
        """What of it stands, seen after the caller's transaction."""
        await self.caller.begin()
        found = [row[0] for row in await self.caller.execute("SELECT name FROM effect ORDER BY name")]
        await self.caller.rollback()
        return found

    async def look(self, text: str) -> list[tuple]:
        store = await self.rota.opened()
        store.db.dictionary._compiled["look"] = store.db.dictionary.compile("look", text)
        return [tuple(row) for row in await store.write(lambda: query("look"))]

    async def outcomes(self) -> list[str]:
        return [row[0] for row in await self.look("SELECT outcome FROM rota.journal ORDER BY id")]

    async def turns(self) -> int:
        return (await self.look("SELECT count(*) FROM rota.turn"))[0][0]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Run]:
        """A run whose handler waits until the block is left; `summary` is what the tick then says."""
        await self.count.enqueue()
        ticking = asyncio.create_task(self.rota.tick(jobs=["count"]))
        yield await asyncio.wait_for(self.runs.get(), 30)
        self.over.set()
        self.summary: TickSummary = await asyncio.wait_for(ticking, 30)


@asynccontextmanager
async def shop_on(url: str, name: str) -> AsyncIterator[Shop]:
    shop = Shop(store_address(url, name))
    await shop.rota.opened()
    async with caller_on(url, name) as shop.caller:
        yield shop
    await shop.rota.close()


def broken(shop: Shop, begin: Any) -> Any:
    """An operation whose last statement the database refuses."""

    def make() -> Any:
        dictionary = run_store[0].db.dictionary
        dictionary._compiled["broken"] = dictionary.compile("broken", "SELECT * FROM rota.nowhere")
        yield from begin()
        yield Call("broken", {})

    run_store = [shop.rota._store]
    return make


class Matrix:
    """What is tried on every kind; `shop` is given by the databases below."""

    async def test_an_enqueue_stands_or_falls_with_its_callers_transaction(self, shop: Shop) -> None:
        caller, mail = shop.caller, shop.mail.options(key="welcome")
        await caller.begin()
        await shop.note("a")
        first = await caller.call(lambda: mail.enqueue("ä€ 'x'", on=caller.on))
        again = await caller.call(lambda: mail.enqueue("ä€ 'x'", on=caller.on))
        assert (first.created, again.created, again.id) == (True, False, first.id)
        await caller.rollback()
        assert (await shop.effects(), await shop.turns()) == ([], 0)

        await caller.begin()
        await shop.note("b")
        handles = await caller.call(lambda: shop.mail.enqueue_many(["one", "two", "100%"], on=caller.on))
        third = await caller.call(lambda: mail.enqueue("ä€ 'x'", on=caller.on))
        await caller.commit()
        assert third.created
        assert (len({handle.id for handle in handles}), await shop.effects(), await shop.turns()) == (3, ["b"], 4)
        assert {row[0] for row in await shop.look("SELECT args FROM rota.turn")} >= {
            '{"to":"100%"}',
            '{"to":"ä€ \'x\'"}',
        }

    async def test_a_join_stands_or_falls_with_its_callers_transaction(self, shop: Shop) -> None:
        caller, users = shop.caller, shop.users
        await caller.begin()
        await shop.note("a")
        await caller.call(
            lambda: users.join("ada", zone="Europe/Berlin", data={"n": [1, None]}, owner="o", on=caller.on)
        )
        await caller.rollback()
        assert (await shop.effects(), await users.count(), await shop.turns()) == ([], 0, 0)

        await caller.begin()
        await shop.note("b")
        member = await caller.call(lambda: users.join("ada", zone="Europe/Berlin", data={"n": [1, None]}, on=caller.on))
        await caller.call(lambda: users.join_many(["bob", "eve"], on=caller.on))
        await caller.commit()
        assert (member.key, member.zone, member.data) == ("ada", "Europe/Berlin", {"n": [1, None]})
        assert (await shop.effects(), await users.count(), await shop.turns()) == (["b"], 3, 3)

        await caller.begin()
        assert await caller.call(lambda: users.leave("bob", on=caller.on)) is True
        await caller.rollback()
        assert await users.count() == 3
        await caller.begin()
        assert await caller.call(lambda: users.leave("bob", on=caller.on)) is True
        await caller.commit()
        assert (await users.count(), await shop.turns()) == (2, 2)

    async def test_an_operation_that_fails_leaves_its_callers_transaction_usable_and_writes_nothing(
        self, shop: Shop
    ) -> None:
        caller, store = shop.caller, await shop.rota.opened()
        make = broken(shop, lambda: turns.enqueue([Fresh("mail", "{}", "k", None, 0, 0, 0)]))
        await caller.begin()
        await shop.note("before")
        with pytest.raises(Exception, match="nowhere"):
            await caller.call(lambda: run_on(caller.on, make, store))
        await shop.note("after")
        assert (await caller.call(lambda: shop.mail.options(key="k").enqueue("x", on=caller.on))).created
        await caller.commit()
        assert (await shop.effects(), await shop.turns()) == (["after", "before"], 1)

    async def test_a_completion_stands_or_falls_with_its_callers_transaction(self, shop: Shop) -> None:
        caller = shop.caller
        async with shop.running() as run:
            await caller.begin()
            await shop.note("a")
            await caller.call(lambda: run.complete(on=caller.on))
            await caller.rollback()
            assert await shop.effects() == []
            assert await shop.look("SELECT state FROM rota.turn") == [("running",)]
            assert await shop.outcomes() == []
        assert shop.summary.succeeded == 1  # by what its handler returned
        assert await shop.outcomes() == ["succeeded"]

        async with shop.running() as run:
            await caller.begin()
            await shop.note("b")
            await caller.call(lambda: run.complete({"rows": 7}, on=caller.on))
            await caller.commit()
            assert (await shop.effects(), await shop.turns()) == (["b"], 0)
            assert await shop.outcomes() == ["succeeded", "succeeded"]
        assert (shop.summary.succeeded, shop.summary.left) == (1, 0)
        assert await shop.outcomes() == ["succeeded", "succeeded"]

    async def test_a_completion_that_fails_or_was_fenced_leaves_its_callers_transaction_usable(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caller, settle = shop.caller, turns.settle
        async with shop.running() as run:
            with monkeypatch.context() as patch:
                patch.setattr(turns, "settle", lambda *given, **named: broken(shop, lambda: settle(*given, **named))())
                await caller.begin()
                await shop.note("before")
                with pytest.raises(Exception, match="nowhere"):
                    await caller.call(lambda: run.complete(on=caller.on))
                await shop.note("after")
                await caller.commit()
            assert await shop.effects() == ["after", "before"]
            assert await shop.look("SELECT state FROM rota.turn") == [("running",)]
        assert shop.summary.succeeded == 1

        async with shop.running() as run:
            await shop.look("UPDATE rota.turn SET attempt = attempt + 1 RETURNING id")
            await caller.begin()
            await shop.note("fenced")
            with pytest.raises(LeaseLost, match="another worker: roll back"):
                await caller.call(lambda: run.complete(on=caller.on))
            assert await caller.execute("SELECT count(*) FROM effect") == [(3,)]
            await caller.rollback()
            assert await shop.effects() == ["after", "before"]
        assert shop.summary.succeeded == 0
        assert await shop.outcomes() == ["succeeded"]


class TestOnSqlite(Matrix):
    @pytest.fixture(params=SQLITE)
    async def shop(self, request: pytest.FixtureRequest, sqlite_url: str) -> AsyncIterator[Shop]:
        async with shop_on(sqlite_url, request.param) as shop:
            yield shop


class TestOnPostgres(Matrix):
    @pytest.fixture(params=POSTGRES)
    async def shop(self, request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[Shop]:
        async with shop_on(postgres_url, request.param) as shop:
            yield shop
