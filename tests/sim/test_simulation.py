"""The whole engine in simulated weeks: nothing false may ever be seen, and whatever happens heals (reliability 5b).

Always true: a world that fails is named by its seed, and `make sim SEED=…` repeats it; the children that live the
worlds have different hash seeds, so equal traces do not depend on the order of sets.

Not here: a world (world), the invariants (checks, healing).
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import pytest

from tests.sim import bugs
from tests.sim.world import Report, live

WORLDS = 60  # what fits into 45 s on two busy cores; more by `--worlds`
TWICE = (3, 11, 16, 27)  # worlds that are lived twice
SHOWN = 60  # events shown of a world that fails
CORES = 2

# What a run has to have met, or it has stopped testing it.
SOMETIMES = (
    *("claim", "succeeded", "retry", "dead", "lost", "released", "snoozed", "held", "skipped", "cancelled"),
    *("rate_limited", "event run.fenced", "answer lost", "store refused", "outage", "partition", "freeze", "kill"),
    *("drain", "step back", "step forward", "skew", "cap full", "spread", "moved", "stop with runs"),
    *("run_now", "run_now refused", "requeue", "requeue refused", "unhold", "leave", "rejoin", "enqueued"),
    *("tick", "tick busy", "tick stopped", "tick without a store", "event worker.drained", "event store.back"),
    *("reason: stopped", "reason: paused", "reason: held", "reason: poison", "reason: caught up by a later slot"),
    *("reason: its worker is gone", "reason: its time was over", "reason: catch_up is none"),
    *("reason: too late by policy", "reason: too soon after the last start (min_gap)"),
    *(
        "clocks changed between two slots",
        "frozen between claim and start",
        "reason: not started: a stop, or the lease was lo",
    ),
)


@contextmanager
def children(hash_seed: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes, in which sets of texts have an order of their own."""
    kept = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = str(hash_seed)
    try:
        with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
            yield pool
    finally:
        if kept is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = kept


def told(report: Report) -> str:
    """What a person needs to find the fault."""
    events = "\n".join(report.last[-SHOWN:])
    return f"{events}\nworld {report.seed}: {report.violation}\nrepeat it with: make sim SEED={report.seed}"


def summed(reports: Sequence[Report]) -> Counter[str]:
    """How often anything was met."""
    met: Counter[str] = Counter()
    for report in reports:
        met.update(report.sometimes)
    return met


@pytest.fixture
def worlds(request: pytest.FixtureRequest, seed: int | None) -> Sequence[int]:
    """The seeds of this run."""
    if seed is not None:
        return (seed,)
    return range(request.config.getoption("--worlds", default=None) or WORLDS)


def test_in_every_world_nothing_false_is_seen_and_all_of_it_heals(worlds, capsys):
    if len(worlds) == 1:
        reports = [live(worlds[0])]
    else:
        with children(0) as pool:
            reports = list(pool.map(live, worlds))
    failed = [report for report in reports if report.violation is not None]
    met = summed(reports)
    weeks = sum(report.days for report in reports) / 7
    with capsys.disabled():
        print(
            f"\n  {len(reports)} worlds, {weeks:.0f} simulated weeks, {met['claim']} attempts, {met['kill']} kills,"
            f" {met['answer lost']} lost answers, {met['event run.fenced']} late ends refused, {len(failed)} violations"
        )
    assert not failed, told(failed[0]) + f"\nall that failed: {[report.seed for report in failed]}"
    if len(worlds) >= WORLDS:
        assert [name for name in SOMETIMES if not met[name]] == [], "the simulation has stopped meeting these"


def test_the_same_seed_gives_the_same_world_whatever_the_order_of_sets():
    with children(1) as pool:
        first = list(pool.map(live, TWICE))
    with children(2) as pool:
        second = list(pool.map(live, TWICE))
    assert [report.trace for report in first] == [report.trace for report in second]
    assert all(report.events for report in first)


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
