"""The small application that the tests of the store share, a clock they hold, and a door to each database.

Always true: a door runs one operation at a time and shows the tables as they stand committed; turns are shown by the
order in which the test met them, not by their ids, so that two databases can be compared.

Not here: what should happen (model), faults and races, which are built in the tests that need them.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import asyncpg

from rota.clock import Clock
from rota.define.catalog import Catalog
from rota.define.contract import Place
from rota.define.job import job_spec
from rota.define.policy import Retry
from rota.define.roster import RosterSpec
from rota.define.schedule import every
from rota.engine.admit import asks
from rota.store import reconcile, turns
from rota.store.port import Gate, Op, query
from rota.store.postgres import Postgres
from rota.store.sqlite import Sqlite
from rota.turn.records import Claim, Fresh, Judged, Line

T = TypeVar("T")

START_MS = 1_767_225_600_000 + 5_000  # 2026-01-01 00:00:05 UTC: no slot of the application falls on it
DAY_MS = 86_400_000
LEASE_MS = 15_000
LATE_MS = 60_000
KEPT_MS = DAY_MS  # how long a key is remembered

TABLES = {  # what a comparison of two stores looks at; ids of rows are left out, and `turn` is shown by its order
    "turn": "id, job, roster, member, key, args, standing, due_at, slot_at, priority, state, paused, manual, caught,"
    " run, attempt, tries, losses, cancel, on_end, era, waited_ms, worker, leased_until, start_at, prior_start_at,"
    " slot, nth, phase_ms, pinned, done, failed, steps, progress, result, reason, last_success_at, stale_at,"
    " failing_since, error",
    "journal": "turn, run, attempt, job, roster, member, slot_at, due_at, started_at, ended_at, worker, outcome,"
    " reason, link, error, slots",
    "dead_letter": "turn, run, job, roster, member, key, args, slot_at, tries, losses, reason, error, died_at,"
    " requeued_at",
    "key": "turn, job, key, remember_ms, expires_at",
    "slot": "job, slot, load, placed",
    "lane": "job, priority",
    "member": "roster, key, zone, data, owner, weight, joined_at, updated_at",
    "roster": "name, members",
    "job": "name, roster, signature, era, reconciled",
    "worker": "incarnation, lease_until, beat_at",
    "pause": "scope, name, by, reason, since, until, ended_at",
    "rollup": "job, hour_at, worker, runs, succeeded, retry, dead, skipped, other, busy_ms, late_ms",
    "error": "turn, run, job, fingerprint, kind, message, first_at, last_at, count",
    "audit": "at, by, act, count, reason",
}
_BY_TURN = {"turn", "journal", "dead_letter", "key", "error"}


class HeldClock(Clock):
    """A clock that the test moves; both databases take their instants from it."""

    held = True

    def __init__(self, *, held: bool = True) -> None:
        super().__init__()
        self.held = held
        self.ms = START_MS
        self.tick_ms = 0  # how far it goes on each time it is read
        self.tokens = 0

    def now_ms(self) -> int:
        """What it shows."""
        self.ms += self.tick_ms
        return self.ms

    def token(self) -> str:
        """Names in order."""
        self.tokens += 1
        return f"token-{self.tokens}"

    async def sleep(self, seconds: float) -> None:
        """Let others run; time stands still."""
        await asyncio.sleep(0)


def _nothing() -> None:
    """What every job of the tests does."""


def catalog() -> Catalog:
    """Two one-offs, one of them capped; two balanced jobs with a follower of both; one job without a roster."""
    made = Catalog()
    made.add_roster(RosterSpec(name="users", source=None, facets=(), max_shrink=0.2))
    users: dict[str, Any] = {"each": "users"}
    waits = {"delays": ["10s", "20s"]}
    for name, options in {
        "mail": {"retry": waits},
        "call": {"cap": 2, "max_lost": 2, "priority": -5},
        "daily": users | {"schedule": every("1d", slot="6h"), "max_lost": 2, "retry": {"delays": ["30s"]}},
        "hourly": users | {"schedule": every("1h"), "after_death": "hold"},
        "digest": users | {"after": ("daily", "hourly")},
        "report": {"schedule": every("6h"), "catch_up": "none"},
    }.items():
        given = dict(options)
        if "retry" in given:
            given["retry"] = Retry(**given["retry"])
        made.add_job(job_spec(_nothing, name=name, **given))
    return made


CATALOG = catalog()
ROSTER = CATALOG.roster("users")
USER_JOBS = CATALOG.of_roster("users")


def call(job: str = "mail", *, key: str | None = None, delay_ms: int = 0, priority: int = 0) -> Fresh:
    """A one-off as the engine would enqueue it."""
    return Fresh(job, "{}", key, None, delay_ms, priority, KEPT_MS)


def claim(
    worker: str = "w1", jobs: Iterable[str] = CATALOG.jobs, *, most: int = 10, fused: bool, judge: Any = None
) -> Op[turns.Claimed]:
    """A claim as a worker makes it."""
    wanted = asks([CATALOG.jobs[name] for name in jobs])
    return turns.claim(wanted, most, worker, judge or judged, fused=fused)


def judged(claims: list[Claim]) -> Op[Judged]:
    """A judge that says all a judge may: what comes late runs for its newest slot; `report` waits for the next."""
    verdict = Judged([], [], [], [])
    for one in claims:
        schedule = CATALOG.jobs[one.job].schedule
        late = one.claimed_at - (one.slot_at or 0)
        if schedule is None or one.slot_at is None or one.manual or one.tries > 1 or late < LATE_MS:
            verdict.run.append(one)
            continue
        newest = schedule.last_slot(one.claimed_at, Place(one.phase_ms)) or one.slot_at
        missed = max(0, -((one.slot_at - newest) // schedule.period_ms))  # up to one more where its place has changed
        drops = one.job == "report" and (missed or one.claimed_at - newest > schedule.period_ms // 10)
        if missed or drops:
            who = (one.id, one.run, one.attempt, one.job, one.roster, one.member, one.slot_at, one.due_at, None, None)
            verdict.lines.append(Line(*who, "skipped", "late", None, None, missed + bool(drops)))
        if drops:
            verdict.back.append((one.id, newest + schedule.period_ms, newest + schedule.period_ms, 0))
            continue
        if missed:
            verdict.newer.append((one.id, newest))
        verdict.run.append(one._replace(slot_at=max(newest, one.slot_at)))
    return verdict
    yield  # a judge may ask the store; this one does not


def introduce(worker: str) -> Op[Any]:
    """A worker makes itself known."""
    values = {"name": worker, "kind": "worker", "version": "1", "concurrency": 4, "queues": ""}
    return query("add_worker", worker=worker, lease_ms=LEASE_MS, **values)


def by_id(ids: Sequence[int]) -> Callable[[], Op[list[Claim]]]:
    """Turns as a claimer would get them."""
    return lambda: turns.by_id(ids)


class Door:
    """One database, driven from plain code, with its tables in view."""

    def __init__(self, db: Sqlite | Postgres, clock: HeldClock, runner: asyncio.Runner) -> None:
        self.db, self.clock, self._runner = db, clock, runner
        self.fused = db.dialect == "postgres"
        self.order: dict[int, int] = {}
        self._view: Any = None

    def run(self, awaitable: Any) -> Any:
        """Await something from plain code."""
        return self._runner.run(awaitable)

    def write(self, make: Callable[[], Op[T]], *, gate: Gate = None) -> T:
        """Run an operation in a transaction."""
        return self._runner.run(self.db.write(make, gate=gate))

    def open(self) -> None:
        """Open the database and declare the application."""
        self._runner.run(self.db.open())
        self.fill()

    def fill(self) -> None:
        """Declare the application, and bring every job up to date."""
        self.write(lambda: reconcile.declare(CATALOG))
        for spec in CATALOG.ordered():
            page = self.write(lambda spec=spec: reconcile.page(CATALOG, spec, "test"))
            assert page is not None
            assert page.done

    def close(self) -> None:
        """Give everything back."""
        if self._view is not None:
            self._runner.run(self._view.close())
        self._runner.run(self.db.close())

    def empty(self) -> None:
        """Everything but the schema is gone, as in a database just made. PostgreSQL: making one anew takes longer."""
        names = ", ".join(self.db.dictionary.table(name) for name in (*TABLES, "freshness", "lease", "cache"))
        self.sql(f"TRUNCATE {names} RESTART IDENTITY")
        self.order.clear()
        self.fill()

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a person would read with a shell of the database."""
        if isinstance(self.db, Sqlite):
            assert self.db._inline is not None
            return self.db._inline.raw.execute(text, values).fetchall()
        if self._view is None:
            self._view = self._runner.run(asyncpg.connect(self.db._url))
        return [tuple(row) for row in self._runner.run(self._view.fetch(text, *values))]

    def rows(self, table: str, columns: str | None = None, where: str = "") -> list[tuple[Any, ...]]:
        """Rows of a table; where its first column says a turn, by the order in which the turns were met."""
        found = self.sql(f"SELECT {columns or TABLES[table]} FROM {self.db.dictionary.table(table)} {where}")
        if table in _BY_TURN:
            found = [(self.order.get(row[0], row[0]), *row[1:]) for row in found]
        return sorted(found, key=repr)

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All tables."""
        return {name: self.rows(name) for name in TABLES}
