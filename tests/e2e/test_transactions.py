"""Enqueuing, joining and completing inside the caller's own transaction, seen by a worker in another process.

What is committed runs, what is rolled back never was, on the libraries whose connections are taken; and a worker that
is killed between the two leaves data and success, or neither (G-6).
"""

import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rota.errors import BadInput
from tests.e2e import till
from tests.e2e.conftest import fleet_on
from tests.e2e.fleet import Fleet, until
from tests.e2e.shop import plain, shops, visit
from tests.store.callers import POSTGRES, SQLITE, file_of, store_address

ON_SQLITE = ["sqlite3 in a thread", "apsw", "sqlalchemy session", "django"]
ON_POSTGRES = [
    *["asyncpg", "psycopg in a thread", "psycopg async", "sqlalchemy psycopg session"],
    *["sqlalchemy psycopg async", "sqlalchemy asyncpg", "django"],
]


@pytest.mark.parametrize("name", ON_SQLITE)
async def test_on_sqlite_what_is_committed_runs_and_what_is_rolled_back_never_was(name, sqlite_url, tmp_path):
    await _commit_and_rollback(sqlite_url, name, tmp_path)


@pytest.mark.parametrize("name", ON_POSTGRES)
async def test_on_postgres_what_is_committed_runs_and_what_is_rolled_back_never_was(name, postgres_url, tmp_path):
    await _commit_and_rollback(postgres_url, name, tmp_path)


async def _commit_and_rollback(url: str, name: str, folder: Path) -> None:
    async def run(act: Callable[[Any], Awaitable[None]], *, commit: bool) -> None:
        caller = (SQLITE if url.startswith("sqlite") else POSTGRES)[name]()
        await caller.open(url)
        try:
            await caller.begin()
            await caller.call(lambda: act(caller.on))
            await (caller.commit() if commit else caller.rollback())
        finally:
            await caller.close()

    async def verified(connection: Any, number: int) -> None:
        handle = await plain.options(key=f"k{number}").enqueue(number, on=connection)
        assert handle.created
        assert not (await plain.options(key=f"k{number}").enqueue(number, on=connection)).created
        await shops.join(f"s{number}", zone="Europe/Berlin", data={"n": number}, on=connection)

    async with fleet_on(store_address(url, name), folder) as fleet:
        await fleet.workers(1)
        await run(lambda connection: verified(connection, 1), commit=False)
        await run(lambda connection: verified(connection, 2), commit=True)
        await until(lambda: {"2", "s2"} <= {line.argument for line in fleet.lines("end")})
        await until(fleet.quiet)
        assert {line.argument for line in fleet.lines("start")} == {"2", "s2"}
        assert await shops.get("s1") is None
        assert (await visit.turn("s2")).run == 2
        assert (await plain.options(key="k1").enqueue(1)).created  # the key of what never was is free
        await run(lambda connection: shops.leave("s2", on=connection), commit=False)
        assert await shops.get("s2") is not None
        await run(lambda connection: shops.leave("s2", on=connection), commit=True)
        assert await shops.get("s2") is None


@asynccontextmanager
async def till_on(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setenv("TILL_URL", url.partition("?")[0])
    with till.rota.put_on(url, till.rota.clock):
        fleet = Fleet(url, till.rota, folder)
        try:
            await fleet.look(
                "CREATE TABLE sale (run text)" if url.startswith("sqlite") else "CREATE TABLE public.sale (run text)"
            )
            yield fleet
        finally:
            fleet.end_all()
            await till.rota.close()


@pytest.mark.parametrize("way", ["apsw", "the short form", "django"])
async def test_on_sqlite_a_worker_killed_before_the_commit_leaves_nothing_and_after_it_both(
    way, sqlite_url, tmp_path, monkeypatch
):
    await _killed_around_the_commit(sqlite_url, way, tmp_path, monkeypatch)


@pytest.mark.parametrize("way", ["asyncpg", "psycopg", "the short form", "django"])
async def test_on_postgres_a_worker_killed_before_the_commit_leaves_nothing_and_after_it_both(
    way, postgres_url, tmp_path, monkeypatch
):
    await _killed_around_the_commit(postgres_url, way, tmp_path, monkeypatch)


async def _killed_around_the_commit(url: str, way: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    option = "?driver=sqlite3" if way == "django" and url.startswith("sqlite") else ""
    job = till.sell_plainly if way == "django" else till.sell
    async with till_on(url + option, folder, monkeypatch) as fleet:
        (worker,) = await fleet.workers(1, app="tests.e2e.till:rota")
        after = await job.enqueue(till.AFTER, way)
        await until(lambda: fleet.lines("committed"))
        before = await job.enqueue(till.BEFORE, way)
        await until(lambda: [line for line in fleet.lines("written") if line.argument == str(till.BEFORE)])
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert await fleet.look("SELECT run FROM sale") == [(after.id,)]
        assert (await after.state(), await before.state()) == ("succeeded", "running")

        await fleet.workers(1, app="tests.e2e.till:rota")
        await until(fleet.quiet)
        assert sorted(await fleet.look("SELECT run FROM sale")) == sorted([(after.id,), (before.id,)])
        ends = await fleet.look("SELECT turn, attempt, outcome FROM rota.journal ORDER BY id")
        first, second = (int(handle.id.partition("-")[0]) for handle in (after, before))
        assert ends == [(first, 1, "succeeded"), (second, 1, "lost"), (second, 2, "succeeded")]
        assert [line.attempt for line in fleet.lines("start")] == [1, 1, 2]


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
                return super().execute("SELECT 0, 'main', ?", (file_of(sqlite_url),))

        with pytest.raises(BadInput, match="driver=sqlite3"):
            await plain.enqueue(1, on=sqlite3.connect(":memory:", factory=Connection))
        assert await fleet.count("SELECT count(*) FROM rota.turn") == 0
