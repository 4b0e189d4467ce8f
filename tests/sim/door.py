"""A door between one process and the database, where everything can go wrong that goes wrong on a network.

Always true: an operation that was refused has changed nothing, one whose answer was lost has been committed; both
look the same to the caller (`StoreUnavailable`); the watch sees each commit before anybody learns of it.

Not here: when faults happen (plan, chaos), what a commit may look like (checks).
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from rota.errors import StoreUnavailable
from tests.sim.checks import Watch
from tests.sim.loop import rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How likely a call is to suffer what; 0 for a fault this world does not have."""

    late: float = 0.0  # the operation reaches the database after up to `most_s`
    slow: float = 0.0  # the answer comes after up to `most_s`
    refused: float = 0.0
    unknown: float = 0.0  # committed, but the answer is lost
    deaf: float = 0.0  # a notification is lost
    most_s: float = 3.0


CALM = Weather()


class Door:
    """A `Database` as one process reaches it."""

    def __init__(self, database: Any, watch: Watch, street: "Street", who: str, dice: Random) -> None:
        self._database = database
        self._watch = watch
        self._street = street
        self._dice = dice
        self._heard: list[tuple[Callable[[], None], contextvars.Context]] = []
        self.who = who
        self.weather = CALM
        self.shut = False
        self.dialect = database.dialect
        self.name = database.name
        self.dictionary = database.dictionary
        street.doors.append(self)

    async def open(self) -> bool:
        return False

    async def read(self, make: Callable[[], Any]) -> Any:
        return await self._pass(self._database.read(make), changes=False)

    async def write(self, make: Callable[[], Any], *, gate: Any = None) -> Any:
        return await self._pass(self._database.write(make, gate=gate), changes=True)

    async def _pass(self, call: Awaitable[Any], *, changes: bool) -> Any:
        try:
            await self._on_the_way()
        except BaseException:
            call.close()  # type: ignore[attr-defined]
            raise
        try:
            answer = await call  # nothing is awaited inside: with a held clock the database answers in the caller
        except BaseException:
            self._watch.rolled_back()
            raise
        self._watch.committed(self.who, changes=changes)
        await self._on_the_way_back()
        return answer

    async def _on_the_way(self) -> None:
        weather = self.weather
        if self.shut or self._rolls(weather.refused):
            self._watch.sometimes["store refused"] += 1
            await rest(0.001)
            raise StoreUnavailable("the store cannot be reached")
        if self._rolls(weather.late):
            await rest(self._dice.random() * weather.most_s)
        else:
            await rest(0)

    async def _on_the_way_back(self) -> None:
        weather = self.weather
        if self._rolls(weather.slow):
            await rest(self._dice.random() * weather.most_s)
        if self.shut or self._rolls(weather.unknown):
            self._watch.sometimes["answer lost"] += 1
            self._watch.note("door", self.who, "the answer was lost")
            raise StoreUnavailable("the store cannot be reached: the answer was lost")

    def _rolls(self, chance: float) -> bool:
        return chance > 0 and self._dice.random() < chance

    async def keep_up(self, journal_ms: int) -> None:
        await self._database.keep_up(journal_ms)

    def listen(self, heard: Callable[[], None]) -> None:
        self._heard.append((heard, contextvars.copy_context()))

    async def notify(self) -> None:
        self._street.ring(self)

    def ring(self) -> None:
        """Somebody else rang: tell who listens here, if the bell gets through."""
        if self.shut or self._rolls(self.weather.deaf):
            return
        loop = asyncio.get_running_loop()
        for heard, context in self._heard:
            loop.call_soon(heard, context=context)

    async def close(self) -> None:
        """The database is the world's, not this process's."""


class Street:
    """All doors to one database."""

    def __init__(self) -> None:
        self.doors: list[Door] = []

    def ring(self, whose: Door) -> None:
        """Pass a notification on to the other processes."""
        for door in self.doors:
            if door is not whose:
                door.ring()
