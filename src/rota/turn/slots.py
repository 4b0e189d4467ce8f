"""Balanced placement: which slot of a job's period a member gets, and which instant inside it.

Always true: nobody who is placed moves, except through `rebalance`. With equal weights the fullest and the emptiest
open slot differ by at most one after any series of joins, and by at most one more for each member that left. Nobody
is put into a closed slot. `rebalance` takes each member to a later instant, so no gap is shorter than the period.

Not here: when a slot comes round (define/schedule), the table that keeps the loads (store), and who may ask for a
move (operate).
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heapreplace
from itertools import accumulate

from rota.errors import BadInput, ConfigError, Conflict

__all__ = ["Entry", "Loads", "Move", "Placement", "Row", "offset_ms", "order", "phase_ms", "rebalance"]

Row = tuple[int, int, int]  # slot, load (sum of weights), placed (how many were ever put there; it only goes up)
Placement = tuple[int, int]  # slot, nth (how many had been put there before)

GOLDEN = 0x9E37_79B9_7F4A_7C15  # 2**64 / golden ratio: the multiples of no other number leave gaps as even
MASK = 2**64 - 1  # keeps the fraction of a product and drops its whole turns
ORDERS = 64  # remembered orders; a guess, an application has a handful of periods


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member of a job as `rebalance` sees it; `id` is whatever the caller knows it by."""

    id: int
    slot: int
    phase_ms: int
    weight: int = 1
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One member's way to another slot: its next slot becomes its old next slot plus `later_ms`.

    `later_ms` lies between nothing and one period, so the one gap across the move lies between one period and two.
    """

    id: int
    from_slot: int
    slot: int
    nth: int
    phase_ms: int
    later_ms: int


Route = tuple[Entry, int]  # who leaves, for which slot


@lru_cache(maxsize=ORDERS)
def order(count: int) -> tuple[int, ...]:
    """Return all slots in the order in which equals are filled: any first part of it is spread over the period."""
    if count < 1:
        raise ConfigError(f"a period has at least one slot, found {count}; give the schedule a slot no longer than it")
    bits = (count - 1).bit_length()
    # Counting with the bits mirrored halves the period, then its halves, and so on; where two land in one slot, the
    # first counts. There are at least as many steps as slots, so every slot is met.
    halvings = (int(f"{step:0{bits}b}"[::-1], 2) for step in range(1 << bits))
    return tuple(dict.fromkeys(halving * count >> bits for halving in halvings))


def offset_ms(nth: int, within_ms: int) -> int:
    """Return the offset of the nth placed (from 0) inside a window: at least 0, less than the window, ever the same."""
    return ((nth * GOLDEN) & MASK) * within_ms >> 64


def phase_ms(slot: int, nth: int, slot_ms: int, within_ms: int) -> int:
    """Return the instant of the nth placed of a slot, counted from the start of the period."""
    return slot * slot_ms + offset_ms(nth, within_ms)


class Loads:
    """What the slots of one job carry; built from its rows, changed in memory, written back as `changes()`."""

    __slots__ = ("_before", "_load", "_open", "_placed", "closed", "slot_count")

    def __init__(self, rows: Iterable[Row], *, slot_count: int, closed: frozenset[int] = frozenset()) -> None:
        self.slot_count = slot_count
        self.closed = closed
        self._open = tuple(slot for slot in order(slot_count) if slot not in closed)
        if not self._open:
            raise ConfigError(f"all {slot_count} slots are closed, at least one must be open; close fewer of them")
        self._load = [0] * slot_count
        self._placed = [0] * slot_count
        for slot, load, placed in rows:
            self._check(slot)
            self._load[slot] = load
            self._placed[slot] = placed
        self._before = tuple(zip(self._load, self._placed, strict=True))

    @property
    def open(self) -> tuple[int, ...]:
        """The slots that take members, in tie order."""
        return self._open

    def load(self, slot: int) -> int:
        """Return the sum of the weights in a slot."""
        self._check(slot)
        return self._load[slot]

    def spread(self) -> int:
        """Return by how much the fullest open slot exceeds the emptiest."""
        loads = [self._load[slot] for slot in self._open]
        return max(loads) - min(loads)

    def place(self, weight: int = 1) -> Placement:
        """Put a member into the least loaded open slot, and return the slot and its number there."""
        _check_weight(weight)
        slot = min(self._open, key=self._load.__getitem__)  # the first of equals, and `_open` stands in tie order
        return slot, self._add(slot, weight)

    def place_many(self, weights: Iterable[int]) -> list[Placement]:
        """Do as `place` would for one weight after the other, in one pass."""
        weights = list(weights)  # all of them are looked at before any is placed
        _check_weight(min(weights, default=1))
        slots, width = self._open, len(self._open)
        # Load and rank in one whole number: the smallest is the least loaded, and of equals the first in tie order.
        heap = [self._load[slot] * width + rank for rank, slot in enumerate(slots)]
        heapify(heap)
        placed = self._placed
        placements = []
        for weight in weights:
            key = heap[0]
            slot = slots[key % width]
            placements.append((slot, placed[slot]))
            placed[slot] += 1
            heapreplace(heap, key + weight * width)
        for key in heap:
            self._load[slots[key % width]] = key // width
        return placements

    def pin(self, slot: int, weight: int = 1) -> int:
        """Put a member into the slot that somebody chose for it, and return its number there."""
        self._check(slot)
        _check_weight(weight)
        if slot in self.closed:
            raise BadInput(f"slot {slot} is closed, as are all of {sorted(self.closed)}; choose an open one")
        return self._add(slot, weight)

    def remove(self, slot: int, weight: int = 1) -> None:
        """Free the place of a member that left; its number is not given out again."""
        self.reweigh(slot, weight, 0)

    def reweigh(self, slot: int, old: int, new: int) -> None:
        """Count a member that stays where it is with another weight."""
        self._check(slot)
        if self._load[slot] < old:
            raise Conflict(f"slot {slot} carries {self._load[slot]}, less than the {old} to take away; count it again")
        self._load[slot] += new - old

    def changes(self) -> list[Row]:
        """Return the rows that are no longer what they were when this was built."""
        now = zip(self._load, self._placed, self._before, strict=True)
        return [(slot, load, placed) for slot, (load, placed, was) in enumerate(now) if (load, placed) != was]

    def _add(self, slot: int, weight: int) -> int:
        nth = self._placed[slot]
        self._placed[slot] += 1
        self._load[slot] += weight
        return nth

    def _check(self, slot: int) -> None:
        if not 0 <= slot < self.slot_count:
            raise BadInput(f"slots are numbered 0 to {self.slot_count - 1}, found {slot}; choose one of these")


def rebalance(entries: Iterable[Entry], loads: Loads, *, slot_ms: int, within_ms: int) -> list[Move]:
    """Return the moves that even out the open slots and empty the closed ones, and count them in `loads`.

    `entries` are all members of the job. Those that are pinned stay. With equal weights fullest and emptiest then
    differ by at most one as far as the pinned allow, no smaller number of moves does it, and no other choice of that
    many delays by fewer slots in all. With unequal weights no slot exceeds the emptiest by more than the weight of its
    heaviest member that may move. For a preview, leave the changes of `loads` unwritten.
    """
    entries = list(entries)
    movable = _movable(entries, loads, slot_ms)
    routes = _equal_routes if len({entry.weight for entry in entries}) <= 1 else _weighted_routes
    moves = []
    for entry, slot in routes(movable, loads):
        loads.remove(entry.slot, entry.weight)
        nth = loads.pin(slot, entry.weight)
        phase = phase_ms(slot, nth, slot_ms, within_ms)
        later = (phase - entry.phase_ms) % (loads.slot_count * slot_ms)
        moves.append(Move(id=entry.id, from_slot=entry.slot, slot=slot, nth=nth, phase_ms=phase, later_ms=later))
    return moves


def _movable(entries: Sequence[Entry], loads: Loads, slot_ms: int) -> list[list[Entry]]:
    """Return those who may move, by slot, after a look whether loads and members are of one mind."""
    movable: list[list[Entry]] = [[] for _ in range(loads.slot_count)]
    counted = [0] * loads.slot_count
    for entry in entries:
        if entry.phase_ms // slot_ms != entry.slot or not 0 <= entry.slot < loads.slot_count:
            raise Conflict(
                f"member {entry.id} has phase {entry.phase_ms} ms, not in its slot {entry.slot}; place it again"
            )
        counted[entry.slot] += entry.weight
        if not entry.pinned:
            movable[entry.slot].append(entry)
    for slot, load in enumerate(counted):
        if load != loads.load(slot):
            raise Conflict(f"slot {slot} carries {loads.load(slot)}, its members weigh {load}; count it again")
    return movable


def _equal_routes(movable: list[list[Entry]], loads: Loads) -> list[Route]:
    """Route members of one weight: the fewest, by the shortest ways, the latest of a slot first."""
    weight = next((entry.weight for slot in movable for entry in slot), 1)
    count = [loads.load(slot) // weight for slot in range(loads.slot_count)]
    pinned = [have - len(slot) for have, slot in zip(count, movable, strict=True)]
    for slot in movable:
        slot.sort(key=lambda entry: (entry.phase_ms, entry.id))
    surplus = _surplus(count, pinned, loads.open)
    return [(movable[start].pop(), end) for start, end in _forward(surplus)]


def _surplus(count: Sequence[int], pinned: Sequence[int], open_slots: Sequence[int]) -> list[int]:
    """Return how many each slot has too many, or below zero too few, for the evenest load that the pinned allow.

    That load is one level, or one more, in each slot that the pinned do not hold above it. Who has more than the
    level keeps one more, as far as it goes round; which of them, or who else, is decided by the way it saves.
    """
    open_floors = [pinned[slot] for slot in open_slots]
    level = _level(open_floors, sum(count) - sum(pinned) + sum(open_floors))
    is_open = set(open_slots)
    # A closed slot is brought down to its pinned; an open one to the level, but not below its pinned.
    levels = [level if slot in is_open else 0 for slot in range(len(count))]
    may_keep = [slot in is_open and pinned[slot] <= level for slot in range(len(count))]
    keeps = [may and have > level for may, have in zip(may_keep, count, strict=True)]
    surplus = [
        have - max(goal, floor) - keep for have, goal, floor, keep in zip(count, levels, pinned, keeps, strict=True)
    ]
    extra = sum(surplus)
    if extra >= 0:
        takes = [may and not keep for may, keep in zip(may_keep, keeps, strict=True)]
        return [over - take for over, take in zip(surplus, _takers(surplus, takes, extra), strict=True)]
    # Too many keep one: the same question in a mirror, where the ways run backwards and giving is taking.
    gives = _takers([-over for over in reversed(surplus)], keeps[::-1], -extra)[::-1]
    return [over + give for over, give in zip(surplus, gives, strict=True)]


def _level(floors: Sequence[int], total: int) -> int:
    """Return the highest level to which a total fills slots whose floors are given."""
    return bisect_right(range(total + 1), total, key=lambda level: sum(max(floor, level) for floor in floors)) - 1


def _takers(surplus: Sequence[int], may_take: Sequence[bool], extra: int) -> list[bool]:
    """Choose `extra` of the slots that may take one more, so that all ways forward round the period are shortest.

    What crosses the end of a slot is what crossed the end of the last slot of the period, plus the surplus up to
    here, less what was taken up to here. The sum of all crossings is the sum of all ways. It is smallest when as
    little as possible crosses the end of the period and everything is taken as early as no crossing falls below zero.
    """
    so_far = list(accumulate(surplus))
    still = [extra - after for after in _after(may_take)]  # what must have been taken here, for the rest to suffice
    round_the_end = max(max(0, taken) - over for taken, over in zip(still, so_far, strict=True))
    room = list(accumulate((round_the_end + over for over in reversed(so_far)), min))[::-1]
    chosen = []
    taken = 0
    for may, most in zip(may_take, room, strict=True):
        chosen.append(may and taken < min(most, extra))
        taken += chosen[-1]
    return chosen


def _after(flags: Sequence[bool]) -> list[int]:
    """Return for each flag how many after it are set."""
    return [*accumulate(reversed(flags[1:]), initial=0)][::-1]


def _forward(surplus: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (from, to) for each that must move: forward, nobody past where nobody needs to, first come first served."""
    so_far = list(accumulate(surplus))
    start = so_far.index(min(so_far)) + 1  # nothing crosses the end of the slot before this one
    waiting: deque[int] = deque()
    for step in range(len(surplus)):
        slot = (start + step) % len(surplus)
        waiting.extend([slot] * surplus[slot])
        for _ in range(-surplus[slot]):
            yield waiting.popleft(), slot


def _weighted_routes(movable: list[list[Entry]], loads: Loads) -> list[Route]:
    """Route members of several weights: from where most could leave to the emptiest, nobody twice.

    To find the fewest moves is as hard as packing boxes; this takes the one whose weight is nearest to half the gap.
    """
    load = [loads.load(slot) for slot in range(loads.slot_count)]
    routes: list[Route] = []
    for members in movable:
        members.sort(key=lambda entry: (entry.weight, entry.phase_ms, entry.id))

    def send(start: int, index: int) -> int:
        entry = movable[start].pop(index)
        end = min(loads.open, key=lambda slot: (load[slot], (slot - start) % loads.slot_count))
        load[start] -= entry.weight
        load[end] += entry.weight
        routes.append((entry, end))
        return end

    # A slot that takes one exceeds the emptiest by no more than that one's weight, now and later: it gives none.
    givers = set(loads.open)
    for slot in sorted(loads.closed):
        while movable[slot]:
            givers.discard(send(slot, -1))
    while givers := {slot for slot in givers if movable[slot]}:
        fullest = max(givers, key=lambda slot: (load[slot] - movable[slot][-1].weight, -slot))
        gap = load[fullest] - min(load[slot] for slot in loads.open)
        if gap <= movable[fullest][-1].weight:
            break
        givers.discard(send(fullest, _nearest(movable[fullest], gap)))
    return routes


def _nearest(members: Sequence[Entry], gap: int) -> int:
    """Return the index of the member, of some sorted by weight, whose leaving halves a gap best."""
    above = bisect_right(members, gap // 2, key=lambda entry: entry.weight)
    around = range(max(above - 1, 0), min(above + 1, len(members)))
    return min(around, key=lambda index: abs(gap - 2 * members[index].weight))


def _check_weight(weight: int) -> None:
    if weight < 1:
        raise BadInput(f"a weight is a whole number from 1, found {weight}; give the member one")
