"""Applications on an empty store with a clock that the test holds.

Always true: nothing sleeps; `t.rota` is put on its store when the test first awaits it, so a test declares its jobs
first; whatever the test left open is closed.

Not here: worlds from a seed (tests/sim), real processes (tests/e2e).
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from rota import Rota
from rota.store.port import query
from rota.testing import Isolated, ManualClock

START = datetime(2026, 1, 1, tzinfo=UTC)  # a thursday
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Held(Isolated):
    """An application, its clock, and what the store says of it."""

    def __init__(self, rota: Rota, clock: ManualClock) -> None:
        super().__init__(rota, clock)
        self.rota = rota

    async def outcomes(self, *fields: str) -> list:
        """What the journal says, oldest first: the outcome, or a tuple of fields."""
        rows = await self.journal()
        if not fields:
            return [row["outcome"] for row in rows]
        return [tuple(row[field] for field in fields) for row in rows]

    async def look(self, text: str, **values: object) -> list[tuple]:
        """Run a statement of the test's own, written as in the store's own queries."""
        store = await self.rota.opened()
        store.db.dictionary._compiled["look"] = store.db.dictionary.compile("look", text)
        return [tuple(row) for row in await store.write(lambda: query("look", **values))]

    async def dead(self) -> list[tuple]:
        """Dead letters: job, member, tries, reason."""
        return await self.look("SELECT job, member, tries, reason FROM rota.dead_letter ORDER BY id")

    async def slots_accounted(self, job: str, member: str) -> list[int]:
        """Slots (hours since the start) with a run or a recorded skip, one entry for each time it is accounted for."""
        hours: list[int] = []
        for row in await self.journal():
            if row["job"] != job or row["member"] != member or row["slot_at"] is None or row["outcome"] == "retry":
                continue
            first = (row["slot_at"] - ms(START)) // 3_600_000
            hours += range(first, first + row["slots"])
        return hours

    def at(self, **after: float) -> datetime:
        """An instant so long after the start."""
        return START + timedelta(**after)


def ms(at: datetime) -> int:
    """The instant as the store keeps it."""
    return int(at.timestamp() * 1000)


def instant(value: int) -> datetime:
    """What the store keeps, as an instant."""
    return datetime.fromtimestamp(value / 1000, UTC)


@pytest.fixture
async def t(store_url: str) -> AsyncIterator[Held]:
    """An application on each store."""
    async for held in held_on(store_url, ManualClock(START)):
        yield held


@pytest.fixture
async def m() -> AsyncIterator[Held]:
    """An application in memory, for what does not depend on the store."""
    async for held in held_on("sqlite:///:memory:", ManualClock(START)):
        yield held


async def held_on(url: str, clock: ManualClock) -> AsyncIterator[Held]:
    """An application on a store with this clock, closed at the end."""
    rota = Rota(url, clock=clock)
    yield Held(rota, clock)
    await rota.close()
