"""RQ on Redis: `SIDE_VARIANT` is empty (its defaults) or `tuned` (jobs with retries; see the worker's options too).

Always true: everything that is not named here is RQ's default.

Not here: its worker, which is RQ's own command line (contenders.py).
"""

from redis import Redis
from rq import Queue, Retry
from rq.registry import FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry

from benchmarks.sidebyside import ledger
from benchmarks.sidebyside.side import STORE, VARIANT, answer

RETRIES = 3  # as rota gives a run up after three losses


def queue() -> Queue:
    """The queue of the jobs."""
    return Queue(connection=Redis.from_url(STORE))


def fill(jobs: int) -> None:
    """Enqueue jobs; each is acknowledged when `enqueue` returns."""
    into = queue()
    retry = {"retry": Retry(max=RETRIES)} if VARIANT == "tuned" else {}
    for number in range(jobs):
        into.enqueue(ledger.work, number, job_id=str(number), **retry)


def left() -> dict[str, list[int]]:
    """What waits, what is started or on its way to a worker, and what has failed for good."""
    of = queue()
    started = StartedJobRegistry(queue=of).get_job_ids(cleanup=False)
    return {
        "waiting": numbers(of.job_ids) + numbers(ScheduledJobRegistry(queue=of).get_job_ids()),
        "reserved": numbers(started) + numbers(of.intermediate_queue.get_job_ids()),
        "failed": numbers(FailedJobRegistry(queue=of).get_job_ids(cleanup=False)),
    }


def numbers(ids: list[str]) -> list[int]:
    """Jobs by their ids."""
    return [int(id_.partition(":")[0]) for id_ in ids]


if __name__ == "__main__":
    answer(fill, left)
