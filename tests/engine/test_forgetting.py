"""What limits, cool-downs and keys leave behind goes when it says nothing any more; on both stores."""

from rota import Limit, RateLimited
from rota.store import chores
from rota.store.port import query
from tests.engine.conftest import Held
from tests.engine.test_limits import Calls


async def test_a_day_later_buckets_that_say_nothing_and_keys_of_ended_runs_are_gone(t: Held) -> None:
    calls = Calls(t, Limit("ads:{region}", "1/s"), serial="{name}")
    await calls.job.enqueue_many([("a", "eu"), ("b", "us")])
    await t.rota.tick()
    assert await t.look("SELECT key FROM rota.serial") == []
    await t.rota.set_limit("ads:us", "2/s")
    store = await t.rota.opened()
    t.clock.advance("23h")
    assert await store.write(chores.prune_buckets) == 0
    t.clock.advance("2h")
    await t.rota.tick()
    assert await t.look("SELECT scope FROM rota.bucket WHERE scope LIKE 'ads:%'") == [("ads:us",)]


async def test_a_scope_that_a_job_was_refused_under_once_is_forgotten_a_day_after_it_cooled(t: Held) -> None:
    refused: list[int] = []

    @t.rota.job
    async def one(n: int) -> None:
        if n not in refused:
            refused.append(n)
            raise RateLimited(("big", "small")[n], "10m")

    for n in range(2):
        await one.enqueue(n)
        await t.drain(t.at(hours=n + 1))
    learned = "SELECT scope FROM rota.gate ORDER BY scope"
    assert await t.look(learned) == [("big",), ("small",)]
    store = await t.rota.opened()
    t.clock.advance("12h")
    await t.rota.cool("small", "1h", reason="planned", by="ana")
    t.clock.advance("13h")
    assert await store.write(chores.prune_gates) == 1
    assert await t.look(learned) == [("small",)]
    t.clock.advance("1d")
    await t.rota.tick()  # whoever holds the chores does it
    assert await t.look(learned) == []


async def test_a_scope_that_was_learned_and_is_declared_now_is_not_forgotten(t: Held) -> None:
    @t.rota.job(scope="big")
    async def one() -> None:
        """Says nothing of its scope."""

    store = await t.rota.opened()
    await store.write(lambda: query("add_gates", [("one", "big", 1)]))
    assert await store.write(chores.prune_gates) == 1
    await store.write(lambda: query("add_gates", [("one", "big", 1)]))
    await t.rota.tick()
    assert await store.write(chores.prune_gates) == 0
    assert await t.look("SELECT job, scope, learned FROM rota.gate") == [("one", "big", 0)]
