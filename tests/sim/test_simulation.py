"""The whole engine in simulated weeks: nothing false may ever be seen, and whatever happens heals (reliability 5b).

Always true: a world that fails is named by its seed and shrunk, and `make sim SEED=…` repeats it; the children that
live the worlds have different hash seeds, so equal traces do not depend on the order of sets.

Not here: a world (world), the invariants (checks and its neighbours, healing), the long form (`python -m tests.sim`).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.sim import bugs
from tests.sim.__main__ import shrunk
from tests.sim.many import SOMETIMES, Sums, all_of, table
from tests.sim.plan import plan_of
from tests.sim.shrink import Cut, invariant, parts, shrink, trimmed
from tests.sim.world import live, live_plan

WORLDS = 30  # what fits into 20 s on two busy cores; more by `--worlds`, and 600 by `make proof`
OFTEN = 400  # from so many worlds on everything must have been met
YEARS = 2
TWICE = (3, 11, 16, 27)  # worlds that are lived twice


@pytest.fixture
def worlds(request: pytest.FixtureRequest, seed: int | None) -> Sequence[int]:
    """The seeds of this run."""
    if seed is not None:
        return (seed,)
    return range(request.config.getoption("--worlds", default=None) or WORLDS)


def test_in_every_world_nothing_false_is_seen_and_all_of_it_heals(worlds, capsys):
    sums = Sums()
    for report in all_of("weeks", worlds):
        sums.add(report)
    with capsys.disabled():
        print("\n" + table("simulation", sums))
    if sums.failed:
        everybody = [report.seed for report in sums.failed]
        pytest.fail(f"{shrunk(sums.failed[0], 'weeks')}\nall that failed: {everybody}", pytrace=False)
    if len(worlds) >= OFTEN:
        assert sums.never_met(SOMETIMES) == [], "the simulation has stopped meeting these"


def test_five_years_with_leap_days_and_retention_are_lived_through():
    sums = Sums()
    for report in all_of("years", range(YEARS)):
        sums.add(report)
    if sums.failed:
        pytest.fail(shrunk(sums.failed[0], "years"), pytrace=False)
    assert sums.met["pruned journal"]
    assert sums.met["clocks changed between two slots"]


def test_the_same_seed_gives_the_same_world_whatever_the_order_of_sets():
    first, second = (list(all_of("weeks", TWICE, hash_seed=hash_seed)) for hash_seed in (1, 2))
    assert [report.trace for report in first] == [report.trace for report in second]
    assert all(report.events for report in first)


def test_every_invariant_is_judged_somewhere():
    texts = [
        file.read_text(encoding="utf-8")
        for file in Path(__file__).parent.glob("*.py")
        if file.name != Path(__file__).name
    ]
    judged = {found for text in texts for found in re.findall(r'"(I-\d+)"', text)}
    assert judged == {f"I-{number}" for number in range(1, 21)}


def test_a_world_that_fails_is_shrunk_to_one_that_fails_alike():
    seed = 1
    with bugs.reap_a_live_lease():
        report = live(seed)
        assert report.violation is not None
        cut, smaller = shrink(plan_of(seed), report, most=12)
        again = live_plan(trimmed(plan_of(seed), cut))
    assert invariant(smaller) == invariant(report)
    assert again.trace == smaller.trace
    assert smaller.events < report.events
    assert cut.length < 1
    assert set(cut.without) <= set(parts(plan_of(seed))) | {f"job {one.name}" for one in plan_of(seed).jobs}


def test_what_is_left_out_of_a_plan_changes_nothing_else_about_it():
    plan = plan_of(0)
    assert trimmed(plan, Cut()) == plan
    for part in parts(plan):
        left = parts(trimmed(plan, Cut(without=(part,))))
        assert part not in left
        assert set(parts(plan)) - {part} <= set(left)


@pytest.mark.parametrize("bug", bugs.ALL, ids=lambda bug: bug.__name__)
def test_a_deliberate_bug_is_found(bug):
    """A net is tested by jumping: each bug is one line of the engine made wrong (reliability 6)."""
    found = 0
    with bug():
        for seed in range(bugs.WORLDS):
            if live(seed).violation is not None:
                found += 1
                break
    assert found, f"{bugs.WORLDS} worlds lived with this bug and none complained"
