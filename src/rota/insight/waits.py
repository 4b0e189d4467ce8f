"""What keeps a turn waiting, other than its time, in one sentence: a limit, a scope that cools, a key, a cap, a batch.

Always true: a sentence says what it is waited for and, where the store knows it, until when; every read is one look
into an index for each turn asked about.

Not here: pauses, holds and schedules (why), limits as a whole (limits).
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from rota.define.catalog import Catalog
from rota.define.stored import read_object
from rota.insight.limits import limit_of
from rota.insight.words import clock, many, short
from rota.store import scopes
from rota.store.gates import BATCH
from rota.store.port import Op, query
from rota.store.scopes import BucketRow, Closed, Holder, Wait
from rota.store.sql import Call
from rota.turn.gates import bounds_of, keys_of, values_of

PLACES: Final = 1_000  # turns before one in line that are counted
MOST_CLOSED: Final = 1_000  # scopes that close jobs and are looked at
SOON_MS: Final = 120_000  # two minutes: nearer than this a wait is told in seconds

Asked = tuple[int, str, int | None]  # a turn, its job, when it is due


class _Facts(NamedTuple):
    """What the sentences are made of."""

    now: int
    zone: str
    waits: Mapping[int, Wait]
    closed: Mapping[str, Closed]
    buckets: Mapping[str, BucketRow]
    holders: Mapping[str, Holder]
    busy: Mapping[str, int]
    running: Mapping[str, int]

    def at(self, ms: int) -> str:
        """An instant, to the second where it is near: what waits for room waits for seconds."""
        text = clock(ms, self.now, self.zone)
        near = 0 <= ms - self.now < SOON_MS
        return f"{text}, in {-(-(ms - self.now) // 1000)} s" if near else text


def told(catalog: Catalog, asked: Sequence[Asked], zone: str = "UTC") -> Op[dict[int, str]]:
    """A sentence for each of some turns that wait for something other than their time."""
    if not asked:
        return {}
    facts = yield from _facts(catalog, asked, zone)
    found: dict[int, str] = {}
    for turn, job, due_at in asked:
        wait = facts.waits.get(turn)
        if wait is not None:
            found[turn] = _told(catalog, facts, wait, job, due_at)
        elif due_at is not None and due_at <= facts.now:
            found[turn] = _behind(catalog, facts, job)
    return {turn: text for turn, text in found.items() if text}


def told_of(catalog: Catalog, turn: int, run: int, zone: str = "UTC") -> Op[str | None]:
    """The sentence for one run that has not started; None where it waits for nothing but its time."""
    rows = yield from query("waiting_run", turn=turn, run=run)
    found = yield from told(catalog, [(row[0], row[1], row[2]) for row in rows], zone)
    return found.get(turn)


def _facts(catalog: Catalog, asked: Sequence[Asked], zone: str) -> Op[_Facts]:
    now = (yield from query("now"))[0][0]
    waits = yield from scopes.waits_of([turn for turn, _, _ in asked], PLACES)
    parts = [one.waits_for.partition(" ") for one in waits.values()]
    jobs = sorted({job for _, job, _ in asked})
    closed: dict[str, Closed] = {}
    for one in (yield from scopes.closed_jobs(MOST_CLOSED)):
        if one.job in jobs:
            closed.setdefault(one.job, one)
    names = {name for kind, _, name in parts if kind in {"limit", "scope"}} | {one.scope for one in closed.values()}
    names |= {limit.name for name in names if (limit := limit_of(catalog, name)) is not None}
    holders = yield from scopes.holders([name for kind, _, name in parts if kind == "serial"])
    rows = yield Call("running_of", {}, [(job,) for job in jobs])
    return _Facts(
        now=now,
        zone=zone,
        waits=waits,
        closed=closed,
        buckets={one.scope: one for one in (yield from scopes.named(names))},
        holders=holders,
        busy=(yield from _busy(catalog, {job for turn, job, _ in asked if turn in waits})),
        running={row[0]: row[1] for row in rows},
    )


def _busy(catalog: Catalog, jobs: set[str]) -> Op[dict[str, int]]:
    """How many runs there are by the key of their cap."""
    capped = [name for name in sorted(jobs) if name in catalog.jobs and (cap := catalog.jobs[name].cap) and cap.by]
    found: dict[str, int] = {}
    for job, _, args, member, data, owner in (yield Call("running_members", {}, [(name,) for name in capped])):
        bounds = bounds_of(catalog.jobs[job])
        if bounds is not None:
            key = keys_of(bounds, job, values_of(read_object(args), read_object(data), member, owner)).cap or ""
            found[key] = found.get(key, 0) + 1
    return found


def _told(catalog: Catalog, facts: _Facts, wait: Wait, job: str, due_at: int | None) -> str:
    """What a claim noted when it looked at the turn."""
    kind, _, name = wait.waits_for.partition(" ")
    due = facts.now if due_at is None else due_at
    if kind == "limit":
        before = many(wait.before, "run is", "runs are") if wait.before < PLACES else f"{PLACES:,} runs or more are"
        line = f"; {before} before it in line" if wait.before else ""
        when = (
            f"it has some at {facts.at(due)}" if due > facts.now else "it has some now and starts with the next claim"
        )
        return f"It waits for room under the limit {name}{_rated(catalog, facts, name)}: {when}{line}."
    if kind == "scope":
        return _cools(facts, name, due)
    if kind == "serial":
        return _serial(facts, name)
    cap = catalog.jobs[job].cap if job in catalog.jobs else None
    most = "" if cap is None else f" of at most {cap.n}"
    return f"It waits for a place: {many(facts.busy.get(name, 0), 'run', 'runs')}{most} with {_last(name)} on the way."


def _last(key: str) -> str:
    """The part of a cap's key that says whose it is: "sync owner=u7" is owner u7."""
    return key.partition(" ")[2].replace("=", " ", 1)


def _rated(catalog: Catalog, facts: _Facts, name: str) -> str:
    """The rate in force, in brackets: said for the bucket, for all of the limit, or declared."""
    limit = limit_of(catalog, name)
    rows = (facts.buckets.get(one) for one in (name, name if limit is None else limit.name))
    said = next((row.rate for row in rows if row is not None and row.rate is not None), None)
    found = said or (None if limit is None else limit.rate)
    return "" if found is None else f" ({found})"


def _cools(facts: _Facts, name: str, due: int) -> str:
    row = facts.buckets.get(name)
    why = f": {short(row.reason)}" if row is not None and row.reason else ""
    if row is None or not row.failures:
        return f"It waited for the scope {name}, which works again; it starts with the next claim."
    if row.probing and row.cooling_until > facts.now:
        return f"It waits for the scope {name}, which one run is trying now; the others follow when it works{why}."
    if row.cooling_until > facts.now:
        return f"The scope {name} cools until {facts.at(max(due, row.cooling_until))}, and nothing of it starts{why}."
    return f"The scope {name} has cooled; one run tries it first, the others follow when it works{why}."


def _serial(facts: _Facts, key: str) -> str:
    holder = facts.holders.get(key)
    if holder is None:
        return f"It waits for its turn under the key {key}: nobody holds it, so the first in line starts next."
    doing = "which is running"
    if holder.state != "running":
        doing = f"which {'is on hold' if holder.state == 'held' else 'is to be tried again'}"
        if holder.state == "waiting" and holder.due_at is not None:
            doing += f" at {facts.at(holder.due_at)}"
    return f"It waits until run {holder.turn}-{holder.run} of {holder.job} has ended, {doing}: both have the key {key}."


def _behind(catalog: Catalog, facts: _Facts, job: str) -> str:
    """What keeps all due turns of a job waiting, so that none of them was looked at; nothing, where nothing does."""
    closed = facts.closed.get(job)
    spec = catalog.jobs.get(job)
    if closed is not None and closed.until > facts.now:
        if closed.scope == BATCH.format(job):
            runs = facts.running.get(job, 0)
            if runs:
                return f"It is due and waits for the batch that is on the way: {many(runs, 'run is', 'runs are')} left."
            return f"It is due and waits for the next batch, at {facts.at(closed.until)}."
        row = facts.buckets.get(closed.scope)
        if row is not None and row.cooling_until > facts.now:
            return _cools(facts, closed.scope, row.cooling_until)
        rated = _rated(catalog, facts, closed.scope)
        when = facts.at(closed.until)
        return f"It is due and waits behind others for room under the limit {closed.scope}{rated}, the next at {when}."
    if spec is not None and spec.cap is not None and spec.cap.by is None:
        runs = facts.running.get(job, 0)
        if runs >= spec.cap.n:
            return f"It is due and waits for a place: {many(runs, 'run', 'runs')} of at most {spec.cap.n} on the way."
    return ""
