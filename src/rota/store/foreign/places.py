"""Where a blocking connection is used: in the thread that waits for the answer, or in one of its own.

`rota.wait(...)` hands an awaitable to an event loop and stands still until it has ended. Meanwhile its thread serves:
what the awaitable wants done on a connection of that thread is done there. So connections that belong to their thread
(Django's, sqlite3's) keep to it, and the loop goes on while they wait for a lock.

Always true: a call that has begun is over before whoever asked goes on, also when that one was cancelled; so a
connection is never used by two at once.

Not here: what is called.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_Errand = tuple[Callable[[], Any], "Future[Any]"]


def wait_here(awaitable: Awaitable[T], loop: asyncio.AbstractEventLoop) -> T:
    """Run an awaitable to its end on the loop of another thread, serving it from this thread meanwhile."""
    home = Home()
    future = asyncio.run_coroutine_threadsafe(_lived(home, awaitable), loop)
    future.add_done_callback(home.leave)
    home.serve()
    return future.result()


async def _lived(home: "Home", awaitable: Awaitable[T]) -> T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 -- a coroutine runs in a task
    _homes[task] = home
    return await awaitable


def thread_that_waits() -> "Home | None":
    """The thread that waits for this very task; None for tasks that it has started, and where nobody waits."""
    task = asyncio.current_task()
    return None if task is None else _homes.get(task)


class Home:
    """A thread that waits, and does what the awaited one asks for."""

    def __init__(self) -> None:
        self._errands: SimpleQueue[_Errand | None] = SimpleQueue()

    async def run(self, call: Callable[[], T]) -> T:
        """Have something done in the thread that waits."""
        answer: Future[T] = Future()
        self._errands.put((call, answer))
        return await _answered(answer)

    def serve(self) -> None:
        """Do what is asked for until `leave`."""
        while (errand := self._errands.get()) is not None:
            _do(*errand)

    def leave(self, _: object = None) -> None:
        """Nobody will ask any more."""
        self._errands.put(None)


_homes: WeakKeyDictionary[asyncio.Task[Any], Home] = WeakKeyDictionary()


async def beside(call: Callable[[], T]) -> T:
    """Have something done in a thread of its own: in a pool those who wait for a lock could keep out who holds it."""
    answer: Future[T] = Future()
    threading.Thread(target=_do, args=(call, answer), name="rota-foreign", daemon=True).start()
    return await _answered(answer)


def _do(call: Callable[[], T], answer: "Future[T]") -> None:
    try:
        answer.set_result(call())
    except Exception as error:  # noqa: BLE001 -- it is the asker's
        answer.set_exception(error)
    except BaseException:
        answer.set_exception(RuntimeError("the thread that held the connection was interrupted"))
        raise


async def _answered(answer: "Future[T]") -> T:
    """The answer; who is cancelled meanwhile still waits until the connection is free."""
    waiting = asyncio.wrap_future(answer)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        await asyncio.wait([waiting])
        with contextlib.suppress(Exception):
            waiting.result()
        raise
