"""`rota roster …`: list, show, sync, pause, resume, rebalance.

Always true: a sync that would let too many go is refused until forced; a rebalance is shown before it is done.

Not here: what syncing and evening out mean (rosters.py of the package).
"""

from collections.abc import Iterable
from dataclasses import asdict

import click

from rota import rosters as populations
from rota.cli import acts
from rota.cli.paper import Block, Fields, Result, Table
from rota.cli.root import command, group
from rota.cli.session import Session
from rota.cli.status import roster_table
from rota.cli.words import Words, count, duration, many, share
from rota.define.units import instant_text
from rota.errors import Conflict
from rota.insight.known import known_roster
from rota.insight.status import Status
from rota.insight.status import status as status_of
from rota.store import reads
from rota.store.store import Store


@group("roster")
def roster() -> None:
    """Rosters: the populations that jobs run for."""


async def _status(session: Session, store: Store) -> Status:
    return await status_of(store, application=session.rota.name, environment=session.settings.env)


@command("ls", "rota roster ls", "rota roster ls --json", of=roster)
async def ls(session: Session) -> Result:
    """List rosters with their members by state."""
    async with session.opened() as store:
        found = await _status(session, store)
    fields = {"rosters": found.as_json()["rosters"]}
    return Result(fields=fields, text=_listed)


def _listed(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    if not fields["rosters"]:
        yield "There are no rosters: declare one with rota.roster(name)."
        return
    yield roster_table(fields["rosters"])


@command("show", "rota roster show sellers", of=roster)
@click.argument("name", metavar="ROSTER")
async def show(session: Session, name: str) -> Result:
    """Show one roster: its members by state, its jobs, its last sync."""
    async with session.opened() as store:
        await known_roster(store, name)
        found = (await _status(session, store)).as_json()
        rows = {row.name: row for row in await store.read(reads.rosters)}
    row, spec = rows.get(name), session.rota.catalog.rosters.get(name)
    mine = next((one for one in found["rosters"] if one["roster"] == name), {"roster": name})
    fields = {
        **mine,
        "facets": list(spec.facets) if spec is not None else [],
        "source": spec is not None and spec.source is not None,
        "syncedAt": None if row is None or row.synced_at is None else instant_text(row.synced_at),
        "syncNote": None if row is None else row.sync_note,
        "jobs": [one for one in found["jobs"] if one["roster"] == name],
    }
    return Result(fields=fields, text=_shown)


def _shown(fields: Fields, words: Words) -> Iterable[Block]:
    active = fields["members"] - fields["paused"]
    yield f"{fields['roster']}: {many(fields['members'], 'member')}, {share(fields['fresh'], active)} fresh"
    others = [f"{count(fields[name])} {name}" for name in ("late", "stale", "new", "paused") if fields[name]]
    if others:
        yield ", ".join(others)
    if fields["syncedAt"]:
        yield f"synced {words.since(fields['syncedAt'])}: {fields['syncNote']}"
    elif fields["source"]:
        yield "has a source and was never synced"
    yield Table(
        heads=("JOB", ">TURNS", ">DUE", ">RUNNING", ">HELD", ">DEAD", "NEXT"),
        rows=[
            [
                one["job"],
                *[count(one[name]) for name in ("turns", "due", "running", "held", "dead")],
                f"paused by {one['paused']['by']}" if one["paused"] else words.at(one["nextDueAt"]),
            ]
            for one in fields["jobs"]
        ],
    )


@command("sync", "rota roster sync", "rota roster sync sellers --force", of=roster)
@click.argument("names", metavar="[ROSTER]…", nargs=-1)
@click.option("--force", is_flag=True, help="Also when more members would go than the roster allows.")
async def sync(session: Session, names: tuple[str, ...], *, force: bool) -> Result:
    """Bring rosters to what their sources yield, and jobs to what the code declares; all of them without a name."""
    catalog = session.rota.catalog
    done = []
    async with session.opened() as store:
        chosen = [catalog.roster(name) for name in names] or [spec for spec in catalog.rosters.values() if spec.source]
        for spec in chosen:
            synced = await populations.sync(store, spec.name, force=force)
            done.append({"roster": spec.name, **asdict(synced)})
        reconciled = await populations.reconcile(store)
    fields = {"rosters": done, "turnsAdded": reconciled.added, "turnsMoved": reconciled.moved, "busy": reconciled.busy}
    return Result(fields=fields, text=_synced)


def _synced(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    for one in fields["rosters"]:
        members = many(one["members"], "member")
        yield f"{one['roster']}: {one['joined']} joined, {one['changed']} changed, {one['left']} left; {members}"
    if not fields["rosters"]:
        yield "No roster has a source."
    if fields["turnsAdded"] or fields["turnsMoved"]:
        yield f"{many(fields['turnsAdded'], 'turn')} added, {count(fields['turnsMoved'])} moved"
    if fields["busy"]:
        yield "Another process is bringing jobs up to date, and goes on with it."


@command("pause", "rota roster pause sellers --reason 'vendor is down' --until 2h --yes", of=roster)
@click.argument("name", metavar="ROSTER")
@acts.reason_option
@acts.until_option
@acts.count_option
async def pause(session: Session, name: str, reason: str | None, until: str | None, count: int | None) -> Result:
    """Pause everything for a roster's members."""
    async with session.opened() as store:
        await known_roster(store, name)
        members = await populations.count(store, name) if name in store.catalog.rosters else None
    session.confirm(f"pause {name}" + ("" if members is None else f" with {many(members, 'member')}"), members, count)
    return await acts.pause(session, {"roster": name}, reason=reason, until=until)


@command("resume", "rota roster resume sellers", of=roster)
@click.argument("name", metavar="ROSTER")
@acts.reason_option
async def resume(session: Session, name: str, reason: str | None) -> Result:
    """End the pause of a roster."""
    return await acts.resume(session, {"roster": name}, reason=reason)


@command(
    "rebalance", "rota roster rebalance sellers --preview", "rota roster rebalance sellers --yes --count 12", of=roster
)
@click.argument("name", metavar="ROSTER")
@click.option("--job", "only", metavar="JOB", help="Only the slots of this job.")
@click.option("--preview", is_flag=True, help="Only say what would be moved.")
@acts.reason_option
@acts.count_option
async def rebalance(
    session: Session, name: str, only: str | None, reason: str | None, count: int | None, *, preview: bool
) -> Result:
    """Even out the slots of a roster's jobs: as few members as it takes move, each to a later instant."""
    catalog = session.rota.catalog
    jobs = [spec.name for spec in catalog.of_roster(catalog.roster(name).name) if spec.balanced]
    if only is not None:
        jobs = [catalog.job(only).name]
    if not jobs:
        raise Conflict(f"no job of {name} has slots to even out: only every() over a roster has")
    async with session.opened() as store:
        found = {job: await populations.rebalance(store, job, preview=True) for job in jobs}
        moves = sum(one.moves for one in found.values())
        if not preview and moves:
            session.confirm(f"rebalance {name}: {many(moves, 'turn moves', 'turns move')}", moves, count, heavy=True)
            found = {job: await populations.rebalance(store, job, by=session.by, reason=reason) for job in jobs}
    rows = [
        {
            "job": job,
            "moves": one.moves,
            "spreadBefore": one.spread_before,
            "spreadAfter": one.spread_after,
            "longestDelay": one.longest_delay_ms / 1000,
        }
        for job, one in found.items()
    ]
    return Result(fields={"roster": name, "preview": preview, "jobs": rows}, text=_rebalanced)


def _rebalanced(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    verb = "would move" if fields["preview"] else "moved"
    for one in fields["jobs"]:
        if not one["moves"]:
            yield f"{one['job']}: even, nothing to move"
            continue
        later = duration(one["longestDelay"])
        spread = f"fullest minus emptiest slot {one['spreadBefore']} → {one['spreadAfter']}"
        yield f"{one['job']}: {count(one['moves'])} {verb}, at most {later} later; {spread}"
