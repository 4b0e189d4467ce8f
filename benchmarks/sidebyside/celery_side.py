"""Celery on Redis: `SIDE_VARIANT` is empty (its defaults), `late`, or `tuned`.

Always true: no result backend, as nobody asks for results; everything that is not named here is Celery's default.

Not here: its year (celery_year.py).
"""

import json

from celery import Celery

from benchmarks.sidebyside import ledger
from benchmarks.sidebyside.side import STORE, VARIANT, answer

VISIBLE_S = 10  # many times the longest job, which is what Celery's documents ask for
app = Celery("side", broker=STORE)

if VARIANT in ("late", "tuned"):
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
if VARIANT == "tuned":
    app.conf.worker_prefetch_multiplier = 1
    app.conf.broker_transport_options = {
        "visibility_timeout": VISIBLE_S,
        "unacked_restore_interval": 1,  # look each second …
        "unacked_restore_throttle": 1,  # … and at each look
    }


@app.task(name="job")
def job(number: int) -> None:
    ledger.work(number)


def fill(jobs: int) -> None:
    """Send jobs; each is acknowledged when `apply_async` returns."""
    for number in range(jobs):
        job.apply_async((number,), task_id=str(number))


def left() -> dict[str, list[int]]:
    """The list of waiting messages, and the hash of those that were handed out and not acknowledged."""
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        waiting = [json.loads(message) for message in client.lrange("celery", 0, -1)]
        reserved = [json.loads(message)[0] for message in client.hvals("unacked")]
    return {"waiting": list(map(number_of, waiting)), "reserved": list(map(number_of, reserved))}


def number_of(message: dict) -> int:
    """The job of a message."""
    return int(message["headers"]["id"])


if __name__ == "__main__":
    answer(fill, left)
