"""Which library a connection is of, and whether it leads to the store's own database.

Always true: libraries are told by the names of their modules, so nothing is imported that the application has not
imported itself; a connection of another SQLite library than the store's on the store's file is refused before it
touches the file: two copies of the library in one process drop each other's locks.

Not here: using the connection (libraries.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from rota.errors import BadInput
from rota.store.store import Store

KINDS: Final = {
    ("sqlite3", "Connection"): "sqlite3",
    ("apsw", "Connection"): "apsw",
    ("asyncpg.connection", "Connection"): "asyncpg",
    ("asyncpg.pool", "PoolConnectionProxy"): "asyncpg",
    ("psycopg", "Connection"): "psycopg",
    ("psycopg", "AsyncConnection"): "async psycopg",
    ("sqlalchemy.engine.base", "Connection"): "connection",
    ("sqlalchemy.orm.session", "Session"): "session",
    ("sqlalchemy.orm.scoping", "scoped_session"): "session",
    ("sqlalchemy.ext.asyncio.engine", "AsyncConnection"): "async connection",
    ("sqlalchemy.ext.asyncio.session", "AsyncSession"): "async session",
    ("sqlalchemy.ext.asyncio.scoping", "async_scoped_session"): "async session",
    ("django.utils.connection", "ConnectionProxy"): "django",
    ("django.db.backends.base.base", "BaseDatabaseWrapper"): "django",
}
_ONE_LIBRARY: Final = (
    "One SQLite library for each process and file: this connection is {theirs}'s and the store uses {ours} on the same "
    "file, which can corrupt it: {advice}"
)
_NAMES: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


def kind_of(connection: object) -> str:
    """The kind of connection, or `BadInput`."""
    for one in type(connection).__mro__:
        found = KINDS.get((one.__module__, one.__name__))
        if found is not None:
            return found
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise BadInput(
        "on= takes a connection of sqlite3, apsw, asyncpg, psycopg 3, SQLAlchemy (also its sessions) or Django, "
        f"not {kind}: give the connection whose transaction it shall be"
    )


def check_dialect(store: Store, dialect: str) -> None:
    """Refuse a connection of the other database."""
    if store.db.dialect != dialect:
        raise BadInput(
            f"the connection given as on= is {_NAMES[dialect]}'s, the store is on {_NAMES[store.db.dialect]}: "
            "only a connection to the store's own database can share a transaction with it"
        )


def main_file(databases: Sequence[Sequence[Any]]) -> str:
    """The file of a connection, from its `PRAGMA database_list`; empty for one in memory."""
    return next((str(row[2] or "") for row in databases if row[1] == "main"), "")


def check_file(store: Store, library: str, file: str) -> None:
    """Refuse another file than the store's, and another library on the same file."""
    check_dialect(store, "sqlite")
    db = cast("Any", store.db)
    if db.memory:
        raise BadInput("the store is in memory, where no other connection reaches it: leave out on=, or use a file")
    if not file or Path(file).resolve() != Path(db.path).resolve():
        raise BadInput(
            f"the connection given as on= has the file {file or ':memory:'} open, the store is {db.path}: "
            "only a connection to the store's own file can share a transaction with it"
        )
    if library != db.driver:
        advice = (
            "add ?driver=sqlite3 to the store's URL" if library == "sqlite3" else "give a connection of sqlite3 instead"
        )
        raise BadInput(_ONE_LIBRARY.format(theirs=library, ours=db.driver, advice=advice))
