"""`rota runs …`: list, show, tail, retry, requeue, cancel.

Always true: lists are bounded and newest first; what acts on a whole cause is confirmed with its number.

Not here: dead letters and journal as such (insight, operate).
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import click

from rota import operate
from rota.cli import acts, rows
from rota.cli.paper import Block, Fields, Result, Table
from rota.cli.root import command, group
from rota.cli.session import Session
from rota.cli.words import Words, count, duration, many
from rota.errors import BadInput, Conflict, NotFound
from rota.insight import runs as lists
from rota.insight.runs import Wanted
from rota.insight.waits import told_of
from rota.operate import Requeued
from rota.store import views
from rota.store.store import Store

LOOK_S = 1.0  # how often a tail looks: one bounded read a second
MARKS = {"succeeded": "●", "retry": "◷", "dead": "⬣", "lost": "!", "held": "‖", "rate_limited": "◠"}

spread_option = click.option("--spread", metavar="DURATION", help="Lay them out over this time.")
error_option = click.option("--error", metavar="FINGERPRINT", help="Those of one cause.")


@group("runs")
def runs() -> None:
    """Runs that have ended, and those that died."""


@command("ls", "rota runs ls --outcome dead", "rota runs ls --member sellers/s1", "rota runs ls --state dead", of=runs)
@click.option("--job", metavar="JOB")
@click.option("--roster", metavar="ROSTER")
@click.option("--member", metavar="KEY")
@click.option("--outcome", metavar="OUTCOME", help="succeeded, retry, dead, skipped, …")
@error_option
@click.option("--since", metavar="WHEN", help="Since an instant, or for a time back (2h).")
@click.option(
    "--state",
    type=click.Choice(["ended", "dead"]),
    default="ended",
    help="dead: dead letters that nobody has requeued.",
)
@click.option("--limit", type=click.IntRange(1, lists.MOST), default=50, metavar="N")
@click.option("--before", type=int, metavar="ID", help="Go on where the last page ended (its `next`).")
async def ls(session: Session, since: str | None, limit: int, state: str, **given: Any) -> Result:
    """List runs, newest first."""
    wanted = Wanted(since=acts.since_of(session, since), **given)
    for name in ("roster", "member", "outcome", "since"):
        if state == "dead" and getattr(wanted, name) is not None:
            raise BadInput(f"--state dead and --{name} do not go together: dead letters are found by --job and --error")
    async with session.opened() as store:
        if state == "dead":
            letters = [rows.letter(one) for one in await lists.dead_letters(store, wanted, limit=limit)]
            following = letters[-1]["id"] if len(letters) == limit else None
            return Result(fields={"items": letters, "next": following}, text=_letters)
        page = await lists.runs(store, wanted, limit=limit)
    return Result(fields={"items": [rows.run(one) for one in page.items], "next": page.before}, text=_listed)


def _listed(fields: Fields, words: Words) -> Iterable[Block]:
    if not fields["items"]:
        yield "No runs."
        return
    yield _table(fields["items"], words)
    yield from _more(fields)


def _more(fields: Fields) -> Iterable[Block]:
    if fields["next"] is not None:
        yield f"more: --before {fields['next']}"


def _table(items: Iterable[Fields], words: Words) -> Table:
    return Table(
        heads=("ENDED", "RUN", ">TRY", "JOB", "MEMBER", "OUTCOME", ">TOOK", "REASON"),
        rows=[
            [
                words.at(one["endedAt"]),
                one["id"],
                count(one["attempt"]),
                one["job"],
                one["member"] or "–",
                f"{MARKS.get(one['outcome'], '◌')} {rows.outcome(one)}",
                duration(one["duration"]),
                _first(one["reason"]),
            ]
            for one in items
        ],
    )


def _first(reason: str | None) -> str:
    lines = (reason or "").strip().splitlines()
    return lines[0] if lines else "–"


def _letters(fields: Fields, words: Words) -> Iterable[Block]:
    if not fields["items"]:
        yield "No dead letters."
        return
    yield Table(
        heads=("DIED", ">ID", "RUN", "JOB", "WHO", ">TRIES", "REASON", "CAUSE"),
        rows=[
            [
                words.at(one["diedAt"]),
                str(one["id"]),
                one["run"],
                one["job"],
                one["member"] or one["key"] or "–",
                count(one["tries"]),
                _first(one["reason"]),
                one["error"] or "–",
            ]
            for one in fields["items"]
        ],
    )
    yield from _more(fields)


@command("show", "rota runs show 4711-3", of=runs)
@click.argument("id", metavar="RUN")
async def show(session: Session, id: str) -> Result:
    """Show one run: its attempts, and its state or end."""
    async with session.opened() as store:
        page = await lists.runs(store, Wanted(id=id), limit=lists.MOST)
        turn, _, number = id.partition("-")
        wanted = int(number) if number else (page.items[0].run if page.items else 1)
        state = await store.read(lambda: views.state_of(int(turn), wanted))
        zone = session.manner.tz or session.settings.tz or "UTC"
        waits = await store.read(lambda: told_of(store.catalog, int(turn), wanted, zone))
        if state is None and not page.items:
            raise NotFound(f"there is no run {id}: `rota runs ls` lists those that have ended")
        cause = next((one.error for one in page.items if one.error), None)
        found = await lists.errors(store, job=page.items[0].job, fingerprint=cause, limit=1) if cause else []
    error = None
    if found:
        one = found[0]
        error = {"fingerprint": one.fingerprint, "kind": one.kind, "message": one.message, "place": one.place}
        error["traceback"] = one.traceback
    fields = {
        "run": f"{turn}-{wanted}",
        "state": state,
        "waits": waits,
        "attempts": [rows.run(one) for one in page.items],
        "error": error,
    }
    return Result(fields=fields, text=_shown)


def _shown(fields: Fields, words: Words) -> Iterable[Block]:
    yield f"{fields['run']}: {fields['state'] or 'no longer in the journal'}"
    if fields["waits"]:
        yield fields["waits"]
    if fields["attempts"]:
        yield _table(fields["attempts"], words)
    if fields["error"] is not None:
        yield ""
        yield fields["error"]["traceback"] or f"{fields['error']['kind']}: {fields['error']['message']}"


@command("tail", "rota runs tail", "rota runs tail --job refresh --jsonl", of=runs)
@click.option("--job", metavar="JOB")
@click.option("--roster", metavar="ROSTER")
@click.option("--outcome", metavar="OUTCOME")
@click.option("--lines", type=click.IntRange(0, lists.MOST), default=10, metavar="N", help="Begin with the last N.")
@click.option("--jsonl", is_flag=True, help="One JSON object a line; with --json: the last N as one object, and end.")
async def tail(session: Session, lines: int, *, jsonl: bool, **given: Any) -> Result | None:
    """Follow runs as they end, until Ctrl-C."""
    async with session.opened() as store:
        first = await lists.runs(store, Wanted(**given), limit=lists.MOST)
        if session.paper.as_json:
            items = [rows.run(one) for one in reversed(first.items[:lines])]
            return Result(fields={"items": items}, text=_listed)
        seen = {one.id for one in first.items}
        fresh = first.items[:lines]
        while True:
            for one in reversed(fresh):
                fields = rows.run(one)
                if jsonl:
                    session.paper.json(fields)
                else:
                    session.paper.blocks([_line(fields, session.paper.words)])
            await asyncio.shield(session.clock.sleep(LOOK_S))
            page = (await lists.runs(store, Wanted(**given), limit=lists.MOST)).items
            fresh = [one for one in page if one.id not in seen]
            seen = {one.id for one in page} | (seen if len(seen) < lists.MOST else set())


def _line(one: Fields, words: Words) -> str:
    mark = MARKS.get(one["outcome"], "◌")
    who = one["member"] or one["id"]
    reason = f"  {_first(one['reason'])}" if one["reason"] else ""
    ended = f"{rows.outcome(one)}  {duration(one['duration'])}"
    return f"{mark} {words.at(one['endedAt'])}  {one['job']}  {who}  {ended}{reason}"


@command(
    "requeue", "rota runs requeue 4711-3", "rota runs requeue --error tokenexpired-4f1 --spread 30m --yes", of=runs
)
@click.argument("id", metavar="[RUN|ID]", required=False)
@error_option
@spread_option
@click.option("--priority", type=int, metavar="N", help="Of the new runs of one-offs, instead of their job's.")
@acts.reason_option
@acts.count_option
async def requeue(session: Session, **given: Any) -> Result:
    """Make new runs of dead letters: of one, or of all of a cause."""
    async with session.opened() as store:
        made = await _requeue(session, store, **given)
    return Result(fields={"requeued": made}, text=_requeued)


async def _requeue(
    session: Session,
    store: Store,
    *,
    id: str | None,
    error: str | None,
    spread: str | None,
    reason: str | None,
    count: int | None,
    priority: int | None = None,
) -> list[dict[str, Any]]:
    if error is not None:
        letters = await lists.dead_letters(store, Wanted(error=error), limit=lists.MOST)
        if not letters:
            raise NotFound(f"there is no dead letter of the cause {error!r}: `rota runs ls --state dead` lists them")
        number = len(letters)
        more = " or more" if number == lists.MOST else ""
        session.confirm(f"requeue {many(number, 'dead letter')}{more}", number, count)
    made = await operate.requeue(
        store, id=id, error=error, spread=spread, priority=priority, reason=reason, by=session.by
    )
    return [_new(one) for one in made]


def _new(one: Requeued) -> dict[str, Any]:
    return {"letter": one.letter, "run": f"{one.turn}-{one.run}"}


def _requeued(fields: Fields, words: Words) -> Iterable[Block]:
    del words
    yield f"{many(len(fields['requeued']), 'dead letter')} requeued."
    for one in fields["requeued"][:5]:
        yield f" {one['letter']} is run {one['run']} now"


@command("retry", "rota runs retry 4711-3", "rota runs retry --error tokenexpired-4f1 --spread 10m --yes", of=runs)
@click.argument("id", metavar="[RUN]", required=False)
@error_option
@spread_option
@acts.reason_option
@acts.count_option
async def retry(session: Session, id: str | None, reason: str | None, **given: Any) -> Result:
    """Run again what failed: a dead letter, a held turn, or a run that waits for its next try."""
    async with session.opened() as store:
        if id is None:
            made = await _requeue(session, store, id=None, reason=reason, **given)
            return Result(fields={"requeued": made}, text=_requeued)
        due = await _retried(session, store, id, reason)
    return Result(fields={"run": id, "due": due}, text=lambda fields, _words: (f"run {fields['due']} is due now.",))


async def _retried(session: Session, store: Store, id: str, reason: str | None) -> str:
    """Whatever it is that keeps a run from running, taken away; the run that is due now."""
    turn = id.partition("-")[0]
    last = (await lists.runs(store, Wanted(id=id), limit=1)).items
    if last and last[0].outcome == "dead":
        made = await operate.requeue(store, id=id, reason=reason, by=session.by)
        return f"{made[0].turn}-{made[0].run}"
    try:
        freed = await operate.unhold(store, id=id, reason=reason, by=session.by)
    except NotFound:
        freed = []
    if freed:
        return id
    if not last:
        raise NotFound(f"there is no run {id} that has failed: `rota runs ls` lists those that have ended")
    spec = store.catalog.job(last[0].job)
    if spec.one_off:
        raise Conflict(
            f"run {id} is a one-off that waits or has ended: its next try comes by itself, a dead one is requeued"
        )
    started = await operate.run_now(store, spec.name, last[0].member, reason=reason, by=session.by)
    return f"{turn}-{started.run}"


@command("cancel", "rota runs cancel 4711-3 --reason 'wrong list'", of=runs)
@click.argument("id", metavar="RUN")
@acts.reason_option
async def cancel(session: Session, id: str, reason: str | None) -> Result:
    """Cancel a run: a waiting one goes on to its next slot, a running one is asked to stop, a one-off goes."""
    async with session.opened() as store:
        found = await operate.cancel(store, id=id, reason=reason, by=session.by)
    fields = {"run": id, "cancelled": bool(found.cancelled), "wished": bool(found.wished)}
    said = "is cancelled" if found.cancelled else "is running and was asked to stop"
    return Result(fields=fields, text=lambda _fields, _words: (f"run {id} {said}.",))
