"""What real processes taught: beats that cross a claim, and runs that take their neighbours with them."""

import asyncio

from rota import Rota, Run
from rota.engine.admit import Admission
from rota.engine.lane import Lane
from rota.engine.pump import Pump
from rota.store.port import query
from rota.store.turns import Held
from rota.testing import isolated


def _pump(rota, store):
    pump = Pump(store, "w1", Admission(catalog=store.catalog, spread=True), most=8)
    lane = Lane(list(store.catalog.ordered()), 8)
    pump.lanes = [lane]
    return pump, lane


async def _introduced(store):
    values = {"name": "w", "kind": "worker", "version": "0", "lease_ms": 600_000, "concurrency": 8, "queues": "*"}
    await store.write(lambda: query("add_worker", worker="w1", **values))


async def test_a_beat_that_was_asked_while_a_claim_was_on_its_way_takes_nothing_of_it_away():
    rota = Rota(name="t")

    @rota.job
    async def work(run: Run) -> None:
        await asyncio.Event().wait()

    async with isolated(rota) as t:
        await work.enqueue()
        store = await rota.opened()
        await _introduced(store)
        pump, lane = _pump(rota, store)
        began_s = store.clock.monotonic()
        t.clock.advance("1ms")
        asked_s = store.clock.monotonic()  # the keeper asks; its snapshot does not show the claim yet
        t.clock.advance("1ms")
        claimed = await pump.turn_over(lane)
        (claim,) = claimed.run
        pump.running[claim.id].started_s = began_s  # as `turn_over` sets it: when the transaction began
        pump.compare(asked_s, Held({}, frozenset(), False))  # told before the handler's first step
        assert claim.id in pump.running, "the store holds this turn for us until its time is over, and nobody runs it"
        pump.release_all("the test is over")
        pump.close()


async def test_of_runs_with_one_loss_left_one_at_a_time_is_run_in_a_process():
    rota = Rota(name="t")

    @rota.job
    async def work(number: int, run: Run) -> None:
        await asyncio.Event().wait()

    async with isolated(rota):
        await work.enqueue_many([(n,) for n in range(3)])
        store = await rota.opened()
        await _introduced(store)
        store.db.dictionary._compiled["lose"] = store.db.dictionary.compile(
            "lose", "UPDATE rota.turn SET losses = 2 RETURNING id"
        )
        await store.write(lambda: query("lose"))
        pump, lane = _pump(rota, store)
        claimed = await pump.turn_over(lane)
        assert len(claimed.run) == 1
        assert claimed.put_back == 2
        pump.release_all("the test is over")
        pump.close()
