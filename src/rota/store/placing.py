"""Places of members: the turns a membership brings, and the moves when a member, a place or a schedule changes.

Always true: loads change in the transaction of the turns they count, under the lock of the roster's row; a turn
that is owed already keeps its slot, a running one is moved when it has ended (`on_end` bit 2); no move of a
balanced turn makes the gap to its next slot shorter than the period.

Not here: which slot is the emptiest (turn/slots), who joined and left (members), what changed (reconcile).
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rota.define.contract import Place
from rota.define.evenly import Every
from rota.define.job import JobSpec
from rota.errors import BadInput
from rota.store.port import Op, Row
from rota.store.sql import Call
from rota.turn.slots import Loads, Placement, offset_ms

AGAIN = 2  # bit of `on_end`: the place is to be computed anew when the attempt has ended
OTHER_ERA = -1  # placed by a process whose schedule is not the stored one: reconcile places it again
MOST_PAGE = 5_000  # members of one transaction: well under a second, so that nobody waits long for the roster's row

_OLD_RULE = re.compile(r"schedule=every (\d+) anchor=(-?\d+) slot=(\d+) within=(\d+) ")


class Stored(NamedTuple):
    """A member as it stands in the table; `data` is canonical JSON."""

    key: str
    zone: str | None
    data: str
    owner: str | None
    weight: int


class Owed(NamedTuple):
    """A job that members of a roster are owed: the era of its places, and whether its loads are to be counted."""

    spec: JobSpec
    era: int
    counted: bool


class Scene(NamedTuple):
    """Where and when places are given: the roster whose row is locked, and the store's now."""

    roster: str
    now_ms: int


class Standing(NamedTuple):
    """What of a turn decides its place; the order is that of the statement `standing`."""

    id: int
    job: str
    member: str | None
    state: str
    due_at: int | None
    slot_at: int | None
    slot: int | None
    nth: int | None
    phase_ms: int
    pinned: int
    era: int
    on_end: int
    last_success_at: int | None
    stale_at: int | None
    priority: int
    manual: int
    used_slot_at: int | None
    zone: str | None
    data: str | None
    weight: int | None

    def upcoming(self, now_ms: int) -> bool:
        """Whether its next slot still lies ahead, so that it may be another one."""
        return self.state != "running" and (self.slot_at is None or self.slot_at > now_ms)

    def free_after(self, now_ms: int) -> int:
        """After which instant another next slot may lie: after those it was run for, though the clock went back."""
        return max(now_ms, self.used_slot_at or 0)

    def with_slot(self, slot_at: int | None, spec: JobSpec) -> "Standing":
        """The same turn with another next slot; a due time that is not the slot's (by hand) stays."""
        due_at = slot_at if self.due_at == self.slot_at else self.due_at
        first = self.last_success_at is None
        stale_at = stale_from(spec, slot_at) if first and not self.manual else self.stale_at
        return self._replace(slot_at=slot_at, due_at=due_at, stale_at=stale_at)


def signature_of(spec: JobSpec) -> str:
    """What the places of a job depend on, and the priority that stands in its turns."""
    return f"{spec.signature} priority={spec.priority}"


def stale_from(spec: JobSpec, first_due_at: int | None) -> int | None:
    """When a member that has never succeeded counts as stale: the grace after its first due instant."""
    return None if first_due_at is None or spec.grace_ms is None else first_due_at + spec.grace_ms


def stable_ms(roster: str, key: str, window_ms: int) -> int:
    """An offset inside a window that a member keeps for ever, as a hash of its name."""
    if not window_ms:
        return 0
    digest = hashlib.blake2b(f"{roster}/{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) * window_ms >> 64


def place_of(phase_ms: int, zone: str | None, data: str | None, spec: JobSpec) -> Place:
    """Where a member stands; its data are read only for rules that ask for them."""
    fields: Mapping[str, object] = {}
    if data is not None and spec.schedule is not None and spec.schedule.fields:
        fields = json.loads(data)
    return Place(phase_ms, zone, fields)


def place(
    owed: Sequence[Owed],
    scene: Scene,
    members: Sequence[Stored],
    pins: Mapping[str, int],
    left: Mapping[tuple[str, str], int],
) -> Op[bool]:
    """Write the turns of members that have none; whether one of them is due at once.

    `left` are turns, by job and member, that are still there from before the member left.
    """
    if not members or not owed:
        return False
    loads = yield from loads_of([one.spec for one in owed if one.spec.balanced and one.counted])
    due = False
    for one in owed:
        spec = one.spec
        at_once = spec.first_run == "now" and spec.schedule is not None
        due = due or at_once
        rows = _rows(one, scene, members, loads.get(spec.name), pins.get(spec.name))
        if left:
            back = [(left[spec.name, row[0]], one.era, *row[2:]) for row in rows if (spec.name, row[0]) in left]
            rows = [row for row in rows if (spec.name, row[0]) not in left]
            yield Call("take_back", {}, back)
        rows.sort(key=_by_slot)
        values = {"job": spec.name, "roster": scene.roster, "priority": spec.priority, "era": one.era}
        yield Call("add_turns", values | {"manual": int(at_once)}, _with_stale(spec, rows, scene.now_ms))
    yield from put_loads(loads)
    yield Call("add_lanes", {}, sorted({(one.spec.name, one.spec.priority) for one in owed}))
    return due


def _with_stale(spec: JobSpec, rows: "_Rows", now_ms: int) -> list[tuple[object, ...]]:
    """Each row with the instant at which its member counts as stale if it has not succeeded by then."""
    if spec.grace_ms is None or (spec.schedule is None and spec.target_ms is None):
        return [(*row, None) for row in rows]
    if spec.schedule is None:  # a follower: nobody knows when its leader will end
        return [(*row, now_ms + (spec.target_ms or 0) + spec.grace_ms) for row in rows]
    if spec.first_run == "now":
        return [(*row, now_ms + spec.grace_ms) for row in rows]
    return [(*row, stale_from(spec, row[1])) for row in rows]


def _by_slot(row: tuple[str, int | None, int | None, int | None, int, int]) -> int:
    return row[1] or 0


_Rows = list[tuple[str, int | None, int | None, int | None, int, int]]


def _rows(one: Owed, scene: Scene, members: Sequence[Stored], loads: Loads | None, pin: int | None) -> _Rows:
    """For each member its key, first slot, slot number, place in the slot, phase, and whether somebody chose it."""
    schedule = one.spec.schedule
    if schedule is None:
        return [(member.key, None, None, None, 0, 0) for member in members]
    if isinstance(schedule, Every) and loads is not None:
        slot_ms, within_ms, period = schedule.slot_ms, schedule.within_ms, schedule.period_ms
        now_ms = scene.now_ms
        after = now_ms - schedule.anchor_ms
        places = _placements(loads, members, pin)
        phases = [slot * slot_ms + offset_ms(nth, within_ms) for slot, nth in places]
        chosen = int(pin is not None)
        return [
            (member.key, now_ms + period - (after - phase) % period, slot, nth, phase, chosen)
            for member, (slot, nth), phase in zip(members, places, phases, strict=True)
        ]
    window_ms = schedule.period_ms if isinstance(schedule, Every) else schedule.spread_ms
    return [_by_clock(one.spec, scene, member, window_ms) for member in members]


def _placements(loads: Loads, members: Sequence[Stored], pin: int | None) -> list[Placement]:
    if pin is None:
        return loads.place_many([member.weight for member in members])
    return [(pin, loads.pin(pin, member.weight)) for member in members]


def _by_clock(
    spec: JobSpec, scene: Scene, member: Stored, window_ms: int
) -> tuple[str, int | None, None, None, int, int]:
    phase = stable_ms(scene.roster, member.key, window_ms)
    return (member.key, next_slot(spec, phase, member.zone, member.data, scene.now_ms), None, None, phase, 0)


def next_slot(spec: JobSpec, phase_ms: int, zone: str | None, data: str | None, after_ms: int) -> int | None:
    """The first slot after an instant, or None for followers."""
    if spec.schedule is None:
        return None
    return spec.schedule.next_slot(after_ms, place_of(phase_ms, zone, data, spec))


def loads_of(specs: Sequence[JobSpec]) -> Op[dict[str, Loads]]:
    """The loads of balanced jobs, by name."""
    rows: dict[str, list[tuple[int, int, int]]] = {spec.name: [] for spec in specs}
    for job, *row in (yield Call("slots_of", {}, [(name,) for name in rows])):
        rows[job].append((row[0], row[1], row[2]))
    found: dict[str, Loads] = {}
    for spec in specs:
        if isinstance(spec.schedule, Every):
            inside = [row for row in rows[spec.name] if row[0] < spec.schedule.slot_count]
            found[spec.name] = Loads(inside, slot_count=spec.schedule.slot_count, closed=spec.schedule.closed)
    return found


def put_loads(loads: Mapping[str, Loads]) -> Op[None]:
    """Write what changed."""
    yield Call("put_slots", {}, [(job, *row) for job, table in loads.items() for row in table.changes()])


def shift(turns: Sequence[Standing], weights: Callable[[Standing], int]) -> Op[None]:
    """Change the loads of the slots that turns are in, by what `weights` says for each."""
    sums: dict[tuple[str, int, int], int] = defaultdict(int)
    for turn in turns:
        if turn.slot is not None:
            sums[turn.job, turn.slot, turn.era] += weights(turn)
    yield Call("shift_slots", {}, sorted((*where, weight) for where, weight in sums.items() if weight))


def standing(ids: Sequence[int]) -> Op[list[Standing]]:
    """Turns by id, locked."""
    rows = yield Call("standing", {}, [(turn,) for turn in sorted(ids)])
    return [Standing(*row) for row in rows]


def put(turns: Sequence[Standing]) -> Op[None]:
    """Write turns that `standing` has locked."""
    rows: list[Row] = [
        (
            *(turn.id, turn.due_at, turn.slot_at, turn.slot, turn.nth, turn.phase_ms, turn.pinned, turn.era),
            *(turn.on_end, turn.stale_at, turn.priority),
        )
        for turn in turns
    ]
    yield Call("put_standing", {}, rows)


def reseen(spec: JobSpec, turn: Standing, member: Stored, now_ms: int) -> Standing:
    """The turn after its member's zone or data changed: a rule of the wall clock reads them anew."""
    if spec.schedule is None or isinstance(spec.schedule, Every):
        return turn
    if turn.state == "running":
        return turn._replace(on_end=turn.on_end | AGAIN)
    if not turn.upcoming(now_ms):
        return turn
    return turn.with_slot(next_slot(spec, turn.phase_ms, member.zone, member.data, turn.free_after(now_ms)), spec)


def repinned(spec: JobSpec, turn: Standing, weight: int, loads: Loads, slot: int) -> Standing:
    """The turn in the slot that somebody chose, from its next slot on and no sooner."""
    schedule = spec.schedule
    if not isinstance(schedule, Every) or (turn.slot == slot and turn.pinned):
        return turn
    if turn.slot == slot:
        return turn._replace(pinned=1)
    if turn.slot is not None:
        loads.remove(turn.slot, weight)
    nth = loads.pin(slot, weight)
    phase = slot * schedule.slot_ms + offset_ms(nth, schedule.within_ms)
    return shifted(spec, turn._replace(slot=slot, nth=nth, pinned=1), phase)


def shifted(spec: JobSpec, turn: Standing, phase_ms: int) -> Standing:
    """The turn with another phase of the same period: its next slot comes later, never sooner."""
    turn = turn._replace(phase_ms=phase_ms)
    if turn.state == "running":
        return turn._replace(on_end=turn.on_end | AGAIN)
    if turn.slot_at is None:
        return turn
    return turn.with_slot(next_slot(spec, phase_ms, None, None, turn.slot_at - 1), spec)


def settled(spec: JobSpec, turn: Standing, now_ms: int) -> Standing:
    """The turn after an attempt during which its place changed: the bit is answered."""
    turn = turn._replace(on_end=turn.on_end & ~AGAIN)
    if spec.schedule is None or not turn.upcoming(now_ms):
        return turn
    if isinstance(spec.schedule, Every):
        return shifted(spec, turn, turn.phase_ms)
    return turn.with_slot(next_slot(spec, turn.phase_ms, turn.zone, turn.data, turn.free_after(now_ms)), spec)


def replaced(owed: Owed, scene: Scene, turn: Standing, before: str, loads: Loads | None) -> Standing:
    """The turn under a changed schedule; `before` is the signature under which it was placed.

    From one period to another members keep their order, and the next slot is at least a new period after the last.
    """
    spec = owed.spec
    turn = turn._replace(era=owed.era, priority=spec.priority)
    earliest, old = turn.free_after(scene.now_ms), _OLD_RULE.search(before)
    if isinstance(spec.schedule, Every) and old is not None and turn.slot_at is not None:
        earliest = max(earliest, turn.slot_at - int(old[1]) + spec.schedule.period_ms - 1)
    if isinstance(spec.schedule, Every) and loads is not None:
        turn = _same_order(spec.schedule, turn, loads, old)
    else:
        spread = spec.schedule.spread_ms if spec.schedule is not None and turn.member is not None else 0
        phase = stable_ms(scene.roster, turn.member or "", spread)
        turn = turn._replace(slot=None, nth=None, pinned=0, phase_ms=phase)
    if turn.state == "running":
        return turn._replace(on_end=turn.on_end | AGAIN)
    if not turn.upcoming(scene.now_ms):
        return turn
    return turn.with_slot(next_slot(spec, turn.phase_ms, turn.zone, turn.data, earliest), spec)


def _same_order(rule: Every, turn: Standing, loads: Loads, old: re.Match[str] | None) -> Standing:
    """The place at the same share of the new period; who had none gets the emptiest slot."""
    weight = turn.weight or 1
    if old is None or turn.slot is None:
        slot, nth = loads.place(weight)
        phase = slot * rule.slot_ms + offset_ms(nth, rule.within_ms)
        return turn._replace(slot=slot, nth=nth, phase_ms=phase, pinned=0)
    period, slot_ms, within = int(old[1]), int(old[3]), int(old[4])
    slots = period // slot_ms
    position = (turn.slot * within + (turn.phase_ms - turn.slot * slot_ms)) * rule.slot_count
    slot, rest = divmod(position, slots * within)
    offset = rest * rule.within_ms // (slots * within)
    while slot in rule.closed:
        slot = (slot + 1) % rule.slot_count
    return turn._replace(slot=slot, nth=loads.pin(slot, weight), phase_ms=slot * rule.slot_ms + offset)


def every_of(spec: JobSpec) -> Every:
    """The rule of a balanced job."""
    if not isinstance(spec.schedule, Every):
        raise BadInput(f"the job {spec.name!r} has no slots: only every() over a roster has")
    return spec.schedule


def pins_for(specs: Sequence[JobSpec], slot: int | Mapping[str, int] | None, roster: str) -> dict[str, int]:
    """The slot that somebody chose, for each balanced job it is meant for; `BadInput` where it cannot be."""
    if slot is None:
        return {}
    balanced = {spec.name: spec.schedule for spec in specs if isinstance(spec.schedule, Every)}
    wanted = dict.fromkeys(balanced, slot) if isinstance(slot, int) else dict(slot)
    if not wanted or not wanted.keys() <= balanced.keys():
        known = ", ".join(sorted(balanced)) or "none"
        raise BadInput(f"slot= can only be chosen in jobs of {roster!r} with every(): known here are {known}")
    for job, number in wanted.items():
        _check_pin(job, number, balanced[job])
    return wanted


def _check_pin(job: str, number: Any, rule: Every) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < rule.slot_count:
        last = rule.slot_count - 1
        raise BadInput(f"slot= of the job {job!r} must be a whole number from 0 to {last}, not {number!r}")
    if number in rule.closed:
        raise BadInput(f"slot {number} of the job {job!r} is closed: choose an open one")
