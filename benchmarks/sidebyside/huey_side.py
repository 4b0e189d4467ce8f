"""Huey, on SQLite when the store is a file, else on Redis.

Always true: everything that is not named here is Huey's default; it has no setting for a worker that dies.

Not here: its worker, which is Huey's own command line (contenders.py).
"""

from importlib import import_module

from huey import RedisHuey, SqliteHuey

from benchmarks.sidebyside import ledger
from benchmarks.sidebyside.side import STORE, answer

huey = RedisHuey("side", url=STORE) if STORE.startswith("redis:") else SqliteHuey("side", filename=STORE)


@huey.task(name="job")
def job(number: int) -> None:
    ledger.work(number)


def fill(jobs: int) -> None:
    """Enqueue jobs; each is acknowledged when the call returns."""
    for number in range(jobs):
        job(number)


def left() -> dict[str, list[int]]:
    """What waits; Huey forgets a task when it hands it out, so it never lists one as running."""
    return {"waiting": [task.args[0] for task in [*huey.pending(), *huey.scheduled()]]}


if __name__ == "__main__":
    itself = import_module("benchmarks.sidebyside.huey_side")  # a task is found by its module: not by `__main__`
    answer(itself.fill, itself.left)
