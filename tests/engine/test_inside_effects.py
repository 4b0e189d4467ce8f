"""Effects inside the store's own database: what a handler writes and its success commit together, or neither (G-6)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import apsw
import asyncpg
import pytest

from rota import Retry, Rota, Run
from rota.errors import LeaseLost
from rota.store import views
from rota.store.port import query


class Shop:
    """An application with a table of its own in the same database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rota = Rota(url)
        self.sqlite = url.startswith("sqlite")

    async def __aenter__(self) -> Self:
        await self.rota.opened()
        async with self.connection() as connection:
            await self.execute(connection, "CREATE TABLE effect (run text)")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rota.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of the application's own, without a transaction."""
        if self.sqlite:
            connection = apsw.Connection(self.url.removeprefix("sqlite:///"))
            connection.set_busy_timeout(5_000)
            try:
                yield connection
            finally:
                connection.close()
        else:
            connection = await asyncpg.connect(self.url)
            try:
                yield connection
            finally:
                await connection.close()

    async def execute(self, connection: Any, text: str) -> None:
        if self.sqlite:
            connection.execute(text)
        else:
            await connection.execute(text)

    async def effects(self) -> int:
        async with self.connection() as connection:
            if self.sqlite:
                return int(next(connection.execute("SELECT count(*) FROM effect"))[0])
            return int(await connection.fetchval("SELECT count(*) FROM effect"))

    async def journal(self) -> list[str]:
        store = await self.rota.opened()
        return [row["outcome"] for row in await store.read(lambda: views.journal(100))]


async def test_a_run_completed_in_the_callers_transaction_succeeds_with_its_commit(store_url: str) -> None:
    shop = Shop(store_url)

    @shop.rota.job(retry=Retry(tries=1))
    async def count(run: Run) -> None:
        async with shop.connection() as connection:
            await shop.execute(connection, "BEGIN")
            await shop.execute(connection, f"INSERT INTO effect VALUES ('{run.id}')")
            await run.complete({"rows": 7}, on=connection)
            await shop.execute(connection, "COMMIT")

    async with shop:
        handle = await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.succeeded, summary.due) == (1, 1)
        assert await handle.state() == "succeeded"
        assert await shop.effects() == 1
        assert await shop.journal() == ["succeeded"]


async def test_a_run_completed_in_a_transaction_that_is_rolled_back_is_tried_again(store_url: str) -> None:
    shop = Shop(store_url)
    failures = [ValueError("the commit never came")]

    @shop.rota.job(retry=Retry(delays=["0s"]))
    async def count(run: Run) -> None:
        async with shop.connection() as connection:
            await shop.execute(connection, "BEGIN")
            await shop.execute(connection, f"INSERT INTO effect VALUES ('{run.id}')")
            await run.complete(on=connection)
            if failures:
                await shop.execute(connection, "ROLLBACK")
                raise failures.pop()
            await shop.execute(connection, "COMMIT")

    async with shop:
        await count.enqueue()
        first, second = await shop.rota.tick(), await shop.rota.tick()
        assert (first.retrying, second.succeeded) == (1, 1)
        assert await shop.effects() == 1
        assert await shop.journal() == ["retry", "succeeded"]


async def test_an_attempt_whose_lease_was_taken_cannot_complete_and_leaves_no_effect(store_url: str) -> None:
    shop = Shop(store_url)
    refused: list[LeaseLost] = []

    @shop.rota.job
    async def count(run: Run) -> None:
        store = await shop.rota.opened()
        store.db.dictionary._compiled["taken"] = store.db.dictionary.compile(
            "taken", "UPDATE rota.turn SET attempt = attempt + 1 RETURNING id"
        )
        await store.write(lambda: query("taken"))
        async with shop.connection() as connection:
            await shop.execute(connection, "BEGIN")
            await shop.execute(connection, f"INSERT INTO effect VALUES ('{run.id}')")
            try:
                await run.complete(on=connection)
            except LeaseLost as error:
                refused.append(error)
                await shop.execute(connection, "ROLLBACK")
                raise
            await shop.execute(connection, "COMMIT")

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert len(refused) == 1
        assert summary.succeeded == 0
        assert await shop.effects() == 0
        assert await shop.journal() == []


@pytest.mark.parametrize("fails", [False, True], ids=["committed", "rolled back"])
async def test_the_short_form_commits_data_and_success_together(store_url: str, fails: bool) -> None:
    shop = Shop(store_url)

    @shop.rota.job(retry=Retry(tries=1))
    async def count(run: Run) -> None:
        async with run.transaction() as db:
            await shop.execute(db, f"INSERT INTO effect VALUES ('{run.id}')")
            if fails:
                raise ValueError("x")

    async with shop:
        handle = await count.enqueue()
        await shop.rota.tick()
        assert await handle.state() == ("dead" if fails else "succeeded")
        assert await shop.effects() == (0 if fails else 1)
        assert len(await shop.journal()) == 1
