"""The application that the workers of the chaos scenarios load.

One-offs of 5 to 500 ms and longer, plain functions, effects inside the run's own transaction, runs that ask for another
try, and members with a period of a few seconds.

Always true: a handler writes its start before anything else and its end, or that it was cut, last; `CHAOS_GATE` holds
every process that loads this module, once it has left a file of its own beside it, until that file exists; a process
of a scenario ends with the scenario's.

Not here: starting and harming the processes (fleet), what must hold (judge).
"""

import asyncio
import ctypes
import importlib
import os
import select
import signal
import sys
import time
from pathlib import Path

from rota import CatchUp, Member, Retry, Retryable, Rota, Run, Snooze, every
from tests.chaos.ledger import FILE, noted

DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
GATE = "CHAOS_GATE"
LATER = ("apsw", "asyncpg", "rota.store.postgres", "rota.store.sqlite", "rota.engine.tick")  # so that all go at once
PERIOD_S = 4  # of the members' visits: several slots in a short form, and longer than a recovery
AGAIN = Retry(delays=["100ms", "200ms", "400ms"])
EFFECT = "chaos_effect"  # the table of inside effects

rota = Rota(name="chaos")
shops = rota.roster("shops")
towns = rota.roster("towns")


def _bound_to_the_harness() -> None:
    """A scenario that is killed leaves no worker behind, not even a frozen one."""
    if FILE in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)


def _wait_at_the_gate() -> None:
    gate = os.environ.get(GATE)
    if gate:
        for name in LATER:
            importlib.import_module(name)
        Path(f"{gate}.{os.getpid()}").touch()
        while not Path(gate).exists():
            time.sleep(0.002)


_bound_to_the_harness()
_wait_at_the_gate()


@rota.job(retry=Retry(tries=3), timeout="2m")
async def work(number: int, ms: int, run: Run) -> None:
    """Take so long."""
    with noted(run, number):
        await asyncio.sleep(ms / 1000)


@rota.job(retry=Retry(tries=3), timeout="2m")
def grind(number: int, ms: int, run: Run) -> None:
    """Take so long in a thread."""
    with noted(run, number):
        select.select([], [], [], ms / 1000)  # a sleep that a stepping wall clock does not break, unlike time.sleep


@rota.job(retry=AGAIN, timeout="2m")
async def pay(number: int, ms: int, run: Run) -> None:
    """Leave an effect that commits with the end of the run, or never."""
    with noted(run, number):
        await asyncio.sleep(ms / 1000)
        async with run.transaction() as db:
            text = f"INSERT INTO {EFFECT} (run, attempt, pid) VALUES ('{run.id}', {run.attempt}, {os.getpid()})"
            done = db.execute(text)
            if asyncio.iscoroutine(done):
                await done


@rota.job(retry=AGAIN, timeout="2m")
async def moody(number: int, ms: int, run: Run) -> None:
    """Ask for another try at first, or for a nap."""
    with noted(run, number):
        await asyncio.sleep(ms / 1000)
        if run.attempt == 1:
            raise Snooze("100ms") if number % 2 else Retryable("not yet")


@rota.job(each=shops, schedule=every(f"{PERIOD_S}s"), catch_up=CatchUp("latest", spread="0s"), timeout="1m")
async def visit(shop: Member, run: Run) -> None:
    """Visit a shop every few seconds."""
    with noted(run, shop.key):
        await asyncio.sleep(0.02)


@rota.job(each=towns, schedule=every("24h"), first_run="now", timeout="1m")
async def census(town: Member, run: Run) -> None:
    """Once a day for each, due at once: what sixteen ticks fight for."""
    with noted(run, town.key):
        await asyncio.sleep(0.3)


ONE_OFFS = {"work": work, "grind": grind, "pay": pay, "moody": moody}
