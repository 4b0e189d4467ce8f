"""What goes around an operation in somebody else's transaction, as an operation itself.

Three places are known: inside an open transaction (a savepoint); in none, where the library begins one for its user who
will end it; in none, where each statement commits by itself (a transaction of our own).

Always true: what a failed operation wrote is taken back and nothing else; the error that is raised is the operation's,
also where the connection broke meanwhile.

Not here: the libraries (libraries.py).
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from rota.errors import BadInput
from rota.store.port import Op, Row
from rota.store.sql import Call

T = TypeVar("T")

FAILED: Final = (
    "the transaction of the connection given as on= has failed and waits for its rollback: roll it back, then try again"
)
_ELSEWHERE: Final = (
    "the connection given as on= leads to another PostgreSQL database than the store's: "
    "only a connection to the store's own database can share a transaction with it"
)
_IN_FAILED_TRANSACTION: Final = "25P02"
_NO_SUCH_TABLE: Final = {"42P01", "3F000"}  # undefined table, undefined schema


class Place(NamedTuple):
    """What is said before, after, and after a failure."""

    before: str | None
    after: str | None
    undo: tuple[str, ...]


INSIDE: Final = Place(
    "SAVEPOINT rota_on",
    "RELEASE SAVEPOINT rota_on",
    ("ROLLBACK TO SAVEPOINT rota_on", "RELEASE SAVEPOINT rota_on"),
)
BEGUN: Final = Place(None, None, ("ROLLBACK",))  # the library has begun it with our first statement, its user ends it
OWN: Final = Place("BEGIN", "COMMIT", ("ROLLBACK",))


def framed(make: Callable[[], Op[T]], place: Place) -> Op[T]:
    """The operation between its `before` and `after`."""
    if place.before is not None:
        yield _said(place.before)
    try:
        answer = yield from make()
        if place.after is not None:
            yield _said(place.after)
    except BaseException:
        with contextlib.suppress(Exception):  # a broken connection has lost its transaction: tell of the cause
            for text in place.undo:
                yield _said(text)
        raise
    return answer


def identified(make: Callable[[], Op[T]], name: str) -> Op[T]:
    """The operation, after a look whether this is the store's own database."""
    try:
        rows = yield Call("meta", {"name": "store"})
    except Exception as error:
        if _states(error) & _NO_SUCH_TABLE:
            raise BadInput(_ELSEWHERE) from error
        raise
    if not rows or rows[0][0] != name:
        raise BadInput(_ELSEWHERE)
    return (yield from make())


def _said(text: str) -> Call:
    return Call("sql", {"text": text})


def driven(op: Op[T], execute: Callable[[Call], Sequence[Row]]) -> T:
    """Run an operation on a connection that answers at once; what a statement raises, the operation hears."""
    try:
        call = next(op)
        while True:
            try:
                rows = execute(call)
            except BaseException as error:  # noqa: BLE001 -- raised again by the operation
                call = op.throw(error)
            else:
                call = op.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


async def driven_async(op: Op[T], execute: Callable[[Call], Awaitable[Sequence[Row]]]) -> T:
    """The same on a connection that is waited for; a cancellation is heard too."""
    try:
        call = next(op)
        while True:
            try:
                rows = await execute(call)
            except BaseException as error:  # noqa: BLE001 -- raised again by the operation
                call = op.throw(error)
            else:
                call = op.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


def is_failed(error: BaseException) -> bool:
    """Whether a statement was refused because its transaction had failed before."""
    return _IN_FAILED_TRANSACTION in _states(error) or type(error).__name__ == "PendingRollbackError"


def _states(error: BaseException) -> set[Any]:
    """PostgreSQL's codes of an error and of the one that SQLAlchemy has wrapped."""
    return {getattr(one, "sqlstate", None) for one in (error, getattr(error, "orig", None))}
