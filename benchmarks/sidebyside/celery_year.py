"""Celery beat's year: its own scheduler and its own `tick`, on a clock that is told.

Always true: the loop is beat's: tick, sleep for what it answered; a restart makes a new scheduler from the entries
that were kept, as its file of schedules does. The base class is used, so nothing is sent and no broker is needed.

Not here: its workers (celery_side.py).
"""

from datetime import datetime

from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import crontab, schedule

from benchmarks.sidebyside.moments import HERE, HOUR, MINUTE, OUTAGE, PERIOD, ZONE, Told, answer

STEP_S = 0.001  # what a turn of the loop takes that does not sleep


class Beat(Scheduler):
    """Beat, that notes what it would send."""

    producer = None
    sent: list[datetime]

    def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
        self.sent.append(self.app.told.at)

    def setup_schedule(self) -> None:
        """Take the entries as they were given: there is no result backend to clean up."""


def year(kind: str, *, outage: bool) -> list[datetime]:
    """The instants at which beat sends in a year."""
    told = Told()
    app = Celery("year", set_as_current=False)
    app.told = told
    app.conf.timezone = ZONE

    def now() -> datetime:
        return told.at.astimezone(HERE)

    rule = crontab(hour=HOUR, minute=MINUTE, nowfun=now, app=app) if kind == "cron" else None
    entry = ScheduleEntry(name="job", task="job", schedule=rule or schedule(PERIOD, nowfun=now, app=app), app=app)
    Beat.sent = []
    entries = {"job": entry}
    beat = Beat(app, schedule=entries)
    while not told.over:
        if outage and OUTAGE[0] <= told.at < OUTAGE[1]:
            told.at = OUTAGE[1]
            beat = Beat(app, schedule=beat.schedule)
        wait = beat.tick()
        if wait and wait > 0:
            told.sleep(wait)
        else:
            told.sleep_exactly(STEP_S)
    return Beat.sent


if __name__ == "__main__":
    answer(
        {
            "02:30": year("cron", outage=False),
            "24 h": year("every", outage=False),
            "24 h, outage": year("every", outage=True),
        }
    )
