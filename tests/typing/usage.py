"""How a user's code reads to a type checker: this file is checked, and never run.

Always true: it uses public names only.

Not here: what any of it does (tests/engine).
"""

from collections.abc import Callable
from datetime import timedelta
from typing import assert_type

from rota import (
    Batch,
    Cap,
    CatchUp,
    Handle,
    Limit,
    Member,
    Outcome,
    RateLimited,
    Retry,
    Roster,
    Rota,
    Run,
    Skip,
    TickSummary,
    cron,
    daily,
    every,
    weekly,
)
from rota.testing import ManualClock, isolated

rota = Rota("sqlite:///:memory:", name="shop", retain="journal:30d")
users: Roster = rota.roster("users", facets=["plan"], source=lambda: ["u1", "u2"])


@rota.job(each=users, schedule=every("6h", within="10m"), retry=Retry(tries=5, first=timedelta(seconds=2)))
async def refresh(user: Member, run: Run) -> Skip | None:
    assert_type(user.zone, str | None)
    await run.progress(1, 2)
    return None if run.tries < 2 else Skip("enough")


@rota.job("weekly.report", each=users, schedule=weekly("mon", "09:00", zone="Europe/Berlin"), catch_up=CatchUp("all"))
def report(user: Member) -> None: ...


@rota.job(schedule=daily("02:30", zone="Asia/Kolkata"), keep="latest")
async def nightly() -> dict[str, int]:
    return {"rows": 1}


@rota.job(schedule=cron("*/30 * * * *"))
async def half_hourly() -> None: ...


amazon = Limit("amazon:{region}", "20/s", burst=5)


@rota.job(each=users, schedule=every("24h"), limit=[amazon, Limit("all", "100/m")], batch=Batch(10, pause="5s"))
async def batched(members: list[Member], run: Run) -> list[Outcome | None]:
    await amazon.spend(2)
    await run.spend(amazon)
    await run.adjust(amazon, rate="5/s")
    return [None for _ in members]


@rota.job(each=users, schedule=every("24h"), cap=Cap(1, by="owner"), serial="{owner}", scope="llm:big")
async def written(user: Member) -> str:
    return user.key


@written.fallback(on=(RateLimited, TimeoutError), scope="llm:small", timeout="30s")
async def written_small(user: Member) -> str:
    return user.key


@rota.job
async def welcome(email: str, *, times: int = 1) -> int:
    return len(email) * times


async def main() -> None:
    async with rota:
        member = await users.join("u1", zone="Europe/Berlin", data={"plan": "pro"}, owner="o1")
        assert_type(member, Member)
        handle = await welcome.options(key="k", delay="5s").enqueue("ada@example.org")
        assert_type(handle, Handle)
        assert_type(await handle.wait("1m"), str)
        assert_type(await welcome("plain call"), int)
        assert_type(await rota.tick(limits={"welcome": 10}), TickSummary)
        await refresh.run_now("u1", reason="asked by phone", by="ana")
        await rota.stop_all("bad release", by="ana")
        await rota.set_limit("all", "10/m", burst=2, for_="1h", reason="asked by them", by="ana")
        assert_type(await rota.clear_cooldown("llm:big", by="ana"), int)
        assert_type(await written_small(member), str)
    async with isolated(rota) as t:
        clock: ManualClock = t.clock
        clock.advance("1h")
        await t.drain(until="2026-01-02T00:00:00Z")


plain: Callable[[Member], None] = report
