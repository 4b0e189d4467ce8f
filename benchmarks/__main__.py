"""`python -m benchmarks`: run the measures, print one table, and write it down where asked to.

Always true: a measure that fails is named with its reason, the others go on, and the exit code is 1; what is
written says when, on what machine and with which versions it was measured.

Not here: any measuring.
"""

import argparse
import asyncio
import contextlib
import importlib
import io
import os
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.stores import Stores
from benchmarks.table import Row, machine, markdown_table, text_table, today

MEASURES = ("throughput", "enqueue", "latency", "population", "idle", "cold", "panchangam", "pages", "policies")

QUIET = 1.0  # load average above which somebody else uses the machine; a guess

INTRODUCTION = """# Benchmarks

Written by `make bench` (`python -m benchmarks --write docs/benchmarks.md`); do not edit.

Measured on {date} ({run}) on: {machine}; PostgreSQL {postgres} with fsync, full_page_writes and synchronous_commit on,
SQLite {sqlite} in WAL mode with `synchronous=FULL`, {driver}; client, database and workers share the machine,
whose load average before the run was {load}.
Peers: {peers}, in environments of their own.

Each figure is the median of its rounds, contenders in turns; `rounds` is half the range of the rounds. Read ratios
under 1.3 as ties. The raw loops are what plain SQL and the driver do without any framework, each job a task of its
own; "bare" runs the jobs one after the other and so shows the store alone. rota keeps its journal, as by default;
PgQueuer writes its log, Huey has none. Targets are those of the design.
"""


def chosen() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller counts, one round")
    parser.add_argument("--long", action="store_true", help="also what takes a quarter of an hour (policies)")
    parser.add_argument("--only", metavar="NAME", choices=MEASURES, action="append", help=", ".join(MEASURES))
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the table as a document")
    return parser.parse_args()


async def measure(name: str, stores: Stores, plan: Plan) -> list[Row]:
    """Run one measure by its name."""
    module = importlib.import_module(f"benchmarks.{name}")
    began = time.monotonic()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # stores that are made announce themselves
            return await module.measure(stores, plan)
    finally:
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


async def run(options: argparse.Namespace) -> int:
    """Run what was asked for."""
    plan = replace(QUICK if options.quick else FULL, long=options.long)
    rows: list[Row] = []
    failed: list[str] = []
    load = os.getloadavg()[0]
    if load > QUIET:
        print(f"the load average is {load:.1f}: others are at work here, figures will be wrong", file=sys.stderr)
    with Stores() as stores:
        for name in options.only or MEASURES:
            try:
                rows += await measure(name, stores, plan)
            except Exception as error:  # noqa: BLE001 -- named, and the others go on
                failed.append(f"{name} failed: {type(error).__name__}: {error}")
        print(text_table(rows))
        for line in failed:
            print(line, file=sys.stderr)
        if options.write is not None and not failed:
            options.write.parent.mkdir(exist_ok=True)
            options.write.write_text(document(rows, stores, load, quick=options.quick))
    return 1 if failed else 0


def document(rows: list[Row], stores: Stores, load: float, *, quick: bool) -> str:
    """The table with what a reader must know of it."""
    import apsw

    peers = Path(__file__).parent / "peers"
    versions = [
        next(line for line in (peers / f"{peer}.txt").read_text().splitlines() if line.startswith(f"{peer}=="))
        for peer in ("pgqueuer", "huey")
    ]
    driver = f"asyncpg {metadata.version('asyncpg')}"
    words = {
        "date": today(),
        "run": "quick run" if quick else "full run",
        "machine": machine(),
        "postgres": stores.server.psql("SHOW server_version").split()[0],
        "sqlite": apsw.sqlite_lib_version(),
        "peers": ", ".join(version.replace("==", " ") for version in versions),
        "driver": driver,
        "load": f"{load:.1f}" + (" (others were at work: read nothing into these figures)" if load > QUIET else ""),
    }
    return f"{INTRODUCTION.format(**words)}\n{markdown_table(rows)}\n"


if __name__ == "__main__":
    sys.exit(asyncio.run(run(chosen())))
