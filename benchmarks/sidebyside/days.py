"""What a year of runs says about a rule: days without a run, with more than one, at another time, and drift.

Always true: pure; local days are gone through one by one, and their minutes counted from UTC, so no rule of any
scheduler is used to judge it.

Not here: making the runs (year.py).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
LATE_MS = 5_000  # a run that begins so soon after its time is on time; wake-ups come up to a second late


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """A daily rule's year; `unusual` says, for each day on which the time does not come exactly once, what ran."""

    runs: int
    missing: tuple[date, ...]
    doubled: tuple[date, ...]
    elsewhere: tuple[date, ...]
    unusual: dict[date, tuple[datetime, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A period's year: slots owed, slots without a run, and how late the last run began and the latest one did (ms)."""

    owed: int
    missing: int
    last_ms: int
    latest_ms: int


@cache
def times_of(day: date, hour: int, minute: int, zone: str) -> tuple[datetime, ...]:
    """Every instant at which the local clock reads this time on this day: none, one or two, by trying each minute."""
    here = ZoneInfo(zone)
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    tried = ((first + timedelta(minutes=count)).astimezone(here) for count in range(56 * 60))
    return tuple(at for at in tried if at.date() == day and (at.hour, at.minute) == (hour, minute))


def judge_days(runs_ms: Sequence[int], year: int, at: tuple[int, int], zone: str) -> Days:
    """Hold a daily rule to one run on each local day of the year."""
    here = ZoneInfo(zone)
    by_day: defaultdict[date, list[datetime]] = defaultdict(list)
    for run_ms in sorted(runs_ms):
        local = datetime.fromtimestamp(run_ms / 1000, UTC).astimezone(here)
        by_day[local.date()].append(local)
    days = [date(year, 1, 1) + timedelta(days=count) for count in range((date(year + 1, 1, 1) - date(year, 1, 1)).days)]
    unusual, elsewhere = {}, []
    for day in days:
        times = times_of(day, *at, zone)
        if len(times) != 1:
            unusual[day] = tuple(by_day[day])
        elif any(not 0 <= _ms(ran) - _ms(times[0]) <= LATE_MS for ran in by_day[day]):
            elsewhere.append(day)
    return Days(
        runs=len(runs_ms),
        missing=tuple(day for day in days if not by_day[day]),
        doubled=tuple(day for day in days if len(by_day[day]) > 1),
        elsewhere=tuple(elsewhere),
        unusual=unusual,
    )


def judge_drift(runs_ms: Sequence[int], first_ms: int, period_ms: int, end_ms: int) -> Drift:
    """Hold a period to the slots `first + n × period` before an end: a run belongs to the newest slot before it."""
    owed = -(-(end_ms - first_ms) // period_ms)
    by_slot = {(run_ms - first_ms) // period_ms: (run_ms - first_ms) % period_ms for run_ms in sorted(runs_ms)}
    return Drift(
        owed=owed,
        missing=sum(1 for slot in range(owed) if slot not in by_slot),
        last_ms=by_slot[max(by_slot)],
        latest_ms=max(by_slot.values()),
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
