"""The operations on rosters: join, change, leave, and reading members.

Always true: whoever changes members holds the row of their roster first, so joins and leaves of one roster come one
after the other; a member and the turns of the jobs this process knows are written in one transaction; the count of
a roster is exact.

Not here: where turns are placed (placing), jobs that changed (reconcile), whether an entry is well formed (rosters).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from rota.define.job import JobSpec
from rota.define.roster import RosterSpec
from rota.store import placing
from rota.store.placing import OTHER_ERA, Owed, Scene, Standing, Stored
from rota.store.port import Op, query
from rota.store.sql import Call

ZONE, DATA, OWNER, WEIGHT = 1, 2, 4, 8  # bits of `Entry.given`
ALL_GIVEN = ZONE | DATA | OWNER | WEIGHT


class Entry(NamedTuple):
    """What a join says about a member: `given` tells which fields were said, the others are defaults."""

    key: str
    zone: str | None = None
    data: str = "{}"
    owner: str | None = None
    weight: int = 1
    given: int = 0

    def on(self, known: Stored) -> Stored:
        """A member that is there already, with what was given."""
        given = self.given
        if not given:
            return known
        return Stored(
            known.key,
            self.zone if given & ZONE else known.zone,
            self.data if given & DATA else known.data,
            self.owner if given & OWNER else known.owner,
            self.weight if given & WEIGHT else known.weight,
        )


class Joined(NamedTuple):
    """Members as they now stand, in the order asked; new keys; how many others changed; whether a turn is due now."""

    members: list[Stored]
    fresh: list[str]
    changed: int
    due: bool


def join(
    roster: RosterSpec, jobs: Sequence[JobSpec], entries: Sequence[Entry], slot: int | Mapping[str, int] | None = None
) -> Op[Joined]:
    """Add members, or change those that are there by what is given; each key at most once."""
    scene = Scene(roster.name, (yield from lock(roster)))
    known = {row[0]: Stored(*row) for row in (yield Call("known_members", {"roster": roster.name}, _keys(entries)))}
    members = [entry.on(known[entry.key]) if entry.key in known else Stored(*entry[:5]) for entry in entries]
    fresh = [member for member in members if member.key not in known] if known else members
    changed = [member for member in members if member.key in known and known[member.key] != member] if known else []
    _check(jobs, fresh)
    _check(jobs, changed)
    pins = placing.pins_for(jobs, slot, roster.name)
    owed = yield from _owed(roster.name, jobs)
    yield Call("add_members", {"roster": roster.name}, fresh)
    left = yield from _left_behind(roster.name, fresh)
    due = yield from placing.place(owed, scene, fresh, pins, left)
    yield from query("count_members", roster=roster.name, more=len(fresh))
    touched = [member for member in members if member.key in known] if pins and known else changed
    if touched:
        yield Call("change_members", {}, [(roster.name, *member) for member in changed])
        yield from _change(scene, owed, known, touched, pins)
    return Joined(members, [member.key for member in fresh], len(changed), due)


def lock(roster: RosterSpec) -> Op[int]:
    """Take the row of a roster, making it if need be; the store's now."""
    rows = yield from query("lock_roster", roster=roster.name)
    if not rows:
        yield from query("add_roster", roster=roster.name, facets=msgspec.json.encode(roster.facets).decode())
        rows = yield from query("lock_roster", roster=roster.name)
    return int(rows[0][1])


def _keys(entries: Sequence[Entry] | Sequence[Stored]) -> list[tuple[str]]:
    return [(entry.key,) for entry in entries]


def _left_behind(roster: str, fresh: Sequence[Stored]) -> Op[dict[tuple[str, str], int]]:
    """Turns, by job and member, of those who left while they ran and are back before they ended."""
    ids = yield Call("turn_ids_of_members", {"roster": roster}, _keys(fresh))
    turns = yield from placing.standing([row[0] for row in ids])
    return {(turn.job, turn.member or ""): turn.id for turn in turns}


def _check(jobs: Sequence[JobSpec], members: Sequence[Stored]) -> None:
    """Raise BadInput for a member whose data lack what a schedule reads."""
    for spec in jobs:
        if spec.schedule is not None and spec.schedule.fields:
            for member in members:
                spec.schedule.check_member(member.zone, msgspec.json.decode(member.data))


def _owed(roster: str, jobs: Sequence[JobSpec]) -> Op[list[Owed]]:
    """The jobs to place, each with the era of its schedule; those placed elsewhere are opened for reconcile."""
    stored = {row[0]: (row[1], row[2]) for row in (yield Call("jobs_of_roster", {"roster": roster}))}
    owed = []
    for spec in jobs:
        wanted = placing.signature_of(spec)
        signature, era = stored.pop(spec.name, (wanted, 0))
        same = signature == wanted
        owed.append(Owed(spec, era if same else OTHER_ERA, same))
        if not same:
            stored[spec.name] = (signature, era)
    yield Call("reopen_jobs", {}, [(name,) for name in sorted(stored)])
    return owed


def _change(
    scene: Scene,
    owed: Sequence[Owed],
    known: Mapping[str, Stored],
    touched: Sequence[Stored],
    pins: Mapping[str, int],
) -> Op[None]:
    """Move what hangs on zone, data and weight of members that were there already."""
    ids = yield Call("turn_ids_of_members", {"roster": scene.roster}, _keys(touched))
    before = yield from placing.standing([row[0] for row in ids])
    after = {member.key: member for member in touched}

    def weight(turn: Standing) -> int:
        key = turn.member or ""
        return after[key].weight - known[key].weight

    yield from placing.shift(before, weight)
    loads = yield from placing.loads_of([one.spec for one in owed if one.spec.name in pins and one.counted])
    jobs = {one.spec.name: one.spec for one in owed}
    moved = []
    for turn in before:
        spec, member = jobs.get(turn.job), after[turn.member or ""]
        if spec is None:
            continue
        new = placing.reseen(spec, turn, member, scene.now_ms)
        if turn.job in loads:
            new = placing.repinned(spec, new, member.weight, loads[turn.job], pins[turn.job])
        if new != turn:
            moved.append(new)
    yield from placing.put(moved)
    yield from placing.put_loads(loads)


def leave(roster: RosterSpec, keys: Sequence[str]) -> Op[list[str]]:
    """Take members out with their turns; running ones go when they end. The keys that were members."""
    yield from lock(roster)
    gone = {row[0]: row[1] for row in (yield Call("drop_members", {"roster": roster.name}, [(key,) for key in keys]))}
    ids = yield Call("turn_ids_of_members", {"roster": roster.name}, [(key,) for key in sorted(gone)])
    turns = yield from placing.standing([row[0] for row in ids])
    yield from placing.shift(turns, lambda turn: -gone[turn.member or ""])
    yield Call("remove_turns", {}, [(turn.id,) for turn in turns if turn.state != "running"])
    yield Call("part_turns", {}, [(turn.id,) for turn in turns if turn.state == "running"])
    yield from query("count_members", roster=roster.name, more=-len(gone))
    return [key for key in keys if key in gone]


def get(roster: str, key: str) -> Op[Stored | None]:
    """One member, if it is there."""
    rows = yield Call("known_members", {"roster": roster}, [(key,)])
    return Stored(*rows[0]) if rows else None


def count(roster: str) -> Op[int]:
    """How many members a roster has."""
    rows = yield from query("roster_count", roster=roster)
    return int(rows[0][0]) if rows else 0


def page(roster: str, after: str, most: int) -> Op[list[tuple[Stored, int]]]:
    """Members in the order of keys, each with the instant it joined."""
    rows = yield from query("members_after", roster=roster, after=after, most=most)
    return [(Stored(*row[:5]), row[5]) for row in rows]


def began(roster: RosterSpec) -> Op[tuple[int, int]]:
    """The store's now and the count of a roster, before its source is read."""
    yield from query("add_roster", roster=roster.name, facets=msgspec.json.encode(roster.facets).decode())
    rows = yield from query("lock_roster", roster=roster.name)
    return int(rows[0][1]), int(rows[0][0])
