"""The application whose handlers harm the process they run in, or are many: for the scenarios about neighbours.

Always true: a handler writes its start before anything else, and its end last, if it has one; what kills does so at
once; outside a scenario nothing here is called.

Not here: the handlers of the general load (app).
"""

import asyncio
import ctypes
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import ClassVar

from rota import CatchUp, Member, Retry, Retryable, Rota, Run, every
from rota.clock import Clock
from tests.chaos import app  # to be imported binds a worker's process to the harness, so that none outlives it
from tests.chaos.ledger import note

TARGET = "tests.chaos.harms:rota"
HOUSES = "CHAOS_SPREAD"  # the environment variable with the spread of the catch-up
TIMEOUT = "2s"  # of the handlers that do not end
MEAL = 16 * 1024 * 1024  # bytes of one bite: a limit of some hundred MB is reached within a blink
DEEP = 10**9  # calls: the machine's stack ends long before

rota = Rota(name="harms")


@asynccontextmanager
async def on(url: str, *, clock: Clock | None = None, cache: str = "") -> AsyncIterator[Rota]:
    """This application on a fleet's store, for the length of a block; its cache is a Redis where one is given."""
    with rota.put_on(url, clock or rota.clock):
        rota._cache_url = cache
        await rota.opened()
        try:
            yield rota
        finally:
            await rota.close()


houses = rota.roster("houses")
pots = rota.roster("pots")


# -- handlers that kill their process -----------------------------------------------------------------


@rota.job(timeout="1m")
async def leave(run: Run) -> None:
    """Be gone without a word."""
    note("start", run)
    os._exit(9)


@rota.job(timeout="1m")
async def fault(run: Run) -> None:
    """Read what is nobody's."""
    note("start", run)
    ctypes.string_at(0)


@rota.job(timeout="1m")
async def overflow(run: Run) -> None:
    """Call ever deeper through C, where no interpreter counts."""
    note("start", run)
    sys.setrecursionlimit(DEEP)
    _deeper(0)


def _deeper(depth: int) -> None:
    list(map(_deeper, (depth + 1,)))


@rota.job(timeout="1m")
async def eat(run: Run) -> None:
    """Take memory until none is left."""
    note("start", run)
    meals = [bytearray(b"x") * MEAL for _ in _for_ever()]
    note("end", run, len(meals))


def _for_ever() -> Iterator[int]:
    return count()


@rota.job(timeout="2m", retry=app.AGAIN)
async def neighbour(number: int, ms: int, run: Run) -> None:
    """Work beside the others."""
    note("start", run, number)
    await asyncio.sleep(ms / 1000)
    note("end", run, number)


@rota.job(timeout="5m")
async def steady(number: int, ms: int, run: Run) -> None:
    """Work, and say when it is told to stop."""
    note("start", run, number)
    try:
        await asyncio.sleep(ms / 1000)
    except asyncio.CancelledError:
        note("cancelled", run, number)
        raise
    note("end", run, number)


# -- handlers that do not let go ----------------------------------------------------------------------


@rota.job(timeout="1m")
async def block(ms: int, run: Run) -> None:
    """Hold up the event loop."""
    note("start", run, ms)
    time.sleep(ms / 1000)  # noqa: ASYNC251 -- this is the fault
    note("end", run, ms)


@rota.job(timeout=TIMEOUT, retry=Retry(tries=1))
async def swallow(run: Run) -> None:
    """Wait for ever, and take no cancellation for an answer."""
    note("start", run)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            note("cancelled", run)


@rota.job(timeout=TIMEOUT, retry=Retry(tries=1))
def never(run: Run) -> None:
    """Wait for ever in a thread."""
    note("start", run)
    threading.Event().wait()


# -- a handler that asks the cache --------------------------------------------------------------------


def answer(number: int) -> bytes:
    """What must be in the cache under `answer_key(number)`, if anything is."""
    return f"{number} squared is {number * number}".encode()


def answer_key(number: int) -> str:
    """The key of an answer."""
    return f"answer:{number}"


async def asked(number: int) -> bytes:
    """An answer, from the cache where it has it."""
    found = await rota.cache.get(answer_key(number))
    if found is None:
        found = answer(number)
        await rota.cache.set(answer_key(number), found, ttl="10m")
    return found


@rota.job(timeout="1m", retry=Retry(tries=1))
async def look_up(number: int, run: Run) -> None:
    """Ask the cache; whatever happens to it, the answer must be right."""
    note("start", run, number)
    if await asked(number) != answer(number):
        raise ValueError("the cache told a lie")
    note("end", run, number)


# -- handlers that need somebody else ------------------------------------------------------------------


class Downstream:
    """A service that all runs call, and when each call came (ms of the store's clock)."""

    up = True
    calls: ClassVar[list[int]] = []


@rota.job(timeout="1m", retry=Retry(tries=60, max="1m"))
async def call(number: int, run: Run) -> None:
    """Call the service; while it is down, try again later."""
    Downstream.calls.append(rota.clock.now_ms())
    if not Downstream.up:
        raise Retryable("it is down")


# -- many ---------------------------------------------------------------------------------------------


@rota.job(timeout="10m", queue="long")
async def long(number: int, ms: int, run: Run) -> None:
    """Take long."""
    note("start", run, number)
    await asyncio.sleep(ms / 1000)
    note("end", run, number)


@rota.job(timeout="1m", queue="short")
async def short(number: int, ms: int, run: Run) -> None:
    """Take a moment."""
    note("start", run, number)
    await asyncio.sleep(ms / 1000)
    note("end", run, number)


@rota.job(each=pots, schedule=every("24h"), first_run="now", retry=Retry(tries=1), timeout="1m")
async def mend(pot: Member, run: Run) -> None:
    """Mend a pot; a broken one cannot be."""
    note("start", run, pot.key)
    if pot.key.startswith("broken"):
        raise ValueError("beyond repair")
    note("end", run, pot.key)


@rota.job(
    each=houses,
    schedule=every("1h"),
    catch_up=CatchUp("latest", spread=os.environ.get(HOUSES, "1m")),
    timeout="1m",
)
async def owe(house: Member, run: Run) -> None:
    """Once an hour for each house; the slot goes into the ledger."""
    slot_at = "-" if run.slot_at is None else int(run.slot_at.timestamp() * 1000)
    note("start", run, f"{house.key} {slot_at}")
