"""`rota member …`: list, show, add, rm, run, pause, resume, move, hold, unhold.

Always true: KEY is ROSTER/KEY, or the key alone where only one roster has it; a member that goes takes its turns along,
so that is confirmed first.

Not here: joining and leaving (rosters.py of the package), the verbs on turns (operate.py).
"""

from collections.abc import Iterable
from typing import Any

import click

from rota import operate
from rota import rosters as populations
from rota.cli import acts, rows
from rota.cli.paper import Block, Fields, Result, Table
from rota.cli.root import command, group
from rota.cli.session import Session
from rota.cli.words import Words, count, many
from rota.define.names import read_json
from rota.define.roster import Member
from rota.errors import BadInput
from rota.insight.known import member_of_text
from rota.insight.runs import member_detail

MARKS = {"fresh": "●", "late": "◷", "stale": "▲", "new": "◌", "paused": "‖"}


@group("member")
def member() -> None:
    """Members of rosters, and their turns."""


@command("ls", "rota member ls sellers", "rota member ls sellers --after s100 --limit 500 --json", of=member)
@click.argument("roster", metavar="ROSTER")
@click.option("--after", metavar="KEY", help="Go on after this key.")
@click.option("--limit", type=click.IntRange(1, 5_000), default=50, metavar="N", help="At most so many.")
async def ls(session: Session, roster: str, after: str | None, limit: int) -> Result:
    """List the members of a roster in the order of their keys."""
    async with session.opened() as store:
        found = await populations.members(store, roster, after=after, limit=limit)
        total = await populations.count(store, roster)
    fields = {
        "roster": roster,
        "items": [_member(one) for one in found],
        "next": found[-1].key if len(found) == limit else None,
        "total": total,
    }
    return Result(fields=fields, text=_listed)


def _member(one: Member) -> dict[str, Any]:
    return {"key": one.key, "zone": one.zone, "data": dict(one.data), "owner": one.owner, "weight": one.weight}


def _listed(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    if not fields["items"]:
        yield f"{fields['roster']} has no members" + (" after that key." if fields["total"] else ".")
        return
    yield Table(
        heads=("KEY", "OWNER", "ZONE", ">WEIGHT", "DATA"),
        rows=[
            [one["key"], one["owner"] or "–", one["zone"] or "–", count(one["weight"]), _short(one["data"])]
            for one in fields["items"]
        ],
    )
    if fields["next"] is not None:
        shown, total = count(len(fields["items"])), count(fields["total"])
        yield f"{shown} of {total}; more: rota member ls {fields['roster']} --after {fields['next']}"


def _short(data: Fields) -> str:
    return ", ".join(f"{name}={value}" for name, value in data.items()) or "–"


@command("show", "rota member show sellers/s1", of=member)
@click.argument("key", metavar="KEY")
async def show(session: Session, key: str) -> Result:
    """Show a member and its turns."""
    async with session.opened() as store:
        found = await member_detail(store, key)
    turns = [rows.turn(one) for one in found.turns]
    return Result(fields={**rows.member(found.member, found.roster), "turns": turns}, text=_shown)


def _shown(fields: Fields, words: Words) -> Iterable[Block]:
    yield f"{fields['roster']}/{fields['key']}"
    about = [fields["zone"] or "", f"owner {fields['owner']}" if fields["owner"] else "", _short(fields["data"])]
    yield " · ".join([part for part in about if part not in {"", "–"}] + [f"joined {words.since(fields['joinedAt'])}"])
    yield Table(
        heads=("JOB", "STATE", "DOING", "LAST SUCCESS", "NEXT", "SLOT", ">TRIES", "RUN"),
        rows=[
            [
                one["job"],
                f"{MARKS[one['state']]} {one['state']}",
                one["doing"],
                words.since(one["lastSuccessAt"]) if one["lastSuccessAt"] else "never",
                words.at(one["dueAt"]),
                words.at(one["slotAt"]) + (" (pinned)" if one["pinned"] else ""),
                count(one["tries"]),
                one["run"],
            ]
            for one in fields["turns"]
        ],
    )


@command("add", 'rota member add sellers/s1 --zone Europe/Berlin --data \'{"region": "eu"}\'', of=member)
@click.argument("name", metavar="ROSTER/KEY")
@click.option("--zone", metavar="ZONE", help="Its own zone, such as Europe/Berlin.")
@click.option("--data", metavar="JSON", help="Its data, an object.")
@click.option("--owner", metavar="KEY", help="The user it belongs to.")
@click.option("--weight", type=int, metavar="N", help="How much work it is, compared to others.")
@click.option("--slot", type=int, metavar="N", help="Pin its place in the period.")
async def add(session: Session, name: str, **given: Any) -> Result:
    """Add a member, or change what is given of one that is there."""
    roster, slash, key = name.partition("/")
    if not slash or not key:
        raise BadInput(f"a new member is named ROSTER/KEY, not {name!r}")
    slot = given.pop("slot")
    fields = {field: value for field, value in given.items() if value is not None}
    if "data" in fields:
        fields["data"] = read_json(fields["data"], what="--data")
    async with session.opened() as store:
        before = await populations.get(store, roster, key)
        found = await populations.join(store, roster, key, slot=slot, **fields)
    verb = "changed" if before is not None else "joined"
    return Result(
        fields={"roster": roster, "created": before is None, **_member(found)},
        text=lambda _fields, _words: (f"{roster}/{key} {verb}.",),
    )


@command("rm", "rota member rm sellers/s1 --yes", of=member)
@click.argument("key", metavar="KEY")
async def rm(session: Session, key: str) -> Result:
    """Take a member out, with its turns; what runs ends first. Its past runs stay in the journal."""
    async with session.opened() as store:
        roster, name = await member_of_text(store, key)
        session.confirm(f"remove {roster}/{name} and its turns", 1)
        left = await populations.leave(store, roster, name)
    return Result(
        fields={"roster": roster, "key": name, "left": left},
        text=lambda _fields, _words: (f"{roster}/{name} left.",),
    )


@command("run", "rota member run sellers/s1 --job refresh --wait 1m", of=member)
@click.argument("key", metavar="KEY")
@click.option("--job", metavar="JOB", help="Which job; needed where its roster has several.")
@click.option("--wait", metavar="DURATION", help="Wait for its end; exit 1 when it failed.")
@acts.reason_option
async def run(session: Session, key: str, job: str | None, wait: str | None, reason: str | None) -> Result:
    """Run a job for a member now; its slots stay."""
    async with session.opened() as store:
        roster, name = await member_of_text(store, key)
        if job is None:
            jobs = [spec.name for spec in store.catalog.of_roster(roster)]
            if len(jobs) != 1:
                raise BadInput(f"{roster} has {many(len(jobs), 'job')} ({', '.join(jobs)}): say which with --job")
            job = jobs[0]
        spec = store.catalog.job(job)
        if spec.each != roster:
            raise BadInput(f"{job} does not run for members of {roster}, but for {spec.each or 'nobody'}")
        return await acts.run_now(session, store, job, name, reason=reason, wait=wait)


async def _named(session: Session, key: str) -> str:
    async with session.opened() as store:
        return "/".join(await member_of_text(store, key))


@command("pause", "rota member pause sellers/s1 --reason 'on holiday' --until 2026-04-01T00:00Z", of=member)
@click.argument("key", metavar="KEY")
@acts.reason_option
@acts.until_option
async def pause(session: Session, key: str, reason: str | None, until: str | None) -> Result:
    """Pause a member."""
    return await acts.pause(session, {"member": await _named(session, key)}, reason=reason, until=until)


@command("resume", "rota member resume sellers/s1", of=member)
@click.argument("key", metavar="KEY")
@acts.reason_option
async def resume(session: Session, key: str, reason: str | None) -> Result:
    """End the pause of a member."""
    return await acts.resume(session, {"member": await _named(session, key)}, reason=reason)


@command("move", "rota member move sellers/s1 --slot 14 --job refresh", of=member)
@click.argument("key", metavar="KEY")
@click.option(
    "--slot", type=int, required=True, metavar="N", help="The slot: an hour of the day, or part of the period."
)
@click.option("--job", metavar="JOB", help="Only in this job.")
async def move(session: Session, key: str, slot: int, job: str | None) -> Result:
    """Pin a member to a slot."""
    async with session.opened() as store:
        roster, name = await member_of_text(store, key)
        await populations.join(store, roster, name, slot=slot if job is None else {store.catalog.job(job).name: slot})
        found = await member_detail(store, f"{roster}/{name}")
    turns = [rows.turn(one) for one in found.turns]
    return Result(fields={**rows.member(found.member, found.roster), "turns": turns}, text=_shown)


@command("hold", "rota member hold sellers/s1 --reason 'consent revoked'", of=member)
@click.argument("key", metavar="KEY")
@click.option("--job", metavar="JOB", help="Only this job.")
@acts.reason_option
async def hold(session: Session, key: str, job: str | None, reason: str | None) -> Result:
    """Keep a member's turns from running until somebody lets them go."""
    if not reason:
        raise BadInput("a hold needs --reason, because others will wonder")
    async with session.opened() as store:
        name = "/".join(await member_of_text(store, key))
        held = await operate.hold(store, member=name, job=job, reason=reason, by=session.by)
    return Result(
        fields={"member": name, "job": job, "held": held, "reason": reason},
        text=lambda _fields, _words: (f"{many(len(held), 'turn')} of {name} on hold.",),
    )


@command("unhold", "rota member unhold sellers/s1", of=member)
@click.argument("key", metavar="KEY")
@click.option("--job", metavar="JOB", help="Only this job.")
@acts.reason_option
async def unhold(session: Session, key: str, job: str | None, reason: str | None) -> Result:
    """Let a member's held turns go: they are due now, slots stay."""
    async with session.opened() as store:
        name = "/".join(await member_of_text(store, key))
        freed = await operate.unhold(store, member=name, job=job, reason=reason, by=session.by)
    said = f"{many(len(freed), 'turn')} of {name} due now." if freed else f"Nothing of {name} was on hold."
    return Result(fields={"member": name, "job": job, "unheld": freed}, text=lambda _fields, _words: (said,))
