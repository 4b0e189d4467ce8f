"""APScheduler 4's year, as far as its triggers tell it: they ask no clock.

Always true: only what `next()` answers is taken; version 4 is an alpha.

Not here: its scheduler, and so neither late wake-ups nor an outage.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from apscheduler.abc import Trigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from benchmarks.sidebyside.moments import END, HERE, HOUR, MINUTE, PERIOD, START, answer


def year(trigger: Trigger) -> Iterator[datetime]:
    """The instants that a trigger names in a year."""
    while (at := trigger.next()) is not None and at < END:
        yield at


if __name__ == "__main__":
    answer(
        {
            "02:30": year(CronTrigger(hour=HOUR, minute=MINUTE, timezone=HERE, start_time=START)),
            # From a start in UTC: from one in a zone it adds its period to what the local clock shows.
            "24 h": year(IntervalTrigger(seconds=PERIOD.total_seconds(), start_time=START.astimezone(UTC) + PERIOD)),
        }
    )
