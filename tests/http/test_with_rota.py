"""A client in the handlers of a real `Rota`: what it raises is what becomes of the run."""

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rota import Limit, Member, Retry, Rota, every
from rota.http import Client
from tests.http.service import broken


@pytest.fixture
async def rota(store_url):
    async with Rota(store_url) as application:
        yield application


async def states(rota: Rota, job, keys) -> dict[str, str]:
    return {key: (await job.turn(key)).state for key in keys}


async def test_outcomes_of_a_client_become_the_ends_of_runs(rota, service):
    sellers = rota.roster("sellers")
    service.answer("/gone", Response(status_code=404))
    service.answer("/busy", Response(status_code=503))
    service.answer("/consent", Response(status_code=403))
    client = Client(base_url=service.url, credentials="user")

    @rota.job(each=sellers, schedule=every("1d"), first_run="now", retry=Retry(tries=3))
    async def update(seller: Member) -> None:
        await client.get(f"/{seller.key}")

    async with client:
        await sellers.join_many(["well", "gone", "busy", "consent"])
        summary = await rota.tick()
    counts = {name: getattr(summary, name) for name in ("succeeded", "dead", "retrying", "held")}
    assert counts == {"succeeded": 1, "dead": 1, "retrying": 1, "held": 1}
    assert (await update.turn("consent")).state == "held"
    assert {seen.path for seen in service.seen} == {"/well", "/gone", "/busy", "/consent"}, "each once: no retry inside"


async def test_a_charge_that_may_have_been_made_is_held_and_not_made_again(rota):
    async with broken() as url, Client(base_url=url) as client:

        @rota.job
        async def pay(order: str) -> None:
            await client.post("/charges", json={"order": order}, ref=f"order {order}")

        handle = await pay.enqueue("4711")
        summary = await rota.tick()
        again = await rota.tick(now=True)
    assert (summary.held, again.succeeded + again.dead + again.retrying) == (1, 0)
    assert await handle.state() == "held"


async def test_too_many_requests_cool_the_scope_for_all(rota, service):
    calls = []

    def limited(request: Request) -> Response:
        calls.append(request.url.path)
        return JSONResponse({}) if len(calls) <= 3 else Response(status_code=429, headers={"retry-after": "600"})

    service.answer("/report", limited)
    limit = Limit("reports", "1000/s", burst=1000)
    sellers = rota.roster("sellers")
    client = Client(base_url=service.url, limit=limit)

    @rota.job(each=sellers, schedule=every("1d"), first_run="now", limit=limit)
    async def report(seller: Member) -> None:
        await client.get("/report")

    async with client:
        await sellers.join_many([f"s{number}" for number in range(20)])
        summary = await rota.tick(concurrency=1)
    assert summary.succeeded == 3
    assert summary.dead + summary.retrying == 0
    assert len(calls) <= 5, "the call that was refused, and at most one that was on its way"


async def test_a_plain_handler_waits_for_the_client_in_the_workers_loop(rota, service):
    client = Client(base_url=service.url)
    service.answer("/page", JSONResponse({"n": 3}))
    found = []

    @rota.job
    def fetch() -> None:
        found.append(rota.wait(client.get("/page")).json()["n"])

    async with client:
        await fetch.enqueue()
        summary = await rota.tick()
    assert (summary.succeeded, found) == (1, [3])
