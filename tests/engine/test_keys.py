"""Serial keys and caps by key: runs that share one never overlap; the next starts when the earlier has ended."""

import asyncio
from datetime import timedelta

import pytest

from rota import Cap, Limit, Member, Retry, Retryable, every
from tests.engine.conftest import START, Held
from tests.engine.virtual import World, virtual


@virtual
async def test_runs_of_one_serial_key_never_overlap_and_keep_their_order(world: World) -> None:
    running: dict[str, int] = {}

    @world.rota.job(serial="{owner_id}")
    async def work(owner_id: str, n: int) -> None:
        assert not running.get(owner_id)
        running[owner_id] = 1
        world.seen.append((owner_id, n))
        await asyncio.sleep(1)
        running[owner_id] = 0

    await work.enqueue_many([(owner, n) for n in range(10) for owner in ("a", "b")])
    await world.worker()
    await world.worker()
    await asyncio.sleep(15)
    assert len(world.seen) == 20
    for owner in ("a", "b"):
        assert [n for who, n in world.seen if who == owner] == list(range(10))


async def test_a_serial_key_is_kept_over_the_retries_of_its_run(t: Held) -> None:
    seen: list[int] = []

    @t.rota.job(serial="{owner}", retry=Retry(delays=["1m", "1m"]))
    async def work(owner: str, n: int) -> None:
        seen.append(n)
        if n == 0 and len(seen) < 3:
            raise Retryable("busy")

    await work.enqueue_many([("a", 0), ("a", 1)])
    await t.drain(START + timedelta(minutes=10))
    assert seen == [0, 0, 0, 1]


async def test_a_whole_chain_of_one_key_runs_in_one_tick(t: Held) -> None:
    seen: list[int] = []

    @t.rota.job(serial="{owner}")
    async def work(owner: str, n: int) -> None:
        seen.append(n)

    await work.enqueue_many([("a", n) for n in range(6)])
    summary = await t.rota.tick()
    assert seen == list(range(6))
    assert (summary.succeeded, summary.postponed) == (6, 0)


async def test_serial_keys_are_shared_between_jobs_that_name_the_same(t: Held) -> None:
    users = t.rota.roster("users")
    seen: list[str] = []

    @t.rota.job(each=users, schedule=every("1h"), serial="{owner}", retry=Retry(delays=["5m"]))
    async def one(user: Member) -> None:
        seen.append("one")
        if seen == ["one"]:
            raise Retryable("busy")

    @t.rota.job(each=users, schedule=every("1h"), serial="{owner}")
    async def two(user: Member) -> None:
        seen.append("two")

    await users.join("u", owner="o")
    await one.run_now("u")
    await two.run_now("u")
    await t.rota.tick()
    assert seen == ["one"]
    assert "serial" in (await t.look("SELECT waits_for FROM rota.turn WHERE job = 'two'"))[0][0]
    await t.drain(START + timedelta(minutes=6))
    assert seen[:3] == ["one", "one", "two"]


@virtual
async def test_a_cap_by_owner_holds_for_each_owner_by_itself(world: World) -> None:
    users = world.rota.roster("users")
    running: dict[str, int] = {"o1": 0, "o2": 0}
    most: dict[str, int] = {"o1": 0, "o2": 0}

    @world.rota.job(each=users, schedule=every("24h"), cap=Cap(2, by="owner"))
    async def work(user: Member) -> None:
        owner = user.owner or ""
        running[owner] += 1
        most[owner] = max(most[owner], running[owner])
        world.seen.append(user.key)
        await asyncio.sleep(1)
        running[owner] -= 1

    members = [{"key": f"{owner}-{n}", "owner": owner} for n in range(10) for owner in ("o1", "o2")]
    await users.join_many(members)
    for member in members:
        await work.run_now(member["key"])
    await world.worker()
    await world.worker()
    await asyncio.sleep(10)
    assert len(world.seen) == 20
    assert most == {"o1": 2, "o2": 2}


@pytest.mark.parametrize("left", [True, False])
async def test_a_key_is_free_again_when_its_holder_is_gone(t: Held, *, left: bool) -> None:
    users = t.rota.roster("users")
    seen: list[str] = []

    @t.rota.job(each=users, schedule=every("1h"), serial="k", retry=Retry(delays=["50m"]))
    async def work(user: Member) -> None:
        seen.append(user.key)
        if user.key == "a":
            raise Retryable("busy")

    await users.join_many(["a", "b"])
    await work.run_now("a")
    await t.rota.tick()
    await work.run_now("b")
    await t.rota.tick()
    assert seen == ["a"]
    if left:
        await users.leave("a")
    await t.drain(START + timedelta(minutes=2))
    assert seen == (["a", "b"] if left else ["a"])


async def test_two_runs_whose_members_changed_places_do_not_wait_for_each_other_for_ever(t: Held) -> None:
    users = t.rota.roster("users")
    seen: list[tuple[str, str]] = []

    @t.rota.job(each=users, schedule=every("24h"), serial="{region}", retry=Retry(delays=["5m"]))
    async def work(user: Member) -> None:
        seen.append((user.key, user.data["region"]))
        if len(seen) <= 2:
            raise Retryable("busy")

    await users.join_many([{"key": "a", "data": {"region": "eu"}}, {"key": "b", "data": {"region": "us"}}])
    await work.run_now("a")
    await work.run_now("b")
    await t.rota.tick()
    await users.join_many([{"key": "a", "data": {"region": "us"}}, {"key": "b", "data": {"region": "eu"}}])
    await t.drain(START + timedelta(minutes=7))
    assert sorted(seen[2:]) == [("a", "us"), ("b", "eu")]


async def test_a_limit_and_a_serial_key_go_together(t: Held) -> None:
    seen: list[int] = []

    @t.rota.job(serial="{owner}", limit=Limit("x", "1/m", burst=1))
    async def work(owner: str, n: int) -> None:
        seen.append(n)

    await work.enqueue_many([("a", n) for n in range(3)])
    await t.drain(START + timedelta(minutes=5))
    assert seen == [0, 1, 2]
