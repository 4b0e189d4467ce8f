import sqlite3
from types import SimpleNamespace

import apsw
import asyncpg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from rota import rosters
from rota.define.schedule import every
from rota.errors import BadInput, StoreError
from rota.store import checkpoint, sqlite, turns
from rota.store.foreign import run_on
from rota.turn.records import Fresh
from tests.store.held import catalog, look, opened


def known():
    return catalog("users", sync={"each": "users", "schedule": every("24h")}, mail={})


def file_of(url):
    return url.removeprefix("sqlite:///")


async def count(store):
    return await rosters.count(store, "users")


@pytest.fixture
def std_url(sqlite_url):
    """A store that uses the standard library's SQLite, as an application with SQLAlchemy has it."""
    return f"{sqlite_url}?driver=sqlite3"


def standard(url):
    connection = sqlite3.connect(file_of(url).removesuffix("?driver=sqlite3"))
    connection.execute("CREATE TABLE IF NOT EXISTS account (name text)")
    connection.commit()
    return connection


async def test_a_join_on_a_sqlite3_connection_commits_and_vanishes_with_the_callers_transaction(std_url):
    async with opened(std_url, known()) as store:
        mine = standard(std_url)
        mine.execute("INSERT INTO account VALUES ('ada')")
        member = await rosters.join(store, "users", "ada", zone="UTC", on=mine)
        assert (member.key, mine.in_transaction) == ("ada", True)
        mine.rollback()
        assert (await count(store), mine.execute("SELECT count(*) FROM account").fetchone()) == (0, (0,))
        await rosters.join_many(store, "users", ["ada", "bob"], on=mine)
        mine.execute("INSERT INTO account VALUES ('ada')")
        mine.commit()
        assert (await count(store), len(await look(store, "SELECT 1 FROM rota.turn"))) == (2, 2)
        assert await rosters.leave(store, "users", "bob", on=mine) is True
        mine.commit()
        assert await count(store) == 1
        mine.close()


async def test_without_a_transaction_in_autocommit_the_operation_is_one_of_its_own(std_url):
    async with opened(std_url, known()) as store:
        mine = standard(std_url)
        mine.isolation_level = None
        await rosters.join(store, "users", "ada", on=mine)
        assert (await count(store), mine.in_transaction) == (1, False)
        with pytest.raises(BadInput):
            await rosters.join(store, "users", "bob", slot=99, on=mine)
        assert (await count(store), mine.in_transaction) == (1, False)
        mine.close()


async def test_a_failed_operation_leaves_the_callers_transaction_as_it_was(std_url):
    async with opened(std_url, known()) as store:
        mine = standard(std_url)
        mine.execute("INSERT INTO account VALUES ('ada')")
        with pytest.raises(BadInput, match="0 to 23"):
            await rosters.join(store, "users", "ada", slot=24, on=mine)
        mine.commit()
        assert mine.execute("SELECT name FROM account").fetchall() == [("ada",)]
        assert await look(store, "SELECT 1 FROM rota.member") == []
        mine.close()


async def test_an_enqueue_and_a_join_share_one_transaction_on_apsw(sqlite_url):
    async with opened(sqlite_url, known()) as store:
        mine = apsw.Connection(file_of(sqlite_url))
        mine.set_busy_timeout(1_000)
        mail = Fresh("mail", "{}", None, None, 0, 0, 0)
        mine.execute("BEGIN IMMEDIATE")
        await rosters.join(store, "users", "ada", on=mine)
        [(_, created)] = await run_on(mine, lambda: turns.enqueue([mail]), store)
        assert created
        mine.execute("ROLLBACK")
        assert (await count(store), await look(store, "SELECT 1 FROM rota.turn")) == (0, [])
        with mine:
            await rosters.join(store, "users", "ada", on=mine)
            await run_on(mine, lambda: turns.enqueue([mail]), store)
        assert len(await look(store, "SELECT 1 FROM rota.turn")) == 2
        await rosters.join(store, "users", "bob", on=mine)
        assert (await count(store), mine.in_transaction) == (2, False)
        mine.close()


async def test_another_sqlite_library_on_our_file_is_refused(sqlite_url, std_url):
    async with opened(sqlite_url, known()) as store:
        # Only the file's name is asked for, so no second library has to open it here.
        stranger = type("Connection", (), {"__module__": "sqlite3"})()
        pragma = SimpleNamespace(fetchall=lambda: [(0, "main", file_of(sqlite_url))])
        stranger.execute = lambda _: pragma
        with pytest.raises(BadInput, match=r"One SQLite library for each process and file.*driver=sqlite3"):
            await rosters.join(store, "users", "ada", on=stranger)
    async with opened(std_url, known()) as store:
        stranger = type("Connection", (), {"__module__": "apsw"})()
        stranger.execute = lambda _: pragma
        with pytest.raises(BadInput, match="One SQLite library for each process and file"):
            await rosters.join(store, "users", "ada", on=stranger)


async def test_a_connection_to_another_database_is_refused(std_url, tmp_path):
    async with opened(std_url, known()) as store:
        for other in (sqlite3.connect(":memory:"), sqlite3.connect(tmp_path / "other.db")):
            with pytest.raises(BadInput, match="only a connection to the store's own file"):
                await rosters.join(store, "users", "ada", on=other)
            other.close()
        with pytest.raises(BadInput, match=r"takes a connection of sqlite3, apsw.*not builtins\.str"):
            await rosters.join(store, "users", "ada", on="postgresql://…")
    async with opened("sqlite:///:memory:", known()) as store:
        mine = apsw.Connection(":memory:")
        with pytest.raises(BadInput, match="in memory"):
            await rosters.join(store, "users", "ada", on=mine)
        mine.close()


@pytest.mark.parametrize("way", ["connection", "session", "scoped session"])
async def test_a_join_is_part_of_a_sqlalchemy_transaction(std_url, way):
    async with opened(std_url, known()) as store:
        standard(std_url).close()
        engine = create_engine(std_url.removesuffix("?driver=sqlite3"))
        opened_by = {
            "connection": engine.connect,
            "session": lambda: Session(engine),
            "scoped session": lambda: scoped_session(sessionmaker(engine)),
        }
        mine = opened_by[way]()
        await rosters.join(store, "users", "ada", on=mine)
        mine.execute(text("INSERT INTO account VALUES ('ada')"))
        mine.rollback()
        assert await look(store, "SELECT 1 FROM rota.member") == []
        mine.execute(text("INSERT INTO account VALUES ('ada')"))
        await rosters.join(store, "users", "ada", on=mine)
        with pytest.raises(BadInput):
            await rosters.join(store, "users", "bob", slot=24, on=mine)
        mine.commit()
        assert mine.execute(text("SELECT name FROM account")).fetchall() == [("ada",)]
        assert await count(store) == 1
        getattr(mine, "close", mine.rollback)()
        engine.dispose()


async def test_sqlalchemy_in_autocommit_commits_at_once(std_url):
    async with opened(std_url, known()) as store:
        engine = create_engine(std_url.removesuffix("?driver=sqlite3"), isolation_level="AUTOCOMMIT")
        with engine.connect() as mine:
            await rosters.join(store, "users", "ada", on=mine)
            assert await count(store) == 1
        engine.dispose()


@pytest.mark.parametrize("way", ["connection", "session"])
async def test_a_join_is_part_of_an_asynchronous_sqlalchemy_transaction(store_url, store_kind, way):
    url = store_url + ("?driver=sqlite3" if store_kind == "sqlite" else "")
    driver = {"sqlite": ("sqlite:", "sqlite+aiosqlite:"), "postgres": ("postgresql:", "postgresql+asyncpg:")}
    async with opened(url, known()) as store:
        engine = create_async_engine(store_url.replace(*driver[store_kind]))
        async with engine.begin() as first:
            await first.execute(text("CREATE TABLE account (name text)"))
        async with AsyncSession(engine) if way == "session" else engine.connect() as mine:
            await rosters.join(store, "users", "ada", data={"colour": "red"}, on=mine)
            await mine.execute(text("INSERT INTO account VALUES ('ada')"))
            await mine.rollback()
            assert await look(store, "SELECT 1 FROM rota.member") == []
            await mine.execute(text("INSERT INTO account VALUES ('ada')"))
            await rosters.join_many(store, "users", ["ada", "bob"], on=mine)
            with pytest.raises(BadInput):
                await rosters.join(store, "users", "eve", slot=24, on=mine)
            await mine.commit()
            assert (await mine.execute(text("SELECT name FROM account"))).fetchall() == [("ada",)]
        assert (await count(store), len(await look(store, "SELECT 1 FROM rota.turn"))) == (2, 2)
        await engine.dispose()


async def test_a_join_is_part_of_an_asyncpg_transaction(postgres_url):
    async with opened(postgres_url, known()) as store, asyncpg.create_pool(postgres_url, min_size=1) as pool:
        mine = await asyncpg.connect(postgres_url)
        pooled = await pool.acquire()
        for connection in (mine, pooled):
            whole = connection.transaction()
            await whole.start()
            await rosters.join(store, "users", "ada", on=connection)
            with pytest.raises(BadInput):
                await rosters.join(store, "users", "bob", slot=24, on=connection)
            assert await connection.fetchval("SELECT count(*) FROM rota.member") == 1
            await whole.rollback()
            assert await look(store, "SELECT 1 FROM rota.member") == []
        await pool.release(pooled)
        await rosters.join(store, "users", "ada", on=mine)
        assert await count(store) == 1
        await mine.close()
        stranger = sqlite3.connect(":memory:")
        with pytest.raises(BadInput, match="is SQLite's, the store is on PostgreSQL"):
            await rosters.join(store, "users", "ada", on=stranger)
        stranger.close()


async def test_the_standard_library_serves_a_store(std_url):
    async with opened(std_url, known()) as store:
        await rosters.join_many(store, "users", [f"u{n}" for n in range(24)])
        assert (await look(store, "SELECT journal_mode FROM pragma_journal_mode"))[0] == ("wal",)
        assert len(await look(store, "SELECT DISTINCT slot FROM rota.turn")) == 24


async def test_an_old_library_checkpoints_only_while_it_holds_the_lock_file_alone(std_url, monkeypatch):
    monkeypatch.setattr(sqlite, "OLDEST", (99, 0, 0))
    monkeypatch.setattr(checkpoint, "LONG_BYTES", 200_000)
    file = file_of(std_url).removesuffix("?driver=sqlite3")
    async with opened(std_url, known()) as store:
        other = checkpoint.Checkpoints(file)
        log = sqlite.Path(f"{file}-wal")
        with other.writing():
            await rosters.join_many(store, "users", [f"u{n:04}" for n in range(2_000)])
            await rosters.join(store, "users", "one")
            assert log.stat().st_size > 200_000
        await rosters.join(store, "users", "two")
        assert log.stat().st_size == 0
        other.close()
        mine = sqlite3.connect(file)
        await rosters.join(store, "users", "three", on=mine)
        assert mine.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        mine.close()


async def test_a_library_that_lacks_words_of_ours_is_refused(std_url, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.37.2")
    with pytest.raises(StoreError, match=r"SQLite 3\.37\.2 .* too old, rota needs 3\.38"):
        async with opened(std_url, known()):
            pass
