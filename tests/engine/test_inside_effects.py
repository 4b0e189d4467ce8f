"""Effects inside the store's own database: what a handler writes and its success commit together, or neither (G-6)."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any, Self

import apsw
import asyncpg
import psycopg
import pytest
from django import db
from django.db import transaction

from rota import Retry, Rota, Run, daily
from rota.clock import give_way
from rota.errors import BadInput, IllegalTransition, LeaseLost, StoreUnavailable
from rota.store import views
from rota.store.port import query
from rota.store.turns import Held
from rota.testing import ManualClock
from tests.store.callers import django_connections


class Shop:
    """An application with a table of its own in the same database."""

    def __init__(self, url: str, option: str = "") -> None:
        self.url = url
        self.rota = Rota(url + option)
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

    async def sold(self, run: Run, *, on: Any) -> None:
        """One effect and the run's success."""
        await self.execute(on, f"INSERT INTO effect VALUES ('{run.id}')")
        await run.complete(on=on)

    async def fence(self) -> None:
        """Another worker has taken the run."""
        store = await self.rota.opened()
        store.db.dictionary._compiled["taken"] = store.db.dictionary.compile(
            "taken", "UPDATE rota.turn SET attempt = attempt + 1 RETURNING id"
        )
        await store.write(lambda: query("taken"))

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
        await shop.fence()
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


async def test_the_short_form_leaves_no_effect_when_the_lease_was_taken_meanwhile(store_url: str) -> None:
    shop = Shop(store_url)
    refused: list[LeaseLost] = []

    @shop.rota.job
    async def count(run: Run) -> None:
        await shop.fence()
        try:
            async with run.transaction() as db:
                await shop.execute(db, f"INSERT INTO effect VALUES ('{run.id}')")
        except LeaseLost as error:
            refused.append(error)
            raise

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (len(refused), summary.succeeded, await shop.effects(), await shop.journal()) == (1, 0, 0, [])


async def test_the_short_form_needs_a_store_with_a_second_connection() -> None:
    rota = Rota("sqlite:///:memory:")
    refused: list[str] = []

    @rota.job(retry=Retry(tries=1))
    async def count(run: Run) -> None:
        try:
            async with run.transaction():
                pass
        except BadInput as error:
            refused.append(str(error))

    async with rota:
        await count.enqueue()
        assert (await rota.tick()).succeeded == 1
    assert refused == ["a store in memory has one connection only: use a file for run.transaction()"]


async def test_a_run_is_completed_once_and_a_second_transaction_leaves_no_effect(store_url: str) -> None:
    shop = Shop(store_url)
    refused: list[IllegalTransition] = []

    @shop.rota.job
    async def count(run: Run) -> None:
        for _ in range(2):
            async with shop.connection() as connection:
                await shop.execute(connection, "BEGIN")
                try:
                    await shop.sold(run, on=connection)
                except IllegalTransition as error:
                    refused.append(error)
                    await shop.execute(connection, "ROLLBACK")
                else:
                    await shop.execute(connection, "COMMIT")

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.succeeded, await shop.effects(), await shop.journal()) == (1, 1, ["succeeded"])
    assert "is completed already: roll this transaction back" in str(*refused)


async def test_a_completion_inside_the_short_form_is_one_too_many_and_nothing_is_written(store_url: str) -> None:
    shop = Shop(store_url)

    @shop.rota.job(retry=Retry(tries=1))
    async def count(run: Run) -> None:
        async with run.transaction() as db:
            await shop.sold(run, on=db)

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.dead, await shop.effects(), await shop.journal()) == (1, 0, ["dead"])


async def test_a_completion_that_was_rolled_back_may_be_tried_again_by_the_same_attempt(store_url: str) -> None:
    shop = Shop(store_url)

    @shop.rota.job(retry=Retry(tries=1))
    async def count(run: Run) -> None:
        for end in ("ROLLBACK", "COMMIT"):
            async with shop.connection() as connection:
                await shop.execute(connection, "BEGIN")
                await shop.sold(run, on=connection)
                await shop.execute(connection, end)

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.succeeded, await shop.effects(), await shop.journal()) == (1, 1, ["succeeded"])


@pytest.mark.parametrize("keeps", ["all", "failures"])
async def test_what_a_handler_comes_to_after_the_commit_changes_nothing(store_url: str, keeps: str) -> None:
    shop = Shop(store_url)
    told: list[str] = []
    shop.rota.listen(lambda event: told.append(event.name))

    @shop.rota.job(retry=Retry(tries=1), journal=keeps)
    async def count(run: Run) -> None:
        async with shop.connection() as connection:
            await shop.execute(connection, "BEGIN")
            await shop.sold(run, on=connection)
            await shop.execute(connection, "COMMIT")
        raise ValueError("after the commit")

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.succeeded, summary.dead, await shop.effects()) == (1, 0, 1)
        assert await shop.journal() == (["succeeded"] if keeps == "all" else [])
    assert [name for name in told if name.startswith("run.")] == ["run.started", "run.succeeded"]


async def test_a_completion_rolled_back_by_an_attempt_that_lost_its_lease_is_no_success(store_url: str) -> None:
    shop = Shop(store_url)

    @shop.rota.job
    async def count(run: Run) -> None:
        async with shop.connection() as connection:
            await shop.execute(connection, "BEGIN")
            await shop.sold(run, on=connection)
            await shop.execute(connection, "ROLLBACK")
        await shop.fence()

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.succeeded, await shop.effects(), await shop.journal()) == (0, 0, [])


async def test_a_handler_goes_on_after_its_commit_though_the_store_no_longer_counts_its_lease(store_url: str) -> None:
    shop = Shop(store_url)
    went_on: list[str] = []

    @shop.rota.job
    async def count(run: Run) -> None:
        async with shop.connection() as connection:
            await shop.execute(connection, "BEGIN")
            await shop.sold(run, on=connection)
            await shop.execute(connection, "COMMIT")
        pump = run._port._pump  # type: ignore[attr-defined]
        pump.compare(pump.store.clock.monotonic() + 1, Held({}, set(), False))  # what the next heartbeat finds
        await give_way()
        went_on.append(run.id)

    async with shop:
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.succeeded, len(went_on)) == (1, 1)


@pytest.mark.parametrize("way", ["returns", "completes"])
async def test_a_member_that_moves_while_it_runs_gets_its_new_slot_with_the_completion(
    store_url: str, way: str
) -> None:
    shop = Shop(store_url)
    users = shop.rota.roster("users")

    @shop.rota.job(each=users, schedule=daily("09:00"))
    async def greet(run: Run) -> None:
        await users.update("ada", zone="Asia/Kolkata")
        if way == "completes":
            async with shop.connection() as connection:
                await shop.execute(connection, "BEGIN")
                await shop.sold(run, on=connection)
                await shop.execute(connection, "COMMIT")

    async with shop:
        await users.join("ada", zone="UTC")
        await greet.run_now("ada")
        assert (await shop.rota.tick()).succeeded == 1
        turn = await greet.turn("ada")
        assert turn.slot_at is not None
        assert f"{turn.slot_at:%H:%M}" == "03:30"


@pytest.mark.parametrize("ends", ["committed", "rolled back"])
@pytest.mark.parametrize("way", ["driver", "django"])
async def test_a_plain_handler_completes_on_the_connection_of_its_own_thread(
    store_url: str, store_kind: str, way: str, ends: str
) -> None:
    shop = Shop(store_url, "?driver=sqlite3" if store_kind == "sqlite" else "")

    def with_driver(run: Run) -> None:
        opened = sqlite3.connect(store_url.removeprefix("sqlite:///")) if shop.sqlite else psycopg.connect(store_url)
        with closing(opened) as connection:
            connection.execute(f"INSERT INTO effect VALUES ('{run.id}')")
            shop.rota.wait(run.complete(on=connection))
            connection.commit() if ends == "committed" else connection.rollback()

    def with_django(run: Run) -> None:
        django_connections(store_url)
        with transaction.atomic():
            with db.connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO effect VALUES ('{run.id}')")
            shop.rota.wait(run.complete(on=db.connection))
            transaction.set_rollback(ends == "rolled back")
        db.connection.close()

    @shop.rota.job(retry=Retry(delays=["0s"]))
    def count(run: Run) -> None:
        (with_driver if way == "driver" else with_django)(run)
        raise ValueError("after the transaction")

    async with shop.rota:
        if shop.sqlite:
            with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
                connection.execute("CREATE TABLE effect (run text)")
        else:
            async with shop.connection() as connection:
                await shop.execute(connection, "CREATE TABLE effect (run text)")
        await count.enqueue()
        summary = await shop.rota.tick()
        assert (summary.succeeded, summary.retrying) == ((1, 0) if ends == "committed" else (0, 1))
        assert await shop.journal() == (["succeeded"] if ends == "committed" else ["retry"])
    with closing(
        sqlite3.connect(store_url.removeprefix("sqlite:///")) if shop.sqlite else psycopg.connect(store_url)
    ) as connection:
        ((effects,),) = connection.execute("SELECT count(*) FROM effect").fetchall()
    assert effects == (1 if ends == "committed" else 0)


async def test_many_transactions_of_one_process_on_a_file_do_not_wait_for_each_other_in_a_circle(
    sqlite_url: str,
) -> None:
    rota = Rota(sqlite_url)
    store = await rota.opened()

    async def one() -> None:
        async with store.db.borrowed() as db:
            await give_way()
            db.execute("CREATE TABLE IF NOT EXISTS kept (x)")
            await store.clock.in_thread(db.execute, "INSERT INTO kept VALUES (1)")

    async with asyncio.timeout(8):  # less than the ten seconds that a writer waits for another
        await asyncio.gather(*(one() for _ in range(40)))
    async with store.db.borrowed() as db:
        assert db.execute("SELECT count(*) FROM kept").fetchone() == (40,)
    await rota.close()


async def test_a_store_that_is_away_inside_a_handler_costs_no_try(sqlite_url: str) -> None:
    clock = ManualClock("2026-01-01T00:00:00Z")
    rota = Rota(sqlite_url, clock=clock)
    tries: list[int] = []

    @rota.job(retry=Retry(tries=2, first="2s"))
    async def work(run: Run) -> None:
        tries.append(run.tries)
        if len(tries) < 5:
            raise StoreUnavailable("the store is away")

    await work.enqueue()
    for _ in range(5):
        await rota.tick()
        clock.advance("2s")
    assert tries == [1, 1, 1, 1, 1]
    await rota.close()
