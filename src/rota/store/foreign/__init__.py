"""Operations on a connection that the caller brings: joined, enqueued or completed with the caller's own data, or not.

Taken: `sqlite3`, `apsw`, asyncpg and psycopg 3 (`Connection`, `AsyncConnection`); SQLAlchemy's `Connection`, `Session`,
`AsyncConnection`, `AsyncSession` and their scoped forms over pysqlite, aiosqlite, asyncpg or psycopg; Django's
`connection` over SQLite or psycopg 3, from plain functions.

Always true: the caller's transaction decides, and is never committed or rolled back here; an operation that fails
leaves it as it was (frames.py); a connection that leads elsewhere than to the store's own database is refused and
nothing is written (kinds.py); a blocking connection is used in the thread that waits for it, or where the event loop
does not wait for it (places.py).

Not here: what the operations do.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from rota.errors import BadInput
from rota.store.foreign.frames import FAILED, Place, driven_async, framed, identified, is_failed
from rota.store.foreign.kinds import check_dialect, kind_of
from rota.store.foreign.libraries import asyncpg_place, on_blocking, on_sqlalchemy, psycopg_place, wording
from rota.store.foreign.places import beside, thread_that_waits
from rota.store.port import Op, Row, query
from rota.store.sql import Call
from rota.store.store import Store

__all__ = ["run_on"]

T = TypeVar("T")

_BELONGS_TO_A_THREAD: Final = (
    "a Django connection belongs to the thread that opened it, and this call runs in an event loop: "
    "call it from a plain function, as rota.wait(job.enqueue(…, on=connection))"
)
_names: WeakKeyDictionary[Store, str] = WeakKeyDictionary()  # what each store calls itself, once it was asked


async def run_on(connection: object, make: Callable[[], Op[T]], store: Store) -> T:
    """Run an operation on the caller's connection, in the caller's transaction.

    `BadInput` for a connection that is none of those taken, leads to another database than the store's, or has a
    failed transaction that waits for its rollback.
    """
    kind = kind_of(connection)
    if store.db.dialect == "postgres":
        make = partial(identified, make, await _name(store))
    try:
        return await _run(kind, cast("Any", connection), make, store)
    except Exception as error:
        if is_failed(error):
            raise BadInput(FAILED) from error
        raise


async def _run(kind: str, caller: Any, make: Callable[[], Op[T]], store: Store) -> T:
    if kind in {"asyncpg", "async psycopg"}:
        check_dialect(store, "postgres")
        return await _on_async_driver(kind, caller, make, store)
    if kind == "async session":
        kind, caller = "async connection", await caller.connection()
    if kind == "async connection":
        return cast("T", await caller.run_sync(on_sqlalchemy, make, store))
    home = thread_that_waits()
    if home is not None:
        return await home.run(partial(on_blocking, kind, caller, make, store))
    if kind == "django":
        raise BadInput(_BELONGS_TO_A_THREAD)
    if kind == "session":
        kind, caller = "connection", caller.connection()
    call = partial(on_blocking, kind, caller, make, store)
    if kind == "psycopg" or (kind == "connection" and caller.dialect.name == "postgresql"):
        return await beside(call)  # it may wait for a row that rota itself holds, which only this loop can let go
    return call()


async def _on_async_driver(kind: str, connection: Any, make: Callable[[], Op[T]], store: Store) -> T:
    place: Place = asyncpg_place(connection) if kind == "asyncpg" else psycopg_place(connection)
    prepare = wording(store, kind)
    if kind == "asyncpg":

        async def execute(call: Call) -> list[Row]:
            ready = prepare(call)
            return [] if ready is None else cast("list[Row]", await connection.fetch(ready[0], *ready[1]))

        return await driven_async(framed(make, place), execute)
    from psycopg import AsyncCursor
    from psycopg.rows import tuple_row

    async with AsyncCursor(connection, row_factory=tuple_row) as cursor:

        async def execute_there(call: Call) -> list[Row]:
            ready = prepare(call)
            if ready is None:
                return []
            await cursor.execute(*ready)
            return cast("list[Row]", await cursor.fetchall()) if cursor.description else []

        return await driven_async(framed(make, place), execute_there)


async def _name(store: Store) -> str:
    """The random name that the store was given when its schema was made."""
    found = _names.get(store)
    if found is None:
        rows = await store.read(lambda: query("meta", name="store"))
        found = _names[store] = rows[0][0]
    return found
