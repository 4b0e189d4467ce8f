"""Workers killed, frozen, drained and cut off under load: nothing acknowledged is lost, nothing ends twice.

Real processes on both stores (G-1, G-3 to G-8, G-18, G-24); the ledger of the handlers and the tables of the store are
the only witnesses.
"""

import asyncio
import signal
import time
from collections import Counter

from rota.errors import StoreUnavailable
from tests.e2e.fleet import Fleet, until
from tests.e2e.shop import plain, step

KILLS = 8
LOAD = 60  # runs added before each kill: always more than the crew has places
GRACE_S = 1.0


async def test_workers_killed_in_a_loop_lose_nothing_and_start_no_more_again_than_was_in_flight(fleet: Fleet) -> None:
    crew = await fleet.workers(3)
    acknowledged: set[str] = set()
    in_flight = 0
    for kill in range(KILLS):
        seen = len(fleet.lines("start"))
        acknowledged |= {handle.id for handle in await step.enqueue_many([(n, 20 + n) for n in range(LOAD)])}
        await until(lambda seen=seen: len(fleet.lines("start")) > seen + 10)
        victim = crew[kill % 3]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        (held,) = await fleet.look(
            "SELECT count(*) FROM rota.turn WHERE state = 'running' AND worker IN (SELECT incarnation FROM rota.worker"
            " WHERE name LIKE :name)",
            name=f"%:{victim.pid}",
        )
        in_flight += held[0]
        crew[kill % 3 : kill % 3 + 1] = await fleet.workers(1)
    await until(fleet.quiet)
    ends = await fleet.look("SELECT turn, run, outcome FROM rota.journal WHERE outcome IN ('succeeded', 'dead')")
    finished = Counter(f"{turn}-{run}" for turn, run, _ in ends)
    assert finished.keys() == acknowledged  # completed + dead letters, none lost
    assert set(finished.values()) == {1}
    poison = await fleet.count("SELECT count(*) FROM rota.dead_letter WHERE reason = 'poison'")
    assert poison == sum(outcome == "dead" for *_, outcome in ends)
    starts = Counter(line.run for line in fleet.lines("start"))
    extra = sum(starts.values()) - len(starts)
    lost = await fleet.count("SELECT count(*) FROM rota.journal WHERE outcome = 'lost'")
    print(f"{len(acknowledged)} acknowledged, {KILLS} kills, {in_flight} in flight, {lost} lost, {extra} extra starts")
    assert lost + poison == in_flight
    assert extra <= in_flight
    assert len({(line.run, line.attempt) for line in fleet.lines("start")}) == len(fleet.lines("start"))
    assert await fleet.count("SELECT count(*) FROM rota.turn WHERE tries > 1") == 0


async def test_a_worker_told_to_stop_ends_or_gives_back_what_runs_and_is_gone_within_its_grace(fleet: Fleet) -> None:
    (worker,) = await fleet.workers(1, "--drain-grace", f"{int(GRACE_S * 1000)}ms")
    handles = await step.enqueue_many([(1, 400), (2, 60_000), (3, 60_000), (4, 400), (5, 400), (6, 400)])
    await until(lambda: len(fleet.lines("start")) >= 4)
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(worker.wait, 20)
    took = time.monotonic() - began
    assert code == 0
    assert took <= GRACE_S + 2
    started = {line.argument for line in fleet.lines("start")}
    assert started == {"1", "2", "3", "4"}  # nothing was claimed after the signal
    assert {line.argument for line in fleet.lines("end")} == {"1", "4"}
    states = await fleet.look("SELECT state, tries, losses FROM rota.turn ORDER BY id")
    assert states == [("waiting", 0, 0)] * 4
    outcomes = Counter(row[0] for row in await fleet.look("SELECT outcome FROM rota.journal"))
    assert outcomes == {"succeeded": 2, "released": 2}
    assert len(handles) == 6
    assert await fleet.introduced() == set()


async def test_a_worker_frozen_past_its_lease_can_end_nothing_when_it_thaws_and_goes_on_working(fleet: Fleet) -> None:
    (first,) = await fleet.workers(1)
    handles = await step.enqueue_many([(n, 700) for n in range(3)])
    await until(lambda: len(fleet.lines("start")) == 3)
    first.send_signal(signal.SIGSTOP)
    (second,) = await fleet.workers(1)
    await until(fleet.quiet)
    assert {line.pid for line in fleet.lines("start")[3:]} == {second.pid}
    before = await fleet.look("SELECT turn, run, attempt, outcome FROM rota.journal ORDER BY id")
    first.send_signal(signal.SIGCONT)
    await until(lambda: "run.fenced" in fleet.log)
    second.send_signal(signal.SIGTERM)
    await asyncio.to_thread(second.wait, 20)
    await plain.enqueue(7)
    await until(lambda: any(line.argument == "7" and line.pid == first.pid for line in fleet.lines("end")))
    await until(fleet.quiet)
    after = await fleet.look("SELECT turn, run, attempt, outcome FROM rota.journal WHERE job = 'step' ORDER BY id")
    assert after == before
    assert Counter(row[3] for row in after) == {"lost": 3, "succeeded": 3}
    assert len(handles) == 3
    assert first.poll() is None


async def test_postgres_stopped_at_once_under_load_costs_no_process_no_run_and_no_try(
    durable_fleet: Fleet, durable_postgres
) -> None:
    fleet = durable_fleet
    crew = await fleet.workers(2, "--lease", "10s")
    pids = [worker.pid for worker in crew]
    await step.enqueue_many([(n, 150) for n in range(60)])
    acknowledged = 60

    async def under_a_key(number: int) -> None:
        """Repeat the unknown until it is answered (G-2)."""
        while True:
            try:
                await plain.options(key=f"k{number}").enqueue(number)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return

    number = 0
    for _ in range(3):
        seen = len(fleet.lines("end"))
        await until(lambda seen=seen: len(fleet.lines("end")) > seen + 5)
        durable_postgres.stop("immediate")
        calls = [asyncio.create_task(under_a_key(number + n)) for n in range(20)]
        number += 20
        await asyncio.sleep(0)
        durable_postgres.start()
        accepts = time.monotonic()
        await asyncio.gather(*calls)
        seen = len(fleet.lines("start"))
        await until(lambda seen=seen: len(fleet.lines("start")) > seen)
        print(f"first start {time.monotonic() - accepts:.2f} s after the server accepted")
    await until(fleet.quiet)
    assert [worker.pid for worker in crew if worker.poll() is None] == pids
    ends = await fleet.look("SELECT turn, outcome FROM rota.journal WHERE outcome IN ('succeeded', 'dead')")
    assert Counter(outcome for _, outcome in ends) == {"succeeded": acknowledged + number}
    assert len({turn for turn, _ in ends}) == len(ends)
    others = await fleet.look("SELECT outcome, reason, turn, attempt FROM rota.journal WHERE outcome <> 'succeeded'")
    assert [other for other in others if other[0] != "released"] == []
    by_number = Counter(line.argument for line in fleet.lines("start") if line.argument.startswith("k"))
    assert all(count == 1 for count in by_number.values())
