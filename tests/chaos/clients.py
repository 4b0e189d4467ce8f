"""Clients of the system under test: they enqueue under keys, note every answer, and repeat what was left unknown.

Always true: every request has a key of its own and its answer is in the ledger before the next act; an unknown is
repeated under the same key until the store answers, and that answer says whether it had happened.

Not here: what the answers prove (judge).
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from rota.errors import RotaError, StoreUnavailable
from tests.chaos.app import ONE_OFFS
from tests.chaos.ledger import Ledger

ACKNOWLEDGED, REFUSED, UNKNOWN, FOUND, MADE = "acknowledged", "refused", "unknown", "found", "made"
MIX = {"work": 60, "pay": 20, "moody": 10, "grind": 10}
LEAST_MS, MOST_MS = 5, 500  # of a run: the load of reliability 5 (c)
LOOK_S = 0.05  # how often the load is topped up
AT_ONCE = 40  # requests of one top-up
AGAIN_S = 0.05  # between two repetitions of an unknown request
PATIENCE_S = 20.0  # for one answer: a call that takes longer is an unknown


def some_ms(dice: random.Random, least: int = LEAST_MS, most: int = MOST_MS) -> int:
    """How long a run takes: short ones are as frequent on a scale of powers as long ones."""
    return int(least * (most / least) ** dice.random())


class Clients:
    """Clients in this process, and the load they keep up."""

    def __init__(self, ledger: Ledger, dice: random.Random) -> None:
        self.ledger = ledger
        self._dice = dice
        self._number = 0
        self._load: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._repeating: set[asyncio.Task[None]] = set()
        self.most_ms = MOST_MS

    async def enqueue(self, job: str, number: int, ms: int) -> None:
        """One request; its answer is in the ledger, and an unknown is repeated beside the load."""
        key = f"{job}-{number}"
        outcome = await self._ask(job, key, number, ms, fresh=True)
        if outcome == UNKNOWN:
            task = asyncio.create_task(self._repeat(job, key, number, ms))
            self._repeating.add(task)
            task.add_done_callback(self._repeating.discard)

    async def _ask(self, job: str, key: str, number: int, ms: int, *, fresh: bool) -> str:
        run = "-"
        try:
            async with asyncio.timeout(PATIENCE_S):
                handle = await ONE_OFFS[job].options(key=key).enqueue(number, ms)
        except (StoreUnavailable, TimeoutError):
            if not fresh:
                return UNKNOWN
            outcome = UNKNOWN
        except RotaError:
            outcome = REFUSED
        else:
            run = handle.id
            outcome = ACKNOWLEDGED if fresh else MADE if handle.created else FOUND
        self.ledger.answer(outcome, key, run)
        return outcome

    async def _repeat(self, job: str, key: str, number: int, ms: int) -> None:
        known = False
        while not known:
            await asyncio.sleep(AGAIN_S)
            known = await self._ask(job, key, number, ms, fresh=False) != UNKNOWN

    async def some(self, count: int) -> None:
        """So many requests of the mix at once."""
        jobs = self._dice.choices(list(MIX), list(MIX.values()), k=count)
        first, self._number = self._number, self._number + count
        asked = [(job, first + at, some_ms(self._dice, most=self.most_ms)) for at, job in enumerate(jobs)]
        await asyncio.gather(*(self.enqueue(*one) for one in asked))

    def keep_up(self, missing: Callable[[], Awaitable[int]]) -> None:
        """Make so many requests as are missing, again and again until `stop`."""
        self._over.clear()
        self._load = asyncio.create_task(self._keep_up(missing))

    async def _keep_up(self, missing: Callable[[], Awaitable[int]]) -> None:
        while not self._over.is_set():
            count = await missing()
            if count > 0:
                await self.some(min(AT_ONCE, count))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._over.wait()

    async def stop(self) -> None:
        """No more load; what was asked is answered, and what is unknown is asked for until it is known."""
        if self._load is not None:
            self._over.set()
            await self._load
            self._load = None
        if self._repeating:
            await asyncio.wait(self._repeating)

    async def drop(self) -> None:
        """End everything at once."""
        tasks = [*self._repeating, *([self._load] if self._load is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
