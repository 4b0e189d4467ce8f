"""Where handlers run: the event loop, threads, processes; what comes back from there; plain functions as handlers."""

import asyncio
import os
import threading
import time
from datetime import timedelta

import pytest

from rota import Fail, Member, Retry, Retryable, Rota, Run, every
from rota.engine.worker import Settings
from rota.store import views
from tests.engine.conftest import Held


def in_another_process(number: int) -> int:
    if number < 0:
        raise Retryable("negative", after="7s")
    if number == 0:
        raise ZeroDivisionError("nought")
    return os.getpid()


class Odd(Exception):
    """An error that cannot travel between processes."""

    def __init__(self, what: str, handle: object) -> None:
        super().__init__(what)
        self.handle = handle


def raises_what_cannot_travel() -> None:
    raise Odd("stuck", threading.Lock())


def dies() -> None:
    os._exit(9)


async def test_a_plain_function_runs_as_a_handler_in_a_held_world(m: Held) -> None:
    seen: list[str] = []

    @m.rota.job
    def plain(name: str) -> None:
        seen.append(name)

    await plain.enqueue("ada")
    await m.drain()
    assert seen == ["ada"]


async def test_a_plain_function_runs_in_a_thread_and_does_not_hold_up_the_loop(tmp_path) -> None:
    rota = Rota(f"sqlite:///{tmp_path / 'a.db'}")
    gate, threads = threading.Event(), []

    @rota.job
    def blocking() -> None:
        threads.append(threading.current_thread())
        assert gate.wait(20)

    @rota.job
    async def opener() -> None:
        gate.set()

    async with rota:
        handles = [await blocking.enqueue(), await opener.enqueue()]
        work = asyncio.create_task(rota.work())
        assert [await handle.wait("20s") for handle in handles] == ["succeeded", "succeeded"]
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert threads[0] is not threading.main_thread()


async def test_a_run_in_a_process_comes_back_with_its_value_outcome_or_error(tmp_path) -> None:
    rota = Rota(f"sqlite:///{tmp_path / 'a.db'}")
    elsewhere = rota.job("elsewhere", run_in="process", retry=Retry(delays=["1h"]))(in_another_process)
    odd = rota.job("odd", run_in="process", retry=Retry(tries=1))(raises_what_cannot_travel)
    async with rota:
        for number in (1, -1, 0):
            await elsewhere.enqueue(number)
        await odd.enqueue()
        summary = await rota.tick()
        store = await rota.opened()
        rows = await store.read(lambda: views.journal(10))
    assert (summary.succeeded, summary.retrying, summary.dead) == (1, 2, 1)
    reasons = {row["reason"] for row in rows}
    assert "negative" in reasons
    assert any("ZeroDivisionError: nought" in (reason or "") for reason in reasons)
    assert any("Odd: stuck" in (reason or "") for reason in reasons)


async def test_a_process_that_dies_is_a_loss_and_what_comes_after_it_gets_a_new_process(tmp_path) -> None:
    rota = Rota(f"sqlite:///{tmp_path / 'a.db'}")
    killer = rota.job("killer", run_in="process", retry=Retry(tries=1))(dies)
    elsewhere = rota.job("elsewhere", run_in="process", retry=Retry(tries=1))(in_another_process)
    async with rota:
        await killer.enqueue()
        await elsewhere.enqueue(1)
        first = await rota.tick()
        assert (first.retrying, first.succeeded, first.due) == (1, 1, 2)
        second = await rota.tick(jobs=["killer"])
        third = await rota.tick(jobs=["killer"])
        assert (second.retrying, third.dead) == (1, 1)
        store = await rota.opened()
        rows = await store.read(lambda: views.journal(10))
    assert [(row["outcome"], row["reason"]) for row in rows if row["job"] == "killer"][-1] == ("dead", "poison")


async def test_a_handler_that_blocks_the_loop_is_named_and_loses_no_lease(tmp_path) -> None:
    rota = Rota(f"sqlite:///{tmp_path / 'a.db'}")
    heard: list[tuple[str, object]] = []
    rota.listen(lambda event: heard.append((event.name, event.fields.get("job"))))

    @rota.job
    async def blocks() -> None:
        time.sleep(3.2)  # noqa: ASYNC251 -- that is the fault that is tried

    async with rota:
        handle = await blocks.enqueue()
        worker = await rota.worker(Settings(lease_ms=1_000))
        task = asyncio.create_task(worker.run())
        assert await handle.wait("20s") == "succeeded"
        worker.stop()
        await task
    assert ("loop.blocked", "blocks") in heard
    assert "run.lost" not in {name for name, _ in heard}


async def test_the_plain_function_is_still_there_to_be_called(m: Held) -> None:
    @m.rota.job
    async def greet(name: str) -> str:
        """Greet."""
        return f"hello {name}"

    assert await greet("ada") == "hello ada"
    assert greet.__doc__ == "Greet."
    assert greet.__name__ == "greet"


async def test_a_run_knows_who_and_when_it_is(m: Held) -> None:
    shops = m.rota.roster("shops")
    runs: list[Run] = []
    members: list[Member] = []
    failures = [ValueError("x")]

    @m.rota.job("sync", each=shops, schedule=every("6h"), retry=Retry(delays=["1m"]), timeout="5m")
    async def sync(shop: Member, run: Run) -> None:
        runs.append(run)
        members.append(shop)
        if failures:
            raise failures.pop()

    await shops.join("a", zone="Asia/Kolkata", data={"region": "in"}, owner="u1", weight=3)
    slot = (await sync.turn("a")).slot_at
    await m.drain(slot + timedelta(minutes=1))
    first, second = runs
    assert (first.job, first.roster, first.member, first.number) == ("sync", "shops", "a", 1)
    assert (first.slot_at, first.due_at, first.deadline) == (slot, slot, slot + timedelta(minutes=5))
    assert (first.id, first.idempotency_key) == (second.id, second.idempotency_key)
    assert [(run.attempt, run.tries) for run in runs] == [(1, 1), (2, 2)]
    assert second.due_at == slot + timedelta(minutes=1)
    assert members[0] == Member("a", "Asia/Kolkata", {"region": "in"}, "u1", 3, roster="shops")
    await m.drain(slot + timedelta(hours=6))
    assert runs[-1].id != first.id
    assert runs[-1].idempotency_key != first.idempotency_key


async def test_a_step_is_paid_for_once_per_run(t: Held) -> None:
    shops = t.rota.roster("shops")
    paid: list[int] = []
    got: list[object] = []
    failures = [ValueError("x")]

    def pay(amount: int) -> dict:
        paid.append(amount)
        return {"report": amount}

    @t.rota.job("sync", each=shops, schedule=every("6h"), retry=Retry(delays=["1m"]))
    async def sync(shop: Member, run: Run) -> None:
        got.append(await run.step("report", pay, 7))
        if failures:
            raise failures.pop()

    await shops.join("a")
    slot = (await sync.turn("a")).slot_at
    await t.drain(slot + timedelta(minutes=1))
    assert paid == [7]
    assert got == [{"report": 7}] * 2
    await t.drain(slot + timedelta(hours=6))
    assert paid == [7, 7]  # the next run pays again


async def test_the_last_result_is_kept_and_read_back_without_computing(t: Held) -> None:
    shops = t.rota.roster("shops")
    results = [{"rows": 7}, Fail("x"), None]

    @t.rota.job("sync", each=shops, schedule=every("6h"), keep="latest", retry=Retry(tries=1))
    async def sync(shop: Member) -> object:
        came = results.pop(0)
        if isinstance(came, Exception):
            raise came
        return came

    await shops.join("a")
    slot = (await sync.turn("a")).slot_at
    assert await sync.latest("a") is None
    await t.drain(slot)
    assert await sync.latest("a") == {"rows": 7}
    await t.drain(slot + timedelta(hours=6))
    assert await sync.latest("a") == {"rows": 7}
    assert await sync.latest("a", within="5h") is None
    assert await sync.latest("a", within="7h") == {"rows": 7}


async def test_the_events_of_a_run_are_told_and_a_broken_listener_changes_nothing(m: Held) -> None:
    heard: list[str] = []

    def broken(event: object) -> None:
        raise ValueError("listener")

    m.rota.listen(broken)
    m.rota.listen(lambda event: heard.append(event.name))
    ends = {"fine": None, "retry": ValueError("x"), "dead": Fail("x")}

    @m.rota.job(retry=Retry(tries=2))
    async def job(how: str) -> None:
        if ends[how] is not None:
            raise ends[how]

    shops = m.rota.roster("shops")
    await shops.join("a")
    await shops.leave("a")
    await job.enqueue_many(list(ends))
    await m.rota.tick()
    assert heard.count("run.started") == 3
    assert {"run.succeeded", "run.retry", "run.dead", "member.joined", "member.left"} <= set(heard)


@pytest.mark.parametrize("tries", [1, 3])
async def test_retries_without_a_delay_are_run_by_one_drain(m: Held, tries: int) -> None:
    seen: list[int] = []

    @m.rota.job(retry=Retry(tries=tries, first="0s", jitter=0))
    async def frail(run: Run) -> None:
        seen.append(run.tries)
        raise ValueError("x")

    await frail.enqueue()
    await m.drain()
    assert seen == list(range(1, tries + 1))
