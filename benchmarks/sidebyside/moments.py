"""The year that schedulers are sent through: its zone, its rules, its late wake-ups and its outage.

Always true: only the standard library, as peers import this too; the same wake-ups for everybody, from one seed.

Not here: any scheduler, and what follows from its runs (days.py).
"""

import json
import random
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

ZONE = "Europe/Berlin"
HERE = ZoneInfo(ZONE)
START = datetime(2026, 1, 1, tzinfo=HERE)
END = datetime(2027, 1, 1, tzinfo=HERE)
HOUR, MINUTE = 2, 30
PERIOD = timedelta(hours=24)

LATEST_S = 1.0  # a sleep ends so much late at most, as in a process with other work; a guess
SEED = 2026
# One outage, from an hour before the slot of `every 24 h` to two hours after it, away from both changes of the clocks.
OUTAGE = (datetime(2026, 6, 9, 22, tzinfo=UTC), datetime(2026, 6, 10, 1, tzinfo=UTC))


class Told:
    """The instant, as the schedulers are told it; only sleeping moves it."""

    def __init__(self) -> None:
        self.at = START.astimezone(UTC)
        self._dice = random.Random(SEED)

    def sleep(self, seconds: float) -> None:
        """Wake up after that time, or a little later."""
        self.at += timedelta(seconds=seconds + self._dice.random() * LATEST_S)

    def sleep_exactly(self, seconds: float) -> None:
        """Let time pass that was not slept."""
        self.at += timedelta(seconds=seconds)

    @property
    def over(self) -> bool:
        """Whether the year has ended."""
        return self.at >= END


def answer(found: dict[str, Iterable[datetime]]) -> None:
    """Print the instants of the runs, by the name of the rule: milliseconds UTC, one object of JSON."""
    json.dump({name: [round(at.timestamp() * 1000) for at in runs] for name, runs in found.items()}, sys.stdout)
