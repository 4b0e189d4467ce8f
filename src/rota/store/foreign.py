"""Operations on a connection that the caller brings: joined or enqueued with the caller's own data, or not at all.

Taken: `sqlite3.Connection`, `apsw.Connection`, asyncpg's connections, and SQLAlchemy's `Connection`, `Session`,
`AsyncConnection`, `AsyncSession` over sqlite3, aiosqlite or asyncpg. They are told by the names of their modules, so
nothing is imported that the application has not imported itself.

Always true: the caller's transaction decides, and is never committed or rolled back here; an operation that fails
leaves it as it was (a savepoint); where the connection has no transaction open and would commit each statement by
itself, the operation is one transaction of its own. A connection of another SQLite library than the store's on the
store's file is refused: two copies of the library in one process drop each other's locks.

Not here: what the operations do.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from rota.errors import BadInput
from rota.store.port import Op, Row, drive
from rota.store.sql import Call, Compiled
from rota.store.store import Store

T = TypeVar("T")

SAVEPOINT = "rota_on"

_KINDS = {
    ("sqlite3", "Connection"): "sqlite3",
    ("apsw", "Connection"): "apsw",
    ("asyncpg.connection", "Connection"): "asyncpg",
    ("asyncpg.pool", "PoolConnectionProxy"): "asyncpg",
    ("sqlalchemy.engine.base", "Connection"): "connection",
    ("sqlalchemy.orm.session", "Session"): "session",
    ("sqlalchemy.orm.scoping", "scoped_session"): "session",
    ("sqlalchemy.ext.asyncio.engine", "AsyncConnection"): "async connection",
    ("sqlalchemy.ext.asyncio.session", "AsyncSession"): "async session",
    ("sqlalchemy.ext.asyncio.scoping", "async_scoped_session"): "async session",
}
_LIBRARY = {"pysqlite": "sqlite3", "aiosqlite": "sqlite3"}  # SQLAlchemy's drivers, and the library behind each
_ONE_LIBRARY = (
    "One SQLite library for each process and file: this connection is {theirs}'s and the store uses {ours} on the same "
    "file, which can corrupt it: {advice}"
)


async def run_on(connection: object, make: Callable[[], Op[T]], store: Store) -> T:
    """Run an operation on the caller's connection, in the caller's transaction.

    `BadInput` for a connection that is none of those taken, or leads to another database than the store's.
    """
    kind = _kind(connection)
    caller = cast("Any", connection)
    if kind in {"sqlite3", "apsw"}:
        _check_file(store, kind, _main_file(caller.execute("PRAGMA database_list").fetchall()))
        return _on_sqlite(caller, make, store)
    if kind == "asyncpg":
        _check_dialect(store, "postgres")
        return await _on_asyncpg(caller, make, store)
    if kind == "session":
        caller = caller.connection()
    elif kind == "async session":
        caller = await caller.connection()
    if kind in {"async connection", "async session"}:
        return await cast("Awaitable[T]", caller.run_sync(_on_sqlalchemy, make, store))
    return _on_sqlalchemy(caller, make, store)


def _kind(connection: object) -> str:
    for one in type(connection).__mro__:
        found = _KINDS.get((one.__module__, one.__name__))
        if found is not None:
            return found
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise BadInput(
        f"on= takes a connection of sqlite3, apsw, asyncpg or SQLAlchemy (also its sessions), not {kind}: "
        "give the connection whose transaction it shall be"
    )


def _check_dialect(store: Store, dialect: str) -> None:
    if store.db.dialect != dialect:
        names = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
        raise BadInput(
            f"the connection given as on= is {names[dialect]}'s, the store is on {names[store.db.dialect]}: "
            "only a connection to the store's own database can share a transaction with it"
        )


def _main_file(databases: Sequence[Sequence[Any]]) -> str:
    return next((str(row[2] or "") for row in databases if row[1] == "main"), "")


def _check_file(store: Store, library: str, file: str) -> None:
    """Refuse another file than the store's, and another library on the same file."""
    _check_dialect(store, "sqlite")
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


def _on_sqlite(connection: Any, make: Callable[[], Op[T]], store: Store) -> T:
    """A connection of sqlite3 or apsw; both answer at once."""
    prepare = _preparer(store)

    def execute(call: Call) -> Sequence[Row]:
        ready = prepare(call)
        return [] if ready is None else cast("Sequence[Row]", connection.execute(*ready).fetchall())

    # sqlite3 begins a transaction for its user at the first change (isolation_level), and so it is begun here;
    # in autocommit mode nobody would ever end it, so it is ended here.
    ours = not connection.in_transaction
    waits = getattr(connection, "isolation_level", None) is not None
    waits = waits and getattr(connection, "autocommit", None) is not True  # Python 3.12's other way to say it
    if cast("Any", store.db).fragile:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    if ours:
        connection.execute("BEGIN IMMEDIATE")
    with _undone_on_failure(connection.execute, ours=ours):
        answer = drive(make(), execute)
    if ours and not waits:
        connection.execute("COMMIT")
    return answer


@contextmanager
def _undone_on_failure(execute: Callable[[str], Any], *, ours: bool) -> Iterator[None]:
    """Take back what a failed operation wrote, and nothing else."""
    if not ours:
        execute(f"SAVEPOINT {SAVEPOINT}")
    try:
        yield
    except BaseException:
        execute("ROLLBACK" if ours else f"ROLLBACK TO {SAVEPOINT}")
        if not ours:
            execute(f"RELEASE {SAVEPOINT}")
        raise
    if not ours:
        execute(f"RELEASE {SAVEPOINT}")


@asynccontextmanager
async def _inside(connection: Any) -> AsyncIterator[None]:
    """Inside the caller's transaction a savepoint, also where BEGIN was written by hand; outside one of its own."""
    if not connection.is_in_transaction():
        async with connection.transaction():
            yield
        return
    await connection.execute(f"SAVEPOINT {SAVEPOINT}")
    try:
        yield
    except BaseException:
        if not connection.is_closed():
            await connection.execute(f"ROLLBACK TO {SAVEPOINT}; RELEASE {SAVEPOINT}")
        raise
    await connection.execute(f"RELEASE {SAVEPOINT}")


async def _on_asyncpg(connection: Any, make: Callable[[], Op[T]], store: Store) -> T:
    prepare = _preparer(store)
    async with _inside(connection):
        op = make()
        try:
            call = next(op)
            while True:
                ready = prepare(call)
                call = op.send([] if ready is None else await connection.fetch(ready[0], *ready[1]))
        except StopIteration as stop:
            return cast("T", stop.value)
        finally:
            op.close()


def _on_sqlalchemy(connection: Any, make: Callable[[], Op[T]], store: Store) -> T:
    """SQLAlchemy, so that its own transaction begins with ours; asynchronous engines run this through `run_sync`."""
    driver = connection.dialect.driver
    if driver in _LIBRARY:
        databases = connection.exec_driver_sql("PRAGMA database_list").fetchall()
        _check_file(store, _LIBRARY[driver], _main_file(databases))
    elif driver == "asyncpg":
        _check_dialect(store, "postgres")
    else:
        raise BadInput(
            f"on= takes SQLAlchemy over pysqlite, aiosqlite or asyncpg, not over {driver}: "
            "make the engine with sqlite:// or postgresql+asyncpg://"
        )
    prepare = _preparer(store)

    def execute(call: Call) -> Sequence[Row]:
        ready = prepare(call)
        if ready is None:
            return []
        result = connection.exec_driver_sql(ready[0], tuple(ready[1]))
        return cast("Sequence[Row]", result.fetchall()) if result.returns_rows else []

    ours = driver in _LIBRARY and _begin_sqlite(connection, fragile=cast("Any", store.db).fragile)
    with connection.begin_nested():
        answer = drive(make(), execute)
    if ours:
        connection.exec_driver_sql("COMMIT")
    return answer


def _begin_sqlite(connection: Any, *, fragile: bool) -> bool:
    """Begin what SQLAlchemy believes begun (sqlite3 waits for the first change); whether nobody else will end it."""
    driver = connection.connection.driver_connection
    if fragile:
        connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 0")
    if driver.in_transaction:
        return False
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    return driver.isolation_level is None


def _preparer(store: Store) -> Callable[[Call], tuple[str, Sequence[Any]] | None]:
    """The text and bindings of a call, or None where its list is empty and nothing is to be done."""
    dictionary, sqlite = cast("Any", store.db).dictionary, store.db.dialect == "sqlite"

    def prepare(call: Call) -> tuple[str, Sequence[Any]] | None:
        compiled: Compiled = dictionary[call.name]
        now_ms = store.clock.now_ms() if "now" in compiled.values else None
        values = compiled.scalars(call.values, now_ms)
        if compiled.columns is None:
            return compiled.text, values
        if not call.rows:
            return None
        if sqlite:
            return compiled.text, (msgspec.json.encode(call.rows).decode(), *values)
        return compiled.text, (*map(list, zip(*call.rows, strict=True)), *values)

    return prepare
