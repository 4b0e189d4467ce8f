"""Huey on SQLite as a child of a benchmark: `fill`, `work`, `send`, all on the file of the arguments.

Always true: WAL and SQLite's own full durability (its default), no results kept, one thread a process, polling
every 10 ms at most when idle, no log lines on success.

Not here: making its environment (environments.py).
"""

import argparse
import logging
import time
from pathlib import Path

from huey import SqliteHuey

from benchmarks.children import ready
from benchmarks.tally import Tally

POLL_S = 0.01  # what an idle consumer sleeps; the shortest that speed.md compares with


def application(db: str, mark) -> tuple[SqliteHuey, object]:
    """Return the peer's application and its job."""
    huey = SqliteHuey("bench", filename=db, results=False, fsync=True)

    @huey.task(name="noop")
    def noop(number: int) -> None:
        mark()

    return huey, noop


def print_instant() -> None:
    """The handler of a latency run."""
    print(time.monotonic_ns(), flush=True)


def fill(options: argparse.Namespace) -> None:
    """Put jobs in, one commit each as Huey does; print how many seconds they took."""
    _, noop = application(options.db, print_instant)
    ready()
    began = time.perf_counter()
    for number in range(options.jobs):
        noop(number)
    print(time.perf_counter() - began, flush=True)


def work(options: argparse.Namespace) -> None:
    """Work until killed."""
    logging.getLogger("huey").setLevel(logging.WARNING)
    mark = Tally(options.tally).marker(options.slot) if options.tally else print_instant
    huey, _ = application(options.db, mark)
    consumer = huey.create_consumer(
        workers=1, periodic=False, worker_type="thread", initial_delay=POLL_S, max_delay=POLL_S, backoff=1.0
    )
    ready()
    consumer.run()


def send(options: argparse.Namespace) -> None:
    """Enqueue one job now and then, printing when."""
    _, noop = application(options.db, print_instant)
    ready()
    for number in range(options.jobs):
        print(time.monotonic_ns(), flush=True)
        noop(number)
        time.sleep(options.pause)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=["fill", "work", "send"])
    parser.add_argument("db")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--tally", type=Path)
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.02)
    chosen = parser.parse_args()
    {"fill": fill, "work": work, "send": send}[chosen.act](chosen)
