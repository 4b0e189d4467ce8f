"""PostgreSQL as a `Database`: a small pool of connections, short transactions, no session state.

Claims begin their transaction together with the shared gate in one round trip; pauses and stops take the
gate alone and so wait for the claims before them. A connection on which anything was cancelled, timed out
or broke is closed and never used again.

Behind a transaction pooler nothing lasts longer than a transaction: no prepared statements, no LISTEN.

Always true: a lost answer is an unknown, reported as `StoreUnavailable` and never repeated here; only
deadlocks and serialization failures, which the server has undone, are run again, a bounded number of times.

Not here: what the statements mean, how an outage is waited out (engine/worker.py).
"""

import asyncio
import contextlib
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import asyncpg

from rota.clock import Clock
from rota.errors import StoreError, StoreUnavailable
from rota.store import chores, schema
from rota.store.port import Gate, Op, Row
from rota.store.sql import Call, Dialect, Dictionary

T = TypeVar("T")

OLDEST = 140_000  # PostgreSQL 14
POOL = 8  # connections for everything but the claiming loop: callers queue beyond it
CALL_S = 30.0  # one operation, in seconds: far above the slowest bulk join of 5,000 members
BESIDE_S = 5.0  # an operation of the lease's thread: a third of a plain lease, so that a dead line costs one beat
GATE_MS = 1_000  # between two statements behind the gate: a process frozen there must not keep a stop waiting (G-17)
AGAIN = 5  # deadlocks and serialization failures are rare; five in a row are a fault
NOTIFY_S = 0.1  # NOTIFY takes a lock on commit that is global to the server: at most ten a second
DAY_MS = 86_400_000
PARTITIONS_AHEAD = 7  # days of journal prepared in advance

_SETTINGS = {
    "application_name": "rota",
    "jit": "off",
    "enable_bitmapscan": "off",  # what is asked for lies in the order of an index; a bitmap would read and sort it all
    "enable_seqscan": "off",  # a plan made while the tables were small is kept: it must not read them whole later
    "statement_timeout": str(int(CALL_S * 1000)),
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "60000",
    "tcp_user_timeout": "15000",
    "tcp_keepalives_idle": "10",
}
# Behind a transaction pooler no session is ours for longer than a transaction: these are said anew in each.
_LASTING = ("application_name", "tcp_user_timeout", "tcp_keepalives_idle")
_LOCAL = "".join(f"; SET LOCAL {name} = {value}" for name, value in _SETTINGS.items() if name not in _LASTING)
_CUT = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # the server ends this session: the end of the line may not have come yet
    asyncpg.IdleInTransactionSessionTimeoutError,
)
_MAY_BE_OWN = (OSError, TimeoutError, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)
_UNDONE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


class Postgres:
    """A PostgreSQL database as a `Database`; rota's tables live in `schema_name`."""

    dialect: Final[Dialect] = "postgres"

    def __init__(self, url: str, *, clock: Clock, schema_name: str = "rota") -> None:
        self._url = url
        self.name = f"postgres {url.rsplit('@', 1)[-1]}"
        self._clock = clock
        self._schema = schema_name
        self.dictionary = Dictionary("postgres", schema_name, clock_held=clock.held)
        self._gate_key = zlib.crc32(f"rota gate {schema_name}".encode())
        self._channel = f"rota_{zlib.crc32(schema_name.encode()):08x}"
        self._pool = _Pool(self._connect)
        self._pooled: bool | None = None  # whether a transaction pooler stands in between; None: not seen yet
        self._heard: Callable[[], None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._notified_at = -NOTIFY_S
        self._notify_later: asyncio.Task[None] | None = None
        self._notifying: set[asyncio.Task[None]] = set()
        self._beside: _Beside | None = None

    async def _connect(self) -> "asyncpg.Connection[Any]":
        try:
            return await self._connected()
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            message = f"the store {self.name} refuses us ({error}): check user, password and database name"
            raise StoreError(message) from error
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            message = f"the database URL cannot be read ({error}): expected postgresql://user:password@host:port/name"
            raise StoreError(message) from error
        except _AWAY as error:
            message = f"the store {self.name} cannot be reached ({_said(error)}): is PostgreSQL running there?"
            raise StoreUnavailable(message) from error

    async def _connected(self) -> "asyncpg.Connection[Any]":
        """A connection with our settings; behind a pooler a bare one, without prepared statements."""
        if not self._pooled:
            connection = await self._direct()
            if connection is not None:
                return connection
            self._pooled = True
        return await asyncpg.connect(self._url, timeout=10, statement_cache_size=0)

    async def _direct(self) -> "asyncpg.Connection[Any] | None":
        """A connection with settings and statements of its own; None where another session answers than greeted us.

        A pooler may also refuse to be told settings. The question is a division that fails, as a statement without
        arguments leaves nothing behind in a session that may be somebody else's.
        """
        try:
            connection = await asyncpg.connect(self._url, timeout=10, server_settings=dict(_SETTINGS))
        except asyncpg.ProtocolViolationError:
            return None
        if self._pooled is None:
            try:
                greeted = connection.get_server_pid()
                await connection.execute(f"SELECT 1 / CAST(pg_backend_pid() = {greeted} AS integer)")
            except BaseException as error:
                connection.terminate()
                if isinstance(error, asyncpg.DivisionByZeroError):
                    return None
                raise
            self._pooled = False
        return connection

    async def open(self) -> bool:
        """Connect, check the server's version and the schema; True if the schema was made now."""
        async with self._pool.connection() as connection:
            if connection.get_server_version().major * 10_000 < OLDEST:
                found = connection.get_server_version().major
                message = f"the store {self.name} is PostgreSQL {found}, rota needs 14 or later"
                raise StoreError(message)
        version = await self.read(lambda: schema.current(self.dictionary))
        if version == 0:
            store_id = self._clock.token()
            await self.write(lambda: schema.migrate(self.dictionary, store_id))
        else:
            schema.check(version, self.name)
        try:
            await self.partition()
        except StoreUnavailable as error:  # a server that only reads can be looked at all the same
            if version == 0 or not isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError):
                raise
        return version == 0

    async def partition(self) -> None:
        """Make the journal's partitions for today and the days ahead; those that exist are left alone.

        A day whose rows already lie in the partition for the rest cannot get its own: they stay where they are, and
        the store opens all the same.
        """
        journal = self.dictionary.table("journal")
        for bounds, table in await self.write(self._days_to_make):
            text = f"CREATE TABLE IF NOT EXISTS {table} PARTITION OF {journal} FOR VALUES {bounds}"
            with contextlib.suppress(asyncpg.CheckViolationError):
                await self.write(partial(_locked, text))

    @contextlib.asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Any]:
        """A connection of the pool in a transaction; what a handler raises for reasons of its own passes as it is."""
        own = False
        try:
            async with self._pool.connection() as connection, connection.transaction():
                try:
                    yield connection
                except _MAY_BE_OWN:
                    own = not connection.is_closed()
                    raise
        except _AWAY as error:
            if own:
                raise
            message = f"the store {self.name} is away ({error or type(error).__name__}); the outcome is not known"
            raise StoreUnavailable(message) from error

    async def keep_up(self, journal_ms: int) -> None:
        """Make the journal's next days, drop those that are wholly older than it is kept."""
        await self.partition()
        for name in await self.read(lambda: chores.old_partitions(self.dictionary, self._schema, journal_ms)):
            with contextlib.suppress(StoreUnavailable):  # somebody reads it: it goes the next time
                await self.write(partial(chores.drop_partition, self.dictionary, name))

    def _days_to_make(self) -> Op[list[tuple[str, str]]]:
        """The bounds and names of the partitions that are missing; the one for the rest is made at once."""
        yield Call("schema_lock", {})
        rows = yield Call("now", {})
        today = rows[0][0] // DAY_MS
        journal = self.dictionary.table("journal")
        rest = self.dictionary.table("journal_rest")
        yield Call("sql", {"text": f"CREATE TABLE IF NOT EXISTS {rest} PARTITION OF {journal} DEFAULT"})
        present = {row[0] for row in (yield Call("partitions", {"schema": self._schema}))}
        missing = [day for day in range(today, today + PARTITIONS_AHEAD + 1) if f"journal_{day}" not in present]
        return [
            (f"FROM ({day * DAY_MS}) TO ({(day + 1) * DAY_MS})", self.dictionary.table(f"journal_{day}"))
            for day in missing
        ]

    async def read(self, make: Callable[[], Op[T]]) -> T:
        """Run an operation outside a transaction when it is one statement, else in a snapshot."""
        return await self._guarded(lambda connection: self._alone(connection, make))

    async def write(self, make: Callable[[], Op[T]], *, gate: Gate = None, single: bool = False) -> T:
        """Run an operation in one transaction, behind the gate that was asked for."""
        if single:
            return await self._guarded(lambda connection: self._alone(connection, make))
        return await self._guarded(lambda connection: self._transact(connection, make, gate))

    def _begin(self, gate: Gate) -> str:
        begin = f"BEGIN{_LOCAL}" if self._pooled else "BEGIN"
        if gate is None:
            return begin
        lock = "pg_advisory_xact_lock_shared" if gate == "shared" else "pg_advisory_xact_lock"
        begin += f"; SET LOCAL idle_in_transaction_session_timeout = {GATE_MS}"
        return f"{begin}; SELECT {lock}({self._gate_key})"

    async def _guarded(self, run: Callable[[Any], Awaitable[T]]) -> T:
        for attempt in range(AGAIN):
            try:
                async with self._pool.connection() as connection, asyncio.timeout(CALL_S):
                    return await run(connection)
            except _UNDONE:
                if attempt == AGAIN - 1:
                    raise
                await self._clock.sleep(0.01 * 2**attempt * (1 + self._clock.dice()))
            except _AWAY as error:
                message = f"the store {self.name} is away ({_said(error)}); what was asked may or may not have happened"
                raise StoreUnavailable(message) from error
        message = f"the store {self.name} could not finish an operation in {AGAIN} attempts"
        raise StoreUnavailable(message)

    async def _transact(self, connection: Any, make: Callable[[], Op[T]], gate: Gate = None) -> T:
        await connection.execute(self._begin(gate))
        try:
            answer = await self._drive(connection, make())
        except Exception:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return answer

    async def _alone(self, connection: Any, make: Callable[[], Op[T]]) -> T:
        """No transaction around it, unless a pooler could part the round trips of one statement."""
        if self._pooled:
            return await self._transact(connection, make)
        return await self._drive(connection, make())

    async def _drive(self, connection: Any, op: Op[T]) -> T:
        try:
            call = next(op)
            while True:
                call = op.send(await self._execute(connection, call))
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        finally:
            op.close()

    async def _execute(self, connection: Any, call: Call) -> Sequence[Row]:
        if call.name == "sql":
            await connection.execute(call.values["text"])
            return []
        compiled = self.dictionary[call.name]
        now = self._clock.now_ms() if "now" in compiled.values else None
        scalars = compiled.scalars(call.values, now)
        if compiled.columns is None:
            arguments = scalars
        elif not call.rows:
            return []
        else:
            arguments = (*zip(*call.rows, strict=True), *scalars)
        rows: Sequence[Row] = await connection.fetch(compiled.text, *arguments)
        return rows

    def write_from_thread(self, make: Callable[[], Op[T]], *, single: bool = False) -> T:
        """Run an operation on a connection and an event loop of the calling thread's own."""
        if self._beside is None:
            self._beside = _Beside(self._connect)
        run = self._alone if single else self._transact
        return self._beside.run(lambda connection: run(connection, make))

    def listen(self, heard: Callable[[], None]) -> None:
        """Keep a connection that listens; without one (a pooler in between) polling does the work."""
        self._heard = heard
        if self._listener is None and not self._clock.held and not self._pooled:
            self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(StoreError, *_AWAY, asyncpg.PostgresError):
                await self._listen_once()
            await self._clock.sleep(1 + self._clock.dice())

    async def _listen_once(self) -> None:
        gone = asyncio.Event()
        connection = await self._connect()
        try:
            connection.add_termination_listener(lambda _: gone.set())
            await connection.add_listener(self._channel, lambda *_: self._heard and self._heard())
            await gone.wait()
        finally:
            connection.terminate()

    async def notify(self) -> None:
        """One NOTIFY, after the commit that matters, at most every `NOTIFY_S`."""
        if self._clock.held or self._notify_later is not None:
            return
        self._notify_later = asyncio.get_running_loop().create_task(self._notify())
        self._notifying.add(self._notify_later)
        self._notify_later.add_done_callback(self._notifying.discard)

    async def _notify(self) -> None:
        wait = self._notified_at + NOTIFY_S - self._clock.monotonic()
        if wait > 0:
            await self._clock.sleep(wait)
        self._notified_at = self._clock.monotonic()
        self._notify_later = None
        with contextlib.suppress(StoreError, *_AWAY):
            async with self._pool.connection() as connection:
                await connection.execute(f"NOTIFY {self._channel}")

    async def close(self) -> None:
        """Close every connection."""
        tasks = [*self._notifying] if self._listener is None else [self._listener, *self._notifying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener = self._notify_later = None
        if self._beside is not None:
            await asyncio.to_thread(self._beside.close)
            self._beside = None
        await self._pool.close()


def _locked(text: str) -> Op[None]:
    """Run one statement of the schema while no other process does."""
    yield Call("schema_lock", {})
    yield Call("sql", {"text": text})


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


class _Pool:
    """Idle connections, newest first; at most `POOL` in use."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._idle: list[Any] = []
        self._closed = False
        self._places = asyncio.Semaphore(POOL)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection, given back only if nothing went wrong on it."""
        async with self._places:
            connection = self._last_idle() or await self._connect()
            try:
                yield connection
            except (asyncio.CancelledError, *_CUT):
                connection.terminate()  # its protocol state is unknown
                raise
            except BaseException:
                self._give_back(connection)
                raise
            self._give_back(connection)

    def _last_idle(self) -> Any | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _give_back(self, connection: Any) -> None:
        if self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Close what is idle; what is in use closes itself when it comes back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(*_AWAY):
                await connection.close(timeout=2)


class _Beside:
    """A connection with an event loop of its own, for a thread that must not depend on the handlers' loop."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._loop = asyncio.new_event_loop()
        self._connection: Any = None
        self._task: asyncio.Task[Any] | None = None
        self._over = threading.Event()

    def run(self, use: Callable[[Any], Awaitable[T]]) -> T:
        """Run one operation, connecting anew after any failure."""
        if self._over.is_set():
            raise StoreUnavailable("the store is closed")
        self._task = self._loop.create_task(self._run(use))
        try:
            answer: T = self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            raise StoreUnavailable("the store was closed meanwhile") from None
        finally:
            if self._over.is_set():
                self._end()
        return answer

    async def _run(self, use: Callable[[Any], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(BESIDE_S):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                return await use(self._connection)
        except _AWAY as error:
            self._drop()
            raise StoreUnavailable(str(error) or type(error).__name__) from error
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def close(self) -> None:
        """Close connection and loop; a call that is on its way is cut, and its thread closes them."""
        self._over.set()
        if not self._loop.is_running():
            self._end()
        elif self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _end(self) -> None:
        self._drop()
        self._loop.call_soon(self._loop.stop)  # behind the transport's own farewell
        self._loop.run_forever()
        self._loop.close()
