"""P-1: the hot statements on a store that has grown, with fresh and stale statistics, custom and generic plans.

The statements are those of tests/store/test_plans.py, so that a new one is covered without being written down here.

Always true: a table that is larger than 128 pages counts as large; on PostgreSQL the plans are those that ran, with
the pages and rows that they touched, and what they changed is undone. Only ANALYZE makes SQLite statistics, which
rota never runs: there is no stale kind of them.

Not here: how long it takes (benchmarks).
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from rota.store.postgres import _SETTINGS, Postgres
from rota.store.sql import Call
from rota.store.sqlite import Sqlite
from tests.store.test_plans import HOT
from tests.store.world import DAY_MS, START_MS, Door, HeldClock
from tests.strain.report import Report
from tests.strain.stage import Size, Stage

FUTURE: dict[Size, int] = {"short": 100_000, "plain": 1_000_000, "long": 1_000_000}  # turns that wait for later
HISTORY: dict[Size, tuple[int, ...]] = {
    "short": (0, 10_000),
    "plain": (0, 10_000, 1_000_000),
    "long": (0, 10_000, 1_000_000),
}
DUE = 2_000  # turns of each job that are due at this moment, however many wait for later
CLAIM_PAGES = 200  # that finding fifty due turns may touch (reliability 5 f)
MOST_ROWS = 10_000  # that one step of a plan may read: above all that is due or runs, far below what waits
LARGE_BYTES = 1_048_576  # 128 pages: below, reading it all for fifty rows is what a planner should do
LARGE = ("turn", "journal", "key", "member", "dead_letter", "rollup")
PARTIAL = ("turn_running", "turn_held", "pause_active")  # whose rows are few: reading such an index whole is no scan
HOUR_MS = 3_600_000

_TURNS = (
    """INSERT INTO {turn} (job, roster, member, standing, due_at, slot_at, priority, state, worker, leased_until,
                           attempt, stale_at)
       SELECT 'daily', 'users', 'm' || n, 1, {start} + (n - {due}) * 3000, {start} + (n - {due}) * 3000, 0,
              CASE WHEN n % 1000 = 0 THEN 'running' ELSE 'waiting' END,
              CASE WHEN n % 1000 = 0 THEN 'w' || n % 50 END, CASE WHEN n % 1000 = 0 THEN {start} + {hour} END, 1,
              {start} + (n - {due}) * 3000
         FROM series""",
    """INSERT INTO {turn} (job, key, args, standing, due_at, priority)
       SELECT 'mail', 'k' || n, '{{}}', 0, {start} + (n - {due}) * 100, n % 3 FROM series""",
    """INSERT INTO {member} (roster, key, data, weight, joined_at, updated_at)
       SELECT 'users', 'm' || n, '{{}}', 1, 0, 0 FROM series""",
    "INSERT INTO {key} (job, key, turn, remember_ms) SELECT 'mail', 'k' || n, n, 1000 FROM series",
    """INSERT INTO {dead_letter} (turn, run, job, tries, losses, reason, error, died_at)
       SELECT n, 1, 'mail', 1, 0, 'no', 'e' || n % 1000, {start} - n FROM series""",
    """INSERT INTO {worker} (incarnation, name, kind, version, started_at, beat_at, lease_until, concurrency, queues)
       SELECT 'w' || n, 'w', 'worker', '1', 0, 0, {start} + {hour}, 4, '' FROM series WHERE n <= 50""",
    "INSERT INTO {lane} (job, priority) SELECT 'mail', n FROM series WHERE n IN (1, 2)",
)
_JOURNAL = """INSERT INTO {journal} (turn, run, attempt, job, started_at, ended_at, worker, outcome)
              SELECT n, 1, 1, 'daily', 0, {start} + n % 9 * {day}, 'w1', 'succeeded' FROM series"""


def literal(value: Any) -> str:
    """A value as it is written in SQL; lists as the text of an array."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return literal("{" + ",".join(_element(one) for one in value) + "}")


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return literal(value)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's steps, its own first."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def arguments(door: Door, call: Call) -> tuple[str, Sequence[Any]]:
    """A call's text and values as its database gets them."""
    compiled = door.db.dictionary[call.name]
    values = compiled.scalars(call.values, door.clock.ms)
    if compiled.columns is None:
        return compiled.text, values
    assert call.rows
    if isinstance(door.db, Sqlite):
        return compiled.text, (json.dumps(call.rows), *values)
    return compiled.text, (*(list(column) for column in zip(*call.rows, strict=True)), *values)


def _tables(door: Door) -> dict[str, str]:
    return {name: door.db.dictionary.table(name) for name in (*LARGE, "worker", "lane")}


def grow(door: Door, texts: Sequence[str], above: int, upto: int) -> None:
    """Add rows numbered from `above` + 1 to `upto`."""
    first, more = f"SELECT CAST({above + 1} AS bigint)", f"SELECT n + 1 FROM series WHERE n < {upto}"
    series = f"WITH RECURSIVE series(n) AS ({first} UNION ALL {more})"
    facts = _tables(door) | {"start": START_MS, "due": DUE, "hour": HOUR_MS, "day": DAY_MS}
    for text in texts:
        filled = text.format(**facts)
        at = filled.index("SELECT")
        door.sql(f"{filled[:at]} {series} {filled[at:]}")


@dataclass(slots=True)
class Seen:
    """What all plans of one database came to."""

    plans: int = 0
    pages: Counter[str] = field(default_factory=Counter)  # the most a statement touched, by its name
    claim_pages: dict[str, int] = field(default_factory=dict)  # for finding fifty, by circumstance
    wrong: list[str] = field(default_factory=list)


class Explained:
    """PostgreSQL: every hot statement in one circumstance after the other."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.seen = Seen()

    def all(self, when: str) -> None:
        """Explain all statements, with custom and with generic plans."""
        large = {
            row[0]
            for row in self._door.sql(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'rota'::regnamespace"
                f" AND pg_relation_size(oid) > {LARGE_BYTES}"
            )
            if row[0].startswith(LARGE)
        }
        for mode in ("force_custom_plan", "force_generic_plan"):
            self._door.sql(f"SET plan_cache_mode = {mode}")
            for name, hot in HOT.items():
                if hot.only != "sqlite":
                    self._judge(name, self._plan(hot.call), large, f"{when}, {mode.split('_')[1]}")
            self._judge_claim(f"{when}, {mode.split('_')[1]}")

    def _plan(self, call: Call) -> dict[str, Any]:
        text, values = arguments(self._door, call)
        given = f"({', '.join(literal(value) for value in values)})" if values else ""
        door = self._door
        door.sql(f"PREPARE hot AS {text}")
        door.run(door._view.execute("BEGIN"))
        try:
            found = door.sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE hot{given}")
        finally:
            door.run(door._view.execute("ROLLBACK"))
            door.sql("DEALLOCATE hot")
        plan: dict[str, Any] = json.loads(found[0][0])[0]["Plan"]
        return plan

    def _judge(self, name: str, plan: dict[str, Any], large: set[str], when: str) -> None:
        self.seen.plans += 1
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.seen.pages[name] = max(self.seen.pages[name], pages)
        for node in nodes(plan):
            relation = node.get("Relation Name", "")
            if node["Node Type"] == "Seq Scan" and relation in large:
                self.seen.wrong.append(f"{name} reads {relation} from end to end ({when})")
            read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            read += node.get("Rows Removed by Index Recheck", 0)
            if relation in large and read > MOST_ROWS:
                self.seen.wrong.append(f"{name} reads {read:,.0f} rows of {relation} ({when})")

    def _judge_claim(self, when: str) -> None:
        call = HOT["claim"].call
        plan = self._plan(call._replace(rows=(call.rows or ())[:1]))  # each further lane offers fifty of its own
        picked = next(node for node in nodes(plan) if node.get("Subplan Name") == "CTE picked")
        pages = picked["Shared Hit Blocks"] + picked["Shared Read Blocks"]
        self.seen.claim_pages[when] = pages
        if picked["Actual Rows"] != 50 or pages > CLAIM_PAGES:
            self.seen.wrong.append(f"a claim finds {picked['Actual Rows']:.0f} of 50 with {pages} pages ({when})")


def _on_postgres(stage: Stage, runner: asyncio.Runner) -> Seen:
    clock = HeldClock()
    door = Door(Postgres(stage.shared.url(stage.shared.fresh_database()), clock=clock), clock, runner)
    with closing(door):
        door.open()
        tables = door.sql(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'rota'::regnamespace"
        )
        for (table,) in tables:
            door.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")  # statistics are what the scenario says
        for name, value in _SETTINGS.items():  # plans as the sessions of the engine make them
            door.sql(f"SET {name} = '{value}'")
        explained = Explained(door)
        door.sql("ANALYZE")
        grow(door, _TURNS, 0, FUTURE[stage.size])
        there = 0
        for rows in HISTORY[stage.size]:
            if rows:
                grow(door, (_JOURNAL,), there, rows)
                there = rows
            explained.all(f"{rows:,} journal rows, stale")
            door.sql("ANALYZE")
            explained.all(f"{rows:,} journal rows, fresh")
        # As when ANALYZE came by while nothing waited: no rows on many pages, which no growth afterwards makes good.
        of_turn = "SELECT indexrelid FROM pg_index WHERE indrelid = 'rota.turn'::regclass"
        door.sql(f"UPDATE pg_class SET reltuples = 0 WHERE oid = 'rota.turn'::regclass OR oid IN ({of_turn})")
        explained.all("looked at while the queue was empty")
        return explained.seen


def _on_sqlite(stage: Stage, runner: asyncio.Runner) -> Seen:
    clock, seen = HeldClock(), Seen()
    door = Door(Sqlite(":memory:", clock=clock), clock, runner)
    with closing(door):
        door.open()
        grow(door, _TURNS, 0, FUTURE[stage.size])
        grow(door, (_JOURNAL,), 0, HISTORY[stage.size][-1])
        for when in ("no statistics", "fresh"):
            for name, hot in HOT.items():
                if hot.only != "postgres":
                    seen.plans += 1
                    seen.wrong += [f"{name} on SQLite: {step} ({when})" for step in _scans(door, hot.call)]
            door.sql("ANALYZE")
    return seen


def _scans(door: Door, call: Call) -> list[str]:
    text, values = arguments(door, call)
    names = {f"rota_{table}" for table in LARGE} | set(LARGE)
    steps = [row[3] for row in door.sql(f"EXPLAIN QUERY PLAN {text}", *values)]
    scans = [step for step in steps if step.startswith("SCAN ") and step.split()[1] in names]
    return [step for step in scans if not any(f"rota_{index}" in step for index in PARTIAL)]


def run(stage: Stage) -> Report:
    """Explain everything on both databases."""
    report = Report(scenario="P-1", title="query plans", store="both", form=stage.size)
    with asyncio.Runner() as runner:
        on_postgres, on_sqlite = _on_postgres(stage, runner), _on_sqlite(stage, runner)
    for where, seen in (("PostgreSQL", on_postgres), ("SQLite", on_sqlite)):
        report.say(where, f"{seen.plans} plans of {len(HOT)} statements, {len(seen.wrong)} read too much")
        report.wrong += seen.wrong
    claims = on_postgres.claim_pages
    report.say(
        "claim of 50",
        f"found with {min(claims.values())} to {max(claims.values())} pages (allowed {CLAIM_PAGES})",
        claim_pages=claims,
        pages=dict(on_postgres.pages.most_common()),
    )
    most = ", ".join(f"{name} {pages}" for name, pages in on_postgres.pages.most_common(5))
    report.say("most pages", f"{most}, with all that they write")
    report.say("grown to", f"{FUTURE[stage.size]:,} future turns, up to {HISTORY[stage.size][-1]:,} journal rows")
    return report
