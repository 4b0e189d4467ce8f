"""The application that the workers of these tests run: its handlers write a ledger outside the store.

Always true: one line for each start and each end of a handler, appended with one write, so lines of several processes
never mix: what, run, attempt, process, instant on the machine's monotonic clock (ns), argument.

Not here: starting and killing the processes (fleet).
"""

import asyncio
import os
import time
from functools import cache

from rota import Member, Retry, Rota, Run, every

rota = Rota(name="shop")
shops = rota.roster("shops")


@cache
def ledger() -> int:
    """The ledger, opened by the first handler; the test itself runs none."""
    return os.open(os.environ["SHOP_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(what: str, run: Run, argument: object = "-") -> None:
    """Append one line."""
    line = f"{what} {run.id} {run.attempt} {os.getpid()} {time.monotonic_ns()} {argument}\n"
    os.write(ledger(), line.encode())


@rota.job(retry=Retry(tries=3), timeout="2m")
async def step(number: int, ms: int, run: Run) -> None:
    """Take so long."""
    note("start", run, number)
    await asyncio.sleep(ms / 1000)
    note("end", run, number)


@rota.job(retry=Retry(tries=1), timeout="2m")
async def plain(number: int, run: Run) -> None:
    """Take no time."""
    note("start", run, number)
    note("end", run, number)


@rota.job(each=shops, schedule=every("24h"), first_run="now", timeout="2m")
async def visit(shop: Member, run: Run) -> None:
    """Visit a shop, longer than it takes to start a process."""
    note("start", run, shop.key)
    await asyncio.sleep(1.5)
    note("end", run, shop.key)
