"""`rota db …`: make, migrate, check, prune and back up the store.

Always true: migrating a store that is current changes nothing; a check only reads; a backup never overwrites a file.

Not here: the tables and their migrations (store).
"""

from collections.abc import Callable, Iterable
from functools import partial
from os.path import getsize
from pathlib import Path
from typing import Any

import click

from rota import rosters as populations
from rota.cli import faults
from rota.cli.paper import Block, Fields, Result
from rota.cli.root import command, group
from rota.cli.session import Session
from rota.cli.words import Words, many
from rota.errors import BadInput, SchemaMismatch
from rota.store import chores, schema
from rota.store.port import Op, query
from rota.store.sql import Call
from rota.store.store import Store


@group("db")
def db() -> None:
    """The store itself."""


@command("init", "rota db init", "rota db init --db postgresql://user@host/shop", of=db)
async def init(session: Session) -> Result:
    """Make the store if it is not there, and write the jobs of the application into it."""
    async with session.opened() as store:
        done = await populations.reconcile(store)
        fields = {"store": store.db.name, "schema": schema.newest(), "jobs": len(store.catalog.jobs)}
    fields |= {"turnsAdded": done.added}
    return Result(fields=fields, text=_made)


def _made(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    added = many(fields["turnsAdded"], "turn")
    yield f"{fields['store']} is ready: schema {fields['schema']}, {many(fields['jobs'], 'job')}, {added} added"


@command("migrate", "rota db migrate", of=db)
async def migrate(session: Session) -> Result:
    """Bring an older store to the schema of this release; safe to run twice, and by two processes at once."""
    database = session.rota.database()
    ran: list[int] = []
    try:
        try:
            made = await database.open()
        except SchemaMismatch:
            version = await database.read(lambda: schema.current(database.dictionary))
            if version > schema.newest():
                raise
            made = False
            ran = await database.write(lambda: schema.migrate(database.dictionary, session.clock.token()))
            await database.open()
        fields = {"store": database.name, "schema": schema.newest(), "made": made, "ran": ran}
    finally:
        await database.close()
    return Result(fields=fields, text=_migrated)


def _migrated(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    if fields["made"]:
        yield f"{fields['store']} was empty and has schema {fields['schema']} now."
    elif fields["ran"]:
        yield f"{fields['store']} has schema {fields['schema']} now; ran {', '.join(map(str, fields['ran']))}."
    else:
        yield f"{fields['store']} has schema {fields['schema']} already."


@command("check", "rota db check", of=db)
async def check(session: Session) -> Result:
    """Check the file and what must always be true in it; exit 1 when something is not. Reads every turn."""
    async with session.opened() as store:
        findings = await store.read(lambda: _integrity(store))
        fields = {"store": store.db.name, "ok": not findings, "findings": findings}
    return Result(fields=fields, text=_checked, exit=faults.BAD if findings else faults.DONE)


def _integrity(store: Store) -> Op[list[str]]:
    """What is wrong, as sentences."""
    found: list[str] = []
    if store.db.dialect == "sqlite":
        rows = yield Call("sql", {"text": "PRAGMA integrity_check(20)"})
        found += [f"SQLite: {row[0]}" for row in rows if row[0] != "ok"]
    stray = (yield from query("stray_turns"))[0][0]
    if stray:
        found.append(f"{many(stray, 'turn belongs', 'turns belong')} to members that are not there")
    for job, slot, load, counted in (yield from query("wrong_loads")):
        found.append(f"slot {slot} of {job} says a load of {load}, its members weigh {counted}")
    asked = [(spec.name, spec.each) for spec in store.catalog.ordered() if spec.each is not None]
    for job, count in (yield from query("missing_turns", asked)):
        found.append(f"{many(count, 'member has', 'members have')} no turn of {job}: `rota roster sync` adds them")
    return found


def _checked(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    if fields["ok"]:
        yield f"✓ {fields['store']}: everything that must be true is true"
    for finding in fields["findings"]:
        yield f"✗ {finding}"


@command("prune", "rota db prune", of=db)
async def prune(session: Session) -> Result:
    """Delete what is older than it is kept (ROTA_RETAIN); workers and ticks do this by themselves, bit by bit."""
    async with session.opened() as store:
        retain = store.retain
        keep = {"journal": retain.journal, "rollups": retain.rollups}
        keep |= dict.fromkeys(("dead", "errors"), retain.dead) | dict.fromkeys(("audit", "pauses"), retain.audit)
        gone = {what: await _emptied(store, partial(chores.prune, what, keep[what])) for what in chores.PRUNED}
        gone["keys"] = await _emptied(store, chores.prune_keys)
        gone["buckets"] = await _emptied(store, chores.prune_buckets)
        gone["workers"] = await _emptied(store, chores.prune_workers)
        gone["cache"] = await _emptied(store, chores.sweep_cache)
        await store.db.keep_up(retain.journal)
    return Result(
        fields={"deleted": gone},
        text=lambda found, _words: (
            f"{many(sum(found['deleted'].values()), 'row')} deleted"
            + "".join(f", {number:,} of {what}" for what, number in found["deleted"].items() if number),
        ),
    )


async def _emptied(store: Store, make: Callable[[], Op[int]]) -> int:
    """Batch after batch, each a transaction of its own, until one is not full."""
    total = 0
    while (count := await store.write(make)) == chores.BATCH:
        total += count
    return total + count


@command("backup", "rota db backup /var/backups/shop.db", of=db)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
async def backup(session: Session, file: Path) -> Result:
    """Copy the store into a new file while it is in use; on PostgreSQL use pg_dump."""
    async with session.opened() as store:
        if store.db.dialect != "sqlite":
            raise BadInput(
                "a PostgreSQL store is backed up with its own tools: pg_dump --schema=rota --format=custom …"
            )
        where = _new_file(file)
        copied: Any = store.db  # of the two databases only SQLite has a backup of its own
        await copied.backup(where)
    fields = {"file": where, "bytes": await session.clock.in_thread(getsize, where)}
    return Result(fields=fields, text=lambda found, _words: (f"{found['file']}, {found['bytes']:,} bytes",))


def _new_file(file: Path) -> str:
    """The full path of a file that is not there yet, in a folder that is."""
    if file.exists():
        raise BadInput(f"{file} exists already, and a backup never overwrites: name a new file")
    where = file.absolute()
    if not where.parent.is_dir():
        raise BadInput(f"there is no folder {where.parent}: make it first")
    return str(where)
