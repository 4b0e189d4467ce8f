"""The applications that the policies are measured with: limited, refused, batched, and one that pays for a step.

Always true: a handler does next to nothing, and writes what it did to a ledger outside the store, one write a line.

Not here: the processes (policy_worker.py), the measures (limited.py, refused.py, batches.py, steps.py).
"""

import asyncio
import os
import signal
import time
from pathlib import Path

from rota import Batch, Limit, Member, Retry, Rota, Run, every
from rota.http import Client

ONCE = Retry(tries=1)


class Ledger:
    """Where the handlers of this process write."""

    file = -1

    @classmethod
    def open(cls, path: str | Path) -> None:
        """From here on write to this file."""
        cls.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @classmethod
    def note(cls, what: str, who: object) -> None:
        """Append what was done, for whom, and when on the machine's monotonic clock (ns)."""
        os.write(cls.file, f"{what} {who} {time.monotonic_ns()}\n".encode())


brisk = Rota(name="brisk")
sellers = brisk.roster("sellers")


@brisk.job(limit=Limit("brisk", "200/s"), retry=ONCE)
async def call(number: int) -> None:
    """Nothing, two hundred times a second."""


@brisk.job(each=sellers, schedule=every("365d"), limit=Limit("brisk", "200/s"), retry=ONCE)
async def report(seller: Member) -> None:
    """The same for a member."""


even = Rota(name="even")


@even.job(limit=Limit("even", "200/s", burst=1), retry=ONCE)
async def one_by_one(number: int) -> None:
    """Nothing, every five milliseconds."""


slow = Rota(name="slow")
shops = slow.roster("shops")


@slow.job(each=shops, schedule=every("24h"), first_run="now", limit=Limit("slow", "50/s"), retry=ONCE)
async def visit(shop: Member) -> None:
    """Nothing, fifty times a second, for very many."""


rare = Rota(name="rare")


@rare.job(limit=Limit("rare", "1/m", burst=1), retry=ONCE)
async def once_a_minute(number: int) -> None:
    """Nothing, hardly ever."""


refused = Rota(name="refused")


class Service:
    """The service that the handlers call, for this process."""

    client: Client

    @classmethod
    def at(cls, port: str) -> None:
        """Say where it listens."""
        cls.client = Client(base_url=f"http://127.0.0.1:{port}", credentials="app")


@refused.job
async def ask(number: int) -> None:
    """Call the service; whatever it says is the client's to understand."""
    await Service.client.get("/")


batched = Rota(name="batched")
quick_ones = batched.roster("quick_ones")
users = batched.roster("users")
HANDLER_S = 0.02  # of a member of a batch: the last one ends later than the first


@batched.job(each=quick_ones, schedule=every("24h"), first_run="now", batch=Batch(10, pause="500ms"), retry=ONCE)
async def quick_batch(user: Member) -> None:
    """A short stay in a batch."""
    await _stay(user)


@batched.job(each=users, schedule=every("24h"), first_run="now", batch=Batch(10, pause="5s"), retry=ONCE)
async def long_batch(user: Member) -> None:
    """The same, with the pause that the services of the design ask for."""
    await _stay(user)


async def _stay(user: Member) -> None:
    Ledger.note("start", user.key)
    await asyncio.sleep(HANDLER_S * (1 + int(user.key[-1]) / 5))
    Ledger.note("end", user.key)


paying = Rota(name="paying")


@paying.job
async def pay_and_die(number: int, run: Run) -> None:
    """A step that costs a call, and a worker that is gone right after it, the first time."""
    await run.step("pay", _pay, number)
    if run.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    Ledger.note("end", number)


async def _pay(number: int) -> str:
    Ledger.note("paid", number)
    return f"receipt {number}"
