"""SQLite as a `Database`: one writer thread with group commit, one reader thread, WAL, full durability.

Writes are queued and taken by one thread; whatever has queued meanwhile shares a transaction (each
operation under a savepoint of its own), so one flush serves many callers. With a held clock there are no
threads at all: operations run in the caller, which makes the engine simulable.

Always true: an answer is given only after the commit; every transaction that may write begins IMMEDIATE;
the file is never on a network file system; no cursor is kept across an await.

Not here: what the statements mean, and the bell between processes (bell.py).
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import apsw
import msgspec

from rota.clock import Clock
from rota.errors import BadInput, StoreError, StoreUnavailable
from rota.store import schema
from rota.store.bell import Bell
from rota.store.checkpoint import Checkpoints
from rota.store.port import Gate, Op, Row, drive
from rota.store.sql import Call, Dialect, Dictionary

T = TypeVar("T")

OLDEST = (3, 51, 3)  # below it a race between checkpoints can corrupt a file that several processes write
OLDEST_SPOKEN = (3, 38, 0)  # the first with `->>`, the newest word in the SQL text
READ, WRITE = "BEGIN", "BEGIN IMMEDIATE"
LOG_BYTES = 33_554_432  # 32 MiB: a log that a long reader made grow is cut to this; eight times a usual one, a guess
BUSY_MS = 10_000  # ten seconds for another process's transaction: longer than any of ours, a guess
GROUP = 64  # operations sharing one commit: bounds the wait of the first
STATEMENTS = 256  # prepared statements that sqlite3 keeps: more than there are
RING_S = 0.02  # at most fifty rings a second: a pick-up within 20 ms under load, at once when idle
_NETWORK = ("nfs", "cifs", "smb", "afs", "9p", "fuse.sshfs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2")


class Connection:
    """One connection of either library and the statements it knows."""

    def __init__(self, path: str, dictionary: Dictionary, clock: Clock, synchronous: str, driver: str) -> None:
        self._dictionary = dictionary
        self._clock = clock
        self._checkpoints = None if path == ":memory:" or not fragile(driver) else Checkpoints(path)
        try:
            self.raw = _connected(path, driver)
            self.raw.execute(f"PRAGMA busy_timeout = {BUSY_MS}").fetchall()
            self.raw.execute("PRAGMA journal_mode = wal").fetchall()
            self.raw.execute(f"PRAGMA synchronous = {synchronous}")
            self.raw.execute("PRAGMA temp_store = memory")
            self.raw.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}").fetchall()
            if self._checkpoints is not None:
                self.raw.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        except (apsw.Error, sqlite3.Error) as error:
            raise _explained(error, path) from error

    def execute(self, call: Call) -> Sequence[Row]:
        """Run one statement."""
        if call.name == "sql":
            return cast("Sequence[Row]", self.raw.execute(call.values["text"]).fetchall())
        compiled = self._dictionary[call.name]
        now = self._clock.now_ms() if "now" in compiled.values else None
        bindings = compiled.scalars(call.values, now)
        if compiled.columns is not None:
            if not call.rows:
                return []
            bindings = (msgspec.json.encode(call.rows).decode(), *bindings)
        return cast("Sequence[Row]", self.raw.execute(compiled.text, bindings).fetchall())

    def transact(self, makes: Sequence[Callable[[], Op[Any]]], begin: str) -> list[Any]:
        """Run operations in one transaction; each answer is a value or the exception of that operation alone."""
        if self._checkpoints is None or begin == READ:
            return self._transacted(makes, begin)
        with self._checkpoints.writing():
            answers = self._transacted(makes, begin)
        self._checkpoints.take_if_long(self.raw.execute)
        return answers

    def close(self) -> None:
        """Give the file back."""
        self.raw.close()
        if self._checkpoints is not None:
            self._checkpoints.close()

    def _transacted(self, makes: Sequence[Callable[[], Op[Any]]], begin: str) -> list[Any]:
        self.raw.execute(begin)
        try:
            answers = [self._alone(makes[0])] if len(makes) == 1 else [self._apart(make) for make in makes]
            self.raw.execute("COMMIT")
        except BaseException:
            if self.raw.in_transaction:
                self.raw.execute("ROLLBACK")
            raise
        return answers

    def _alone(self, make: Callable[[], Op[Any]]) -> Any:
        return drive(make(), self.execute)

    def _apart(self, make: Callable[[], Op[Any]]) -> Any:
        self.raw.execute("SAVEPOINT op")
        try:
            answer = drive(make(), self.execute)
        except Exception as error:  # noqa: BLE001 -- handed to the caller of this operation, the others go on
            self.raw.execute("ROLLBACK TO op")
            answer = error
        self.raw.execute("RELEASE op")
        return answer


class _Request:
    """An operation on its way to a thread, and the future of its answer."""

    __slots__ = ("future", "loop", "make")

    def __init__(self, make: Callable[[], Op[Any]], loop: asyncio.AbstractEventLoop | None) -> None:
        self.make = make
        self.loop = loop
        self.future: Any = Future() if loop is None else loop.create_future()


class _Thread:
    """A thread with one connection that takes requests in groups."""

    def __init__(self, name: str, connect: Callable[[], Connection], begin: str) -> None:
        self._connect = connect
        self._begin = begin
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def put(self, request: _Request) -> None:
        self._requests.put(request)

    def close(self) -> None:
        self._requests.put(None)
        self._thread.join()

    def _serve(self) -> None:
        connection: Connection | None = None
        while (request := self._requests.get()) is not None:
            group = [request]
            over = False
            with contextlib.suppress(queue.Empty):
                while len(group) < GROUP and not over:
                    following = self._requests.get_nowait()
                    over = following is None
                    if following is not None:
                        group.append(following)
            try:
                connection = connection or self._connect()
                answers = connection.transact([one.make for one in group], self._begin)
            except Exception as error:  # noqa: BLE001 -- the one place: each caller gets it as its own
                answers = [_explained(error, "") for _ in group]
            _deliver(group, answers)
            if over:
                break
        if connection is not None:
            connection.close()


def _deliver(group: Sequence[_Request], answers: Sequence[Any]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Any, Any]]] = {}
    for request, answer in zip(group, answers, strict=True):
        if request.loop is None:
            _resolve([(request.future, answer)])
        else:
            loops.setdefault(request.loop, []).append((request.future, answer))
    for loop, pairs in loops.items():
        with contextlib.suppress(RuntimeError):  # a loop that is closed has nobody waiting
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[Any, Any]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue  # its caller was cancelled: the outcome is unknown to it, not undone
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


class Sqlite:
    """A SQLite file, or a database in memory, as a `Database`."""

    dialect: Final[Dialect] = "sqlite"

    def __init__(self, path: str, *, clock: Clock, synchronous: str = "full", driver: str = "apsw") -> None:
        """`path`: a file or ":memory:"; `synchronous`: "full" or "normal" (G-21, G-22); `driver`: apsw or sqlite3."""
        self.path = path
        self.driver = driver
        self.fragile = fragile(driver)
        self.name = f"sqlite {path}"
        self.place = str(Path(path).absolute())
        self.memory = path == ":memory:"
        self._clock = clock
        self._synchronous = synchronous
        self.dictionary = Dictionary("sqlite", "", clock_held=True)
        self._inline: Connection | None = None
        self._writer: _Thread | None = None
        self._borrowing = asyncio.Lock()
        self._reader: _Thread | None = None
        self._bell: Bell | None = None
        self._rang_at = 0.0
        self._ring_later: asyncio.TimerHandle | None = None

    async def open(self) -> bool:
        """Open the file (making its folder), check the library and the schema; True if it was empty."""
        _check_library(self.driver)
        if not self.memory:
            _refuse_network(Path(self.path))
            try:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                message = (
                    f"the folder of {self.path} cannot be made ({error.strerror}): choose another place for the store"
                )
                raise StoreError(message) from error
            self._bell = _bell(self.path, self._clock.token())
        if self._clock.held:
            self._inline = self._connect()
        else:
            self._writer = _Thread("rota-writer", self._connect, WRITE)
            self._reader = self._writer if self.memory else _Thread("rota-reader", self._connect, READ)
        version = await self.read(lambda: schema.current(self.dictionary))
        if version == 0:
            store_id = self._clock.token()
            await self.write(lambda: schema.migrate(self.dictionary, store_id))
        else:
            schema.check(version, self.path)
        return version == 0

    def _connect(self) -> Connection:
        return Connection(self.path, self.dictionary, self._clock, self._synchronous, self.driver)

    async def read(self, make: Callable[[], Op[T]]) -> T:
        """Run an operation on the reader's snapshot."""
        return await self._run(self._reader, make)

    async def write(self, make: Callable[[], Op[T]], *, gate: Gate = None, single: bool = False) -> T:  # noqa: ARG002 -- the writer is alone
        """Run an operation in the writer's next transaction."""
        return await self._run(self._writer, make)

    async def _run(self, thread: _Thread | None, make: Callable[[], Op[T]]) -> T:
        if self._inline is not None:
            return self._run_inline(make)
        if thread is None:
            message = f"the store {self.path} is not open"
            raise StoreError(message)
        request = _Request(make, asyncio.get_running_loop())
        thread.put(request)
        answer: T = await request.future
        return answer

    def _run_inline(self, make: Callable[[], Op[T]]) -> T:
        if self._inline is None:
            message = f"the store {self.path} is not open"
            raise StoreError(message)
        try:
            answer: T = self._inline.transact([make], WRITE)[0]
        except (apsw.Error, sqlite3.Error) as error:
            raise _explained(error, self.path) from error
        return answer

    def write_from_thread(self, make: Callable[[], Op[T]], *, single: bool = False) -> T:  # noqa: ARG002 -- one shape
        """Run an operation from a thread other than the loop's."""
        if self._inline is not None or self._writer is None:
            return self._run_inline(make)
        request = _Request(make, None)
        self._writer.put(request)
        answer: T = request.future.result(timeout=2 * BUSY_MS / 1000)
        return answer

    @contextlib.asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Any]:
        """A connection of its own in a transaction; no other writer gets in until the block ends."""
        if self.memory:
            raise BadInput("a store in memory has one connection only: use a file for run.transaction()")
        # One at a time: else those that wait for the writer fill the threads, and its commit waits behind them for one.
        async with self._borrowing:
            connection = _connected(self.path, self.driver)
            try:
                connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}").fetchall()
                await self._clock.in_thread(connection.execute, WRITE)
                yield connection
                await self._clock.in_thread(connection.execute, "COMMIT")
            except (apsw.Error, sqlite3.Error) as error:
                raise _explained(error, self.path) from error
            finally:
                connection.close()  # rolls back what was not committed

    async def keep_up(self, journal_ms: int) -> None:
        """Nothing: the journal is pruned by rows here."""

    def listen(self, heard: Callable[[], None]) -> None:
        """Hear other processes' bells."""
        if self._bell is not None and not self._clock.held:
            self._bell.listen(heard)

    async def notify(self) -> None:
        """Ring, now or as soon as the last ring is `RING_S` ago."""
        if self._bell is None or self._clock.held or self._ring_later is not None:
            return
        wait = self._rang_at + RING_S - self._clock.monotonic()
        if wait <= 0:
            self._ring()
        else:
            self._ring_later = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._ring_later = None
        self._rang_at = self._clock.monotonic()
        if self._bell is not None:
            self._bell.ring()

    async def backup(self, file: str) -> None:
        """Copy the whole database, as it stands at one instant, into a new file while it is in use."""
        await asyncio.to_thread(self._backup, file)

    def _backup(self, file: str) -> None:
        connection = self._connect()
        try:
            connection.raw.execute("VACUUM INTO ?", (file,))
        except (apsw.Error, sqlite3.Error) as error:
            raise _explained(error, self.path) from error
        finally:
            connection.close()

    async def close(self) -> None:
        """End the threads after what has queued, and close the file."""
        if self._ring_later is not None:
            self._ring_later.cancel()
            self._ring()
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        for thread in {self._reader, self._writer} - {None}:
            if thread is not None:
                await asyncio.to_thread(thread.close)
        self._reader = self._writer = None
        if self._inline is not None:
            self._inline.close()
            self._inline = None


def _refuse_network(path: Path) -> None:
    """SQLite's locks do not hold on network file systems (G-21)."""
    kind = _file_system(path)
    if kind.startswith(_NETWORK):
        message = (
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold: "
            "use a local disk, or PostgreSQL for several machines"
        )
        raise StoreError(message)


def _file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    inside = str(path.absolute())
    best, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        place = fields[1].replace("\\040", " ")
        if len(place) >= len(best) and (inside + "/").startswith(place.rstrip("/") + "/"):
            best, kind = place, fields[2]
    return kind


def _bell(path: str, token: str) -> Bell:
    return Bell(Path(path).resolve(), token)


def fragile(driver: str) -> bool:
    """Whether this library has the race between checkpoints, so that they are taken under a lock file."""
    return version(driver) < OLDEST


def version(driver: str) -> tuple[int, ...]:
    """The version of SQLite inside this library."""
    text = apsw.sqlite_lib_version() if driver == "apsw" else sqlite3.sqlite_version
    return tuple(int(part) for part in text.split("."))


def _check_library(driver: str) -> None:
    found = version(driver)
    if driver == "apsw" and found < OLDEST:
        message = f"SQLite {apsw.sqlite_lib_version()} is too old, rota needs 3.51.3: upgrade the package apsw"
        raise StoreError(message)
    if found < OLDEST_SPOKEN:
        message = (
            f"the SQLite {sqlite3.sqlite_version} of Python's own sqlite3 is too old, rota needs 3.38: "
            "use the default driver, or a newer Python"
        )
        raise StoreError(message)


def _connected(path: str, driver: str) -> Any:
    if driver == "apsw":
        return apsw.Connection(path)
    # No isolation level: transactions begin and end where `transact` says so, and nowhere else.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)


_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_UNUSABLE = {"SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_PERM"}
_BROKEN = {"SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CORRUPT"}


def _explained(error: Exception, path: str) -> Exception:
    """One of rota's errors for one of the driver's."""
    where = f"the store {path}" if path else "the store"
    # Extended codes add a word: SQLITE_BUSY_SNAPSHOT is a kind of SQLITE_BUSY.
    code = "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])
    if isinstance(error, apsw.BusyError | apsw.LockedError) or code in _BUSY:
        return StoreUnavailable(f"{where} has been locked by another process for {BUSY_MS // 1000} s: try again")
    unusable = isinstance(error, apsw.CantOpenError | apsw.NotADBError | apsw.ReadOnlyError | apsw.PermissionsError)
    if unusable or code in _UNUSABLE:
        advice = "check the path and its rights"
        return StoreError(f"{where} cannot be opened as a SQLite file for writing ({error}): {advice}")
    if isinstance(error, apsw.FullError | apsw.IOError | apsw.CorruptError) or code in _BROKEN:
        return StoreUnavailable(f"{where} cannot be written ({error}): check the disk")
    return error
