"""`rota status` and `rota why`: the morning glance, and one member's story.

Always true: the verdict and the sentences are those of the pages and the HTTP API (insight).

Not here: how they are composed.
"""

from collections.abc import Iterable, Sequence

import click

from rota.cli import faults
from rota.cli.paper import Block, Fields, Result, Table
from rota.cli.root import command
from rota.cli.session import Session
from rota.cli.words import Words, count, duration, many, share
from rota.insight.known import member_of_text
from rota.insight.status import status as status_of
from rota.insight.why import why as why_of

MOST_MATTERS = 7  # lines that are read at a glance (ux 4.1)
MARKS = {
    "stale": "▲",
    "dead": "⬣",
    "held": "‖",
    "limit": "◠",
    "cooling": "◠",
    "pause": "‖",
    "worker": "!",
    "clock": "!",
    "unknown": "!",
}
UNHEALTHY = frozenset({"stale", "dead", "held", "worker", "clock"})


@command("status", "rota status", "rota status --check --quiet || echo look", "rota status --json")
@click.option("--check", is_flag=True, help="Exit 1 when something needs somebody: for monitors.")
async def status(session: Session, *, check: bool) -> Result:
    """Say whether every member is fresh, and what needs somebody."""
    async with session.opened() as store:
        found = await status_of(store, application=session.rota.name, environment=session.settings.env)
    fields = found.as_json()
    return Result(fields=fields, text=_status, exit=faults.BAD if check and not healthy(fields) else faults.DONE)


def healthy(fields: Fields) -> bool:
    """Nothing is stopped or stale, nothing died or is held, no worker was lost, and what is due is being started."""
    if fields["stopped"] is not None or any(one["kind"] in UNHEALTHY for one in fields["attention"]):
        return False
    return not fields["verdict"].startswith(("Nothing has been started", "No worker is alive"))


def _status(fields: Fields, words: Words) -> Iterable[Block]:
    about = " · ".join(part for part in (fields["application"], fields["environment"], words.now()) if part)
    yield f"{fields['verdict']}       {about}"
    if fields["rosters"]:
        yield ""
        yield roster_table(fields["rosters"])
    if fields["jobs"]:
        yield ""
        yield Table(
            heads=("JOB", "ROSTER", ">TURNS", ">DUE", ">RUNNING", ">HELD", ">DEAD", "NEXT"),
            rows=[_job(one, words) for one in fields["jobs"]],
        )
    yield ""
    yield from _attention(fields)
    yield ""
    day, workers = fields["last24h"], fields["workers"]
    lost = f", {workers['lost']} lost" if workers["lost"] else ""
    runs = (
        f"Runs 24 h {count(day['runs'])}, {share(day['succeeded'], day['runs'])} ok"
        if day["runs"]
        else "No runs in 24 h"
    )
    seen = words.since(fields["lastPassAt"]) if fields["lastPassAt"] else "never"
    yield f"{runs} · workers {workers['alive']} alive{lost} · last pass {seen}"


def roster_table(rosters: Sequence[Fields]) -> Table:
    """Rosters with their members by state."""
    heads = ("ROSTER", ">MEMBERS", ">FRESH", ">LATE", ">STALE", ">NEW", ">PAUSED", ">OLDEST", ">DUE", ">NEXT HOUR")
    return Table(heads=heads, rows=[_roster(one) for one in rosters])


def _roster(one: Fields) -> list[str]:
    active = one["members"] - one["paused"]
    return [
        one["roster"],
        count(one["members"]),
        share(one["fresh"], active),
        *[count(one[name]) for name in ("late", "stale", "new", "paused")],
        duration(one["oldest"]),
        count(one["due"]),
        count(one["nextHour"]),
    ]


def _job(one: Fields, words: Words) -> list[str]:
    coming = f"paused by {one['paused']['by']}" if one["paused"] else words.at(one["nextDueAt"])
    figures = [count(one[name]) for name in ("turns", "due", "running", "held", "dead")]
    return [one["job"], one["roster"] or "–", *figures, coming]


def _attention(fields: Fields) -> Iterable[str]:
    for one in fields["waiting"][:MOST_MATTERS]:
        yield f"{MARKS[one['kind']]} {one['text']}"
    if fields["waiting"]:
        yield ""
    matters = fields["attention"]
    if not matters:
        yield "Nothing needs you."
        return
    yield "Needs attention"
    for one in matters[:MOST_MATTERS]:
        yield f" {MARKS.get(one['kind'], '!')} {one['text']}"
    if len(matters) > MOST_MATTERS:
        yield f" and {many(len(matters) - MOST_MATTERS, 'more thing', 'more things')}"


@command("why", "rota why sellers/s1", "rota why s1 --job refresh")
@click.argument("member", metavar="KEY")
@click.option("--job", metavar="JOB", help="Only this job.")
async def why(session: Session, member: str, job: str | None) -> Result:
    """Say why a member (ROSTER/KEY, or KEY where only one roster has it) is as it is, and what happens next."""
    async with session.opened() as store:
        roster, key = await member_of_text(store, member)
        zone = session.manner.tz or session.settings.tz or "UTC"
        text = await why_of(store, f"{roster}/{key}", job, zone=zone)
    return Result(
        fields={"member": f"{roster}/{key}", "job": job, "text": text},
        text=lambda fields, _words: (fields["text"],),
    )
