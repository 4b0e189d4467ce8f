"""A door between one process and the database, where everything can go wrong that goes wrong on a network.

Always true: an operation that was refused has changed nothing, one whose answer was lost has been committed; both
look the same to the caller (`StoreUnavailable`); the watch sees each commit before anybody learns of it.

Not here: when faults happen (plan, blows), what a commit may look like (checks).
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from types import coroutine
from typing import Any

from rota.errors import StoreUnavailable
from tests.sim.checks import Watch
from tests.sim.loop import rest

FILE = "sim.db"  # what a handler's connection says it has open, as the store does


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


@coroutine
def give_way() -> Generator[None, None, None]:
    """Let whatever is ready go first."""
    yield


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
        self.shut = False  # nothing gets through
        self.half_open = False  # what is sent gets through, no answer does
        self.read_only = False  # the database takes no writes
        self.memory, self.path, self.driver, self.fragile = False, FILE, "apsw", False
        self.own_clock: Any = None  # the process's, and the store's: told apart only where a network lies between them
        self.store_clock: Any = None
        self.dialect = database.dialect
        self.name = database.name
        self.dictionary = database.dictionary
        street.doors.append(self)

    async def open(self) -> bool:
        return False

    async def read(self, make: Callable[[], Any]) -> Any:
        return await self._pass(make, changes=False)

    async def write(self, make: Callable[[], Any], *, gate: Any = None, single: bool = False) -> Any:
        return await self._pass(make, changes=True)

    async def _pass(self, make: Callable[[], Any], *, changes: bool) -> Any:
        await self._on_the_way(changes=changes)
        try:
            answer = self._database._run_inline(make)
        except BaseException:
            self._watch.rolled_back()
            raise
        self._watch.committed(self.who, changes=changes)
        await self._on_the_way_back()
        return answer

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Any]:
        """A connection for a handler; there is one database in memory, so nobody may wait while it is open."""
        await self._on_the_way(changes=True)
        connection = Connection(self._database._inline.raw)
        connection.execute("BEGIN IMMEDIATE")
        # On a file the caller's statements take their instants from the host's clock, which is the store's.
        skew_ms, self.own_clock.skew_ms = self.own_clock.skew_ms, self.store_clock.skew_ms
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            self._watch.rolled_back()
            raise
        finally:
            self.own_clock.skew_ms = skew_ms
        connection.execute("COMMIT")
        self._watch.committed(self.who, changes=True)
        await self._on_the_way_back()

    async def _on_the_way(self, *, changes: bool) -> None:
        weather = self.weather
        if self.shut or (changes and self.read_only) or self._rolls(weather.refused):
            self._watch.sometimes["store refused"] += 1
            await rest(0.001)
            raise StoreUnavailable("the store cannot be reached")
        if self._rolls(weather.late):
            await rest(self._dice.random() * weather.most_s)
        else:
            await give_way()

    async def _on_the_way_back(self) -> None:
        weather = self.weather
        if self._rolls(weather.slow):
            await rest(self._dice.random() * weather.most_s)
        if self.shut or self.half_open or self._rolls(weather.unknown):
            self._watch.sometimes["answer lost"] += 1
            self._watch.note("door", self.who, "the answer was lost")
            raise StoreUnavailable("the store cannot be reached: the answer was lost")

    def _rolls(self, chance: float) -> bool:
        return chance > 0 and self._dice.random() < chance

    async def keep_up(self, journal_ms: int) -> None:
        """SQLite needs nothing now and then."""

    def listen(self, heard: Callable[[], None]) -> None:
        self._heard.append((heard, contextvars.copy_context()))

    async def notify(self) -> None:
        self._street.ring(self)

    def ring(self) -> None:
        """Somebody else rang: tell who listens here, if the bell gets through."""
        if self.shut or self.half_open or self._rolls(self.weather.deaf):
            return
        loop = asyncio.get_running_loop()
        for heard, context in self._heard:
            loop.call_soon(heard, context=context)

    async def close(self) -> None:
        """The database is the world's, not this process's."""


class Connection:
    """The one connection, as an application would hold one of its own to the store's file."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def execute(self, statement: str, values: Any = None) -> Any:
        if statement == "PRAGMA database_list":
            return self
        return self._raw.execute(statement, values)

    def fetchall(self) -> list[tuple[int, str, str]]:
        """The list of databases."""
        return [(0, "main", FILE)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


Connection.__module__ = "apsw"  # the store tells connections by where their class comes from


class Street:
    """All doors to one database."""

    def __init__(self) -> None:
        self.doors: list[Door] = []

    def ring(self, whose: Door) -> None:
        """Pass a notification on to the other processes."""
        for door in self.doors:
            if door is not whose:
                door.ring()
