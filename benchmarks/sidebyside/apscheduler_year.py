"""APScheduler 3's year: its own scheduler, triggers and rule for late jobs, on a clock that is told.

Always true: its modules are given a `datetime` whose `now` is told; the loop is its own: process, sleep for what that
answered. Jobs are kept in memory over the outage, which is what a job store on disk would give back.

Not here: version 4 (apscheduler4_year.py).
"""

from datetime import datetime, tzinfo

from apscheduler.executors import base as executors
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers import base as schedulers
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from benchmarks.sidebyside.moments import HERE, HOUR, MINUTE, OUTAGE, PERIOD, START, ZONE, Told, answer

LONGEST_S = 300.0  # between two looks, so that an outage cuts a sleep short as a stop would


class Here(BaseExecutor):
    """Runs a job where it is, at once, by APScheduler's own rule for late ones."""

    def _do_submit_job(self, job: object, run_times: list[datetime]) -> None:
        self._run_job_success(job.id, run_job(job, "default", run_times, "year"))


class Stepped(BaseScheduler):
    """A scheduler whose loop we turn."""

    def wakeup(self) -> None:
        """Nobody sleeps."""

    def shutdown(self, wait: object = True) -> None:
        """Nothing to end."""

    def turn(self) -> float | None:
        """Start what is due; say how long to sleep."""
        return self._process_jobs()


def tell(told: Told) -> None:
    """Give its modules the clock."""

    class Fake(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return told.at.astimezone(tz)

    schedulers.datetime = Fake
    executors.datetime = Fake


def year(kind: str, *, outage: bool) -> list[datetime]:
    """The instants of the runs in a year."""
    told = Told()
    tell(told)
    ran: list[datetime] = []
    # The start is said aloud for both, else it would be asked of the machine's own clock.
    if kind == "cron":
        trigger = CronTrigger(hour=HOUR, minute=MINUTE, timezone=ZONE, start_date=START)
    else:
        trigger = IntervalTrigger(seconds=PERIOD.total_seconds(), timezone=ZONE, start_date=START + PERIOD)
    scheduler = Stepped(timezone=HERE)
    scheduler.add_executor(Here())
    scheduler.add_job(lambda: ran.append(told.at), trigger)
    scheduler.start()
    while not told.over:
        if outage and OUTAGE[0] <= told.at < OUTAGE[1]:
            told.at = OUTAGE[1]
        told.sleep(min(scheduler.turn(), LONGEST_S))
    return ran


if __name__ == "__main__":
    answer(
        {
            "02:30": year("cron", outage=False),
            "24 h": year("every", outage=False),
            "24 h, outage": year("every", outage=True),
        }
    )
