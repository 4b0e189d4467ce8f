"""Several processes on one store: ticks at once, an emergency stop under load, two releases side by side.

Real processes on both stores (G-9, G-12, G-17, G-26).
"""

import asyncio
import json
import subprocess
import time
from collections import Counter

from tests.e2e.fleet import PATIENCE_S, Fleet, until
from tests.e2e.shop import plain, shops, step, visit
from tests.e2e.shop_next import extra

STOPS = 4
SECOND_NS = 1_000_000_000


async def test_of_ticks_at_once_one_works_and_the_others_say_so_and_exit_0(fleet: Fleet) -> None:
    await shops.join_many([f"s{number}" for number in range(20)])
    ticks = [fleet.start("--json", "tick", "--job", "visit", stdout=subprocess.PIPE) for _ in range(4)]
    answers = await asyncio.gather(*(asyncio.to_thread(tick.communicate, timeout=PATIENCE_S) for tick in ticks))
    assert [tick.returncode for tick in ticks] == [0] * 4
    summaries = [json.loads(answer) for answer, _ in answers]
    assert sum(summary["succeeded"] for summary in summaries) == 20
    busy = [summary for summary in summaries if summary["busy"]]
    assert busy
    assert all((summary["due"], summary["ok"]) == (0, True) for summary in busy)
    assert max(Counter(line.argument for line in fleet.lines("start")).values()) == 1
    assert (await visit.turn("s0")).run == 2


async def test_after_a_stop_has_returned_nothing_is_claimed_and_nothing_starts_two_seconds_later(fleet: Fleet) -> None:
    rota = fleet.rota
    await fleet.workers(2)
    await step.enqueue_many([(n, 15) for n in range(1_500)])
    for stop in range(STOPS):
        seen = len(fleet.lines("start"))
        await until(lambda seen=seen: len(fleet.lines("start")) > seen + 20)
        answer = await rota.stop_all(f"drill {stop}", by="ada")
        returned_ns = time.monotonic_ns()
        before = {one.turn for one in answer.running}  # as the stop's own transaction saw it
        running = {row[0] for row in await fleet.look("SELECT id FROM rota.turn WHERE state = 'running'")}
        ended = {row[0] for row in await fleet.look("SELECT turn FROM rota.journal")}
        assert running <= before

        async def quiet() -> bool:
            """Nothing runs any more."""
            return await fleet.count("SELECT count(*) FROM rota.turn WHERE state = 'running'") == 0

        await until(quiet)
        later = {row[0] for row in await fleet.look("SELECT turn FROM rota.journal")} - ended
        assert later <= before  # whatever ended after the stop had been claimed before it
        assert await fleet.count("SELECT count(*) FROM rota.turn") > 100  # there was more to claim
        starts = [line.at_ns for line in fleet.lines("start")]
        assert max(starts) <= returned_ns + 2 * SECOND_NS
        assert await rota.resume_all(by="ada")
        resumed = len(starts)
        await until(lambda resumed=resumed: len(fleet.lines("start")) > resumed)
    await until(fleet.quiet)
    assert await fleet.count("SELECT count(*) FROM rota.journal WHERE outcome = 'succeeded'") == 1_500
    acts = await fleet.look("SELECT act, by FROM rota.audit ORDER BY id")
    assert acts == [("stop", "ada"), ("resume", "ada")] * STOPS


async def test_two_releases_share_a_store_and_the_older_leaves_alone_what_it_does_not_know(fleet: Fleet) -> None:
    from tests.e2e.shop_next import extra

    (old,) = await fleet.workers(1, app="tests.e2e.shop:rota")
    handles = [await extra.enqueue() for _ in range(5)]
    for number in range(20):
        await plain.enqueue(number)

    async def settled() -> bool:
        """The older release has done what it knows."""
        return await fleet.count("SELECT count(*) FROM rota.journal") == 20

    await until(settled)
    assert await fleet.look("SELECT job, state, attempt, count(*) FROM rota.turn GROUP BY job, state, attempt") == [
        ("extra", "waiting", 0, 5)
    ]
    (new,) = await fleet.workers(1, app="tests.e2e.shop_next:rota")
    for number in range(20, 40):
        await plain.enqueue(number)
    await until(fleet.quiet)
    names = {handle.id for handle in handles}
    assert {line.pid for line in fleet.lines("start") if line.run in names} == {new.pid}
    outcomes = Counter(row[0] for row in await fleet.look("SELECT outcome FROM rota.journal"))
    assert outcomes == {"succeeded": 45}
    assert old.poll() is None
    assert await fleet.count("SELECT count(*) FROM rota.dead_letter") == 0


async def test_a_run_of_an_unknown_job_whose_worker_died_waits_for_a_process_that_knows_it(fleet: Fleet) -> None:
    await fleet.workers(1, app="tests.e2e.shop:rota")
    handle = await extra.enqueue()
    await fleet.look(
        "UPDATE rota.turn SET state = 'running', worker = 'gone', attempt = 1, tries = 1, leased_until = 1 RETURNING id"
    )

    async def given_back() -> bool:
        """The run is waiting again."""
        return await handle.state() == "waiting"

    await until(given_back)
    assert await fleet.look("SELECT tries, losses FROM rota.turn") == [(0, 1)]
    await fleet.workers(1, app="tests.e2e.shop_next:rota")
    assert await handle.wait("20s") == "succeeded"
