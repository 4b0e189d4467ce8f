"""Attempts whose worker is gone: given back by whoever passes, counted as losses, and poison in the end (G-3, G-8)."""

from rota import Retry
from rota.engine.chores import Chores
from tests.engine.conftest import START, Held
from tests.engine.test_tick import call


async def test_a_tick_gives_back_what_a_dead_worker_held(t: Held) -> None:
    seen: list[str] = []
    job = call(t, "greet", seen)
    await job.enqueue("1")
    await t.look(
        "UPDATE rota.turn SET state = 'running', worker = 'gone', attempt = 1, tries = 1, leased_until = :later"
        " RETURNING id",
        later=int(START.timestamp() * 1000) + 600_000,
    )
    heard = []
    t.rota.listen(lambda event: heard.append(event.name))
    await t.drain()
    assert seen == ["greet 1"]
    assert await t.outcomes("outcome", "attempt", "worker") == [("lost", 1, "gone")] + [
        ("succeeded", 2, row["worker"]) for row in (await t.journal())[1:]
    ]
    assert "run.lost" in heard
    assert await t.look("SELECT count(*) FROM rota.turn") == [(0,)]


async def test_after_three_losses_a_run_is_poison(t: Held) -> None:
    job = call(t, "greet", [], retry=Retry(tries=5))
    await job.enqueue("1")
    for loss in range(3):
        await t.look(
            "UPDATE rota.turn SET state = 'running', worker = 'gone', attempt = attempt + 1, tries = tries + 1,"
            " leased_until = 0 RETURNING id"
        )
        store = await t.rota.opened()
        await Chores(store, f"reaper{loss}").reap()
    assert await t.outcomes() == ["lost", "lost", "dead"]
    ((_, _, _, reason),) = await t.dead()
    assert reason == "poison"
