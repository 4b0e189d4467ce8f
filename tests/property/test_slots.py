"""Balanced placement and rebalancing, as sentences that hold for any population.

Always true: what is fewest, shortest and evenest is found here by trying everything, on small periods.

Not here: the table of loads and concurrent joins (tests/store).
"""

from collections import Counter
from itertools import pairwise, product
from math import isqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.errors import BadInput, ConfigError, Conflict
from rota.turn.slots import Entry, Loads, offset_ms, order, phase_ms, rebalance

HOUR = 3_600_000
DAY = 24 * HOUR

slot_counts = st.sampled_from([1, 2, 3, 7, 12, 24, 168])
weights = st.integers(1, 9)
equal = st.just(1)


@st.composite
def closable(draw, counts=slot_counts):
    """A number of slots, and some of them closed, never all."""
    count = draw(counts)
    return count, draw(st.frozensets(st.integers(0, count - 1), max_size=count - 1))


@st.composite
def rows_of(draw, count):
    loads = draw(st.lists(st.integers(0, 40), min_size=count, max_size=count))
    return [(slot, load, load + draw(st.integers(0, 5))) for slot, load in enumerate(loads) if load]


@st.composite
def populations(draw, counts, *, weight=equal, most=40):
    """Members somewhere in a period, some pinned, some in closed slots, with the loads they make."""
    count, closed = draw(closable(counts))
    seats = draw(st.lists(st.tuples(st.integers(0, count - 1), weight, st.booleans()), max_size=most))
    loads, placed = Counter(), Counter()
    entries = []
    for number, (slot, heavy, pinned) in enumerate(seats):
        phase = phase_ms(slot, placed[slot], HOUR, HOUR)
        entries.append(Entry(id=number, slot=slot, phase_ms=phase, weight=heavy, pinned=pinned))
        loads[slot] += heavy
        placed[slot] += 1
    rows = [(slot, loads[slot], placed[slot]) for slot in loads]
    return entries, Loads(rows, slot_count=count, closed=closed)


def state(loads):
    return [loads.load(slot) for slot in range(loads.slot_count)]


def even_out(entries, loads):
    return rebalance(entries, loads, slot_ms=HOUR, within_ms=HOUR)


def after(entries, moves):
    to = {move.id: move.slot for move in moves}
    return {entry.id: to.get(entry.id, entry.slot) for entry in entries}


# ---------------------------------------------------------------------------------------------------------------------
# The tie order and the offsets


@given(st.integers(1, 700))
def test_the_tie_order_holds_every_slot_once(count):
    assert sorted(order(count)) == list(range(count))


@given(st.integers(1, 400), st.data())
def test_any_first_part_of_the_tie_order_leaves_no_gap_of_more_than_twice_the_mean(count, data):
    part = data.draw(st.integers(1, count))
    taken = sorted(order(count)[:part])
    gaps = [later - earlier for earlier, later in pairwise([*taken, taken[0] + count])]
    assert max(gaps) < 2 * count / part + 1


@given(st.integers(0, 10**9), st.integers(1, 7 * DAY))
def test_an_offset_lies_in_its_window(nth, within):
    assert 0 <= offset_ms(nth, within) < within


@given(st.integers(0, 10**6), st.integers(2, 300), st.integers(1000, DAY))
def test_the_offsets_of_any_run_of_joiners_leave_no_gap_of_more_than_twice_the_mean(first, joiners, within):
    taken = sorted(offset_ms(first + step, within) for step in range(joiners))
    gaps = [later - earlier for earlier, later in pairwise([*taken, taken[0] + within])]
    assert max(gaps) <= 2 * within / joiners + 1


def test_an_offset_is_the_same_on_every_machine_and_in_every_release():
    assert [offset_ms(nth, HOUR) for nth in range(4)] == [0, 2_224_922, 849_844, 3_074_767]
    golden = (isqrt(5 << 128) - (1 << 64)) // 2  # the smaller part of 2**64 cut by the golden ratio, in whole numbers
    assert offset_ms(2**40, 7 * DAY) == 2**40 * golden % 2**64 * 7 * DAY // 2**64


def test_a_window_of_nothing_has_the_offset_nothing():
    assert offset_ms(17, 0) == 0


@given(st.integers(0, 167), st.integers(0, 10**6), st.integers(1, HOUR))
def test_a_phase_lies_in_its_slot(slot, nth, within):
    assert phase_ms(slot, nth, HOUR, within) // HOUR == slot


# ---------------------------------------------------------------------------------------------------------------------
# Joining and leaving


def test_twenty_four_members_of_a_daily_job_take_twenty_four_hours():
    loads = Loads([], slot_count=24)
    assert {loads.place()[0] for _ in range(24)} == set(range(24))


@pytest.mark.parametrize("count", [24, 168])
def test_a_million_joins_leave_fullest_and_emptiest_one_apart_at_most(count):
    loads = Loads([], slot_count=count)
    placements = loads.place_many([1] * 1_000_000)
    assert loads.spread() <= 1
    assert len(set(placements)) == 1_000_000
    assert Counter(slot for slot, _ in placements) == dict(enumerate(state(loads)))


@given(closable(), st.integers(0, 500))
def test_after_any_joins_of_equal_weight_fullest_and_emptiest_differ_by_one_at_most(slots, joins):
    count, closed = slots
    loads = Loads([], slot_count=count, closed=closed)
    for _ in range(joins):
        loads.place()
    assert loads.spread() <= 1


@given(slot_counts, st.lists(weights, max_size=200))
def test_with_weights_fullest_and_emptiest_differ_by_the_heaviest_at_most(count, heavy):
    loads = Loads([], slot_count=count)
    loads.place_many(heavy)
    assert sum(state(loads)) == sum(heavy)
    assert loads.spread() <= max(heavy, default=0)


@given(closable(), st.lists(st.one_of(st.just("join"), st.integers(0, 10**6)), max_size=300))
def test_after_joins_and_leaves_nobody_has_moved_and_the_spread_is_one_and_what_left_at_most(slots, steps):
    count, closed = slots
    loads = Loads([], slot_count=count, closed=closed)
    here, ever, left = [], [], 0
    for step in steps:
        if step == "join":
            here.append(loads.place())
            ever.append(here[-1])
        elif here:
            slot, _ = here.pop(step % len(here))
            loads.remove(slot)
            left += 1
        there = Counter(slot for slot, _ in here)
        assert state(loads) == [there[slot] for slot in range(count)]  # the places given at the join still hold
    assert loads.spread() <= 1 + left
    assert len(set(ever)) == len(ever)  # no place is given out twice, so no two members share an offset
    assert closed.isdisjoint(slot for slot, _ in ever)


@given(st.data(), slot_counts)
def test_joiners_fill_the_emptiest_slots_first(data, count):
    loads = Loads(data.draw(rows_of(count)), slot_count=count)
    for _ in range(20):
        emptiest = min(state(loads))
        slot, _ = loads.place()
        assert loads.load(slot) == emptiest + 1


@given(st.data(), closable(), st.lists(weights, max_size=200))
def test_joining_many_at_once_is_joining_one_after_the_other(data, slots, heavy):
    count, closed = slots
    rows = data.draw(rows_of(count))
    at_once, singly = (Loads(rows, slot_count=count, closed=closed) for _ in range(2))
    assert at_once.place_many(iter(heavy)) == [singly.place(weight) for weight in heavy]
    assert at_once.changes() == singly.changes()


@given(st.data(), slot_counts, st.lists(st.tuples(st.integers(0, 10**6), weights), max_size=30))
def test_a_pinned_member_is_counted_where_it_was_put(data, count, pins):
    rows = data.draw(rows_of(count))
    loads, placed = Loads(rows, slot_count=count), {slot: placed for slot, _, placed in rows}
    for wish, weight in pins:
        slot, before = wish % count, loads.load(wish % count)
        assert loads.pin(slot, weight) == placed.get(slot, 0)
        assert loads.load(slot) == before + weight
        placed[slot] = placed.get(slot, 0) + 1


@given(st.data(), slot_counts)
def test_the_changes_are_the_rows_that_differ_and_make_the_same_loads_again(data, count):
    rows = data.draw(rows_of(count))
    loads = Loads(rows, slot_count=count)
    assert loads.changes() == []
    slot, _ = loads.place(3)
    loads.reweigh(slot, 3, 1)
    other = loads.pin(data.draw(st.integers(0, count - 1)), 2)
    assert other >= 0
    written = {row[0]: row for row in [*rows, *loads.changes()]}
    assert slot in {row[0] for row in loads.changes()}
    assert len(loads.changes()) <= 2
    assert state(Loads(written.values(), slot_count=count)) == state(loads)


def test_a_place_taken_and_left_is_still_a_change_because_its_number_is_used():
    loads = Loads([(0, 5, 5)], slot_count=1)
    loads.remove(*loads.place()[:1])
    assert loads.changes() == [(0, 5, 6)]


# ---------------------------------------------------------------------------------------------------------------------
# Even out


@given(populations(slot_counts))
def test_evening_out_leaves_one_apart_at_most_and_nobody_but_the_pinned_in_a_closed_slot(population):
    entries, loads = population
    where = after(entries, even_out(entries, loads))
    there = Counter(where.values())
    assert state(loads) == [there[slot] for slot in range(loads.slot_count)]
    assert all(entry.pinned for entry in entries if where[entry.id] in loads.closed)
    pinned = Counter(entry.slot for entry in entries if entry.pinned)
    emptiest = min(there[slot] for slot in loads.open)
    assert all(there[slot] <= max(emptiest + 1, pinned[slot]) for slot in loads.open)


@given(populations(slot_counts, weight=weights))
def test_a_move_is_to_an_open_slot_and_a_later_instant_and_never_of_a_pinned_member(population):
    entries, loads = population
    period = loads.slot_count * HOUR
    of = {entry.id: entry for entry in entries}
    numbers = {(entry.slot, entry.phase_ms) for entry in entries}
    moves = even_out(entries, loads)
    assert len({move.id for move in moves}) == len(moves)
    for move in moves:
        entry = of[move.id]
        assert not entry.pinned
        assert move.from_slot == entry.slot
        assert move.slot not in loads.closed
        assert move.slot != entry.slot
        assert move.phase_ms == phase_ms(move.slot, move.nth, HOUR, HOUR)
        assert (entry.phase_ms + move.later_ms) % period == move.phase_ms
        assert period < period + move.later_ms < 2 * period  # the gap across the move
        assert (move.slot, move.phase_ms) not in numbers
        numbers.add((move.slot, move.phase_ms))


@given(populations(slot_counts, weight=weights))
def test_what_is_even_stays_as_it_is(population):
    entries, loads = population
    moves = {move.id: move for move in even_out(entries, loads)}
    settled = [
        Entry(
            id=entry.id,
            slot=moves[entry.id].slot if entry.id in moves else entry.slot,
            phase_ms=moves[entry.id].phase_ms if entry.id in moves else entry.phase_ms,
            weight=entry.weight,
            pinned=entry.pinned,
        )
        for entry in entries
    ]
    assert even_out(settled, loads) == []


@given(populations(st.integers(1, 5), most=6))
@settings(max_examples=300, deadline=None)
def test_no_evener_load_fewer_moves_or_shorter_delays_exist(population):
    entries, loads = population
    free = [entry for entry in entries if not entry.pinned]

    def price(slots):
        there = Counter(entry.slot for entry in entries if entry.pinned) + Counter(slots)
        delays = [(slot - entry.slot) % loads.slot_count for entry, slot in zip(free, slots, strict=True)]
        return sum(there[slot] ** 2 for slot in loads.open), sum(map(bool, delays)), sum(delays)

    cheapest = min(price(slots) for slots in product(loads.open, repeat=len(free)))
    where = after(entries, even_out(entries, loads))
    assert price([where[entry.id] for entry in free]) == cheapest


@given(populations(slot_counts, weight=st.integers(1, 1000)))
def test_with_weights_no_slot_exceeds_the_emptiest_by_more_than_its_heaviest_that_may_move(population):
    entries, loads = population
    where = after(entries, even_out(entries, loads))
    emptiest = min(loads.load(slot) for slot in loads.open)
    heaviest = Counter()
    for entry in entries:
        if not entry.pinned:
            assert where[entry.id] not in loads.closed
            heaviest[where[entry.id]] = max(heaviest[where[entry.id]], entry.weight)
    assert all(loads.load(slot) - emptiest <= heaviest[slot] for slot in loads.open if heaviest[slot])
    weighed = Counter()
    for entry in entries:
        weighed[where[entry.id]] += entry.weight
    assert state(loads) == [weighed[slot] for slot in range(loads.slot_count)]


def test_ten_thousand_in_one_hour_are_spread_over_the_day_by_the_fewest_moves():
    entries = [Entry(id=nth, slot=9, phase_ms=phase_ms(9, nth, HOUR, HOUR)) for nth in range(10_000)]
    loads = Loads([(9, 10_000, 10_000)], slot_count=24)
    moves = even_out(entries, loads)
    assert loads.spread() == 1
    assert len(moves) == 10_000 - 417  # the fullest hour of an even day keeps its own


def crowd(count, *slots, closed=frozenset()):
    """Members by slot and weight, numbered from 0 through all slots."""
    entries = []
    for slot, heavy in enumerate(slots):
        for nth, weight in enumerate(heavy):
            phase = phase_ms(slot, nth, HOUR, HOUR)
            entries.append(Entry(id=len(entries), slot=slot, phase_ms=phase, weight=weight))
    rows = [(slot, sum(heavy), len(heavy)) for slot, heavy in enumerate(slots)]
    return entries, Loads(rows, slot_count=count, closed=closed)


def ways(entries, loads):
    return [(move.from_slot, move.slot) for move in even_out(entries, loads)]


def test_of_equal_sums_of_delays_nobody_waits_long_for_another_to_wait_little():
    assert ways(*crowd(4, [1, 1], [1, 1])) == [(0, 2), (1, 3)]


def test_the_latest_of_a_slot_leaves_it_because_its_way_is_the_shortest():
    entries, loads = crowd(2, [1, 1])
    assert [move.id for move in even_out(entries, loads)] == [1]
    assert max(entries, key=lambda entry: entry.phase_ms).id == 1
    entries, loads = crowd(2, [1, 1])
    assert [move.id for move in even_out(entries[::-1], loads)] == [1], "in whatever order they are told"


def test_members_of_one_weight_go_the_same_ways_whatever_they_weigh():
    light, heavy = crowd(4, [1, 1, 1], [1]), crowd(4, [3, 3, 3], [3])
    assert ways(*light) == ways(*heavy) == [(0, 2), (0, 3)]


def test_of_several_weights_the_one_nearest_to_half_the_gap_goes():
    assert [move.id for move in even_out(*crowd(2, [8, 2, 2]))] == [0]
    assert [move.id for move in even_out(*crowd(2, [10, 6, 1], [4]))] == [1]
    assert [move.id for move in even_out(*crowd(2, [3, 4, 5], [2]))] == [2]


def test_the_spread_is_that_of_the_open_slots():
    assert Loads([(0, 3, 3), (1, 1, 1), (2, 9, 9)], slot_count=3, closed=frozenset({2})).spread() == 2


def test_of_several_emptiest_the_next_in_time_takes_a_heavy_member_and_sends_nobody_away_for_it():
    assert ways(*crowd(3, [500, 500], [1, 1], [1, 1])) == [(0, 1)]


@pytest.mark.parametrize(
    ("slots", "first"),
    [
        (([], [8, 6, 1], [], [20]), (1, 2)),
        (([20], [], [8, 6, 1], []), (2, 3)),
        (([9, 1], [5, 4], []), (1, 2)),
        (([3, 2], [3, 2], []), (0, 2)),
    ],
    ids=["the next in time of the emptiest", "round the end", "from where most could leave", "the first of equals"],
)
def test_of_several_weights_the_first_way_is(slots, first):
    assert ways(*crowd(len(slots), *slots))[0] == first


def test_who_takes_a_heavy_member_from_a_closed_slot_sends_nobody_away_for_it():
    assert ways(*crowd(3, [500], [1, 1], [1, 1], closed=frozenset({0}))) == [(0, 1)]


# ---------------------------------------------------------------------------------------------------------------------
# Bad input


def test_a_period_whose_slots_are_all_closed_is_refused():
    with pytest.raises(ConfigError, match="all 2 slots are closed, at least one must be open"):
        Loads([], slot_count=2, closed=frozenset({0, 1}))


def test_a_period_without_slots_is_refused():
    with pytest.raises(ConfigError, match="at least one slot, found 0"):
        Loads([], slot_count=0)


@pytest.mark.parametrize("slot", [-1, 24])
def test_a_slot_that_the_period_does_not_have_is_refused(slot):
    loads = Loads([], slot_count=24)
    for attempt in (loads.pin, loads.remove, loads.load, lambda slot: Loads([(slot, 1, 1)], slot_count=24)):
        with pytest.raises(BadInput, match=f"numbered 0 to 23, found {slot}"):
            attempt(slot)


def test_a_pin_into_a_closed_slot_is_refused():
    with pytest.raises(BadInput, match=r"slot 3 is closed, as are all of \[2, 3\]; choose an open one"):
        Loads([], slot_count=24, closed=frozenset({2, 3})).pin(3)


def test_a_member_weighs_one_unless_it_is_said():
    loads = Loads([], slot_count=24)
    loads.pin(3)
    slot, _ = loads.place()
    assert (loads.load(3), loads.load(slot)) == (1, 1)
    loads.remove(3)
    assert loads.load(3) == 0


@pytest.mark.parametrize(
    "place",
    [
        Loads.place,
        lambda loads, weight: loads.place_many([1, weight]),
        lambda loads, weight: loads.pin(3, weight),
    ],
)
def test_a_weight_below_one_is_refused_and_nobody_is_placed(place):
    loads = Loads([], slot_count=24)
    with pytest.raises(BadInput, match="a whole number from 1, found 0"):
        place(loads, 0)
    assert loads.changes() == []


def test_more_cannot_leave_a_slot_than_is_in_it():
    with pytest.raises(Conflict, match="slot 0 carries 1, less than the 2 to take away"):
        Loads([(0, 1, 1)], slot_count=24).remove(0, 2)


def test_loads_that_do_not_fit_the_members_are_not_evened_out():
    with pytest.raises(Conflict, match="slot 0 carries 2, its members weigh 1; count it again"):
        even_out([Entry(id=1, slot=0, phase_ms=0)], Loads([(0, 2, 2)], slot_count=24))


@pytest.mark.parametrize("slot", [-1, 24])
def test_a_member_in_a_slot_that_the_period_does_not_have_is_not_moved(slot):
    with pytest.raises(Conflict, match=f"not in its slot {slot}; place it again"):
        even_out([Entry(id=1, slot=slot, phase_ms=slot * HOUR)], Loads([], slot_count=24))


def test_a_member_whose_phase_is_not_in_its_slot_is_not_moved():
    with pytest.raises(Conflict, match="member 1 has phase 3600000 ms, not in its slot 0; place it again"):
        even_out([Entry(id=1, slot=0, phase_ms=HOUR)], Loads([(0, 1, 1)], slot_count=24))
