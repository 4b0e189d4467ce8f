"""The application of the tests on policies: limited calls, calls to a service that refuses, a step that costs one.

Always true: what a handler did is in the ledger of the shop, outside the store.

Not here: the processes (fleet), the service (refusing).
"""

import os
import signal

from rota import Limit, Retry, Rota, Run
from rota.http import Client
from tests.e2e.shop import note

ONCE = Retry(tries=1)

rota = Rota(name="policies")


@rota.job(limit=Limit("calls", "100/s", burst=20), retry=ONCE)
async def call(number: int, run: Run) -> None:
    """Nothing, a hundred times a second."""
    note("start", run, number)


@rota.job(timeout="1m")
async def ask(number: int, port: int, run: Run) -> None:
    """Call a service; what it refuses is the client's to understand."""
    async with Client(base_url=f"http://127.0.0.1:{port}", credentials="app") as client:
        await client.get("/")
    note("end", run, number)


@rota.job(timeout="1m")
async def pay_and_die(number: int, run: Run) -> None:
    """A step that costs a call, and a process that is gone in the next line, the first time."""
    await run.step("pay", _pay, number, run)
    if run.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    note("end", run, number)


async def _pay(number: int, run: Run) -> str:
    note("paid", run, number)
    return f"receipt {number}"
