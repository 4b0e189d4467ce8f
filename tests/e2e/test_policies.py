"""Policies on real processes: a fleet keeps a rate, stops when a service refuses, and pays for a step once.

Counts and instants are those of the ledger, of the service and of the journal; how fast anything is is not judged here.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e import policy_shop
from tests.e2e.conftest import fleet_on
from tests.e2e.fleet import Fleet, until
from tests.e2e.refusing import Refusing

APP = "tests.e2e.policy_shop:rota"
WORKERS = 4
RUNS, RATE, BURST = 250, 100, 20
LATE = 10  # starts that came later than their claims, on a machine that does much else: a tenth of a second's worth
AFTER_S = 1
EARLY_S = 0.05  # the service counts from its refusal, the fleet from when it heard of it, both in whole milliseconds


@pytest.fixture
async def policies(store_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet of the application with policies, on each store."""
    async with fleet_on(store_url, tmp_path, policy_shop.rota) as one:
        yield one


async def ended(fleet: Fleet) -> int:
    """How many runs have come to a good end."""
    return await fleet.count("SELECT count(DISTINCT turn) FROM rota.journal WHERE outcome = 'succeeded'")


async def test_a_fleet_with_a_tick_starts_no_more_in_any_second_than_rate_and_burst(policies: Fleet) -> None:
    await policies.workers(2, app=APP)
    await policy_shop.call.enqueue_many([(number,) for number in range(RUNS)])
    policies.start("tick", app=APP)
    await until(policies.quiet)
    assert Counter(line.argument for line in policies.lines("start")) == {str(number): 1 for number in range(RUNS)}
    rows = await policies.look("SELECT started_at FROM rota.journal WHERE outcome = 'succeeded' ORDER BY started_at")
    starts = [row[0] for row in rows]
    most = max(bisect_left(starts, at + 1000) - place for place, at in enumerate(starts))
    print(f"{len(starts)} starts in {(starts[-1] - starts[0]) / 1000:.2f} s, {most} in one second")
    assert len(starts) == RUNS
    assert most <= RATE + BURST + LATE
    assert starts[-1] - starts[0] >= (RUNS - BURST - LATE) * 1000 / RATE


async def test_a_fleet_that_is_refused_stops_asks_again_when_told_and_loses_nothing(policies: Fleet) -> None:
    service = Refusing(good=20, after_s=AFTER_S, away_s=1.5 * AFTER_S)
    async with service.serve():
        await policies.workers(WORKERS, "--concurrency", "1", app=APP)
        await policy_shop.ask.enqueue_many([(number, service.port) for number in range(80)])
        await until(policies.quiet)
    refusals = service.refusals
    at_once = [at for at in refusals if at < AFTER_S - EARLY_S]
    probes = refusals[len(at_once) :]
    print(f"{len(at_once)} refused at once, probes after {[round(at, 2) for at in probes]} s")
    assert 1 <= len(at_once) <= WORKERS
    assert len(probes) == 1  # the second one finds the service well
    assert all(after - before >= AFTER_S - EARLY_S for before, after in pairwise(probes))
    assert service.answered == 80
    assert await ended(policies) == 80
    assert await policies.count("SELECT count(*) FROM rota.dead_letter") == 0
    assert Counter(line.argument for line in policies.lines("end")) == {str(number): 1 for number in range(80)}


async def test_a_step_that_was_paid_for_is_not_paid_again_when_its_worker_is_killed_right_after_it(
    policies: Fleet,
) -> None:
    await policy_shop.pay_and_die.enqueue_many([(number,) for number in range(2)])
    kills = 0
    for number in range(2):
        (worker,) = await policies.workers(1, "--concurrency", "1", app=APP)
        await asyncio.to_thread(worker.wait, 20)
        kills += 1
        assert len(policies.lines("paid")) == number + 1
    await policies.workers(1, app=APP)
    await until(policies.quiet)
    assert [Counter(line.argument for line in policies.lines(what)) for what in ("paid", "end")] == [
        {"0": 1, "1": 1}
    ] * 2
    assert await policies.count("SELECT count(*) FROM rota.journal WHERE outcome = 'lost'") == kills
    assert await ended(policies) == 2
