"""The seam between rota and a database: five methods, and operations written as generators.

An operation (`Op`) is a generator that yields a `Call`, is sent the rows it returned, and returns its
answer. It knows neither threads nor drivers, so the same text runs on SQLite in the writer thread, on
PostgreSQL over the network, and on a connection the caller brought along.

Always true: `write` runs an operation in one transaction, all or nothing, and answers only after the
commit; `read` never changes anything; an operation may be run again from its start after a deadlock or a
busy database, so it is handed over as a function that makes it.

Not here: which statements there are (queries/), what they mean (turns, members, operators, reads).
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from rota.store.sql import Call, Dialect, Dictionary

T = TypeVar("T")
Row: TypeAlias = Sequence[Any]
Op: TypeAlias = Generator[Call, Sequence[Row], T]
Gate: TypeAlias = Literal["shared", "exclusive"] | None


class Database(Protocol):
    """What a store needs from a database.

    `write(..., gate="shared")` is how claims are made, `gate="exclusive"` how pauses and stops are written:
    an exclusive writer waits for every shared one before it, so that once a stop has returned no
    claim that did not see it can still commit (G-17).
    """

    name: str

    @property
    def dialect(self) -> Dialect:
        """Which of the two it is."""

    @property
    def dictionary(self) -> Dictionary:
        """The statements in its words."""

    async def open(self) -> bool:
        """Connect, check version and settings, bring an empty database to the current schema; True if it was empty."""
        ...

    async def read(self, make: Callable[[], Op[T]]) -> T:
        """Run an operation that only reads."""
        ...

    async def write(self, make: Callable[[], Op[T]], *, gate: Gate = None, single: bool = False) -> T:
        """Run an operation in one transaction and answer after its commit.

        `single`: the operation is one statement, which needs no transaction around it.
        """
        ...

    def write_from_thread(self, make: Callable[[], Op[T]], *, single: bool = False) -> T:
        """The same from another thread, blocking; it does not need the event loop of the handlers.

        `single`: the operation is one statement, which needs no transaction around it.
        """
        ...

    def borrowed(self) -> AbstractAsyncContextManager[Any]:
        """A connection of the driver's, for a handler, in a transaction that commits when the block ends well."""
        ...

    async def keep_up(self, journal_ms: int) -> None:
        """What this database needs now and then: PostgreSQL makes the journal's next days and drops its old ones."""
        ...

    def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` in the event loop when another process notifies; a hint that may be lost."""
        ...

    async def notify(self) -> None:
        """Tell other processes that something may be due; a hint that may be lost."""
        ...

    async def close(self) -> None:
        """Give everything back; safe to call twice."""
        ...


def drive(op: Op[T], execute: Callable[[Call], Sequence[Row]]) -> T:
    """Run an operation to its end on a connection that answers at once."""
    try:
        call = next(op)
        while True:
            call = op.send(execute(call))
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    finally:
        op.close()


def query(name: str, rows: Sequence[Sequence[Any]] | None = None, /, **values: Any) -> Op[Sequence[Row]]:
    """Make an operation of one statement: `rows = yield from ...` with its name, its list and its values."""
    return (yield Call(name, values, rows))
