"""Enqueuing for many callers at once: each awaits its own commit, the commits are shared.

Always true: a caller is answered after the commit that holds its one-off; one bad item fails its own caller only.

Not here: the statement (store/turns.py), binding arguments (define/arguments.py).
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from rota.clock import give_way
from rota.errors import StoreUnavailable
from rota.store import turns
from rota.store.store import Store
from rota.turn.records import Fresh

SHARED: Final = 1000  # one-offs sharing one commit (G-25)

Waiting = tuple[Fresh, "asyncio.Future[tuple[int, bool]]"]


class Enqueuer:
    """Collects what callers of one loop enqueue while a commit is on its way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plain = store.db.dialect == "postgres"  # where a transaction costs two more round trips
        self._lanes: set[tuple[str, int]] = set()
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def one(self, item: Fresh) -> tuple[int, bool]:
        """Enqueue one; its turn, and whether it was made now."""
        future: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._flush())
        return await future

    async def many(self, items: Sequence[Fresh]) -> list[tuple[int, bool]]:
        """Enqueue many, in transactions of a thousand."""
        answers: list[tuple[int, bool]] = []
        for start in range(0, len(items), SHARED):
            answers += await self._write(items[start : start + SHARED])
        return answers

    async def _write(self, items: Sequence[Fresh]) -> list[tuple[int, bool]]:
        lanes = turns.lanes_of(items)
        make = partial(turns.enqueue, items, frozenset(self._lanes))
        if self._plain and lanes <= self._lanes and all(item.key is None for item in items):
            answers = await self._store.db.write(make, single=True)
            await self._store.wake()
        else:
            answers = await self._store.write(make, wakes=True)
        self._lanes |= lanes  # committed: they are in the store for ever
        return answers

    async def _flush(self) -> None:
        await give_way()  # whoever enqueues in this turn of the loop shares the commit
        while self._waiting:
            part, self._waiting = self._waiting[:SHARED], self._waiting[SHARED:]
            try:
                answers = await self._write([item for item, _ in part])
            except StoreUnavailable as error:
                _refuse(part, error)
            except Exception as error:  # noqa: BLE001 -- the one place: it belongs to one of these callers
                await self._one_by_one(part, error)
            else:
                _answer(part, answers)

    async def _one_by_one(self, part: Sequence[Waiting], error: Exception) -> None:
        if len(part) == 1:
            _refuse(part, error)
            return
        for waiting in part:
            try:
                answers = await self._write([waiting[0]])
            except Exception as own:  # noqa: BLE001 -- handed to its caller
                _refuse([waiting], own)
            else:
                _answer([waiting], answers)


def _answer(part: Sequence[Waiting], answers: Sequence[tuple[int, bool]]) -> None:
    for (_, future), answer in zip(part, answers, strict=True):
        if not future.done():
            future.set_result(answer)


def _refuse(part: Sequence[Waiting], error: Exception) -> None:
    for _, future in part:
        if not future.done():
            future.set_exception(error)
