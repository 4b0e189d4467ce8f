"""The operations on turns that run jobs: enqueue, claim, settle, keep a lease.

Each is a generator over statements (port.py), runs in one transaction, and may be run again from its start.

Always true: every write that ends an attempt names turn, attempt and incarnation, and answers which ends it
accepted; the journal, dead letters and roll-ups of an end are written in its transaction or not at all.

Not here: what an outcome means for a turn (engine/settle.py), joins and leaves (members.py), operators' acts,
what the lost leave behind (reaping.py).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple

from rota.store.consequences import follow, lock, slot_of_run
from rota.store.port import Op, Row, query
from rota.store.sql import Call
from rota.turn.records import Ask, Claim, End, Ending, Fresh, Judged, Line, Well

STOPPED, BEATEN = 0, -1  # rows that are no turns, in the answer to "what do I hold"
UNCAPPED = 1_000_000  # places no worker has
NEVER_MS = 2**62  # later than any instant

order = itemgetter(*(Claim._fields.index(name) for name in ("priority", "due_at", "id")))  # G-10

Judge = Callable[[list[Claim]], Op[Judged]]


class Claimed(NamedTuple):
    """The answer of a claim: what to start, and when none was due, in how many ms something is.

    `probes` are runs that shall show whether a scope works again; `exhausted`: nothing more can start now, though
    some did; `waiting` are turns that were given the instant at which they may; `starts` are the instants of those that
    were claimed a moment before they may start.
    """

    run: list[Claim]
    next_due_ms: int | None
    put_back: int
    probes: Mapping[int, tuple[str, ...]] = MappingProxyType({})
    exhausted: bool = False
    waiting: tuple[int, ...] = ()
    starts: Mapping[int, int] = MappingProxyType({})

    @property
    def any(self) -> bool:
        """Whether the claim found anything to do."""
        return bool(self.run or self.put_back or self.waiting)


class Settled(NamedTuple):
    """Which ends were accepted (turn ids), and the turns that want tending (their `on_end` bits).

    `outlived` are attempts whose turn had a later one among the same ends: theirs are not the accepted ones.
    """

    accepted: set[int]
    tend: dict[int, int]
    outlived: frozenset[tuple[int, int]] = frozenset()

    def took(self, end: Ending) -> bool:
        """Whether this end was accepted."""
        return end.claim.id in self.accepted and (end.claim.id, end.claim.attempt) not in self.outlived


def lanes_of(items: Sequence[Fresh]) -> set[tuple[str, int]]:
    """The (job, priority) pairs of some one-offs."""
    return {(item.job, item.priority) for item in items}


def enqueue(items: Sequence[Fresh], known_lanes: Collection[tuple[str, int]] = ()) -> Op[list[tuple[int, bool]]]:
    """Add one-offs; for each item its turn and whether it was made now (False: its key was known).

    `known_lanes` are surely in the store. Without keys and with known lanes only this is a single statement.
    """
    yield Call("add_lanes", {}, sorted(lanes_of(items).difference(known_lanes)))
    keyed: dict[tuple[str, str], Fresh] = {}
    for item in items:
        if item.key is not None:
            keyed.setdefault((item.job, item.key), item)
    known: dict[tuple[str, str], int] = {}
    if keyed:
        asked = [(job, key, item.remember_ms) for (job, key), item in sorted(keyed.items())]
        reserved = {(row[0], row[1]) for row in (yield Call("reserve_keys", {}, asked))}
        rest = [pair for pair in sorted(keyed) if pair not in reserved]
        known = {(row[0], row[1]): row[2] for row in (yield Call("keys", {}, rest))}
    fresh: list[Fresh] = []
    for item in items:
        pair = (item.job, item.key or "")
        if item.key is None or (keyed[pair] is item and pair not in known):
            fresh.append(item)
    rows = [
        (at, item.job, item.key, item.args, item.due_at, item.delay_ms, item.priority) for at, item in enumerate(fresh)
    ]
    ids = sorted(row[0] for row in (yield Call("enqueue", {}, rows)))
    made = {id(item): turn for item, turn in zip(fresh, ids, strict=True)}
    named = [(item.job, item.key, made[id(item)]) for item in fresh if item.key is not None]
    yield Call("name_keys", {}, named)
    known.update({(job, key): turn for job, key, turn in named})
    return [(made[id(item)], True) if id(item) in made else (known[item.job, item.key or ""], False) for item in items]


def claim(  # noqa: PLR0913 -- one record more would only be unpacked here
    asks: Sequence[Ask], most: int, worker: str, judge: Judge, *, fused: bool, cutoff_at: int = NEVER_MS
) -> Op[Claimed]:
    """Take up to `most` due turns of the jobs asked for, in the order (priority, due, id), and judge them."""
    room = yield from _room(asks)
    if fused:
        rows = [(ask.job, ask.roster, ask.lease_ms, room.get(ask.job, UNCAPPED)) for ask in asks]
        values = {"most": most, "worker": worker, "cutoff_at": cutoff_at}
        taken = list(map(Claim._make, (yield Call("claim", values, rows))))
    else:
        taken = yield from _claim_by_lane(asks, room, most, worker, cutoff_at)
    if not taken:
        return Claimed([], (yield from next_due(asks)), 0)
    taken.sort(key=order)
    taken = yield from _within(room, taken)
    judged = yield from judge(taken)
    yield Call("put_back", {}, judged.back)
    yield Call("mark_slot", {}, judged.newer)
    yield Call("write_journal", {}, judged.lines)
    return Claimed(judged.run, None, len(judged.back))


def next_due(asks: Sequence[Ask]) -> Op[int | None]:
    """In how many ms (0 or less: now) the next turn of these jobs is due; None when none waits."""
    rows = yield from query("next_due", [(ask.job, ask.roster) for ask in asks])
    return rows[0][0] if rows else None


class Glance(NamedTuple):
    """What an idle worker sees: ms until the next turn (None: none waits), a lost attempt, a pause that is over."""

    due_ms: int | None
    lost: bool
    over: bool


def glance(asks: Sequence[Ask]) -> Op[Glance]:
    """One look at the store, for a worker that has nothing to do."""
    rows = yield from query("glance", [(ask.job, ask.roster) for ask in asks])
    return Glance(rows[0][0], bool(rows[0][1]), bool(rows[0][2])) if rows else Glance(None, False, False)  # noqa: FBT003


def _room(asks: Sequence[Ask]) -> Op[dict[str, int]]:
    """Places left under each cap; the jobs' rows stay locked until the claim commits."""
    caps = {ask.job: ask.cap for ask in asks if ask.cap is not None}
    if not caps:
        return {}
    names = [(name,) for name in sorted(caps)]
    yield Call("lock_jobs", {}, names)
    running = yield Call("running_of", {}, names)
    return {name: max(0, caps[name] - count) for name, count in running}


def _within(room: dict[str, int], taken: list[Claim]) -> Op[list[Claim]]:
    """Gives back what two priorities of one capped job took together beyond its room."""
    if not room:
        return taken
    left = dict(room)
    kept: list[Claim] = []
    over: list[tuple[int, int | None, int | None, int]] = []
    for one in taken:
        if left.get(one.job, 1) <= 0:
            over.append((one.id, one.due_at, one.slot_at, one.caught))
            continue
        if one.job in left:
            left[one.job] -= 1
        kept.append(one)
    yield Call("put_back", {}, over)
    return kept


def _claim_by_lane(
    asks: Sequence[Ask], room: dict[str, int], most: int, worker: str, cutoff_at: int
) -> Op[list[Claim]]:
    """The same for a database with one writer: look at the heads of all lanes, then take from each its share."""
    lanes = yield Call("lanes", {"careful": 0}, [(ask.job, ask.roster) for ask in asks])
    heads: list[tuple[int, int, int, str]] = []
    for job, priority in lanes:
        places = min(most, room.get(job, most))
        values = {"job": job, "priority": priority, "cutoff_at": cutoff_at, "most": places}
        if len(lanes) == 1:
            heads = [(priority, 0, 0, job)] * places
        elif places:
            heads += [(row[1], row[2], row[0], job) for row in (yield Call("heads", values))]
    share: dict[tuple[str, int], int] = defaultdict(int)
    for priority, _, _, job in sorted(heads)[:most]:
        share[job, priority] += 1
    lease = {ask.job: ask.lease_ms for ask in asks}
    taken: list[Claim] = []
    for (job, priority), count in share.items():
        values = {"job": job, "priority": priority, "cutoff_at": cutoff_at, "most": count}
        values |= {"worker": worker, "lease_ms": lease[job]}
        taken += [Claim(*row) for row in (yield Call("claim_lane", values))]
    members = [(one.id, one.roster, one.member) for one in taken if one.member is not None]
    found = {row[0]: row[1:] for row in (yield Call("members_of", {}, members))} if members else {}
    return [Claim(*one[:25], *found[one.id]) if one.id in found else one for one in taken]


def settle(ends: Sequence[Ending], worker: str, *, fused: bool = False, patient: bool = True) -> Op[Settled]:
    """Write the ends of attempts; those whose lease was lost change nothing and are missing from the answer.

    `fused` takes PostgreSQL's statements that write an end, its journal row and its sums at once. Without patience,
    ends whose followers others are changing are left out too.
    """
    outlived = _outlived(ends)
    if outlived:
        ends = [end for end in ends if (end.claim.id, end.claim.attempt) not in outlived]
    ends = yield from lock(ends, patient=patient)
    plain = [end for end in ends if type(end) is Well]
    others = [end for end in ends if type(end) is End] if len(plain) < len(ends) else []
    answered: Answered = []
    if plain:
        answered += yield from (_end_well_fused if fused else _end_well)(plain)
    if others:
        answered += yield from _end_otherwise(others)
    tend = {turn: bits for turn, bits in answered if bits}
    accepted = {turn for turn, _ in answered}
    if len(accepted) < len(ends):
        plain = [end for end in plain if end.claim.id in accepted]
        others = [end for end in others if end.claim.id in accepted]
    if others:
        yield Call("write_journal", {}, [line for end in others for line in _lines(end)])
    taken: list[Ending] = [*plain, *others]
    yield Call("add_rollup", {"worker": worker}, _sums(others if fused else taken))
    yield from follow(taken, others)
    if tend:
        yield Call("retire", {}, [(turn,) for turn, bits in tend.items() if bits & 1])
    return Settled(accepted, tend, outlived)


Answered = list[tuple[int, int]]  # turns whose end was accepted, with their `on_end` bits


def _end_well(ends: Sequence[Well]) -> Op[Answered]:
    """Simple successes: their journal rows from the turns as they still are, under a lock, then the turns."""
    journaled = [(one.claim.id, one.claim.attempt, one.worker, one.started_at) for one in ends if one.journal]
    yield Call("journal_well", {}, journaled)
    standing = [
        (one.claim.id, one.claim.attempt, one.worker, one.slot_at, one.fresh_ms) for one in ends if one.claim.standing
    ]
    gone = [(one.claim.id, one.claim.attempt, one.worker) for one in ends if not one.claim.standing]
    answered = [(row[0], row[1]) for row in (yield Call("settle_well", {}, standing))]
    return answered + [(row[0], 0) for row in (yield Call("finish", {}, gone))]


def _end_well_fused(ends: Sequence[Well]) -> Op[Answered]:
    """The same with one statement for the standing ones and one for one-offs, each with its journal rows."""
    answered: Answered = []
    standing = [
        (
            one.claim.id,
            one.claim.attempt,
            one.worker,
            one.slot_at,
            one.fresh_ms,
            one.started_at,
            one.busy_ms,
            slot_of_run(one.claim),
            one.claim.due_at,
            one.journal,
        )
        for one in ends
        if one.claim.standing
    ]
    if standing:
        answered += [(row[0], row[1]) for row in (yield Call("settle_fused", {}, standing))]
    if len(standing) < len(ends):
        gone = [
            (one.claim.id, one.claim.attempt, one.worker, one.started_at, one.busy_ms, one.journal)
            for one in ends
            if not one.claim.standing
        ]
        answered += [(row[0], 0) for row in (yield Call("finish_fused", {}, gone))]
    return answered


def _end_otherwise(ends: Sequence[End]) -> Op[Answered]:
    going = [_settle_row(end) for end in ends if end.after is not None]
    gone = [(end.claim.id, end.claim.attempt, end.worker) for end in ends if end.after is None]
    answered = [(row[0], row[1]) for row in (yield Call("settle", {}, going))]
    return answered + [(row[0], 0) for row in (yield Call("finish", {}, gone))]


def _outlived(ends: Sequence[Ending]) -> frozenset[tuple[int, int]]:
    """Attempts that the store has surely taken away, because the same worker ends a later one of the same turn."""
    if len({end.claim.id for end in ends}) == len(ends):
        return frozenset()
    latest: dict[int, int] = {}
    for end in ends:
        latest[end.claim.id] = max(end.claim.attempt, latest.get(end.claim.id, 0))
    fences = {(end.claim.id, end.claim.attempt) for end in ends}
    return frozenset(fence for fence in fences if fence[1] < latest[fence[0]])


def _settle_row(end: End) -> tuple[object, ...]:
    after, claim = end.after, end.claim
    assert after is not None  # noqa: S101 -- the caller has filtered
    return (
        claim.id,
        claim.attempt,
        end.worker,
        *after[:10],
        after.fresh_ms,
        end.failure.fingerprint if end.failure else None,
        after.reason,
        after.result,
    )


def _lines(end: End) -> Sequence[Line]:
    if not end.journal:
        return end.skipped
    claim = end.claim
    line = Line(
        claim.id,
        claim.run,
        claim.attempt,
        claim.job,
        claim.roster,
        claim.member,
        slot_of_run(claim),
        claim.due_at,
        end.started_at,
        end.worker,
        end.outcome,
        end.reason,
        end.link,
        end.failure.fingerprint if end.failure else None,
        1,
    )
    return (line, *end.skipped) if end.skipped else (line,)


_COUNTED = {"succeeded": 1, "retry": 2, "lost": 2, "dead": 3, "skipped": 4}


def _sums(ends: Sequence[Ending]) -> list[tuple[object, ...]]:
    sums: dict[str, list[int]] = {}
    job, row = "", [0]
    for end in ends:
        claim, started_at = end.claim, end.started_at
        if claim.job != job:  # most come in batches of one job
            job = claim.job
            row = sums.setdefault(job, [0] * 8)
        row[1 if type(end) is Well else _COUNTED.get(end.outcome, 5)] += 1
        row[0] += 1
        row[6] += end.busy_ms
        late_ms = started_at - (claim.due_at or 0) if started_at else 0
        if late_ms > 0:
            row[7] += late_ms
    return [(job, *row) for job, row in sums.items()]


class Held(NamedTuple):
    """What the store says a worker holds: attempt and the wish to cancel, by turn."""

    attempts: dict[int, int]
    cancelled: set[int]
    stopped: bool


def beat(worker: str, lease_ms: int, running: int, note: str | None) -> Op[Held | None]:
    """Extend a worker's lease; None when its row is gone and it must introduce itself again."""
    yield from query("move_leases", worker=worker)
    rows = yield from query("beat", worker=worker, lease_ms=lease_ms, running=running, note=note)
    if not rows:
        return None
    return (yield from held(worker))


def beat_at_once(worker: str, lease_ms: int, running: int, note: str | None) -> Op[Held | None]:
    """The same in PostgreSQL's one statement, so that an idle worker costs one query a beat."""
    rows = yield from query("beat_fused", worker=worker, lease_ms=lease_ms, running=running, note=note)
    return _held(rows) if any(row[0] == BEATEN for row in rows) else None


def held(worker: str) -> Op[Held]:
    """What a worker holds at this moment, and whether everything is stopped."""
    return _held((yield from query("held_by", worker=worker)))


def _held(rows: Sequence[Row]) -> Held:
    attempts = {row[0]: row[1] for row in rows if row[0] > 0}
    return Held(attempts, {row[0] for row in rows if row[2]}, any(row[0] == STOPPED for row in rows))


def already_settled(ends: Sequence[Ending]) -> Op[set[int]]:
    """Which of these ends the store accepted earlier, with an answer that was lost."""
    rows = [(end.claim.id, end.claim.attempt, end.worker) for end in ends]
    return {row[0] for row in (yield from query("settled_before", rows))}


def by_id(turn_ids: Sequence[int]) -> Op[list[Claim]]:
    """Turns as their claimer would have got them."""
    rows = yield from query("turns_by_id", [(turn,) for turn in turn_ids])
    return [Claim(*row[:29]) for row in rows]


def fenced_write(name: str, claim: Claim, worker: str, **values: str) -> Op[bool]:
    """Write something of a running attempt; False when its lease is another's."""
    rows = yield from query(name, turn=claim.id, attempt=claim.attempt, worker=worker, **values)
    return bool(rows)
