"""How each library is spoken to: where its connection stands, and how a statement is put to it.

Always true: rows come back as sequences in the order of the statement, whatever rows or cursors the application has
chosen for its connection; a library's own idea of its transaction (SQLAlchemy's, Django's) stays right.

Not here: what is said around an operation (frames.py), which connections are taken (kinds.py).
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypeVar, cast

import msgspec

from rota.errors import BadInput
from rota.store.foreign.frames import BEGUN, FAILED, INSIDE, OWN, Place, driven, framed
from rota.store.foreign.kinds import check_dialect, check_file, kind_of, main_file
from rota.store.port import Op, Row
from rota.store.sql import Call, Compiled
from rota.store.store import Store

T = TypeVar("T")
Ready = tuple[str, Any] | None
Wording = Callable[[Call], Ready]

_SQLITE_UNDER: Final = {"pysqlite": "sqlite3", "aiosqlite": "sqlite3"}  # SQLAlchemy's drivers, and the library of each
_POSTGRES_UNDER: Final = {"asyncpg": "asyncpg", "psycopg": "psycopg", "psycopg_async": "psycopg"}
_ALONE: Final = Place("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_BEGUN_BY_US: Final = Place("BEGIN IMMEDIATE", None, ("ROLLBACK",))


def on_blocking(kind: str, caller: Any, make: Callable[[], Op[T]], store: Store) -> T:
    """Run an operation on a connection that answers at once, in the thread that may use it."""
    if kind == "session":
        kind, caller = "connection", caller.connection()
    if kind == "connection":
        return on_sqlalchemy(caller, make, store)
    if kind == "django":
        kind, caller = _under_django(caller)
    if kind == "psycopg":
        return _on_psycopg(caller, make, store)
    return _on_sqlite(kind, caller, make, store)


# -- SQLite ----------------------------------------------------------------------------------------


def _on_sqlite(library: str, connection: Any, make: Callable[[], Op[T]], store: Store) -> T:
    databases = _with_plain_rows(library, connection.execute("PRAGMA database_list")).fetchall()
    check_file(store, library, main_file(databases))
    prepare = wording(store, library)
    cursor = _with_plain_rows(library, connection.cursor())

    def execute(call: Call) -> Sequence[Row]:
        ready = prepare(call)
        return [] if ready is None else cast("Sequence[Row]", cursor.execute(*ready).fetchall())

    if cast("Any", store.db).fragile:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    return driven(framed(partial(_writing, make, store), _sqlite_place(connection)), execute)


def _writing(make: Callable[[], Op[T]], store: Store) -> Op[T]:
    """The operation, as the writer from its start: SQLite refuses who reads, is overtaken, and then writes.

    Only a transaction in which the caller has read already can still be refused; `BEGIN IMMEDIATE` is for those.
    """
    yield Call("sql", {"text": f"UPDATE {store.db.dictionary.table('meta')} SET value = value WHERE 0"})
    return (yield from make())


def _with_plain_rows(library: str, cursor: Any) -> Any:
    """A cursor whose rows have positions, whatever its connection was told to make of them."""
    if library == "sqlite3":
        cursor.row_factory = None
    else:
        cursor.row_trace = lambda _, row: row
    return cursor


def _sqlite_place(connection: Any) -> Place:
    """Where a connection of SQLite stands; sqlite3 begins a transaction for its user at the first change."""
    if connection.in_transaction:
        return INSIDE
    waits = getattr(connection, "isolation_level", None) is not None
    waits = waits and getattr(connection, "autocommit", None) is not True  # Python 3.12's other way to say it
    return _BEGUN_BY_US if waits else _ALONE


# -- PostgreSQL ------------------------------------------------------------------------------------


def asyncpg_place(connection: Any) -> Place:
    """Where a connection of asyncpg stands; BEGIN may have been written by hand."""
    return INSIDE if connection.is_in_transaction() else OWN


def psycopg_place(connection: Any) -> Place:
    """Where a connection of psycopg stands; without autocommit it begins a transaction with the first statement."""
    if connection.pgconn.pipeline_status:
        raise BadInput(
            "the connection given as on= is in pipeline mode, where no answer comes before the end: "
            "leave the pipeline first"
        )
    if connection.info.transaction_status.name != "IDLE":
        return INSIDE
    return OWN if connection.autocommit else BEGUN


def _on_psycopg(connection: Any, make: Callable[[], Op[T]], store: Store) -> T:
    check_dialect(store, "postgres")
    from psycopg import Cursor
    from psycopg.rows import tuple_row

    prepare = wording(store, "psycopg")
    # Not `connection.cursor()`: the application, or Django, may have chosen another class for its cursors.
    with Cursor(connection, row_factory=tuple_row) as cursor:

        def execute(call: Call) -> Sequence[Row]:
            ready = prepare(call)
            if ready is None:
                return []
            cursor.execute(*ready)
            return cursor.fetchall() if cursor.description else []

        return driven(framed(make, psycopg_place(connection)), execute)


# -- the layers above ------------------------------------------------------------------------------


def _under_django(connection: Any) -> tuple[str, Any]:
    """The driver's connection under Django's, which stays as it is: a savepoint is no concern of it."""
    connection.validate_thread_sharing()
    if connection.in_atomic_block and connection.needs_rollback:
        raise BadInput(FAILED)
    connection.ensure_connection()
    raw = connection.connection
    kind = kind_of(raw)
    if kind not in {"sqlite3", "psycopg"}:
        raise BadInput(f"on= takes Django over sqlite3 or psycopg 3, not over {kind}: choose another backend")
    return kind, raw


def on_sqlalchemy(connection: Any, make: Callable[[], Op[T]], store: Store) -> T:
    """SQLAlchemy, so that its own transaction begins with ours; asynchronous engines run this through `run_sync`."""
    driver = connection.dialect.driver
    if driver in _SQLITE_UNDER:
        databases = connection.exec_driver_sql("PRAGMA database_list").fetchall()
        check_file(store, _SQLITE_UNDER[driver], main_file(databases))
        place, make = _sqlite_place(connection.connection.driver_connection), partial(_writing, make, store)
        if cast("Any", store.db).fragile:
            connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 0")
    elif driver in _POSTGRES_UNDER:
        check_dialect(store, "postgres")
        place = _sqlalchemy_postgres_place(connection)
    else:
        raise BadInput(
            f"on= takes SQLAlchemy over pysqlite, aiosqlite, asyncpg or psycopg 3, not over {driver}: "
            "make the engine with sqlite://, postgresql+asyncpg:// or postgresql+psycopg://"
        )
    prepare = wording(store, _POSTGRES_UNDER.get(driver, driver))

    def execute(call: Call) -> Sequence[Row]:
        ready = prepare(call)
        if ready is None:
            return []
        result = connection.exec_driver_sql(*ready)
        return cast("Sequence[Row]", result.fetchall()) if result.returns_rows else []

    return driven(framed(make, place), execute)


def _sqlalchemy_postgres_place(connection: Any) -> Place:
    """A savepoint, with which SQLAlchemy begins its transaction; in autocommit a transaction of our own."""
    adapted = connection.connection.dbapi_connection
    return _place_below(connection.connection.driver_connection) if adapted.autocommit else INSIDE


def _place_below(driver: Any) -> Place:
    return asyncpg_place(driver) if kind_of(driver) == "asyncpg" else psycopg_place(driver)


# -- words -----------------------------------------------------------------------------------------


def wording(store: Store, library: str) -> Wording:
    """Calls as text and bindings of a library, or None where a list is empty and nothing is to be done."""
    return partial(_worded, store, library)


def _worded(store: Store, library: str, call: Call) -> Ready:
    if call.name == "sql":
        return call.values["text"], ()
    compiled: Compiled = cast("Any", store.db).dictionary[call.name]
    now_ms = store.clock.now_ms() if "now" in compiled.values else None
    values = compiled.scalars(call.values, now_ms)
    if compiled.columns is not None:
        if not call.rows:
            return None
        if store.db.dialect == "sqlite":
            values = (msgspec.json.encode(call.rows).decode(), *values)
        else:
            values = (*map(list, zip(*call.rows, strict=True)), *values)
    if "psycopg" not in library:
        return compiled.text, values
    return _psycopg_text(compiled.text), {f"p{at}": value for at, value in enumerate(values, 1)}


@lru_cache(maxsize=512)  # more than there are statements
def _psycopg_text(text: str) -> str:
    """The same statement with psycopg's marks, which it turns back into `$1` for the server."""
    return re.sub(r"\$(\d+)", r"%(p\1)s", text.replace("%", "%%"))
