"""The states in which a caller's connection may come: committing by itself, failed, in a pipeline, elsewhere."""

import asyncio
import sqlite3

import asyncpg
import psycopg
import pytest
from django import db  # not its connection: whoever looks at that asks for Django's settings
from django.db import transaction
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from rota import Rota
from rota.errors import BadInput
from rota.store.foreign import run_on
from rota.store.foreign.places import wait_here
from rota.store.port import query
from tests.store.callers import POSTGRES, caller_on, django_connections, file_of, sqlalchemy_url

FAILED = "has failed and waits for its rollback: roll it back"
ELSEWHERE = "leads to another PostgreSQL database than the store's"


class Shop:
    """An application that mails."""

    def __init__(self, url: str) -> None:
        self.rota = Rota(url)

        @self.rota.job
        async def mail(to: int) -> None: ...

        self.mail = mail

    async def mails(self) -> list[int]:
        """The mails that stand in the store."""
        store = await self.rota.opened()
        store.db.dictionary._compiled["look"] = store.db.dictionary.compile("look", "SELECT args FROM rota.turn")
        return sorted(int(row[0].strip('{}"to:')) for row in await store.read(lambda: query("look")))


@pytest.fixture
async def shop(postgres_url):
    """On PostgreSQL."""
    found = Shop(postgres_url)
    async with found.rota:
        yield found


@pytest.fixture
async def small_shop(sqlite_url):
    """On a SQLite file that the standard library has open."""
    found = Shop(f"{sqlite_url}?driver=sqlite3")
    async with found.rota:
        yield found


# -- connections that commit by themselves ---------------------------------------------------------


async def broken_mail(shop, on):
    """An enqueue whose transaction fails."""
    store = await shop.rota.opened()
    dictionary = store.db.dictionary
    dictionary._compiled["broken"] = dictionary.compile("broken", "SELECT * FROM rota.nowhere")

    def make():
        yield from query("add_lanes", [("mail", 7)])
        yield from query("broken")

    with pytest.raises(Exception, match="nowhere"):
        await run_on(on, make, store)
    dictionary._compiled["lanes_of"] = dictionary.compile("lanes_of", "SELECT 1 FROM rota.lane WHERE priority = 7")
    assert not await store.read(lambda: query("lanes_of"))


async def test_asyncpg_without_a_transaction_gets_one_for_each_operation(shop, postgres_url):
    mine = await asyncpg.connect(postgres_url)
    await shop.mail.enqueue(1, on=mine)
    assert await shop.mails() == [1]
    await broken_mail(shop, mine)
    assert not mine.is_in_transaction()
    await mine.close()


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
async def test_psycopg_in_autocommit_gets_a_transaction_for_each_operation(shop, postgres_url, kind):
    if kind == "blocking":
        mine = psycopg.connect(postgres_url, autocommit=True)
    else:
        mine = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    await shop.mail.enqueue(1, on=mine)
    assert await shop.mails() == [1]
    await broken_mail(shop, mine)
    assert mine.info.transaction_status.name == "IDLE"
    closing = mine.close()
    if closing is not None:
        await closing


async def test_a_first_operation_of_psycopg_that_fails_leaves_no_transaction_open(shop, postgres_url):
    with psycopg.connect(postgres_url) as mine:
        await broken_mail(shop, mine)
        assert mine.info.transaction_status.name == "IDLE"
        await shop.mail.enqueue(1, on=mine)
        assert mine.info.transaction_status.name == "INTRANS"
        assert await shop.mails() == []
    assert await shop.mails() == [1]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_asynchronous_sqlalchemy_in_autocommit_gets_a_transaction_for_each_operation(shop, postgres_url, driver):
    engine = create_async_engine(sqlalchemy_url(postgres_url, driver), isolation_level="AUTOCOMMIT")
    async with engine.connect() as mine:
        await shop.mail.enqueue(1, on=mine)
        assert await shop.mails() == [1]
        await broken_mail(shop, mine)
        assert (await mine.execute(text("SELECT 1"))).scalar() == 1
    await engine.dispose()


async def test_sqlalchemy_in_autocommit_on_psycopg_gets_a_transaction_for_each_operation(shop, postgres_url):
    engine = create_engine(sqlalchemy_url(postgres_url, "psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as mine:
        await shop.mail.enqueue(1, on=mine)
        assert await shop.mails() == [1]
        await broken_mail(shop, mine)
        assert mine.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("above", ["psycopg", "sqlalchemy"])
async def test_a_blocking_connection_that_waits_for_a_lock_does_not_stop_the_loop_that_holds_it(
    shop, postgres_url, above
):
    engine = create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    first, second = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    mail = shop.mail.options(key="k")
    with psycopg.connect(postgres_url) if above == "psycopg" else engine.connect() as mine:
        whole = first.transaction()
        await whole.start()
        held = await mail.enqueue(1, on=first)
        waiting = asyncio.create_task(mail.enqueue(1, on=mine))
        while not await second.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass
        assert not waiting.done()
        await whole.commit()
        found = await waiting
        assert (found.id, found.created) == (held.id, False)
        mine.commit()
    await first.close()
    await second.close()
    engine.dispose()


# -- transactions that have failed -----------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in POSTGRES if name != "django"])
async def test_a_transaction_that_has_failed_is_named_as_the_reason_and_may_be_rolled_back(shop, postgres_url, name):
    async with caller_on(postgres_url, name) as caller:
        await caller.begin()
        with pytest.raises(Exception, match="nowhere"):
            await caller.execute("SELECT * FROM nowhere")
        with pytest.raises(BadInput, match=FAILED):
            await caller.call(lambda: shop.mail.enqueue(1, on=caller.on))
        await caller.rollback()
        await caller.begin()
        await caller.call(lambda: shop.mail.enqueue(2, on=caller.on))
        await caller.commit()
    assert await shop.mails() == [2]


async def test_a_session_that_waits_for_its_rollback_is_named_as_the_reason(small_shop, sqlite_url):
    engine = create_engine(sqlite_url)
    with Session(engine) as session:
        session.execute(text("CREATE TABLE account (name text PRIMARY KEY)"))
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(text("INSERT INTO account VALUES ('a'), ('a')"))
        await small_shop.mail.enqueue(1, on=session)  # the outer transaction is well
        session.commit()
        session.connection().invalidate()
        with pytest.raises(BadInput, match=FAILED):
            await small_shop.mail.enqueue(2, on=session)
        session.rollback()
    engine.dispose()
    assert await small_shop.mails() == [1]


async def test_a_deferred_transaction_of_sqlite_cannot_be_overtaken_between_our_read_and_our_write(
    small_shop, sqlite_url
):
    mine = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    other = sqlite3.connect(file_of(sqlite_url), isolation_level=None, timeout=0)
    store = await small_shop.rota.opened()

    def make():
        yield from query("meta", name="store")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        yield from query("add_lanes", [("mail", 7)])

    mine.execute("BEGIN")
    await run_on(mine, make, store)
    mine.execute("COMMIT")
    mine.close()
    other.close()


async def test_the_cause_is_told_when_sqlite_has_rolled_back_by_itself(small_shop, sqlite_url):
    mine = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    store = await small_shop.rota.opened()

    def make():
        yield from query("add_lanes", [("mail", 7)])
        mine.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    mine.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        await run_on(mine, make, store)
    assert not mine.in_transaction
    mine.close()


async def test_a_pipeline_of_psycopg_is_refused(shop, postgres_url):
    with psycopg.connect(postgres_url) as mine, mine.pipeline(), pytest.raises(BadInput, match="pipeline mode"):
        await shop.mail.enqueue(1, on=mine)


# -- connections that lead elsewhere ---------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", ["without a store", "another store"])
@pytest.mark.parametrize("name", POSTGRES)
async def test_a_connection_to_another_postgresql_database_is_refused_and_stays_usable(shop, postgres, name, elsewhere):
    other = postgres.fresh_database()
    url = postgres.url(other)
    if elsewhere == "another store":
        async with Rota(url):
            pass
    async with caller_on(url, name) as caller:
        await caller.begin()
        await caller.execute("INSERT INTO effect VALUES ('a')")
        with pytest.raises(BadInput, match=ELSEWHERE):
            await caller.call(lambda: shop.mail.enqueue(1, on=caller.on))
        await caller.commit()
        await caller.begin()
        assert await caller.execute("SELECT name FROM effect") == [("a",)]
        await caller.rollback()
    postgres.drop_database(other)


async def test_a_connection_of_the_other_database_is_refused(shop, small_shop, postgres_url):
    stranger = sqlite3.connect(":memory:")
    with pytest.raises(BadInput, match="is SQLite's, the store is on PostgreSQL"):
        await shop.mail.enqueue(1, on=stranger)
    stranger.close()
    engine = create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    with psycopg.connect(postgres_url) as mine, engine.connect() as above:
        for one in (mine, above):
            with pytest.raises(BadInput, match="is PostgreSQL's, the store is on SQLite"):
                await small_shop.mail.enqueue(1, on=one)
    engine.dispose()


# -- Django ----------------------------------------------------------------------------------------


class DjangoShop:
    """Plain functions with Django's connection, as they run in a handler's thread."""

    def __init__(self, shop: Shop, url: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._mail = shop.mail
        self._url = url

    def enqueue(self, number: int) -> None:
        wait_here(self._mail.enqueue(number, on=db.connection), self._loop)

    async def run(self, function) -> None:
        django_connections(self._url)

        def call():
            try:
                function(self)
            finally:
                db.connection.close()

        await asyncio.to_thread(call)


@pytest.fixture
async def django_shop(store_kind, request):
    url = request.getfixturevalue(f"{store_kind}_url")
    shop = Shop(f"{url}?driver=sqlite3" if store_kind == "sqlite" else url)
    async with shop.rota:
        yield shop, DjangoShop(shop, url)


async def test_django_outside_of_atomic_commits_each_operation(django_shop):
    shop, there = django_shop

    def call(self):
        self.enqueue(1)
        assert not db.connection.in_atomic_block
        assert db.connection.get_autocommit()

    await there.run(call)
    assert await shop.mails() == [1]


async def test_an_inner_atomic_of_django_that_is_rolled_back_takes_its_operations_along(django_shop):
    shop, there = django_shop

    def call(self):
        with transaction.atomic():
            self.enqueue(1)
            with transaction.atomic():
                self.enqueue(2)
                transaction.set_rollback(True)
            self.enqueue(3)

    await there.run(call)
    assert await shop.mails() == [1, 3]


async def test_django_with_autocommit_off_leaves_the_commit_to_its_caller(django_shop):
    shop, there = django_shop

    def call(self):
        transaction.set_autocommit(False)
        self.enqueue(1)
        transaction.rollback()
        self.enqueue(2)
        transaction.commit()
        transaction.set_autocommit(True)

    await there.run(call)
    assert await shop.mails() == [2]


async def test_an_atomic_of_django_that_must_be_rolled_back_is_named_as_the_reason(django_shop):
    shop, there = django_shop

    def call(self):
        with transaction.atomic():
            transaction.set_rollback(True)
            with pytest.raises(BadInput, match=FAILED):
                self.enqueue(1)
        self.enqueue(2)

    await there.run(call)
    assert await shop.mails() == [2]


async def test_djangos_connection_in_an_event_loop_is_refused_with_the_way_to_do_it(django_shop):
    shop, there = django_shop
    django_connections(there._url)
    with pytest.raises(BadInput, match=r"call it from a plain function, as rota\.wait\(job\.enqueue"):
        await shop.mail.enqueue(1, on=db.connection)
    assert await shop.mails() == []


async def test_a_plain_function_uses_its_own_connection_through_the_blocking_door(small_shop, sqlite_url):
    def call():
        mine = sqlite3.connect(file_of(sqlite_url))
        small_shop.rota.wait(small_shop.mail.enqueue(1, on=mine))  # sqlite3 refuses any other thread
        mine.rollback()
        small_shop.rota.wait(small_shop.mail.enqueue(2, on=mine))
        mine.commit()
        mine.close()

    await asyncio.to_thread(call)
    assert await small_shop.mails() == [2]
