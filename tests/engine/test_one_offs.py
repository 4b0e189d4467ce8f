"""One-off calls: enqueuing, handles, keys, options, many at once, dead letters and their requeue; on both stores."""

import asyncio
from datetime import timedelta

import pytest

from rota import Fail, Retry, Rota, every
from rota.errors import BadInput, ConfigError, Conflict, NotFound
from tests.engine.conftest import START, Held


def greeter(t: Held, **options: object):
    """A one-off that remembers whom it greeted."""
    seen: list[str] = []

    @t.rota.job("greet", **options)
    async def greet(name: str, times: int = 1) -> None:
        seen.extend([name] * times)
        if name == "nobody":
            raise Fail("there is no such person")

    return greet, seen


async def test_what_is_enqueued_runs_once_and_its_row_goes(t: Held) -> None:
    greet, seen = greeter(t)
    handle = await greet.enqueue("ada", times=2)
    assert handle.created
    assert await handle.state() == "waiting"
    await t.drain()
    assert seen == ["ada", "ada"]
    assert await handle.state() == "succeeded"
    assert await handle.wait("1s") == "succeeded"
    assert await t.look("SELECT count(*) FROM rota.turn") == [(0,)]
    assert await t.outcomes("run", "attempt", "outcome", "slot_at", "member") == [(1, 1, "succeeded", None, None)]


async def test_the_id_of_a_handle_is_turn_and_run(t: Held) -> None:
    greet, _ = greeter(t)
    first, second = await greet.enqueue("ada"), await greet.enqueue("grace")
    assert first.id.endswith("-1")
    assert int(first.id.split("-")[0]) < int(second.id.split("-")[0])


async def test_ids_are_never_used_twice(t: Held) -> None:
    greet, _ = greeter(t)
    ids = []
    for _ in range(5):
        ids.append((await greet.enqueue("ada")).id)
        await t.drain()
    assert len(set(ids)) == 5


async def test_a_key_enqueued_again_gives_the_first_run(t: Held) -> None:
    greet, seen = greeter(t)
    first = await greet.options(key="welcome/7").enqueue("ada")
    again = await greet.options(key="welcome/7").enqueue("grace")
    assert (first.created, again.created) == (True, False)
    assert first.id == again.id
    await t.drain()
    assert seen == ["ada"]


async def test_a_key_is_remembered_for_a_day_after_the_run_has_ended(t: Held) -> None:
    greet, seen = greeter(t)
    keyed = greet.options(key="welcome")
    first = await keyed.enqueue("ada")
    t.clock.advance("3d")
    await t.drain()
    t.clock.advance("23h59m")
    again = await keyed.enqueue("ada")
    assert (again.created, again.id) == (False, first.id)
    assert await again.state() == "succeeded"
    t.clock.advance("2m")
    fresh = await keyed.enqueue("ada")
    assert fresh.created
    assert fresh.id != first.id
    await t.drain()
    assert seen == ["ada", "ada"]


async def test_a_key_may_be_remembered_longer_and_never_less_than_a_day(t: Held) -> None:
    greet, _ = greeter(t)
    longer, less = greet.options(key="long", remember="7d"), greet.options(key="short", remember="1s")
    await longer.enqueue("ada")
    await less.enqueue("ada")
    await t.drain()
    t.clock.advance("23h")
    assert not (await less.enqueue("ada")).created
    t.clock.advance("5d")
    assert not (await longer.enqueue("ada")).created
    assert (await less.enqueue("ada")).created


async def test_keys_belong_to_their_job(t: Held) -> None:
    greet, _ = greeter(t)

    @t.rota.job
    async def other() -> None: ...

    assert (await greet.options(key="k").enqueue("ada")).created
    assert (await other.options(key="k").enqueue()).created


async def test_many_callers_with_one_key_at_the_same_moment_make_one_run(t: Held) -> None:
    greet, seen = greeter(t)
    handles = await asyncio.gather(*(greet.options(key="once").enqueue("ada") for _ in range(50)))
    assert sum(handle.created for handle in handles) == 1
    assert len({handle.id for handle in handles}) == 1
    await t.drain()
    assert seen == ["ada"]


async def test_many_at_once_take_tuples_dicts_and_single_arguments(t: Held) -> None:
    greet, seen = greeter(t)
    handles = await greet.enqueue_many([("ada", 2), {"name": "grace"}, "linus"])
    assert [handle.created for handle in handles] == [True] * 3
    await t.drain()
    assert seen == ["ada", "ada", "grace", "linus"]


async def test_many_thousand_at_once_keep_their_order(t: Held) -> None:
    greet, seen = greeter(t)
    names = [f"n{number}" for number in range(2_500)]
    handles = await greet.enqueue_many(names)
    assert len({handle.id for handle in handles}) == 2_500
    await t.drain()
    assert seen == names


async def test_one_bad_argument_among_many_stores_none_of_them(t: Held) -> None:
    greet, _ = greeter(t)
    with pytest.raises(BadInput, match="times"):
        await greet.enqueue_many([("ada", 1), ("grace", "often")])
    assert await t.look("SELECT count(*) FROM rota.turn") == [(0,)]


async def test_a_delay_and_an_instant_hold_it_back(t: Held) -> None:
    greet, seen = greeter(t)
    await greet.options(delay="10m").enqueue("ada")
    await greet.options(at=START + timedelta(minutes=20)).enqueue("grace")
    assert await t.drain() == 0
    await t.drain(START + timedelta(minutes=10))
    assert seen == ["ada"]
    await t.drain(START + timedelta(minutes=20))
    assert seen == ["ada", "grace"]


async def test_the_smaller_priority_runs_first_then_the_longer_due(t: Held) -> None:
    greet, seen = greeter(t, priority=5)
    await greet.enqueue("plain")
    await greet.options(priority=90).enqueue("last")
    await greet.options(priority=-100).enqueue("first")
    await greet.enqueue("plain too")
    await t.rota.tick(concurrency=1)
    assert seen == ["first", "plain", "plain too", "last"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"key": ""}, "key"),
        ({"key": "a\x00"}, "key"),
        ({"key": " a"}, "key"),
        ({"key": "k" * 513}, "key"),
        ({"delay": "soon"}, "delay"),
        ({"at": START.replace(tzinfo=None)}, "naive|aware|zone"),
        ({"delay": "1s", "at": START}, "choose one"),
        ({"priority": 101}, "priority"),
    ],
)
async def test_an_option_that_cannot_be_taken_is_refused_with_its_name(m: Held, options: dict, word: str) -> None:
    greet, _ = greeter(m)
    with pytest.raises(BadInput, match=word):
        greet.options(**options)


async def test_a_recurring_job_cannot_be_enqueued(m: Held) -> None:
    @m.rota.job(schedule=every("1h"))
    async def hourly() -> None: ...

    with pytest.raises(ConfigError, match="run_now"):
        await hourly.enqueue()


async def test_a_dead_one_off_leaves_a_letter_with_arguments_error_and_key(t: Held) -> None:
    greet, _ = greeter(t)
    handle = await greet.options(key="k").enqueue("nobody")
    await t.drain()
    assert await handle.state() == "dead"
    assert await t.look("SELECT count(*) FROM rota.turn") == [(0,)]
    ((turn, args, key, reason, error),) = await t.look("SELECT turn, args, key, reason, error FROM rota.dead_letter")
    assert (f"{turn}-1", key, reason) == (handle.id, "k", "there is no such person")
    assert '"nobody"' in args
    assert error


async def test_a_dead_letter_is_requeued_once_as_a_new_run_with_fresh_tries(t: Held) -> None:
    greet, seen = greeter(t, retry=Retry(tries=1))
    first = await greet.options(key="k").enqueue("nobody")
    await t.drain()
    ((letter,),) = await t.look("SELECT id FROM rota.dead_letter")
    (made,) = await t.rota.requeue(letter, reason="she is back", by="ada")
    assert f"{made.turn}-{made.run}" != first.id
    assert not (await greet.options(key="k").enqueue("nobody")).created  # the key stands for the new run
    await t.drain()
    assert seen == ["nobody", "nobody"]
    assert await t.look("SELECT count(*) FROM rota.dead_letter") == [(2,)]
    with pytest.raises(Conflict):
        await t.rota.requeue(letter)
    assert await t.look("SELECT by, act, reason FROM rota.audit WHERE act = 'requeue'") == [
        ("ada", "requeue", "she is back")
    ]


async def test_all_dead_letters_of_a_cause_are_requeued_spread_over_a_time(t: Held) -> None:
    greet, _ = greeter(t)
    await greet.enqueue_many(["nobody"] * 10)
    await t.drain()
    ((error,),) = await t.look("SELECT DISTINCT error FROM rota.dead_letter")
    assert len(await t.rota.requeue(error=error, spread="10m")) == 10
    dues = sorted(row[0] for row in await t.look("SELECT due_at FROM rota.turn"))
    assert len(set(dues)) == 10
    assert dues[-1] - dues[0] <= 600_000


async def test_a_requeued_one_off_may_go_before_the_others(t: Held) -> None:
    greet, seen = greeter(t, priority=5, retry=Retry(tries=1))
    await greet.options(priority=-50).enqueue("nobody")
    await t.drain()
    ((letter,),) = await t.look("SELECT id FROM rota.dead_letter")
    with pytest.raises(BadInput, match="priority= must be a whole number from -100 to 100"):
        await t.rota.requeue(letter, priority=1_000)
    await greet.enqueue("ann")
    await t.rota.requeue(letter, priority=-50)
    assert await t.look("SELECT priority FROM rota.turn ORDER BY id") == [(5,), (-50,)]
    await t.rota.tick(concurrency=1)
    assert seen == ["nobody", "nobody", "ann"]


async def test_an_unknown_dead_letter_is_not_found(t: Held) -> None:
    greeter(t)
    with pytest.raises(NotFound):
        await t.rota.requeue(4711)


async def test_a_waiting_one_off_is_cancelled_and_its_key_is_remembered(t: Held) -> None:
    greet, seen = greeter(t)
    handle = await greet.options(key="k", delay="1h").enqueue("ada")
    await t.rota.cancel(id=handle.id, reason="not needed")
    await t.drain(START + timedelta(hours=2))
    assert seen == []
    assert await handle.state() == "cancelled"
    assert not (await greet.options(key="k").enqueue("ada")).created


async def test_a_payload_that_is_not_json_any_more_is_a_dead_letter_with_one_sentence(t: Held) -> None:
    greet, seen = greeter(t)
    await greet.enqueue("ada")
    await t.look("UPDATE rota.turn SET args = '{broken' RETURNING id")
    await t.drain()
    assert seen == []
    ((outcome, reason),) = await t.outcomes("outcome", "reason")
    assert outcome == "dead"
    assert "JSON" in reason
    assert "\n" not in reason


async def test_arguments_that_the_handler_no_longer_takes_are_a_dead_letter_that_names_them(t: Held) -> None:
    greet, _ = greeter(t)
    await greet.enqueue("ada")
    await t.look('UPDATE rota.turn SET args = \'{"nick":"ada"}\' RETURNING id')
    await t.drain()
    assert await t.outcomes() == ["dead"]
    ((_, _, _, reason),) = await t.dead()
    assert "nick" in reason


async def test_a_program_without_a_loop_enqueues_through_wait(tmp_path) -> None:
    rota = Rota(f"sqlite:///{tmp_path / 'shop.db'}")

    @rota.job
    async def greet(name: str) -> None: ...

    def program() -> str:
        handle = rota.wait(greet.enqueue("ada"))
        state = rota.wait(handle.state())
        rota.wait(rota.close())
        return state

    assert await asyncio.to_thread(program) == "waiting"


async def test_wait_inside_a_loop_is_refused_with_what_to_write_instead(m: Held) -> None:
    with pytest.raises(ConfigError, match="await"):
        m.rota.wait(m.rota.opened())


async def test_waiting_longer_than_the_timeout_says_so(m: Held) -> None:
    greet, _ = greeter(m)
    handle = await greet.enqueue("ada")
    with pytest.raises(TimeoutError):
        await handle.wait("10ms")
