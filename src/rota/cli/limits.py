"""`rota limit …` and `rota cooldown …`: what is used and who waits, other rates for a while, cool-downs by hand.

Always true: what is listed is bounded; a cool-down by hand has a reason and an end; every act says who asks.

Not here: what the acts do (steer.py), how figures come about (insight/limits.py).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click

from rota import steer
from rota.cli import acts, rows
from rota.cli.paper import Block, Fields, Result, Table
from rota.cli.root import command, group
from rota.cli.session import Session
from rota.cli.words import Words, count, many
from rota.define.names import nearest
from rota.define.units import instant_ms
from rota.errors import BadInput, NotFound
from rota.insight.limits import MOST, Cooldown, LimitView, cooldowns, limits

MARKS = {"cooling": "◠", "probing": "◷", "half-open": "◌"}

limit_option = click.option(
    "--limit", "most", type=click.IntRange(1, MOST), default=50, metavar="N", help="At most so many."
)


@group("limit")
def limit() -> None:
    """Limits: rates that all runs share."""


def _at(instant: datetime | None) -> str | None:
    return None if instant is None else rows.at(instant_ms(instant))


def _limit(one: LimitView) -> dict[str, Any]:
    return {
        "limit": one.name,
        "bucket": one.bucket,
        "rate": one.rate,
        "burst": one.burst,
        "declared": one.declared,
        "declaredBurst": one.declared_burst,
        "saidBy": one.said_by,
        "saidUntil": _at(one.said_until),
        "used": one.used,
        "waiting": one.waiting,
        "waitingSince": _at(one.waiting_since),
        "first": one.first,
        "nextAt": _at(one.next_at),
        "clearsAt": _at(one.clears_at),
        "coolingUntil": _at(one.cooling_until),
        "jobs": list(one.jobs),
    }


@command("ls", "rota limit ls", "rota limit ls --limit 500 --json", of=limit)
@limit_option
async def ls(session: Session, most: int) -> Result:
    """List limits: what is used, who waits, and when it clears; those that most wait for first."""
    async with session.opened() as store:
        found = await limits(store)
    return Result(fields={"items": [_limit(one) for one in found[:most]], "more": len(found) > most}, text=_listed)


def _listed(fields: Fields, words: Words) -> Iterable[Block]:
    if not fields["items"]:
        yield "There are no limits: declare one with @rota.job(limit=Limit(…))."
        return
    yield _table(fields["items"], words)
    if fields["more"]:
        yield "there are more: --limit 500"


def _table(items: Iterable[Fields], words: Words) -> Table:
    return Table(
        heads=("LIMIT", ">RATE", ">USED", ">WAITING", "SINCE", "NEXT", "CLEARS", "SAID BY", "JOBS"),
        rows=[
            [
                one["bucket"],
                one["rate"] or "–",
                "–" if one["used"] is None else f"{count(one['used'])}/{count(one['burst'])}",
                count(one["waiting"]),
                words.at(one["waitingSince"]),
                words.at(one["nextAt"]),
                words.at(one["clearsAt"]),
                _said(one, words),
                ", ".join(one["jobs"]) or "–",
            ]
            for one in items
        ],
    )


def _said(one: Fields, words: Words) -> str:
    """Who said another rate than the declared one, and until when."""
    if one["saidBy"] is None:
        return "–"
    return one["saidBy"] if one["saidUntil"] is None else f"{one['saidBy']} until {words.at(one['saidUntil'])}"


@command("show", "rota limit show amazon-eu", "rota limit show 'ads:{region}'", of=limit)
@click.argument("name", metavar="NAME")
async def show(session: Session, name: str) -> Result:
    """Show one limit with its buckets, or one bucket."""
    async with session.opened() as store:
        found = await limits(store, name=name)
        if not found:
            known = {known for one in await limits(store) for known in (one.name, one.bucket)}
            raise NotFound(f"there is no limit {name!r}{nearest(name, known)}")
    return Result(fields={"limit": name, "buckets": [_limit(one) for one in found]}, text=_shown)


def _shown(fields: Fields, words: Words) -> Iterable[Block]:
    first = fields["buckets"][0]
    jobs = f", used by {', '.join(first['jobs'])}" if first["jobs"] else ""
    declared = "in no job of this release" if first["declared"] is None else f"declared {first['declared']}"
    yield f"{first['limit']}: {declared}{jobs}"
    if first["saidBy"] is not None:
        end = "until told" if first["saidUntil"] is None else f"until {words.at(first['saidUntil'])}"
        yield f"{first['saidBy']} said {first['rate']}, burst {count(first['burst'])}, {end}"
    yield _table(fields["buckets"], words)
    for one in fields["buckets"][:5]:
        if one["coolingUntil"] is not None:
            yield f"◠ {one['bucket']} cools until {words.at(one['coolingUntil'])}"
        if one["waiting"]:
            head = f", {one['first']} first, at {words.at(one['nextAt'])}" if one["first"] else ""
            yield f"{count(one['waiting'])} waiting for {one['bucket']}{head}; clears about {words.at(one['clearsAt'])}"


@command("set", "rota limit set amazon-eu 5/s --for 1h --reason 'they asked'", "rota limit set ads:eu 100/m", of=limit)
@click.argument("name", metavar="NAME")
@click.argument("rate", metavar="RATE")
@click.option("--burst", type=int, metavar="N", help="How many may go at once after a pause.")
@click.option("--for", "for_", metavar="DURATION", help="For this long; until `rota limit reset` unless given.")
@acts.until_option
@acts.reason_option
async def set_(session: Session, name: str, rate: str, until: str | None, **given: Any) -> Result:
    """Give a limit, or one of its buckets, another rate, everywhere and at once."""
    end = acts.until_of(session, until)
    async with session.opened() as store:
        await steer.set_limit(store, name, rate, until=end, by=session.by, **given)
        found = await limits(store, name=name)
    return Result(fields={"limit": name, "buckets": [_limit(one) for one in found]}, text=_told)


def _told(fields: Fields, words: Words) -> Iterable[Block]:
    if not fields["buckets"]:
        yield f"{fields['limit']} is as declared."
        return
    one = fields["buckets"][0]
    end = "" if one["saidUntil"] is None else f" until {words.at(one['saidUntil'])}"
    waiting = sum(bucket["waiting"] for bucket in fields["buckets"])
    waits = f"; {count(waiting)} waiting" if waiting else ""
    yield f"{fields['limit']} is {one['rate'] or 'unlimited'}{end}, declared {one['declared'] or 'nowhere'}{waits}."


@command("reset", "rota limit reset amazon-eu", of=limit)
@click.argument("name", metavar="NAME")
@acts.reason_option
async def reset(session: Session, name: str, reason: str | None) -> Result:
    """Go back to the rate that the code declares."""
    async with session.opened() as store:
        await steer.set_limit(store, name, reason=reason, by=session.by)
        found = await limits(store, name=name)
    return Result(fields={"limit": name, "buckets": [_limit(one) for one in found]}, text=_told)


@group("cooldown")
def cooldown() -> None:
    """Cool-downs: scopes under which nothing starts for a while."""


def _cooldown(one: Cooldown) -> dict[str, Any]:
    return {
        "scope": one.scope,
        "state": one.state,
        "until": _at(one.until),
        "since": _at(one.since),
        "failures": one.failures,
        "waiting": one.waiting,
        "reason": one.reason,
        "jobs": list(one.jobs),
    }


@command("ls", "rota cooldown ls", of=cooldown)
@limit_option
async def list_(session: Session, most: int) -> Result:
    """List scopes that cool, or that have not shown since that they work."""
    async with session.opened() as store:
        found = await cooldowns(store, most=most)
    return Result(fields={"items": [_cooldown(one) for one in found]}, text=_cooling)


def _cooling(fields: Fields, words: Words) -> Iterable[Block]:
    if not fields["items"]:
        yield "Nothing cools."
        return
    yield Table(
        heads=("SCOPE", "STATE", "UNTIL", ">FAILURES", ">WAITING", "JOBS", "REASON"),
        rows=[
            [
                one["scope"],
                f"{MARKS[one['state']]} {one['state']}",
                words.at(one["until"]) if one["state"] == "cooling" else "–",
                count(one["failures"]),
                count(one["waiting"]),
                ", ".join(one["jobs"]) or "–",
                (one["reason"] or "–").splitlines()[0],
            ]
            for one in fields["items"]
        ],
    )


@command("clear", "rota cooldown clear amazon-eu --reason 'they are back'", of=cooldown)
@click.argument("scope", metavar="SCOPE")
@acts.reason_option
async def clear(session: Session, scope: str, reason: str | None) -> Result:
    """End a cool-down: what waits for it is due now. With holes, "ads:{region}", all that it may mean."""
    async with session.opened() as store:
        gone = await steer.clear_cooldown(store, scope, reason=reason, by=session.by)
    said = f"{many(gone, 'cool-down')} cleared." if gone else f"{scope} was not cooling."
    return Result(fields={"scope": scope, "cleared": gone}, text=lambda _fields, _words: (said,))


@command("set", "rota cooldown set amazon-eu --for 10m --reason 'they called'", of=cooldown)
@click.argument("scope", metavar="SCOPE")
@click.option("--for", "for_", metavar="DURATION", help="For this long.")
@acts.reason_option
async def start(session: Session, scope: str, for_: str | None, reason: str | None) -> Result:
    """Put a scope on cool-down everywhere: nothing of it starts, then one run tries it first."""
    if for_ is None:
        raise BadInput("a cool-down needs --for, such as --for 10m: it ends by itself")
    if not reason:
        raise BadInput("a cool-down needs --reason, because others will wonder")
    async with session.opened() as store:
        until = await steer.cool(store, scope, for_, reason=reason, by=session.by)
    fields = {"scope": scope, "until": _at(until), "reason": reason}
    return Result(fields=fields, text=lambda found, words: (f"{scope} cools until {words.at(found['until'])}.",))
