"""Enqueuing and joining inside the caller's own transaction, seen by a worker in another process.

What is committed runs, what is rolled back never was; on every library whose connections are taken.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from rota.errors import BadInput
from tests.e2e.conftest import fleet_on
from tests.e2e.fleet import Fleet, until
from tests.e2e.shop import plain, shops, visit

Act = Callable[[Any], Awaitable[None]]


async def in_sqlite3(url: str, act: Act, *, commit: bool) -> None:
    connection = sqlite3.connect(_file(url))
    try:
        connection.execute("BEGIN IMMEDIATE")
        await act(connection)
        connection.commit() if commit else connection.rollback()
    finally:
        connection.close()


async def in_apsw(url: str, act: Act, *, commit: bool) -> None:
    connection = apsw.Connection(_file(url))
    connection.set_busy_timeout(5_000)
    try:
        connection.execute("BEGIN IMMEDIATE")
        await act(connection)
        connection.execute("COMMIT" if commit else "ROLLBACK")
    finally:
        connection.close()


async def in_asyncpg(url: str, act: Act, *, commit: bool) -> None:
    connection = await asyncpg.connect(url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await act(connection)
        await (transaction.commit() if commit else transaction.rollback())
    finally:
        await connection.close()


async def in_sqlalchemy_session(url: str, act: Act, *, commit: bool) -> None:
    engine = create_engine(f"sqlite:///{_file(url)}")
    try:
        with Session(engine) as session:
            session.execute(text("SELECT 1"))
            await act(session)
            session.commit() if commit else session.rollback()
    finally:
        engine.dispose()


async def in_sqlalchemy_asyncpg(url: str, act: Act, *, commit: bool) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.connect() as connection:
            await act(connection)
            await (connection.commit() if commit else connection.rollback())
    finally:
        await engine.dispose()


def _file(url: str) -> str:
    return url.removeprefix("sqlite:///").partition("?")[0]


WAYS = {
    "sqlite3": (in_sqlite3, "sqlite", "?driver=sqlite3"),
    "apsw": (in_apsw, "sqlite", ""),
    "sqlalchemy session": (in_sqlalchemy_session, "sqlite", "?driver=sqlite3"),
    "asyncpg": (in_asyncpg, "postgres", ""),
    "sqlalchemy asyncpg": (in_sqlalchemy_asyncpg, "postgres", ""),
}


@asynccontextmanager
async def _on(way: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[tuple[Fleet, Any]]:
    run, kind, option = WAYS[way]
    url = str(request.getfixturevalue(f"{kind}_url")) + option
    async with fleet_on(url, folder) as fleet:
        yield fleet, run


@pytest.mark.parametrize("way", [way for way, (_, kind, _) in WAYS.items() if kind == "sqlite"])
async def test_on_sqlite_what_is_committed_runs_and_what_is_rolled_back_never_was(way, sqlite_url, request, tmp_path):
    await _commit_and_rollback(way, request, tmp_path)


@pytest.mark.parametrize("way", [way for way, (_, kind, _) in WAYS.items() if kind == "postgres"])
async def test_on_postgres_what_is_committed_runs_and_what_is_rolled_back_never_was(
    way, postgres_url, request, tmp_path
):
    await _commit_and_rollback(way, request, tmp_path)


async def _commit_and_rollback(way: str, request: pytest.FixtureRequest, folder: Path) -> None:
    async with _on(way, request, folder) as (fleet, run):
        await fleet.workers(1)

        async def verified(connection: Any, number: int) -> None:
            handle = await plain.options(key=f"k{number}").enqueue(number, on=connection)
            assert handle.created
            assert not (await plain.options(key=f"k{number}").enqueue(number, on=connection)).created
            await shops.join(f"s{number}", zone="Europe/Berlin", data={"n": number}, on=connection)

        await run(fleet.url, lambda connection: verified(connection, 1), commit=False)
        await run(fleet.url, lambda connection: verified(connection, 2), commit=True)
        await until(lambda: {"2", "s2"} <= {line.argument for line in fleet.lines("end")})
        await until(fleet.quiet)
        assert {line.argument for line in fleet.lines("start")} == {"2", "s2"}
        assert await shops.get("s1") is None
        assert (await visit.turn("s2")).run == 2
        assert (await plain.options(key="k1").enqueue(1)).created  # the key of what never was is free
        await run(fleet.url, lambda connection: shops.leave("s2", on=connection), commit=False)
        assert await shops.get("s2") is not None
        await run(fleet.url, lambda connection: shops.leave("s2", on=connection), commit=True)
        assert await shops.get("s2") is None


async def test_a_connection_to_another_file_is_refused_and_nothing_is_written(sqlite_url: str, tmp_path: Path) -> None:
    async with fleet_on(f"{sqlite_url}?driver=sqlite3", tmp_path) as fleet:
        other = sqlite3.connect(tmp_path / "other.db")
        with pytest.raises(BadInput, match=r"other\.db"):
            await plain.enqueue(1, on=other)
        other.close()
        assert await fleet.count("SELECT count(*) FROM rota.turn") == 0


async def test_a_connection_of_the_other_library_is_refused_before_it_touches_the_file(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with fleet_on(sqlite_url, tmp_path) as fleet:
        # Not opened on the store's own file: two copies of SQLite in one process would drop each other's locks.
        class Connection(sqlite3.Connection):
            def execute(self, text: str, *_: object) -> Any:
                assert text == "PRAGMA database_list"
                return super().execute("SELECT 0, 'main', ?", (_file(sqlite_url),))

        with pytest.raises(BadInput, match="driver=sqlite3"):
            await plain.enqueue(1, on=sqlite3.connect(":memory:", factory=Connection))
        assert await fleet.count("SELECT count(*) FROM rota.turn") == 0
