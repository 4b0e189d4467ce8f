"""The limits on SQLite: loops without any framework, as fast as plain SQL and apsw go.

One transaction ends the last batch and claims the next; `journaled` writes a row for each end as well; `turns`
does what the loop of the same name in raw_postgres.py does.

Always true: WAL and `synchronous=FULL`, as rota's default; every job is a task of its own (`bare`: one after
the other).

Not here: retries, pauses, leases, limits, events: what a framework adds and costs.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import apsw

from benchmarks.children import ready
from benchmarks.raw_postgres import run_all
from benchmarks.tally import Tally

DAY_MS = 86_400_000

ONE_OFFS = """
CREATE TABLE job (
    id integer PRIMARY KEY AUTOINCREMENT, name text NOT NULL, args text, due_at integer NOT NULL,
    priority integer NOT NULL DEFAULT 0, state text NOT NULL DEFAULT 'waiting', attempt integer NOT NULL DEFAULT 0,
    worker text
);
CREATE INDEX job_due ON job (priority, due_at, id) WHERE state = 'waiting';
CREATE TABLE journal (
    id integer PRIMARY KEY AUTOINCREMENT, job integer NOT NULL, attempt integer NOT NULL, name text NOT NULL,
    started_at integer, ended_at integer, worker text, outcome text NOT NULL
);
CREATE INDEX journal_job ON journal (job);
"""
TURNS = """
CREATE TABLE turn (
    id integer PRIMARY KEY AUTOINCREMENT, job text NOT NULL, roster text, member text, due_at integer, slot_at integer,
    priority integer NOT NULL DEFAULT 0, state text NOT NULL DEFAULT 'waiting', run integer NOT NULL DEFAULT 1,
    attempt integer NOT NULL DEFAULT 0, worker text, leased_until integer, last_success_at integer, stale_at integer
);
CREATE UNIQUE INDEX turn_one ON turn (job, roster, member);
CREATE INDEX turn_due ON turn (job, priority, due_at, id) WHERE state = 'waiting';
CREATE INDEX turn_running ON turn (worker) WHERE state = 'running';
CREATE INDEX turn_stale ON turn (job, stale_at);
CREATE TABLE journal (
    id integer PRIMARY KEY AUTOINCREMENT, turn integer NOT NULL, run integer NOT NULL, attempt integer NOT NULL,
    job text NOT NULL, roster text, member text, slot_at integer, started_at integer, ended_at integer, worker text,
    outcome text NOT NULL
);
CREATE INDEX journal_turn ON journal (turn, run);
"""
LOG_ENDS = """
INSERT INTO journal (job, attempt, name, started_at, ended_at, worker, outcome)
SELECT job.id, job.attempt, job.name, ?2, ?2, 'w1', 'succeeded' FROM json_each(?1) JOIN job ON job.id = value
"""
END = "DELETE FROM job WHERE id IN (SELECT value FROM json_each(?))"
CLAIM = """
UPDATE job SET state = 'running', attempt = attempt + 1, worker = 'w1'
 WHERE id IN (SELECT id FROM job WHERE state = 'waiting' AND due_at <= ? ORDER BY priority, due_at, id LIMIT ?)
RETURNING id, args
"""
CLAIM_TURNS = """
UPDATE turn SET state = 'running', attempt = attempt + 1, worker = 'w1', leased_until = ?1 + 60000
 WHERE id IN (SELECT id FROM turn WHERE job = 'refresh' AND priority = 0 AND state = 'waiting' AND due_at <= ?1
               ORDER BY due_at, id LIMIT ?2)
RETURNING id, attempt, member, slot_at, run
"""
SETTLE_TURNS = """
UPDATE turn SET state = 'waiting', worker = NULL, leased_until = NULL, run = run + 1, due_at = ?3, slot_at = ?3,
       last_success_at = ?4, stale_at = ?4 + 108000000
 WHERE id = ?1 AND attempt = ?2 AND worker = 'w1'
"""
LOG_TURNS = """
INSERT INTO journal (turn, run, attempt, job, roster, member, slot_at, started_at, ended_at, worker, outcome)
VALUES (?, ?, ?, 'refresh', 'members', ?, ?, ?, ?, 'w1', 'succeeded')
"""


def connect(path: str) -> apsw.Connection:
    """Open the file with rota's own settings."""
    connection = apsw.Connection(path)
    connection.set_busy_timeout(10_000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    return connection


def fill_one_offs(path: str, jobs: int) -> None:
    """Make the table and its rows."""
    connection = connect(path)
    connection.execute(ONE_OFFS)
    with connection:
        rows = [("noop", '{"number":1}', 0)] * jobs
        connection.executemany("INSERT INTO job (name, args, due_at) VALUES (?, ?, ?)", rows)
    connection.close()


def fill_turns(path: str, turns: int) -> None:
    """Make the table and its rows, all due."""
    connection = connect(path)
    connection.execute(TURNS)
    with connection:
        rows = [(f"m{number}",) for number in range(turns)]
        text = "INSERT INTO turn (job, roster, member, due_at, slot_at) VALUES ('refresh', 'members', ?, 0, 0)"
        connection.executemany(text, rows)
    connection.close()


async def drain_one_offs(connection: apsw.Connection, batch: int, mark, *, kind: str) -> None:
    ended: Sequence[int] = []
    while True:
        now = time.time_ns() // 1_000_000
        connection.execute("BEGIN IMMEDIATE")
        if ended:
            listed = json.dumps(ended)
            if kind == "journaled":
                connection.execute(LOG_ENDS, (listed, now))
            connection.execute(END, (listed,))
        rows = connection.execute(CLAIM, (now, batch)).fetchall()
        connection.execute("COMMIT")
        await run_all([row[1] for row in rows], mark, tasks=kind != "bare")
        if not rows and not ended:
            await asyncio.sleep(0.005)
        ended = [row[0] for row in rows]


async def drain_turns(connection: apsw.Connection, batch: int, mark) -> None:
    ended: list[tuple[object, ...]] = []
    while True:
        now = time.time_ns() // 1_000_000
        connection.execute("BEGIN IMMEDIATE")
        if ended:
            connection.executemany(SETTLE_TURNS, [(row[0], row[1], now + DAY_MS, now) for row in ended])
            connection.executemany(LOG_TURNS, [(row[0], row[4], row[1], row[2], row[3], now, now) for row in ended])
        rows = connection.execute(CLAIM_TURNS, (now, batch)).fetchall()
        connection.execute("COMMIT")
        await run_all([row[2] for row in rows], mark, tasks=True)
        if not rows and not ended:
            await asyncio.sleep(0.005)
        ended = rows


async def serve(options: argparse.Namespace) -> None:
    connection = connect(options.db)
    mark = Tally(options.tally).marker(options.slot)
    ready()
    if options.kind == "turns":
        await drain_turns(connection, options.batch, mark)
    await drain_one_offs(connection, options.batch, mark, kind=options.kind)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["bare", "plain", "journaled", "turns"])
    parser.add_argument("db")
    parser.add_argument("batch", type=int)
    parser.add_argument("tally", type=Path)
    parser.add_argument("slot", type=int)
    asyncio.run(serve(parser.parse_args()))
