"""An application's own connections, of every kind that `on=` takes, with one face.

Always true: a connection that blocks is used in the event loop's thread (as a coroutine would), or in a thread of its
own that calls rota through the blocking door, as a plain handler does; whatever was opened is closed.

Not here: what is tried with them (test_foreign_matrix, tests/e2e/test_transactions).
"""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from operator import methodcaller
from typing import Any

import apsw
import asyncpg
import django
import django.conf
import psycopg
from django.db import connections, transaction
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from rota.store.foreign.places import wait_here

Make = Callable[[], Awaitable[Any]]


def file_of(url: str) -> str:
    """The file in the address of a store."""
    return url.removeprefix("sqlite:///").partition("?")[0]


def sqlalchemy_url(url: str, driver: str) -> str:
    """The address of a store as SQLAlchemy writes it."""
    return url.partition("?")[0].replace("://", f"+{driver}://", 1)


class Caller(ABC):
    """A connection of the application's, its transaction, and the way from there to rota."""

    on: Any

    @abstractmethod
    async def open(self, url: str) -> None:
        """Connect."""

    async def begin(self) -> None:
        """Begin a transaction, where the first statement does not do so."""
        await self.do(bool)

    @abstractmethod
    async def execute(self, statement: str) -> list[tuple]:
        """Run a statement of the application's own."""

    async def commit(self) -> None:
        await self.do(methodcaller("commit"), self.on)  # asked for where it lives: Django's differ by thread

    async def rollback(self) -> None:
        await self.do(methodcaller("rollback"), self.on)

    async def call(self, make: Make) -> Any:
        """Call rota."""
        return await make()

    async def close(self) -> None:
        await self.do(methodcaller("close"), self.on)

    async def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Do something with the connection where it lives."""
        came = function(*arguments)
        return await came if isinstance(came, Awaitable) else came


class InThread(Caller):
    """A blocking connection in a thread of its own, which calls rota as `rota.wait` does."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    async def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def call(self, make: Make) -> Any:
        loop = asyncio.get_running_loop()
        return await self.do(lambda: wait_here(make(), loop))

    async def close(self) -> None:
        await super().close()
        self._thread.shutdown()


class Sqlite3(Caller):
    async def open(self, url: str) -> None:
        self.on = await self.do(sqlite3.connect, file_of(url))

    async def execute(self, statement: str) -> list[tuple]:
        return await self.do(lambda: self.on.execute(statement).fetchall())


class Sqlite3InThread(InThread, Sqlite3):
    pass


class Sqlite3WithDicts(Sqlite3):
    """With rows that have no positions, as applications like them."""

    async def open(self, url: str) -> None:
        await super().open(url)
        self.on.row_factory = lambda cursor, row: {
            one[0]: value for one, value in zip(cursor.description, row, strict=True)
        }

    async def execute(self, statement: str) -> list[tuple]:
        return [tuple(row.values()) for row in await super().execute(statement)]


class Apsw(Caller):
    async def open(self, url: str) -> None:
        self.on = apsw.Connection(file_of(url))
        self.on.set_busy_timeout(5_000)

    async def begin(self) -> None:
        self.on.execute("BEGIN IMMEDIATE")

    async def execute(self, statement: str) -> list[tuple]:
        return self.on.execute(statement).fetchall()

    async def commit(self) -> None:
        self.on.execute("COMMIT")

    async def rollback(self) -> None:
        self.on.execute("ROLLBACK")


class Asyncpg(Caller):
    async def open(self, url: str) -> None:
        self.on = await asyncpg.connect(url)

    async def begin(self) -> None:
        self._transaction = self.on.transaction()
        await self._transaction.start()

    async def execute(self, statement: str) -> list[tuple]:
        return [tuple(row) for row in await self.on.fetch(statement)]

    async def commit(self) -> None:
        await self._transaction.commit()

    async def rollback(self) -> None:
        await self._transaction.rollback()


class Psycopg(Caller):
    async def open(self, url: str) -> None:
        self.on = await self.do(psycopg.connect, url)

    async def execute(self, statement: str) -> list[tuple]:
        return await self.do(self._execute, statement)

    def _execute(self, statement: str) -> list[tuple]:
        cursor = self.on.execute(statement)
        return cursor.fetchall() if cursor.description else []


class PsycopgInThread(InThread, Psycopg):
    pass


class PsycopgBlock(PsycopgInThread):
    """Committing by itself, but for what stands in a `with connection.transaction()`."""

    async def open(self, url: str) -> None:
        await super().open(url)
        self.on.autocommit = True
        self.on.row_factory = psycopg.rows.dict_row
        self.on.cursor_factory = psycopg.ClientCursor

    def _execute(self, statement: str) -> list[tuple]:
        return [tuple(row.values()) for row in super()._execute(statement)]

    async def begin(self) -> None:
        self._block = self.on.transaction()
        await self.do(self._block.__enter__)

    async def commit(self) -> None:
        await self.do(self._block.__exit__, None, None, None)

    async def rollback(self) -> None:
        gone = psycopg.Rollback()
        await self.do(self._block.__exit__, type(gone), gone, None)


class PsycopgAsync(Caller):
    async def open(self, url: str) -> None:
        self.on = await psycopg.AsyncConnection.connect(url)

    async def execute(self, statement: str) -> list[tuple]:
        cursor = await self.on.execute(statement)
        return await cursor.fetchall() if cursor.description else []


class Sqlalchemy(Caller):
    def __init__(self, driver: str) -> None:
        super().__init__()
        self._driver = driver

    async def open(self, url: str) -> None:
        self._engine = create_engine(sqlalchemy_url(url, self._driver))
        self.on = await self.do(self._opened)

    def _opened(self) -> Any:
        return self._engine.connect()

    async def execute(self, statement: str) -> list[tuple]:
        return await self.do(self._execute, statement)

    def _execute(self, statement: str) -> list[tuple]:
        result = self.on.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []

    async def close(self) -> None:
        await super().close()
        self._engine.dispose()


class SqlalchemySession(Sqlalchemy):
    def _opened(self) -> Any:
        return Session(self._engine)


class SqlalchemyInThread(InThread, SqlalchemySession):
    def __init__(self, driver: str) -> None:
        InThread.__init__(self)
        self._driver = driver


class SqlalchemyAsync(Caller):
    def __init__(self, driver: str) -> None:
        self._driver = driver

    async def open(self, url: str) -> None:
        self._engine = create_async_engine(sqlalchemy_url(url, self._driver))
        self.on = self._engine.connect()
        await self.on.start()

    async def execute(self, statement: str) -> list[tuple]:
        result = await self.on.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []

    async def close(self) -> None:
        await super().close()
        await self._engine.dispose()


class SqlalchemyAsyncSession(SqlalchemyAsync):
    async def open(self, url: str) -> None:
        self._engine = create_async_engine(sqlalchemy_url(url, self._driver))
        self.on = AsyncSession(self._engine)


class Django(InThread):
    """Django's own connection, inside `atomic()`."""

    async def open(self, url: str) -> None:
        self.on = django_connections(url)
        await self.do(methodcaller("ensure_connection"), self.on)

    async def begin(self) -> None:
        self._atomic = transaction.atomic()
        await self.do(self._atomic.__enter__)

    async def execute(self, statement: str) -> list[tuple]:
        return await self.do(self._execute, statement)

    def _execute(self, statement: str) -> list[tuple]:
        with self.on.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    async def commit(self) -> None:
        await self.do(self._atomic.__exit__, None, None, None)

    async def rollback(self) -> None:
        await self.do(transaction.set_rollback, True)
        await self.commit()


def django_connections(url: str) -> Any:
    """`django.db.connection`, put on this database."""
    if not django.conf.settings.configured:
        django.conf.settings.configure()
        django.setup()
    from django.db import connection

    if url.startswith("sqlite"):
        database: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": file_of(url)}
    else:
        place = psycopg.conninfo.conninfo_to_dict(url)
        names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
        database = {"ENGINE": "django.db.backends.postgresql", **{names[key]: value for key, value in place.items()}}
    connections.settings = connections.configure_settings({"default": database})
    return connection


SQLITE: dict[str, Callable[[], Caller]] = {
    "sqlite3": Sqlite3,
    "sqlite3 in a thread": Sqlite3InThread,
    "sqlite3 with dicts": Sqlite3WithDicts,
    "apsw": Apsw,
    "sqlalchemy": lambda: Sqlalchemy("pysqlite"),
    "sqlalchemy session": lambda: SqlalchemySession("pysqlite"),
    "sqlalchemy session in a thread": lambda: SqlalchemyInThread("pysqlite"),
    "sqlalchemy aiosqlite": lambda: SqlalchemyAsync("aiosqlite"),
    "sqlalchemy aiosqlite session": lambda: SqlalchemyAsyncSession("aiosqlite"),
    "django": Django,
}
POSTGRES: dict[str, Callable[[], Caller]] = {
    "asyncpg": Asyncpg,
    "psycopg": Psycopg,
    "psycopg in a thread": PsycopgInThread,
    "psycopg transaction block": PsycopgBlock,
    "psycopg async": PsycopgAsync,
    "sqlalchemy psycopg": lambda: Sqlalchemy("psycopg"),
    "sqlalchemy psycopg session": lambda: SqlalchemySession("psycopg"),
    "sqlalchemy psycopg session in a thread": lambda: SqlalchemyInThread("psycopg"),
    "sqlalchemy psycopg async": lambda: SqlalchemyAsync("psycopg"),
    "sqlalchemy psycopg async session": lambda: SqlalchemyAsyncSession("psycopg"),
    "sqlalchemy asyncpg": lambda: SqlalchemyAsync("asyncpg"),
    "sqlalchemy asyncpg session": lambda: SqlalchemyAsyncSession("asyncpg"),
    "django": Django,
}


def store_address(url: str, name: str) -> str:
    """The store on this database, with the library of SQLite that this caller has."""
    return f"{url}?driver=sqlite3" if url.startswith("sqlite") and name != "apsw" else url


@asynccontextmanager
async def caller_on(url: str, name: str) -> AsyncIterator[Caller]:
    """A caller with a table of its own, `effect(name text)`, beside the store's."""
    caller = (SQLITE if url.startswith("sqlite") else POSTGRES)[name]()
    await caller.open(url)
    try:
        await caller.begin()
        await caller.execute("CREATE TABLE effect (name text)")
        await caller.commit()
        yield caller
    finally:
        await caller.close()
