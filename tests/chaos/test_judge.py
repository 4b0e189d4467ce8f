"""The judge of the chaos scenarios finds each kind of violation in made-up facts, and none where there is none."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.chaos.app import PERIOD_S
from tests.chaos.judge import Entry, Facts, judged
from tests.chaos.ledger import Line
from tests.chaos.report import Check, Tally

SLOT_MS = PERIOD_S * 1000


def end(number: int, turn: int, attempt: int, outcome: str, **more: object) -> Entry:
    plain = {"run": 1, "job": "work", "member": None, "slot_at": None, "due_at": 5_000, "started_at": 6_000}
    plain |= {"ended_at": 7_000, "worker": "w1", "reason": None, "slots": 1}
    return Entry(id=number, turn=turn, attempt=attempt, outcome=outcome, **(plain | more))


def line(what: str, run: str, attempt: int, pid: int = 11) -> Line:
    return Line(what, run, attempt, pid, 0, 0, "work", "-")


def good() -> Facts:
    """Three runs: one lost and taken over, one with an effect, and a member's two slots."""
    visits = [
        end(5, 3, 1, "succeeded", job="visit", member="s1", slot_at=SLOT_MS),
        end(6, 3, 2, "succeeded", job="visit", member="s1", slot_at=2 * SLOT_MS, run=2),
    ]
    journal = [
        end(1, 1, 1, "lost"),
        end(2, 1, 2, "succeeded", worker="w2"),
        end(3, 2, 1, "succeeded", job="pay"),
        *visits,
    ]
    begun = [("1-1", 1, 11), ("1-1", 2, 12), ("2-1", 1, 11), ("3-1", 1, 11), ("3-2", 2, 11)]
    return Facts(
        journal=journal,
        turns=[(3, "visit", "s1", 1, "waiting", 3, 2, 3 * SLOT_MS)],
        dead=[],
        effects=Counter({("2-1", 1): 1}),
        audit=[],
        lines=[line(what, *one) for one in begun for what in ("start", "end")],
        answers=Counter({"acknowledged": 2}),
        acknowledged={"1-1", "2-1"},
        pids={"w1": 11, "w2": 12},
    )


def without(facts: Facts, *numbers: int) -> Facts:
    return replace(facts, journal=[row for row in facts.journal if row.id not in numbers])


def plus(facts: Facts, *rows: Entry) -> Facts:
    return replace(facts, journal=[*facts.journal, *rows])


BROKEN = {
    "an acknowledged run that is nowhere": (lambda one: without(one, 3), "I-1"),
    "an acknowledged run that never ends": (
        lambda one: replace(without(one, 3), turns=[*one.turns, (2, "pay", None, 0, "waiting", 1, 1, None)]),
        "I-2",
    ),
    "a run without a request": (lambda one: plus(one, end(9, 9, 1, "succeeded")), "G-2"),
    "a start too many": (lambda one: replace(one, lines=[*one.lines, line("start", "2-1", 2)]), "I-3"),
    "a success without its effect": (lambda one: replace(one, effects=Counter()), "I-4"),
    "two effects of one success": (lambda one: replace(one, effects=Counter({("2-1", 1): 2})), "I-4"),
    "an effect of a lost attempt": (lambda one: replace(one, effects=one.effects + Counter({("1-1", 1): 1})), "I-4"),
    "an attempt with two ends": (lambda one: plus(one, end(9, 1, 1, "succeeded")), "I-5"),
    "an attempt that left no trace": (lambda one: without(one, 1), "I-6"),
    "a success of another than who started": (lambda one: replace(one, pids={"w1": 12, "w2": 11}), "I-7"),
    "an attempt that started twice": (lambda one: replace(one, lines=[*one.lines, line("start", "1-1", 2)]), "I-8"),
    "a slot with two runs": (
        lambda one: plus(one, end(9, 3, 3, "succeeded", job="visit", member="s1", slot_at=2 * SLOT_MS, run=3)),
        "I-9",
    ),
    "a slot without a run or a reason": (
        lambda one: replace(one, turns=[(3, "visit", "s1", 1, "waiting", 3, 2, 4 * SLOT_MS)]),
        "I-10",
    ),
    "a slot out of step": (
        lambda one: replace(one, turns=[(3, "visit", "s1", 1, "waiting", 3, 2, 3 * SLOT_MS + 1)]),
        "I-11",
    ),
    "a start before it was due": (lambda one: plus(one, end(9, 2, 2, "snoozed", started_at=4_999)), "I-13"),
    "a worker with nine at once": (
        lambda one: replace(one, lines=[*one.lines, *(line("start", f"{n}-1", 1) for n in range(20, 29))]),
        "I-15",
    ),
    "a run lost four times": (lambda one: plus(one, *(end(9 + n, 1, 3 + n, "lost") for n in range(3))), "I-16"),
    "poison after one loss": (lambda one: replace(one, dead=[(1, 1, "poison")]), "I-16"),
    "a try used by a run that never fails": (lambda one: plus(one, end(9, 2, 2, "retry", reason="oh")), "I-17"),
    "a fleet that did not heal": (lambda one: replace(one, left="left: one"), "I-18"),
    "a row that was another one before": (
        lambda one: replace(one, earlier={3: one.journal[2]._replace(ended_at=1)}),
        "I-19",
    ),
}


def test_where_everything_is_in_order_nothing_is_found():
    assert judged(good()).broken == []


@pytest.mark.parametrize("what", BROKEN)
def test_the_judge_finds(what):
    change, name = BROKEN[what]
    assert name in {check.name for check in judged(change(good())).broken}


def test_a_row_that_stands_for_many_slots_is_walked_in_one_step():
    many = 10**9
    row = end(9, 3, 3, "skipped", job="visit", member="s1", slot_at=3 * SLOT_MS, run=3, worker=None, slots=many)
    facts = replace(plus(good(), row), turns=[(3, "visit", "s1", 1, "waiting", 4, 3, (3 + many) * SLOT_MS)])
    assert judged(facts).broken == []


def test_a_violation_of_one_slice_is_not_made_good_by_another():
    tally, other = Tally(), Tally()
    tally.check(Check(name="I-3", what="starts", happened=3, allowed=2, of=9))
    other.check(Check(name="I-3", what="starts", happened=0, allowed=9, of=9))
    tally.add(other)
    assert [check.name for check in tally.broken] == ["I-3"]
    assert Tally.of_json(tally.as_json()).broken == tally.broken
