"""A client inside a run: limits it spends, rates it passes on, scopes it names; and options that cannot be."""

import asyncio
import dataclasses
import pickle
import subprocess
import sys
from contextvars import copy_context

import pytest
from starlette.responses import PlainTextResponse, RedirectResponse, Response

import rota.http
from rota import Limit, RateLimited, Snooze
from rota.define.current import CURRENT
from rota.errors import BadInput, ConfigError, StoreUnavailable
from rota.http import Client
from tests.http.test_cage import Names

LIMIT = Limit("amazon:{region}", "20/s")


class FakeRun:
    """What a client needs of a run, written down."""

    member = "s1"
    attempt = 7

    def __init__(self, *, full: bool = False, broken: bool = False) -> None:
        self.full, self.broken = full, broken
        self.charged: list[Limit] = []
        self.rates: list[float] = []

    async def charge(self, limit: Limit) -> None:
        if self.full:
            raise Snooze("5s")
        self.charged.append(limit)

    async def adjust(self, limit: Limit, *, rate: float) -> None:
        if self.broken:
            raise StoreUnavailable("the database is away")
        self.rates.append(rate)


def inside(run: FakeRun, call):
    """Do something as a handler of this run would."""
    context = copy_context()
    context.run(CURRENT.set, run)
    return asyncio.get_running_loop().create_task(call, context=context)


async def test_every_request_of_a_run_is_charged_once_redirected_ones_too(service):
    service.answer("/a", RedirectResponse("/b"))
    run = FakeRun()
    async with Client(base_url=service.url, limit=LIMIT, redirects=1) as client:
        await inside(run, client.get("/a"))
        await inside(run, client.post("/c"))
        await client.get("/outside/of/a/run")
    assert run.charged == [LIMIT] * 3
    assert len(service.seen) == 4


async def test_a_run_without_room_sends_nothing(service):
    async with Client(base_url=service.url, limit=LIMIT) as client:
        with pytest.raises(Snooze):
            await inside(FakeRun(full=True), client.post("/a"))
    assert service.seen == []


@pytest.mark.parametrize(
    ("options", "values", "scope"),
    [
        ({}, {}, "127.0.0.1"),
        ({"limit": Limit("amazon", "20/s")}, {}, "amazon"),
        ({"limit": LIMIT}, {"region": "eu"}, "amazon:eu"),
        ({"limit": LIMIT}, {}, "amazon:{region}"),
        ({"limit": LIMIT, "scope": "ads"}, {}, "ads"),
        ({"scope": "seller:{member}"}, {}, "seller:s1"),
        ({"scope": "seller:{member}"}, {"member": "s2"}, "seller:s2"),
    ],
)
async def test_the_scope_that_cools_is_the_clients_else_the_limits_else_the_host(service, options, values, scope):
    service.answer("/a", Response(status_code=429))
    async with Client(base_url=service.url, **options) as client:
        with pytest.raises(RateLimited) as caught:
            await inside(FakeRun(), client.get("/a", values=values))
        with pytest.raises(RateLimited) as other:
            await inside(FakeRun(), client.get("/a", scope="other"))
    assert (caught.value.scope, other.value.scope) == (scope, "other")


async def test_a_users_address_cools_its_own_host_only(service):
    service.answer("/", Response(status_code=429))
    async with Client(caged=True, network=Names(service.port), limit=Limit("feeds", "9/s")) as client:
        with pytest.raises(RateLimited) as caught:
            await inside(FakeRun(), client.get("http://example.com/"))
    assert caught.value.scope == "example.com"


@pytest.mark.parametrize("status", [200, 429])
async def test_the_rate_in_a_header_is_passed_on(service, status):
    service.answer("/a", Response(status_code=status, headers={"X-Rate": "0.0167"}))
    service.answer("/garbage", Response(headers={"X-Rate": "lots"}))
    run = FakeRun()
    async with Client(base_url=service.url, limit=LIMIT, rate_header="x-rate", expect={429}) as client:
        await inside(run, client.get("/a"))
        await inside(run, client.get("/garbage"))
        await inside(run, client.get("/none"))
        await client.get("/a")
    assert run.rates == [0.0167]


async def test_an_answer_is_not_lost_because_its_rate_could_not_be_noted(service, caplog):
    service.answer("/a", Response(headers={"X-Rate": "5"}))
    async with Client(base_url=service.url, limit=LIMIT, rate_header="x-rate") as client:
        answer = await inside(FakeRun(broken=True), client.post("/a"))
    assert answer.status == 200
    assert "the rate of limit amazon:{region} was not changed" in caplog.text


async def test_the_log_tells_the_attempt(service, caplog):
    caplog.set_level("INFO", logger="rota.http")
    async with Client(base_url=service.url) as client:
        await inside(FakeRun(), client.get("/a"))
    assert caplog.records[-1].fields["attempt"] == 7


async def test_a_client_opens_by_itself_and_again_after_a_close(service):
    client = Client(base_url=service.url)
    for _ in range(2):
        assert (await client.get("/")).status == 200
        await client.close()
    await client.close()


def test_a_client_goes_from_one_event_loop_to_the_next(service):
    client = Client(base_url=service.url)

    async def once() -> int:
        return (await client.get("/")).status

    async def last() -> int:
        status = await once()
        await client.close()
        return status

    service.answer("/", lambda _request: Response(headers={"connection": "close"}))
    assert [asyncio.run(once()), asyncio.run(last())] == [200, 200]


async def test_connections_are_kept_between_requests(service):
    ports = set()
    service.answer("/", lambda request: ports.add(request.client.port) or Response())
    async with Client(base_url=service.url) as client:
        for _ in range(3):
            await client.get("/")
    assert len(ports) == 1


async def test_text_is_read_in_the_charset_it_names(service):
    service.answer(
        "/latin", PlainTextResponse("für".encode("latin-1"), headers={"content-type": "a/b; charset=latin1"})
    )
    service.answer("/wrong", PlainTextResponse("für", headers={"content-type": "a/b; charset=klingon"}))
    service.answer("/codec", PlainTextResponse("für", headers={"content-type": "a/b; charset=rot13"}))
    service.answer("/none", Response("für"))
    async with Client(base_url=service.url) as client:
        assert [(await client.get(f"/{how}")).text for how in ("latin", "wrong", "codec", "none")] == ["für"] * 4


def test_an_answer_is_frozen_and_travels():
    answer = rota.http.Response(status=200, headers={"a": "canary"}, body=b"canary", url="http://canary")
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.status = 500
    assert repr(answer) == "Response(status=200)"
    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "ftp://x.example"}, "base_url= of Client must be a URL such as"),
        ({"base_url": "http://user:canary@x.example"}, "base_url= of Client must be a URL such as"),
        ({"base_url": "http://["}, "base_url= of Client must be a URL such as"),
        ({"base_url": 3}, "base_url= of Client must be a URL such as"),
        ({"read": "soon"}, "read= of Client must be a duration"),
        ({"connect": "0s"}, "connect= of Client must be at least 1ms"),
        ({"pool": -1}, "pool= of Client must be a duration"),
        ({"deadline": ""}, "deadline= of Client must be a duration"),
        ({"longest_wait": "x"}, "longest_wait= of Client must be a duration"),
        ({"max_body": 0}, "max_body= of Client must be a whole number from 1 to"),
        ({"redirects": 21}, "redirects= of Client must be a whole number from 0 to 20, not 21"),
        ({"redirects": True}, "redirects= of Client must be a whole number"),
        ({"expect": {200}}, "expect= must be a set of statuses from 300 to 599"),
        ({"expect": "404"}, "expect= must be a set of statuses"),
        ({"expect": 404}, "expect= must be a set of statuses"),
        ({"credentials": "admin"}, "credentials= must be 'app', 'user' or 'none'"),
        ({"scope": "a:{b"}, "scope= of Client may have holes"),
        ({"rate_header": "x-rate"}, "rate_header= of Client is what limit= follows"),
        ({"product": "shop\r\nx: y"}, "product= of Client must be plain text"),
        ({"contact": "ünser"}, "contact= of Client must be plain text"),
    ],
)
def test_a_wrong_option_of_a_client_is_one_clear_sentence(options, said):
    with pytest.raises(ConfigError) as caught:
        Client(**options)
    assert str(caught.value).startswith(said)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 3}, "a request has no option 'timeout': known are content, credentials, data"),
        ({"expect": {99}}, "expect= must be a set of statuses"),
        ({"credentials": "root"}, "credentials= must be 'app', 'user' or 'none'"),
    ],
)
async def test_a_wrong_option_of_a_request_is_refused_before_anything_is_sent(service, options, said):
    async with Client(base_url=service.url) as client:
        with pytest.raises(BadInput) as caught:
            await client.get("/a", **options)
    assert str(caught.value).startswith(said)
    assert service.seen == []


def test_without_its_package_one_sentence_says_what_to_install():
    code = "import sys; sys.modules['httpx2'] = None\nimport rota.http"
    came = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "rota.http needs the package httpx2: pip install 'rota[http]'" in came.stderr


def test_rota_itself_does_not_import_it():
    code = "import sys, rota; sys.exit('httpx2' in sys.modules or 'rota.http' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
