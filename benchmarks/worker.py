"""A rota worker as a child of a benchmark: `worker APPLICATION CONCURRENCY TALLY SLOT`.

With `-` for the tally it prints the instant at which each handler began, for a latency run.

Always true: it drives the engine through the public API only.

Not here: what it works on (applications.py, throughput.py).
"""

import asyncio
import sys
import time
from pathlib import Path

from benchmarks import applications
from benchmarks.children import ready
from benchmarks.tally import Tally


def print_instant() -> None:
    """The handler of a latency run."""
    print(time.monotonic_ns(), flush=True)


async def serve(application: str, concurrency: int, tally: str, slot: int) -> None:
    mark = print_instant if tally == "-" else Tally(Path(tally)).marker(slot)
    applications.Counting.mark = staticmethod(mark)
    async with getattr(applications, application) as rota:
        ready()
        await rota.work(concurrency=concurrency)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
