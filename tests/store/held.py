"""A store under a clock that the test holds, and a look into its tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.define.job import job_spec
from rota.define.roster import roster_spec
from rota.events import Events
from rota.store.port import query
from rota.store.store import Store, database

NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00:00Z, a thursday
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

__all__ = ["DAY_MS", "HOUR_MS", "NOON_MS", "HeldClock", "catalog", "look", "opened"]


class HeldClock(Clock):
    """Stands still until the test moves it."""

    held = True

    def __init__(self, at_ms: int = NOON_MS) -> None:
        super().__init__()
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


async def _nothing() -> None:
    pass


def catalog(*rosters, **jobs) -> Catalog:
    """A catalog: rosters by name or as (name, options), jobs by name with their options."""
    found = Catalog()
    for roster in rosters:
        name, options = (roster, {}) if isinstance(roster, str) else roster
        found.add_roster(roster_spec(name, **options))
    for name, options in jobs.items():
        found.add_job(job_spec(_nothing, name=name, **options))
    return found


@asynccontextmanager
async def opened(url: str, known: Catalog, clock: Clock | None = None) -> AsyncIterator[Store]:
    """A store at this address, as one process has it open."""
    clock = HeldClock() if clock is None else clock
    store = Store(database(url, clock=clock), clock=clock, catalog=known, events=Events())
    await store.db.open()
    yield store
    await store.db.close()


async def look(store: Store, text: str, **values) -> list[tuple]:
    """Run a statement of the test's own, written as in `queries/`."""
    store.db.dictionary._compiled["look"] = store.db.dictionary.compile("look", text)
    return [tuple(row) for row in await store.write(lambda: query("look", **values))]
