"""The limits on PostgreSQL: loops without any framework, as fast as plain SQL and asyncpg go.

`oneoff`: the ends of the last batch and the next claim in one statement, ended rows deleted; with `journal`, a
row for each end as well. `turns`: standing turns, claimed in one statement and settled in another with the next
due time, freshness and a journal row, five indexes.

Always true: the same durability as the contenders; every job is a task of its own, as anything that runs
many at once needs; `bare` runs them one after the other and shows the store alone.

Not here: retries, pauses, leases, limits, events: what a framework adds and costs.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from benchmarks.children import ready
from benchmarks.tally import Tally

DAY_MS = 86_400_000

ONE_OFFS = """
CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, args text, due_at bigint NOT NULL,
    priority integer NOT NULL DEFAULT 0, state text NOT NULL DEFAULT 'waiting', attempt integer NOT NULL DEFAULT 0,
    worker text
) WITH (fillfactor = 70);
CREATE INDEX job_due ON job (priority, due_at, id) WHERE state = 'waiting';
CREATE TABLE journal (
    job bigint NOT NULL, attempt integer NOT NULL, name text NOT NULL, started_at bigint, ended_at bigint, worker text,
    outcome text NOT NULL
);
CREATE INDEX journal_job ON journal (job);
"""

_CLAIM = """
UPDATE job SET state = 'running', attempt = attempt + 1, worker = $2
 WHERE id = any(array(SELECT id FROM job WHERE state = 'waiting' AND due_at <= $3
                       ORDER BY priority, due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED))
RETURNING id, args
"""
PLAIN = f"WITH ended AS (DELETE FROM job WHERE id = any($1::bigint[]) AND worker = $2) {_CLAIM}"
JOURNALED = f"""
WITH ended AS (DELETE FROM job WHERE id = any($1::bigint[]) AND worker = $2 RETURNING id, attempt, name),
     written AS (INSERT INTO journal SELECT id, attempt, name, $3::bigint, $3::bigint, $2, 'succeeded' FROM ended)
{_CLAIM}
"""

TURNS = """
CREATE TABLE turn (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job text NOT NULL, roster text, member text, due_at bigint,
    slot_at bigint, priority integer NOT NULL DEFAULT 0, state text NOT NULL DEFAULT 'waiting',
    run integer NOT NULL DEFAULT 1, attempt integer NOT NULL DEFAULT 0, worker text, leased_until bigint,
    last_success_at bigint, stale_at bigint
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX turn_one ON turn (job, roster, member);
CREATE INDEX turn_due ON turn (job, priority, due_at, id) WHERE state = 'waiting';
CREATE INDEX turn_running ON turn (worker) WHERE state = 'running';
CREATE INDEX turn_stale ON turn (job, stale_at);
CREATE TABLE journal (
    turn bigint NOT NULL, run integer NOT NULL, attempt integer NOT NULL, job text NOT NULL, roster text, member text,
    slot_at bigint, started_at bigint, ended_at bigint, worker text, outcome text NOT NULL
);
CREATE INDEX journal_turn ON journal (turn, run);
"""

CLAIM_TURNS = """
UPDATE turn SET state = 'running', attempt = attempt + 1, worker = $1, leased_until = $2::bigint + 60000
 WHERE id = any(array(SELECT id FROM turn WHERE job = 'refresh' AND priority = 0 AND state = 'waiting' AND due_at <= $2
                       ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED))
RETURNING id, attempt, member, slot_at
"""
SETTLE_TURNS = """
WITH ends AS (SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bigint[]) AS ends(id, attempt, next_at)),
     settled AS (
    UPDATE turn SET state = 'waiting', worker = NULL, leased_until = NULL, run = run + 1, due_at = ends.next_at,
           slot_at = ends.next_at, last_success_at = $5::bigint, stale_at = $5::bigint + 108000000
      FROM ends WHERE turn.id = ends.id AND turn.attempt = ends.attempt AND turn.worker = $4
    RETURNING turn.id, turn.run - 1 AS run, turn.attempt, job, roster, member, ends.next_at - 86400000 AS slot_at)
INSERT INTO journal SELECT id, run, attempt, job, roster, member, slot_at, $5::bigint, $5::bigint, $4, 'succeeded'
  FROM settled RETURNING turn
"""


async def run_all(batch: Sequence[object], mark, *, tasks: bool) -> None:
    """Run the jobs of a batch: side by side, each a task of its own, or (`bare`) one after the other."""

    async def noop(args: object) -> None:
        mark()

    if tasks:
        await asyncio.gather(*(noop(args) for args in batch))
        return
    for args in batch:
        await noop(args)


async def fill_one_offs(db: str, jobs: int) -> None:
    """Make the table and its rows."""
    connection = await asyncpg.connect(db)
    await connection.execute(ONE_OFFS)
    rows = [("noop", '{"number":1}', 0)] * jobs
    await connection.copy_records_to_table("job", records=rows, columns=["name", "args", "due_at"])
    await connection.execute("ANALYZE job")
    await connection.close()


async def fill_turns(db: str, turns: int) -> None:
    """Make the table and its rows, all due."""
    connection = await asyncpg.connect(db)
    await connection.execute(TURNS)
    rows = [("refresh", "members", f"m{number}", 0, 0) for number in range(turns)]
    columns = ["job", "roster", "member", "due_at", "slot_at"]
    await connection.copy_records_to_table("turn", records=rows, columns=columns)
    await connection.execute("VACUUM ANALYZE turn")
    await connection.close()


async def drain_one_offs(connection, text: str, batch: int, mark, *, tasks: bool) -> None:
    statement = await connection.prepare(text)
    ended: Sequence[int] = []
    while True:
        rows = await statement.fetch(ended, "w1", time.time_ns() // 1_000_000, batch)
        if not rows and not ended:
            await asyncio.sleep(0.005)
        await run_all([row[1] for row in rows], mark, tasks=tasks)
        ended = [row[0] for row in rows]


async def drain_turns(connection, batch: int, mark) -> None:
    claim, settle = await connection.prepare(CLAIM_TURNS), await connection.prepare(SETTLE_TURNS)
    while True:
        now = time.time_ns() // 1_000_000
        rows = await claim.fetch("w1", now, batch)
        await run_all([row[2] for row in rows], mark, tasks=True)
        if rows:
            following = [now + DAY_MS] * len(rows)
            await settle.fetch([row[0] for row in rows], [row[1] for row in rows], following, "w1", now)
        else:
            await asyncio.sleep(0.005)


async def serve(options: argparse.Namespace) -> None:
    connection = await asyncpg.connect(options.db)
    mark = Tally(options.tally).marker(options.slot)
    ready()
    if options.kind == "turns":
        await drain_turns(connection, options.batch, mark)
    text = JOURNALED if options.kind == "journaled" else PLAIN
    await drain_one_offs(connection, text, options.batch, mark, tasks=options.kind != "bare")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["bare", "plain", "journaled", "turns"])
    parser.add_argument("db")
    parser.add_argument("batch", type=int)
    parser.add_argument("tally", type=Path)
    parser.add_argument("slot", type=int)
    asyncio.run(serve(parser.parse_args()))
