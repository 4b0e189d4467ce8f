"""Query plans of the hot statements on a store that has grown: indexes only, and few pages for a claim (P-1, G-25).

`PLAN_ROWS` in the environment makes the store larger: 1000000 before a release.

Always true: no hot statement reads a large table from end to end, whatever stands in the journal and however many
turns wait for later.

Not here: how long it takes (benchmarks).
"""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from rota.engine.admit import asks
from rota.store.postgres import Postgres
from rota.store.sql import Call
from rota.store.sqlite import Sqlite
from tests.store.world import CATALOG, START_MS, Door, HeldClock

ROWS = int(os.environ.get("PLAN_ROWS", "20000"))
BUFFERS = 200  # pages that finding fifty due turns may touch
LARGE = ("turn", "bucket", "serial", "journal", "key", "member", "dead_letter", "rollup")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

_N = f"WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {ROWS})"
_GROWN = (
    # Two in a hundred are due; every thousandth runs, in the hands of fifty workers.
    f"""INSERT INTO {{turn}} (job, roster, member, standing, due_at, slot_at, priority, state, worker, leased_until,
                            attempt, stale_at)
        {_N} SELECT 'daily', 'users', 'm' || n, 1, {START_MS} + (n - {ROWS} / 50) * 3000,
                    {START_MS} + (n - {ROWS} / 50) * 3000, 0, CASE WHEN n % 1000 = 0 THEN 'running' ELSE 'waiting' END,
                    CASE WHEN n % 1000 = 0 THEN 'w' || n % 50 END,
                    CASE WHEN n % 1000 = 0 THEN {START_MS + HOUR_MS} END, 1,
                    {START_MS} + (n - {ROWS} / 50) * 3000
               FROM series""",
    f"""INSERT INTO {{turn}} (job, key, args, standing, due_at, priority)
        {_N} SELECT 'mail', 'k' || n, '{{{{}}}}', 0, {START_MS} + (n - {ROWS} / 50) * 100, n % 3 FROM series""",
    f"""INSERT INTO {{member}} (roster, key, data, weight, joined_at, updated_at)
        {_N} SELECT 'users', 'm' || n, '{{{{}}}}', 1, 0, 0 FROM series""",
    f"INSERT INTO {{key}} (job, key, turn, remember_ms) {_N} SELECT 'mail', 'k' || n, n, 1000 FROM series",
    f"""INSERT INTO {{journal}} (turn, run, attempt, job, started_at, ended_at, worker, outcome)
        {_N} SELECT n, 1, 1, 'daily', 0, {START_MS} - n, 'w1', 'succeeded' FROM series""",
    f"""INSERT INTO {{dead_letter}} (turn, run, job, tries, losses, reason, error, died_at)
        {_N} SELECT n, 1, 'mail', 1, 0, 'no', 'e' || n % 100, {START_MS} - n FROM series""",
    f"""INSERT INTO {{worker}} (incarnation, name, kind, version, started_at, beat_at, lease_until, concurrency, queues)
        {_N} SELECT 'w' || n, 'w', 'worker', '1', 0, 0, {START_MS + HOUR_MS}, 4, '' FROM series WHERE n <= 50""",
    "INSERT INTO {lane} (job, priority) VALUES ('mail', 1), ('mail', 2)",
    # Every hundredth of those that wait was told what it waits for.
    f"""UPDATE {{turn}} SET waits_for = 'limit b' || (id / 100) % 90
         WHERE state = 'waiting' AND due_at > {START_MS} AND id % 100 = 0""",
    f"""INSERT INTO {{bucket}} (scope, failures, cooling_until)
        {_N} SELECT 'b' || n, CASE WHEN n % 1000 = 0 THEN 1 ELSE 0 END, n FROM series""",
    f"INSERT INTO {{serial}} (key, turn, run) {_N} SELECT 'u' || n, n, 1 FROM series",
)


class Hot(NamedTuple):
    """A statement as the engine runs it; `only` where one database alone has it."""

    call: Call
    only: str | None = None


_ASKED = asks([CATALOG.jobs["daily"], CATALOG.jobs["mail"]])
_PAIRS = [(ask.job, ask.roster) for ask in _ASKED]
_LANE = {"job": "daily", "priority": 0, "cutoff_at": 2**62, "most": 50}
_END = ("waiting", 0, None, 0, 1, 0, 0, 0, 0, 0, 1000, None, None, None)
_NO_FILTER = {"job": None, "outcome": None, "error": None, "since_at": None}
HOT = {
    "claim": Hot(
        Call(
            "claim",
            {"most": 50, "worker": "w1", "cutoff_at": 2**62},
            [(ask.job, ask.roster, ask.lease_ms, 1000) for ask in _ASKED],
        ),
        "postgres",
    ),
    "claim_lane": Hot(Call("claim_lane", _LANE | {"worker": "w1", "lease_ms": 1000}), "sqlite"),
    "heads": Hot(Call("heads", _LANE), "sqlite"),
    "lanes": Hot(Call("lanes", {"careful": 0}, _PAIRS)),
    "next_due": Hot(Call("next_due", {}, _PAIRS)),
    "due_count": Hot(Call("due_count", {"cutoff_at": 2**62}, _PAIRS)),
    "running_of": Hot(Call("running_of", {}, [("daily",), ("mail",)])),
    "members_of": Hot(Call("members_of", {}, [(n, "users", f"m{n}") for n in range(1, 51)])),
    "lost_ids": Hot(Call("lost_ids", {"most": 100})),
    "silent_ids": Hot(Call("silent_ids", {"most": 100}, [("w0", START_MS), ("w1", -1)])),
    "doubted": Hot(Call("doubted", {})),
    "move_leases": Hot(Call("move_leases", {"worker": "w0"})),
    "turns_by_id": Hot(Call("turns_by_id", {}, [(n,) for n in range(1, 51)])),
    "settle": Hot(Call("settle", {}, [(n, 1, "w0", *_END) for n in range(1000, ROWS, 1000)])),
    "settle_well": Hot(Call("settle_well", {}, [(n, 1, "w0", START_MS, HOUR_MS) for n in range(1000, ROWS, 1000)])),
    "settle_fused": Hot(
        Call("settle_fused", {}, [(n, 1, "w0", START_MS, HOUR_MS, 0, 5, 0, 0, True) for n in range(1000, ROWS, 1000)]),
        "postgres",
    ),
    "finish_fused": Hot(
        Call("finish_fused", {}, [(n, 1, "w0", 0, 5, True) for n in range(1000, ROWS, 1000)]), "postgres"
    ),
    "journal_well": Hot(Call("journal_well", {}, [(n, 1, "w0", 0) for n in range(1000, ROWS, 1000)])),
    "glance": Hot(Call("glance", {}, _PAIRS)),
    "finish": Hot(Call("finish", {}, [(n, 1, "w0") for n in range(1000, ROWS, 1000)])),
    "settled_before": Hot(Call("settled_before", {}, [(n, 1, "w1") for n in range(1, 51)])),
    "held_by": Hot(Call("held_by", {"worker": "w1"})),
    "keys": Hot(Call("keys", {}, [("mail", f"k{n}") for n in range(1, 51)])),
    "name_keys": Hot(Call("name_keys", {}, [("mail", f"k{n}", n) for n in range(1, 51)])),
    "free_keys": Hot(Call("free_keys", {}, [("mail", f"k{n}", n) for n in range(1, 51)])),
    "lead": Hot(
        Call(
            "lead",
            {},
            [("digest", "users", f"m{n}", 1, 0, 3, START_MS) for n in range(1, 51)]
            + [("digest", None, None, 1, 0, 3, 1)],
        )
    ),
    "follow_on": Hot(Call("follow_on", {}, [(n, 3) for n in range(1, 51)])),
    "put_steps": Hot(Call("put_steps", {"steps": "{}", "turn": 1000, "attempt": 1, "worker": "w0"})),
    "turns_of": Hot(Call("turns_of", {"roster": "users", "member": "m7", "job": "daily"})),
    "turn_ids_of_members": Hot(Call("turn_ids_of_members", {"roster": "users"}, [("m7",), ("m8",)])),
    "known_members": Hot(Call("known_members", {"roster": "users"}, [("m7",), ("m8",)])),
    "members_after": Hot(Call("members_after", {"roster": "users", "after": "m5", "most": 500})),
    "turns_for_act": Hot(Call("turns_for_act", {}, [(7,), (8,)])),
    "standing": Hot(Call("standing", {}, [(n,) for n in range(1, 51)])),
    "dead_by_run": Hot(Call("dead_by_run", {"turn": 7, "run": 1})),
    "dead_by_error": Hot(Call("dead_by_error", {"error": "e7", "most": 100})),
    "survey": Hot(
        Call(
            "survey", {"cutoff_at": 2**62, "early_ms": 5}, [(ask.job, ask.roster, ask.lease_ms, 50) for ask in _ASKED]
        ),
        "postgres",
    ),
    "survey_lane": Hot(Call("survey_lane", _LANE | {"lease_ms": 1000, "early_ms": 5}), "sqlite"),
    "take": Hot(Call("take", {"worker": "w1"}, [(n, START_MS, START_MS) for n in range(1, 51)])),
    "wait": Hot(Call("wait", {}, [(n, START_MS, "limit x") for n in range(1, 51)])),
    "rouse": Hot(Call("rouse", {}, [("serial k", 1), ("cap k", 2)])),
    "serial_holders": Hot(Call("serial_holders", {}, [("k",)])),
    "hold_serials": Hot(Call("hold_serials", {}, [("k", 7, 1)])),
    "running_members": Hot(Call("running_members", {}, [("daily",)])),
    "rest_batch": Hot(Call("rest_batch", {}, [("daily", "batch daily", 5000)])),
    "waiting_for": Hot(Call("waiting_for", {"most": 500})),
    "buckets_cooling": Hot(Call("buckets_cooling", {"most": 500})),
    "buckets_named": Hot(Call("buckets_named", {}, [("b7",), ("b8",)])),
    "bucket_rows": Hot(Call("bucket_rows", {"first": "b7", "beyond": "b8", "most": 500})),
    "first_waiting": Hot(Call("first_waiting", {}, [("limit a",), ("serial b",)])),
    "waits_of": Hot(Call("waits_of", {"most": 1000}, [(7,), (ROWS - 7,)])),
    "due_behind": Hot(Call("due_behind", {"most": 1000}, [("daily",), ("mail",)])),
    "serial_runs": Hot(Call("serial_runs", {}, [("u7",), ("u8",)])),
    "job_counts": Hot(Call("job_counts", {"most": 1000}, [("daily", DAY_MS, 0), ("mail", HOUR_MS, 1)])),
    "stale_groups": Hot(Call("stale_groups", {"job": "daily", "most": 1000, "groups": 50})),
    "same_cause": Hot(Call("same_cause", {"job": "daily", "error": "e7", "most": 1000})),
    "failing_members": Hot(Call("failing_members", {"job": "daily", "error": "e7", "looked": 1000, "most": 100})),
    "dead_newest": Hot(Call("dead_newest", {}, [("daily",), ("mail",)])),
    "held_reasons": Hot(Call("held_reasons", {}, [("daily",), ("mail",)])),
    "turns_of_jobs": Hot(Call("turns_of_jobs", {"most": 1000}, [("daily", "users")])),
    "few_turns": Hot(Call("few_turns", {"roster": "users", "most": 1000})),
    "failures_since": Hot(Call("failures_since", {"turn": 7, "since_at": 0, "scan": 1000})),
    "runs_of_turns": Hot(Call("runs_of_turns", _NO_FILTER | {"run": None, "before": 2**62, "most": 50}, [(7,), (8,)])),
    "runs": Hot(Call("runs", _NO_FILTER | {"roster": None, "before": 2**62, "scan": 1000, "most": 50})),
    "turn_ids_of_job": Hot(Call("turn_ids_of_job", {"job": "daily", "roster": "users"}, [("m7",), ("m8",)])),
    "waiting_run": Hot(Call("waiting_run", {"turn": 7, "run": 1})),
    "rejudge": Hot(Call("rejudge", {}, [("limit a",)])),
    "serial_page": Hot(Call("serial_page", {"after": "u7", "most": 100})),
    "prune_serials": Hot(Call("prune_serials", {"after": "u7", "upto": "u70"})),
    "prune_keys": Hot(Call("prune_keys", {"most": 100})),
    "prune_dead": Hot(Call("prune_dead", {"keep_ms": HOUR_MS, "most": 100})),
}


def _grow(door: Door) -> Door:
    tables = {name: door.db.dictionary.table(name) for name in (*LARGE, "worker", "lane")}
    for text in _GROWN:
        door.sql(text.format(**tables))
    door.sql("ANALYZE")
    return door


@pytest.fixture(scope="module")
def grown(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes each database grow once for all plans of this module."""
    made: dict[str, Door] = {}

    def door(kind: str, ask: pytest.FixtureRequest) -> Door:
        if kind not in made:
            made[kind] = _made(kind, ask)
        return made[kind]

    yield door
    for one in made.values():
        one.close()
        one._runner.close()


def _made(kind: str, ask: pytest.FixtureRequest) -> Door:

    clock, runner = HeldClock(), asyncio.Runner()
    if kind == "sqlite":
        db: Sqlite | Postgres = Sqlite(":memory:", clock=clock)
    else:
        server = ask.getfixturevalue("postgres")
        db = Postgres(server.url(server.fresh_database()), clock=clock)
    door = Door(db, clock, runner)
    door.open()
    return _grow(door)


def _arguments(door: Door, call: Call) -> tuple[str, Sequence[Any]]:
    compiled = door.db.dictionary[call.name]
    values = compiled.scalars(call.values, door.clock.ms)
    if compiled.columns is None:
        return compiled.text, values
    assert call.rows
    if isinstance(door.db, Sqlite):
        return compiled.text, (json.dumps(call.rows), *values)
    return compiled.text, (*(list(column) for column in zip(*call.rows, strict=True)), *values)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _explained(door: Door, call: Call) -> dict[str, Any]:
    """The plan of a statement on PostgreSQL, with what it touched; what it changed is undone."""
    text, values = _arguments(door, call)
    door.sql("SELECT 1")
    door.run(door._view.execute("BEGIN"))
    try:
        found = door.sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", *values)
    finally:
        door.run(door._view.execute("ROLLBACK"))
    plan: dict[str, Any] = json.loads(found[0][0])[0]["Plan"]
    return plan


@pytest.mark.parametrize("name", [name for name, hot in HOT.items() if hot.only != "sqlite"])
def test_on_postgresql_a_hot_statement_reads_no_large_table_from_end_to_end(name, grown, request, postgres):
    plan = _explained(grown("postgres", request), HOT[name].call)
    scanned = {
        node["Relation Name"]
        for node in _nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith(LARGE)
    }
    empty = {one for one in scanned if one.startswith("journal_") and one != "journal_rest"}  # days without a row
    assert not scanned - empty, json.dumps(plan, indent=1)


@pytest.mark.parametrize("name", [name for name, hot in HOT.items() if hot.only != "postgres"])
def test_on_sqlite_a_hot_statement_reads_no_large_table_from_end_to_end(name, grown, request):
    door = grown("sqlite", request)
    text, values = _arguments(door, HOT[name].call)
    steps = [row[3] for row in door.sql(f"EXPLAIN QUERY PLAN {text}", *values)]
    names = {f"rota_{table}" for table in LARGE} | set(LARGE)
    scans = [step for step in steps if step.startswith("SCAN ") and step.split()[1] in names and " USING " not in step]
    assert not scans, steps


def test_a_claim_of_fifty_finds_them_with_few_pages_however_many_wait_for_later(grown, request, postgres):
    """G-25, P-1; of one lane, as each further lane offers fifty of its own."""
    call = HOT["claim"].call
    plan = _explained(grown("postgres", request), call._replace(rows=(call.rows or ())[:1]))
    picked = next(node for node in _nodes(plan) if node.get("Subplan Name") == "CTE picked")
    touched = picked["Shared Hit Blocks"] + picked["Shared Read Blocks"]
    assert picked["Actual Rows"] == 50
    assert touched <= BUFFERS, f"{touched} pages"


PAGES = ("job_counts", "stale_groups", "same_cause", "failing_members", "dead_newest", "turns_of_jobs", "few_turns")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_at_few_pages_of_a_job_however_many_of_its_members_are_late(name, grown, request, postgres):
    """G-25; of one job, with a bound of ten for each figure: 400 and more are late."""
    call = HOT[name].call
    bounds = {key: 10 if key in {"most", "looked"} else value for key, value in call.values.items()}
    rows = None if call.rows is None else call.rows[:1]  # "daily", where only "mail" has dead letters
    plan = _explained(grown("postgres", request), Call(name, bounds, rows))
    touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert touched <= BUFFERS, f"{touched} pages"


def test_a_page_of_keys_is_found_in_few_pages_in_a_table_that_has_no_statistics_yet(request, postgres):
    """P-1: many have just joined; the first worker looks whether all have their turns."""
    door = _made("postgres", request)
    turn = door.db.dictionary.table("turn")
    try:
        door.sql(f"DELETE FROM pg_statistic WHERE starelid = '{turn.replace(chr(34), '')}'::regclass")
        door.sql(f"UPDATE pg_class SET reltuples = -1 WHERE oid = '{turn.replace(chr(34), '')}'::regclass")
        keys = [(f"m{n}",) for n in range(1, 51)]
        plan = _explained(door, Call("turn_ids_of_job", {"job": "daily", "roster": "users"}, keys))
        touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        assert plan["Actual Rows"] == len(keys)
        assert touched <= BUFFERS * 2, f"{touched} pages"
    finally:
        door.close()
        door._runner.close()
