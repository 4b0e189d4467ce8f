"""Jobs as declared against jobs as stored: missing turns, changed schedules, places to be settled or evened out.

Always true: the stored signature is that of the process that declared last; each change of it is a new era, and
turns of earlier eras are placed again, page by page, each page in one transaction that also notes how far it came;
running any of it twice, or in two processes, changes nothing more.

Not here: who calls it and under which lease (rosters), how a turn is moved (placing).
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from rota.define.catalog import Catalog
from rota.define.job import JobSpec
from rota.define.roster import RosterSpec
from rota.define.units import HOUR_MS
from rota.errors import Conflict
from rota.store import members, placing
from rota.store.placing import AGAIN, Owed, Scene, signature_of
from rota.store.port import Op, query
from rota.store.sql import Call
from rota.turn.slots import Entry, rebalance

DONE = "done"
CLEAR = "clear"  # turns of another roster go first
AFTER = "after "  # followed by the key of the last member looked at
SEEN_MS = HOUR_MS  # how often an unchanged job is noted as still known
LEASE = "reconcile"
LEASE_MS = 30_000  # a page takes well under a second; half a minute is noticed soon enough, a guess


class Page(NamedTuple):
    """What one transaction of reconcile did: turns added and moved, and whether the job is done."""

    added: int = 0
    moved: int = 0
    done: bool = True


class Job(NamedTuple):
    """A row of the table `job`."""

    name: str
    roster: str | None
    position: int
    signature: str
    schedule: str
    target_ms: int | None
    grace_ms: int | None
    seen_at: int
    era: int
    history: str
    reconciled: str | None


def stored_jobs() -> Op[dict[str, Job]]:
    """Every job of the store, by name."""
    rows = yield from query("stored_jobs")
    return {row[0]: Job(*row[:11]) for row in rows}


def undeclared(catalog: Catalog) -> Op[bool]:
    """Whether the store's jobs and rosters differ from the catalog; cheap, for every start."""
    rows = yield from query("stored_jobs")
    known = {row[0]: Job(*row[:11]) for row in rows}
    now_ms = rows[0][11] if rows else 0
    facets = {row[0]: row[1] for row in (yield from query("stored_rosters"))}
    return _rosters_to_tell(catalog, facets) != [] or any(
        _declared(known.get(spec.name), spec, position, now_ms) is not None
        for position, spec in enumerate(catalog.ordered())
    )


def lanes(catalog: Catalog) -> Op[None]:
    """Make the lanes of all jobs, in a transaction that takes nothing else.

    Before `declare`: a caller's transaction may have made one, not committed it yet, and want a row that we hold.
    """
    yield Call("add_lanes", {}, sorted((spec.name, spec.priority) for spec in catalog.ordered()))


def declare(catalog: Catalog) -> Op[int]:
    """Bring the rows of jobs and rosters to what this process declares; how many changed."""
    yield from query("schema_lock")
    rows = yield from query("stored_jobs")
    known = {row[0]: Job(*row[:11]) for row in rows}
    now_ms = rows[0][11] if rows else 0
    facets = {row[0]: row[1] for row in (yield from query("stored_rosters"))}
    told = _rosters_to_tell(catalog, facets)
    for roster in told:
        text = json.dumps(roster.facets)
        yield from query("add_roster", roster=roster.name, facets=text)
        yield from query("describe_roster", roster=roster.name, facets=text)
    changed = 0
    for position, spec in sorted(enumerate(catalog.ordered()), key=lambda pair: pair[1].name):
        before = known.get(spec.name)
        row = _declared(before, spec, position, now_ms)
        if row is None:
            continue
        changed += 1
        if before is not None and before.era != row.era:
            yield from query("empty_slots", job=spec.name)
        values = row._asdict()
        del values["seen_at"]
        yield Call("put_job", values)
    if changed:
        yield from lanes(catalog)
    return changed + len(told)


def _rosters_to_tell(catalog: Catalog, facets: dict[str, str]) -> list[RosterSpec]:
    rosters = sorted(catalog.rosters.values(), key=lambda spec: spec.name)
    return [spec for spec in rosters if json.loads(facets.get(spec.name, "null")) != [*spec.facets]]


def _declared(before: Job | None, spec: JobSpec, position: int, now_ms: int) -> Job | None:
    """The row a job should have, or None when it has it."""
    signature = signature_of(spec)
    same = Job(
        name=spec.name,
        roster=spec.each,
        position=position,
        signature=signature,
        schedule=spec.describe(),
        target_ms=spec.target_ms,
        grace_ms=spec.grace_ms,
        seen_at=before.seen_at if before else 0,
        era=before.era if before else 0,
        history=before.history if before else "[]",
        reconciled=before.reconciled if before else DONE if spec.one_off else None,
    )
    if before is None or before.signature == signature:
        return None if same == before and now_ms - same.seen_at < SEEN_MS else same
    history = json.dumps([*json.loads(before.history), before.signature])
    strays = before.roster != spec.each or spec.one_off
    return same._replace(era=before.era + 1, history=history, reconciled=CLEAR if strays else None)


def page(catalog: Catalog, spec: JobSpec, holder: str) -> Op[Page | None]:
    """One page of a job's turns; None when the lease was lost to another process."""
    if not (yield from query("take_lease", name=LEASE, holder=holder, lease_ms=LEASE_MS)):
        return None
    roster = catalog.roster(spec.each) if spec.each is not None else None
    if roster is not None:
        now_ms = yield from members.lock(roster)
    else:
        yield Call("lock_jobs", {}, [(spec.name,)])
        now_ms = (yield from query("now"))[0][0]
    job = (yield from stored_jobs()).get(spec.name)
    if job is None or job.signature != signature_of(spec) or job.reconciled == DONE:
        return Page()
    if job.reconciled == CLEAR:
        return (yield from _clear(spec))
    if spec.one_off:
        yield from query("mark_reconciled", job=spec.name, reconciled=DONE)
        return Page()
    owed = Owed(spec, job.era, counted=True)
    history = [*json.loads(job.history), job.signature]
    if roster is None:
        return (yield from _alone(owed, history, now_ms))
    return (yield from _walk(owed, Scene(roster.name, now_ms), history, job.reconciled))


def _clear(spec: JobSpec) -> Op[Page]:
    values = {"job": spec.name, "roster": spec.each, "wanted": 0 if spec.one_off else 1}
    strays = yield Call("strays", values | {"most": placing.MOST_PAGE})
    yield Call("remove_turns", {}, [(row[0],) for row in strays])
    if not strays:
        yield Call("strays_running", values)
        yield from query("mark_reconciled", job=spec.name, reconciled=None)
    return Page(moved=len(strays), done=False)


def _alone(owed: Owed, history: Sequence[str], now_ms: int) -> Op[Page]:
    """The one turn of a job without a roster."""
    spec = owed.spec
    there = yield from query("turn_id_alone", job=spec.name)
    moved = [row[0] for row in there if row[1] != owed.era]
    if not there:
        at_once = spec.first_run == "now" and spec.schedule is not None
        slot_at = placing.next_slot(spec, 0, None, None, now_ms)
        first = now_ms if at_once else slot_at
        values = {"job": spec.name, "priority": spec.priority, "manual": int(at_once), "era": owed.era}
        yield Call("add_alone", values | {"slot_at": slot_at, "stale_at": placing.stale_from(spec, first)})
    yield from _place_again(owed, Scene("", now_ms), moved, history)
    yield from query("mark_reconciled", job=spec.name, reconciled=DONE)
    return Page(added=int(not there), moved=len(moved))


def _walk(owed: Owed, scene: Scene, history: Sequence[str], reconciled: str | None) -> Op[Page]:
    """The next members in the order of keys: who lacks a turn gets one, who has an old one is placed again."""
    spec, roster = owed.spec, scene.roster
    after = reconciled.removeprefix(AFTER) if reconciled else ""
    found = yield from members.page(roster, after, placing.MOST_PAGE)
    here = [member for member, _ in found]
    keys = [(member.key,) for member in here]
    there = {row[0]: row for row in (yield Call("turn_ids_of_job", {"job": spec.name, "roster": roster}, keys))}
    missing = [member for member in here if member.key not in there]
    yield from placing.place([owed], scene, missing, {}, {})
    old = [row[1] for row in there.values() if row[2] != owed.era]
    if old:
        yield from _place_again(owed, scene, old, history)
    last = len(here) < placing.MOST_PAGE
    yield from query("mark_reconciled", job=spec.name, reconciled=DONE if last else AFTER + here[-1].key)
    return Page(added=len(missing), moved=len(old), done=last)


def _place_again(owed: Owed, scene: Scene, ids: Sequence[int], history: Sequence[str]) -> Op[None]:
    loads = yield from placing.loads_of([owed.spec] if owed.spec.balanced else [])
    turns = yield from placing.standing(ids)
    again = []
    for turn in turns:
        before = history[turn.era] if 0 <= turn.era < len(history) else ""
        again.append(placing.replaced(owed, scene, turn, before, loads.get(owed.spec.name)))
    yield from placing.put(again)
    yield from placing.put_loads(loads)


def tend(catalog: Catalog, ids: Sequence[int]) -> Op[int]:
    """Settle the places of turns whose attempt has ended with `on_end` bit 2; how many."""
    now_ms = (yield from query("now"))[0][0]
    turns = yield from placing.standing(ids)
    done = []
    for turn in turns:
        spec = catalog.jobs.get(turn.job)
        if spec is not None and turn.on_end & AGAIN and turn.state != "running":
            done.append(placing.settled(spec, turn, now_ms))
    yield from placing.put(done)
    return len(done)


class Evened(NamedTuple):
    """What rebalancing does or would do: turns moved, fullest minus emptiest slot before and after, longest delay."""

    moves: int
    spread_before: int
    spread_after: int
    longest_delay_ms: int


def even_out(spec: JobSpec, roster: RosterSpec, *, preview: bool, by: str, reason: str | None) -> Op[Evened]:
    """Move as few members as it takes to even out the slots, each to a later instant; with `preview`, only count."""
    yield from members.lock(roster)
    job = (yield from stored_jobs()).get(spec.name)
    loads = (yield from placing.loads_of([spec])).get(spec.name)
    if loads is None or job is None or job.signature != signature_of(spec):
        raise Conflict(f"the job {spec.name!r} is not balanced here: only every() over a roster, once reconciled, is")
    rule = placing.every_of(spec)
    rows = yield from query("balanced_turns", job=spec.name, roster=roster.name, era=job.era)
    entries = [Entry(id=row[0], slot=row[1], phase_ms=row[2], weight=row[3], pinned=bool(row[4])) for row in rows]
    before = loads.spread()
    moves = {move.id: move for move in rebalance(entries, loads, slot_ms=rule.slot_ms, within_ms=rule.within_ms)}
    answer = Evened(len(moves), before, loads.spread(), max((move.later_ms for move in moves.values()), default=0))
    if preview:
        return answer
    ids = sorted(moves)
    for start in range(0, len(ids), placing.MOST_PAGE):
        turns = yield from placing.standing(ids[start : start + placing.MOST_PAGE])
        placed = [turn._replace(slot=moves[turn.id].slot, nth=moves[turn.id].nth) for turn in turns]
        yield from placing.put([placing.shifted(spec, turn, moves[turn.id].phase_ms) for turn in placed])
    yield from placing.put_loads({spec.name: loads})
    yield from query("note_rebalance", by=by, job=spec.name, count=len(moves), reason=reason)
    return answer
