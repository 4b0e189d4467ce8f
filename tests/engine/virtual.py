"""A world for tests of workers: an application in memory on a loop in which waiting takes no time.

Always true: nothing sleeps; the loop's clock moves by what is waited for, so an hour passes at once; what the world
left open is closed, and an error that nobody took fails the test.

Not here: the loop itself (tests/sim/loop).
"""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from rota import Rota
from rota.engine.worker import Settings, Worker
from rota.store.port import query
from tests.engine.conftest import START, ms
from tests.sim.loop import SimClock, VirtualLoop


class World:
    """An application in memory, its workers, and what its handlers noted."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.clock = SimClock(loop, ms(START), Random(7), "test")
        self.rota = Rota("sqlite:///:memory:", clock=self.clock, cache="")
        self.seen: list[object] = []
        self.heard: list[str] = []
        self.rota.listen(lambda event: self.heard.append(event.name))
        self.workers: list[tuple[Worker, asyncio.Task[None]]] = []

    async def worker(self, **settings: Any) -> tuple[Worker, asyncio.Task[None]]:
        """A worker that has begun."""
        worker = await self.rota.worker(Settings(**settings))
        pair = worker, asyncio.create_task(worker.run())
        self.workers.append(pair)
        return pair

    async def journal(self, *fields: str) -> list:
        rows = await self.look(f"SELECT {', '.join(fields or ('outcome',))} FROM rota.journal ORDER BY id")
        return rows if len(fields) > 1 else [row[0] for row in rows]

    async def look(self, text: str, **values: object) -> list[tuple]:
        store = await self.rota.opened()
        store.db.dictionary._compiled["look"] = store.db.dictionary.compile("look", text)
        return [tuple(row) for row in await store.write(lambda: query("look", **values))]

    async def close(self) -> None:
        for worker, task in self.workers:
            if not task.done():
                worker.stop()
                worker.stop()
            await asyncio.gather(task, return_exceptions=True)
        await self.rota.close()


def virtual(scene: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on a loop of its own, where time passes only by being waited for."""

    def test() -> None:
        loop = VirtualLoop()

        async def whole() -> None:
            world = World(loop)
            try:
                await scene(world)
            finally:
                await world.close()

        try:
            loop.run_until_complete(whole())
        finally:
            loop.close()
        assert loop.errors == []

    test.__name__ = scene.__name__
    return test
